//! The audit log.

use jiff::Timestamp;

use super::MemoryRows;
use crate::store::rows::{Audit, AuditRows};
use crate::store::{AuditEntry, AuditFilter, Result};

impl AuditRows for MemoryRows {
    fn audit(&mut self, rows: &[Audit], now: Timestamp) -> Result<()> {
        let audit = &mut self.at()?.audit;
        for row in rows {
            let newest = audit.keys().next_back().copied();
            audit.insert(newest.unwrap_or(0) + 1, (row.clone(), now));
        }
        Ok(())
    }

    fn newest_audit(&mut self) -> Result<Option<Timestamp>> {
        Ok(self.at()?.audit.values().next_back().map(|(_, at)| *at))
    }

    fn newest_audit_id(&mut self) -> Result<i64> {
        Ok(self.at()?.audit.keys().next_back().copied().unwrap_or(0))
    }

    fn audited_behind(&mut self, number: i64, filter: &AuditFilter) -> Result<Vec<AuditEntry>> {
        let behind = self
            .at()?
            .audit
            .range(number.saturating_add(1)..)
            .map(entry);
        let wanted = behind.filter(|entry| filter.admits(entry));
        Ok(wanted.take(filter.limit as usize).collect())
    }

    fn audited(&mut self, filter: &AuditFilter) -> Result<Vec<AuditEntry>> {
        let newest = self.at()?.audit.iter().rev().map(entry);
        let wanted = newest.filter(|entry| filter.admits(entry));
        let mut entries: Vec<_> = wanted.take(filter.limit as usize).collect();
        entries.reverse();
        Ok(entries)
    }
}

fn entry((id, (row, at)): (&i64, &(Audit, Timestamp))) -> AuditEntry {
    AuditEntry {
        id: *id,
        at: Some(*at),
        conversation: row.conversation.as_ref().map(ToString::to_string),
        session: row.side.map(|side| side.as_str().to_owned()),
        action: row.action.clone().into_owned(),
        details: row.details.clone(),
    }
}
