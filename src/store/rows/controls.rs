//! What operators said: drain, hold, mute, each until its end.

use jiff::Timestamp;

use crate::model::SessionKey;
use crate::store::{Control, ControlKind, Result};

/// Operations on the orders of operators.
pub trait ControlRows {
    /// Writes what an operator said, in the place of what stood there.
    ///
    /// # Errors
    /// The engine's.
    fn set_control(&mut self, control: &Control) -> Result<()>;

    /// Deletes what an operator said; returns its end.
    ///
    /// # Errors
    /// The engine's.
    fn delete_control(&mut self, kind: ControlKind, subject: &str) -> Result<Option<Timestamp>>;

    /// What holds at `now`.
    ///
    /// # Errors
    /// The engine's.
    fn controls(&mut self, now: Timestamp) -> Result<Vec<Control>>;

    /// Whether a session, or the host of the daemon that keeps it, is drained at
    /// `now`.
    ///
    /// # Errors
    /// The engine's.
    fn is_drained(&mut self, session: &SessionKey, now: Timestamp) -> Result<bool>;
}
