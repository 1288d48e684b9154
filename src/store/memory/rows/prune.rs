//! What is taken away once it ended long ago.

use jiff::Timestamp;

use super::MemoryRows;
use crate::model::{MessageId, SessionKey, Side};
use crate::store::Result;
use crate::store::memory::tables::Tables;
use crate::store::rows::{PruneRows, Scope};

/// Rows of one kind that one part takes.
const PART: usize = 500;

fn count(rows: usize) -> u64 {
    u64::try_from(rows).unwrap_or(u64::MAX)
}

impl Tables {
    /// Messages that can go: read, and with no fetch whose answer may be missing.
    fn due_messages(&self, before: Timestamp) -> Vec<MessageId> {
        let due = self.messages.iter().filter(|(id, row)| {
            let conversation = self.conversations.get(&row.message.conversation);
            let receipt = self.receipts.get(*id);
            row.read
                && row.message.sent_at.is_some_and(|at| at < before)
                && conversation.is_some_and(|one| one.expires_at < before)
                && receipt.is_none_or(|one| one.acked.is_some() || one.written.is_some())
        });
        due.map(|(id, _)| *id).take(PART).collect()
    }
}

/// Every row is ours: no other program writes here.
impl PruneRows for MemoryRows {
    fn delete_messages(&mut self, _scope: Scope, before: Timestamp) -> Result<u64> {
        let tables = self.at()?;
        let due = tables.due_messages(before);
        for id in &due {
            tables.messages.remove(id);
            tables.receipts.remove(id);
            tables.links.remove(id);
        }
        Ok(count(due.len()))
    }

    fn delete_conversations(&mut self, _scope: Scope, before: Timestamp) -> Result<u64> {
        let tables = self.at()?;
        let rows = tables.conversations.iter();
        let due = rows.filter(|(id, row)| {
            let sides = Side::BOTH.map(|side| SessionKey::new((*id).clone(), side));
            let mut messages = tables.messages.values();
            row.expires_at < before
                && !messages.any(|row| row.message.conversation == **id)
                && sides
                    .iter()
                    .all(|key| tables.tasks_of(key).next().is_none())
        });
        let due: Vec<_> = due.map(|(id, _)| id.clone()).take(PART).collect();
        for id in &due {
            tables.conversations.remove(id);
        }
        Ok(count(due.len()))
    }

    fn delete_audit(&mut self, _scope: Scope, before: Timestamp) -> Result<u64> {
        let audit = &mut self.at()?.audit;
        let due = audit.iter().filter(|(_, (_, at))| *at < before);
        let due: Vec<i64> = due.map(|(id, _)| *id).take(PART).collect();
        due.iter().for_each(|id| {
            audit.remove(id);
        });
        Ok(count(due.len()))
    }

    fn delete_orphans(&mut self, _scope: Scope) -> Result<()> {
        let tables = self.at()?;
        let (conversations, messages) = (&tables.conversations, &tables.messages);
        let there = |session: &SessionKey| conversations.contains_key(&session.conversation);
        // The newest change stays: numbers that were seen must not come again.
        let newest = tables.sessions.values().map(|row| row.change).max();
        let sessions = &mut tables.sessions;
        sessions.retain(|key, row| there(key) || Some(row.change) == newest);
        tables.mirrored.retain(|key, _| there(key));
        tables.said.retain(|key, _| there(key));
        tables.beats.retain(|key, _| there(key));
        tables.registrations.retain(|key, _| there(key));
        tables.client_messages.retain(|(key, _), _| there(key));
        let wakes = &mut tables.wakes;
        wakes.retain(|_, wake| wake.ended.is_some() || there(&wake.session));
        tables.receipts.retain(|id, _| messages.contains_key(id));
        Ok(())
    }

    fn delete_wakes(&mut self, before: Timestamp) -> Result<u64> {
        let wakes = &mut self.at()?.wakes;
        let due = wakes.iter();
        let due = due.filter(|(_, wake)| wake.ended.is_some_and(|at| at < before));
        let due: Vec<i64> = due.map(|(id, _)| *id).take(PART).collect();
        due.iter().for_each(|id| {
            wakes.remove(id);
        });
        Ok(count(due.len()))
    }

    fn delete_tasks(&mut self, before: Timestamp) -> Result<u64> {
        let tables = self.at()?;
        let tasks = tables.tasks.values().map(|row| &row.task);
        let due = tasks.filter(|task| !task.state.is_open() && task.changed_at < before);
        let due: Vec<_> = due.map(|task| task.id).take(PART).collect();
        for id in &due {
            tables.tasks.remove(id);
        }
        let tasks = &tables.tasks;
        tables.history.retain(|row| tasks.contains_key(&row.task));
        tables.links.retain(|_, task| tasks.contains_key(task));
        Ok(count(due.len()))
    }

    fn delete_alerts(&mut self, before: Timestamp) -> Result<u64> {
        let alerts = &mut self.at()?.alerts;
        let there = alerts.len();
        let mut room = PART;
        alerts.retain(|row| {
            let due = room > 0 && row.recovered_at.is_some_and(|at| at < before);
            room -= usize::from(due);
            !due
        });
        Ok(count(there - alerts.len()))
    }

    fn delete_controls(&mut self, before: Timestamp) -> Result<()> {
        self.at()?
            .controls
            .retain(|control| control.until >= before);
        Ok(())
    }

    fn delete_daemons(&mut self, before: Timestamp) -> Result<()> {
        let tables = self.at()?;
        let newest = tables.daemons.values().map(|one| one.change).max();
        let holder = tables
            .lease
            .as_ref()
            .and_then(|lease| lease.holder.as_ref());
        let leads = holder.map(|holder| holder.id.clone());
        let due = tables.daemons.values().filter(|one| {
            let id = &one.info.id;
            tables.heard_of(one) < before
                && Some(one.change) != newest
                && leads.as_ref() != Some(id)
                && tables
                    .beats
                    .values()
                    .all(|beat| beat.daemon.as_ref() != Some(id))
        });
        let due: Vec<String> = due.map(|one| one.info.id.clone()).collect();
        for id in &due {
            tables.daemons.remove(id);
        }
        let daemons = &tables.daemons;
        tables.signs.retain(|id, _| daemons.contains_key(id));
        Ok(())
    }

    fn end_moot_alerts(&mut self, now: Timestamp) -> Result<()> {
        let tables = self.at()?;
        let moot = tables
            .alerts
            .iter()
            .map(|row| match (&row.task, &row.session) {
                (Some(task), _) => !tables.tasks.contains_key(task),
                (None, Some(session)) => {
                    let conversation = tables.conversations.get(&session.conversation);
                    let open = conversation
                        .is_some_and(|one| one.closed_at.is_none() && one.expires_at > now);
                    !open && tables.tasks_of(session).next().is_none()
                }
                (None, None) => false,
            });
        let moot: Vec<bool> = moot.collect();
        for (row, moot) in tables.alerts.iter_mut().zip(moot) {
            if moot && row.recovered_at.is_none() {
                row.recovered_at = Some(now);
                row.told = crate::store::ToldEdge::All;
            }
        }
        Ok(())
    }
}
