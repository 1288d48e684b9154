//! The signal that there is work.

use super::MemoryRows;
use crate::store::Result;
use crate::store::rows::SignalRows;

impl SignalRows for MemoryRows {
    fn signal(&mut self) -> Result<()> {
        self.at()?.work += 1;
        Ok(())
    }
}
