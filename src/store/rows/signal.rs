//! What tells those who look that something other than mail changed.

use crate::store::{Result, Signal};

/// Operations on the signal.
pub trait SignalRows {
    /// Counts it.
    ///
    /// # Errors
    /// The engine's.
    fn signal(&mut self, what: Signal) -> Result<()>;
}
