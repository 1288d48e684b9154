//! The fleet as an orchestrator reads it: whole sessions, pages of them, and the
//! heartbeats alone that are most of what is new.

use jiff::Timestamp;

use crate::model::{ConversationId, SessionKey};
use crate::store::{Cursor, Pulse, Result, SeenSession};

/// Which sessions are read.
#[derive(Debug, Clone, Copy)]
pub enum Which<'a> {
    /// All.
    All,
    /// Those of the conversations behind one id and up to another; `None` is no end.
    Page(Option<&'a ConversationId>, Option<&'a ConversationId>),
    /// Those that changed since.
    Since(Cursor),
    /// These.
    These(&'a [SessionKey]),
}

/// Operations on what is seen of the fleet.
pub trait SeenRows {
    /// How far the changes of daemons and of sessions have counted.
    ///
    /// # Errors
    /// The engine's.
    fn cursor(&mut self) -> Result<Cursor>;

    /// The conversation that ends a page of this size behind `after`, by their ids;
    /// `None` if the page has no end.
    ///
    /// # Errors
    /// The engine's.
    fn page_end(
        &mut self,
        after: Option<&ConversationId>,
        conversations: u32,
    ) -> Result<Option<ConversationId>>;

    /// Sessions that changed since, whether or not they are still in the fleet.
    ///
    /// # Errors
    /// The engine's.
    fn changed_since(&mut self, since: Cursor) -> Result<Vec<SessionKey>>;

    /// Sessions with everything that decides about them; of conversations that are
    /// open, or that have a task.
    ///
    /// # Errors
    /// The engine's.
    fn seen(&mut self, which: Which<'_>, now: Timestamp) -> Result<Vec<SeenSession>>;

    /// The heartbeats of all sessions of open conversations whose daemon beat or let
    /// go since. It counts neither mail nor tasks: they do not change with a
    /// heartbeat.
    ///
    /// # Errors
    /// The engine's.
    fn pulses(&mut self, since: Cursor, now: Timestamp) -> Result<Vec<Pulse>>;
}
