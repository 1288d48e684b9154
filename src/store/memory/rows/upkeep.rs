//! There is nothing to keep up.

use super::MemoryRows;
use crate::store::Result;
use crate::store::rows::UpkeepRows;

impl UpkeepRows for MemoryRows {
    fn look(&mut self) -> Result<()> {
        self.at()?;
        Ok(())
    }

    fn count_on(&mut self) -> Result<()> {
        self.at()?;
        Ok(())
    }

    fn try_write(&mut self) -> Result<()> {
        self.at()?;
        Ok(())
    }

    fn write_log_back(&mut self) -> Result<()> {
        self.at()?;
        Ok(())
    }
}
