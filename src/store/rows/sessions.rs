//! Rows of ours about sessions.

use jiff::Timestamp;

use crate::model::SessionKey;
use crate::model::health::TurnSaid;
use crate::model::session::Status;
use crate::store::Result;

/// Operations on sessions.
pub trait SessionRows {
    /// Counts a call of the agent itself; with a time, it also did something. A
    /// verdict that rests on its silence is void from then on.
    ///
    /// # Errors
    /// The engine's.
    fn note_call(&mut self, session: &SessionKey, did: Option<Timestamp>) -> Result<()>;

    /// Writes what an agent says of itself where all programs on the store read it. It
    /// is a sign of life as well, and a change that those who watch the session see.
    ///
    /// # Errors
    /// The engine's.
    fn set_status(&mut self, session: &SessionKey, status: Status, now: Timestamp) -> Result<()>;

    /// Notes the first time that a session asked for its mail.
    ///
    /// # Errors
    /// The engine's.
    fn note_first_fetch(&mut self, session: &SessionKey, now: Timestamp) -> Result<()>;

    /// Notes that a session changed, for those who watch it.
    ///
    /// # Errors
    /// The engine's.
    fn note_change(&mut self, session: &SessionKey) -> Result<()>;

    /// Writes what the agent's client said of its turns on this boot, in the row of a session
    /// that has one; unless it has said something later already.
    ///
    /// # Errors
    /// The engine's.
    fn set_turn(&mut self, session: &SessionKey, said: TurnSaid, boot: &str) -> Result<()>;

    /// Sets how many tasks a session may have at once; `None` is what all may.
    ///
    /// # Errors
    /// The engine's.
    fn set_capacity(&mut self, session: &SessionKey, capacity: Option<u32>) -> Result<()>;
}
