//! The audit log.

use jiff::Timestamp;

use super::MemoryRows;
use crate::store::Result;
use crate::store::rows::{Audit, AuditRows};

impl AuditRows for MemoryRows {
    fn audit(&mut self, rows: &[Audit], now: Timestamp) -> Result<()> {
        let tables = self.at()?;
        tables
            .audit
            .extend(rows.iter().map(|row| (row.clone(), now)));
        Ok(())
    }

    fn newest_audit(&mut self) -> Result<Option<Timestamp>> {
        Ok(self.at()?.audit.last().map(|(_, at)| *at))
    }
}
