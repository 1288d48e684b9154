//! Rows of ours about wakes.

use jiff::Timestamp;

use crate::model::SessionKey;
use crate::store::{Result, SpentWake, WakeClaim, WakeEnd, WakeRef};

/// Operations on wakes.
pub trait WakeRows {
    /// Claims the right to wake, by compare-and-set: a session has one wake that is
    /// not over, and its right can be taken over when its lease ended, or its boot
    /// did. `None` if another one holds it.
    ///
    /// # Errors
    /// The engine's.
    fn claim(&mut self, claim: &WakeClaim<'_>, now: Timestamp) -> Result<Option<WakeRef>>;

    /// Ends a session's open wake as verified, if no message up to its mark is unread.
    /// Whether it ended one.
    ///
    /// # Errors
    /// The engine's.
    fn verify_wake(&mut self, session: &SessionKey, now: Timestamp) -> Result<bool>;

    /// For each of these sessions, in their order: its last wake, where that ended with no
    /// way left. Nothing where a fetch followed the last one.
    ///
    /// # Errors
    /// The engine's.
    fn spent_wakes(&mut self, sessions: &[SessionKey]) -> Result<Vec<Option<SpentWake>>>;

    /// Ends the wakes that a claimant left open.
    ///
    /// # Errors
    /// The engine's.
    fn abandon_wakes(&mut self, claimant: &str, now: Timestamp) -> Result<()>;

    /// Ends a wake, if the claim still holds and it is one of this session's, where one is
    /// named. Whether that is so.
    ///
    /// # Errors
    /// The engine's.
    fn end_wake(
        &mut self,
        wake: &WakeRef,
        of: Option<&SessionKey>,
        end: &WakeEnd<'_>,
        now: Timestamp,
    ) -> Result<bool>;
}
