//! The history of tasks.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::MemoryRows;
use crate::model::SessionKey;
use crate::model::message::Sender;
use crate::model::task::{Fence, TaskId};
use crate::store::memory::tables::{EventRow, Tables};
use crate::store::rows::{Event, HistoryRows, LostTask};
use crate::store::{Result, SessionName, Task, TaskEvent};

impl Tables {
    /// See [`HistoryRows::is_fetched`].
    pub(super) fn is_fetched(&self, task: &Task) -> bool {
        let Some(owner) = &task.owner else {
            return false;
        };
        let gave = |id| {
            let row = self.messages.get(id)?;
            let message = &row.message;
            let to_owner = message.conversation == owner.conversation && message.to == owner.side;
            let fence = message.metadata["fence"].as_i64().map(Fence);
            Some(
                row.read && to_owner && message.from == Sender::System && fence == Some(task.fence),
            )
        };
        let mut links = self.links.iter();
        self.history.iter().any(|row| {
            row.task == task.id && row.event.fence == task.fence && row.event.event == "claimed"
        }) || task.progress_at.is_some_and(|at| at > task.changed_at)
            || links.any(|(id, of)| *of == task.id && gave(id) == Some(true))
    }

    /// Sessions that lost a task, by what counts later than `since`, since it was
    /// last given up.
    pub(super) fn losers(&self, task: TaskId, since: Option<Timestamp>) -> BTreeSet<&SessionKey> {
        let mut losers = BTreeSet::new();
        for row in self.history.iter().filter(|row| row.task == task) {
            match (row.event.event.as_str(), &row.session) {
                ("dead", _) => losers.clear(),
                ("lost" | "exited" | "stalled", Some(session))
                    if row.counts && since.is_none_or(|since| row.event.at > since) =>
                {
                    losers.insert(session);
                }
                _ => {}
            }
        }
        losers
    }
}

impl HistoryRows for MemoryRows {
    fn note_event(&mut self, event: &Event<'_>, now: Timestamp) -> Result<()> {
        let row = EventRow {
            task: event.task,
            session: event.session.cloned(),
            counts: event.counts,
            event: TaskEvent {
                at: now,
                event: event.event.to_owned(),
                fence: event.fence,
                session: None,
                note: event.note.map(str::to_owned),
            },
        };
        self.at()?.history.push(row);
        Ok(())
    }

    fn history(&mut self, task: TaskId) -> Result<Vec<TaskEvent>> {
        let tables = self.at()?;
        let events = tables.history.iter().filter(|row| row.task == task);
        let events = events.map(|row| TaskEvent {
            session: row.session.as_ref().map(|key| {
                let label = tables.label(&key.conversation);
                let key = key.clone();
                SessionName { key, label }.to_string()
            }),
            ..row.event.clone()
        });
        Ok(events.collect())
    }

    fn is_fetched(&mut self, task: TaskId) -> Result<bool> {
        let tables = self.at()?;
        let row = tables.tasks.get(&task);
        Ok(row.is_some_and(|row| tables.is_fetched(&row.task)))
    }

    fn has_failed(&mut self, task: TaskId, fence: Fence, session: &SessionKey) -> Result<bool> {
        let mut rows = self.at()?.history.iter();
        Ok(rows.any(|row| {
            row.task == task
                && row.event.fence == fence
                && row.event.event == "failed"
                && row.session.as_ref() == Some(session)
        }))
    }

    fn losses(&mut self, task: TaskId, except: &SessionKey) -> Result<u64> {
        let losers = self.at()?.losers(task, None);
        let others = losers.iter().filter(|loser| **loser != except);
        Ok(u64::try_from(others.count()).unwrap_or(u64::MAX))
    }

    fn lost_by(&mut self, session: &SessionKey, since: Timestamp) -> Result<Vec<LostTask>> {
        let tables = self.at()?;
        let losses = tables.history.iter().filter(|row| {
            row.session.as_ref() == Some(session)
                && matches!(row.event.event.as_str(), "lost" | "exited")
                && row.event.at >= since
        });
        let tasks: BTreeSet<TaskId> = losses.map(|row| row.task).collect();
        let lost = tasks.iter().filter_map(|id| tables.tasks.get(id));
        let lost = lost.filter(|row| row.task.owner.as_ref() != Some(session));
        let lost = lost.map(|row| LostTask {
            id: row.task.id,
            state: row.task.state,
            owner: row.task.owner.clone(),
        });
        Ok(lost.collect())
    }
}
