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

    fn audited(&mut self, filter: &AuditFilter) -> Result<Vec<AuditEntry>> {
        let rows = self.at()?.audit.iter();
        let wanted = rows.filter(|(_, (row, _))| {
            let conversation =
                filter.conversation.is_none() || filter.conversation == row.conversation;
            let side = filter.side.is_none() || filter.side == row.side;
            let action = filter.action.as_deref();
            conversation && side && action.is_none_or(|action| action == row.action)
        });
        let mut entries: Vec<_> = wanted
            .map(|(id, (row, at))| AuditEntry {
                id: *id,
                at: Some(*at),
                conversation: row.conversation.as_ref().map(ToString::to_string),
                session: row.side.map(|side| side.as_str().to_owned()),
                action: row.action.clone().into_owned(),
                details: row.details.clone(),
            })
            .collect();
        let limit = usize::try_from(filter.limit).unwrap_or(usize::MAX);
        Ok(entries.split_off(entries.len().saturating_sub(limit)))
    }
}
