//! What tells an orchestrator that there is work.

use crate::store::Result;

/// Operations on the signal.
pub trait SignalRows {
    /// Counts that there is work for an orchestrator.
    ///
    /// # Errors
    /// The engine's.
    fn signal(&mut self) -> Result<()>;
}
