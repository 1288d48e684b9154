//! Tasks that wait for an owner, or whose owner is gone.

use std::collections::HashMap;

use super::MemoryRows;
use crate::model::SessionKey;
use crate::model::standing::Standing;
use crate::model::task::TaskState;
use crate::store::memory::tables::Tables;
use crate::store::rows::{Due, Look, WaitingRows};
use crate::store::{Result, Task, Waiting};

fn waits(task: &Task, due: Due) -> bool {
    match task.state {
        TaskState::Queued => true,
        TaskState::RetryWait => due.includes(task.retry_at),
        _ => false,
    }
}

impl Tables {
    fn is_orphan(&self, task: &Task, stalled: &[SessionKey]) -> bool {
        let Some(owner) = &task.owner else {
            return false;
        };
        let standing = self.sessions.get(owner).and_then(|row| row.standing);
        standing.is_some_and(Standing::is_gone)
            || !self.conversations.contains_key(&owner.conversation)
            || stalled.contains(owner)
    }
}

impl WaitingRows for MemoryRows {
    fn oldest_waiting(&mut self, role: &str, due: Due) -> Result<Option<Task>> {
        let tables = self.at()?;
        let mut tasks = tables.tasks.values();
        let oldest = tasks.find(|row| row.task.role == role && waits(&row.task, due));
        Ok(oldest.map(|row| tables.shown(row)))
    }

    fn waiting(&mut self, look: &Look<'_>) -> Result<Vec<Waiting>> {
        let tables = self.at()?;
        let mut of_role: HashMap<&str, u32> = HashMap::new();
        let wanted = tables.tasks.values().map(|row| &row.task).filter(|task| {
            if !waits(task, look.due) {
                return tables.is_orphan(task, look.stalled);
            }
            let before = of_role.entry(&task.role).or_default();
            *before += 1;
            *before <= look.of_a_role
        });
        let waiting = wanted.map(|task| {
            let losers = tables.losers(task.id, Some(look.losses_since));
            let owner = task.owner.as_ref();
            let others = losers.iter().filter(|loser| Some(**loser) != owner);
            let fetched =
                |owner| tables.is_fetched(task) || losers.iter().any(|loser| *loser == owner);
            Waiting {
                task: task.id,
                role: task.role.clone(),
                fence: task.fence,
                owner: task.owner.clone(),
                last_owner: task.last_owner.clone(),
                losses: u32::try_from(others.count()).unwrap_or(u32::MAX),
                fetched: owner.is_some_and(fetched),
            }
        });
        Ok(waiting.collect())
    }
}
