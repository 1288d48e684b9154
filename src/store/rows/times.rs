//! What rows tell of the time, and the ends of conversations that daemons set.

use jiff::Timestamp;

use crate::model::{ConversationId, SessionKey};
use crate::store::{DaemonRef, Result, Witness};

/// An end that a daemon's renewal set, and that was not set anew since.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RenewedEnd {
    /// Which conversation ends.
    pub conversation: ConversationId,
    /// When.
    pub end: Timestamp,
    /// Milliseconds between the renewal and the end.
    pub life: i64,
}

/// The last heartbeat of a session, beside the end of its conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LastBeat {
    /// The session's place in the question.
    pub place: usize,
    /// When the heartbeat was written.
    pub beat: Timestamp,
    /// When the conversation ends.
    pub end: Timestamp,
    /// The end as it is written, to be compared when it is set anew.
    pub written: String,
}

/// Operations on times.
pub trait TimeRows {
    /// What agents and operators wrote last, each by the place of the row: one row of
    /// a clock that ran ahead tells nothing after the next. What daemons write about
    /// themselves is not among it, but for the sign of life of the last one.
    ///
    /// # Errors
    /// The engine's.
    fn witness(&mut self) -> Result<Witness>;

    /// Notes that old rows were deleted by this time.
    ///
    /// # Errors
    /// The engine's.
    fn note_pruned(&mut self, now: Timestamp) -> Result<()>;

    /// Ends of open conversations that renewals set, as far as they lie behind
    /// `beyond`.
    ///
    /// # Errors
    /// The engine's.
    fn renewed_beyond(&mut self, beyond: Timestamp) -> Result<Vec<RenewedEnd>>;

    /// Notes the two clocks at the time when a renewal set the ends of these
    /// conversations to `until`.
    ///
    /// # Errors
    /// The engine's.
    fn note_renewed(
        &mut self,
        conversations: &[ConversationId],
        until: Timestamp,
        now: Timestamp,
    ) -> Result<()>;

    /// Moves the ends of open conversations forward, each to its own. Returns those
    /// that ended earlier than that.
    ///
    /// # Errors
    /// The engine's.
    fn renew(&mut self, ends: &[(&ConversationId, Timestamp)]) -> Result<Vec<ConversationId>>;

    /// The last heartbeats of these sessions, if this daemon gave them, or an agent
    /// by a call of its own; of conversations that are not closed and agents whose
    /// exit was not noted.
    ///
    /// # Errors
    /// The engine's.
    fn last_beats(&mut self, daemon: &DaemonRef, sessions: &[SessionKey]) -> Result<Vec<LastBeat>>;

    /// Sets the end of a conversation, if it still is as it was `written`. Whether
    /// it was.
    ///
    /// # Errors
    /// The engine's.
    fn move_end(&mut self, id: &ConversationId, written: &str, until: Timestamp) -> Result<bool>;
}
