//! What is counted for those who look.

use super::MemoryRows;
use crate::store::rows::SignalRows;
use crate::store::{Result, Signal};

impl SignalRows for MemoryRows {
    fn signal(&mut self, what: Signal) -> Result<()> {
        let tables = self.at()?;
        match what {
            Signal::Work => tables.work += 1,
            Signal::Access => tables.access += 1,
            Signal::Agents => tables.agents += 1,
            Signal::Owed => tables.owed_again += 1,
        }
        Ok(())
    }
}
