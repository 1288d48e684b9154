//! Tasks.

use std::collections::HashMap;

use jiff::Timestamp;

use super::MemoryRows;
use crate::model::SessionKey;
use crate::model::message::ClientMessageId;
use crate::model::task::{Fence, TaskId, TaskState};
use crate::store::memory::tables::{Tables, TaskRow};
use crate::store::rows::{ClientTask, NewTaskRow, TaskRows};
use crate::store::{Result, Task, TaskFilter};

impl Tables {
    /// A task as it is shown, with its owner's label.
    pub(super) fn shown(&self, row: &TaskRow) -> Task {
        let mut task = row.task.clone();
        let owner = task.owner.as_ref();
        task.owner_label = owner.and_then(|owner| self.label(&owner.conversation));
        task
    }

    /// The tasks that a session has.
    pub(in crate::store::memory) fn tasks_of<'a>(
        &'a self,
        session: &'a SessionKey,
    ) -> impl Iterator<Item = &'a Task> {
        let tasks = self.tasks.values().map(|row| &row.task);
        tasks.filter(move |task| {
            task.state == TaskState::Leased && task.owner.as_ref() == Some(session)
        })
    }
}

impl TaskRows for MemoryRows {
    fn task(&mut self, id: TaskId) -> Result<Option<Task>> {
        let tables = self.at()?;
        Ok(tables.tasks.get(&id).map(|row| tables.shown(row)))
    }

    fn has_task(&mut self, task: TaskId) -> Result<bool> {
        Ok(self.at()?.tasks.contains_key(&task))
    }

    fn tasks(&mut self, filter: &TaskFilter) -> Result<Vec<Task>> {
        let tables = self.at()?;
        let wanted = tables.tasks.values().rev().filter(|row| {
            let task = &row.task;
            (filter.states.is_empty() || filter.states.contains(&task.state))
                && filter.role.as_ref().is_none_or(|role| task.role == *role)
                && (filter.owner.is_none() || task.owner == filter.owner)
                && (filter.party.is_none()
                    || task.owner == filter.party
                    || task.creator == filter.party)
        });
        let limit = usize::try_from(filter.limit).unwrap_or(usize::MAX);
        let mut tasks: Vec<_> = wanted.take(limit).map(|row| tables.shown(row)).collect();
        tasks.reverse();
        Ok(tasks)
    }

    fn task_counts(&mut self) -> Result<HashMap<String, u64>> {
        let mut counts = HashMap::new();
        for row in self.at()?.tasks.values() {
            *counts.entry(row.task.state.to_string()).or_default() += 1;
        }
        Ok(counts)
    }

    fn client_task(
        &mut self,
        creator: Option<&SessionKey>,
        id: &ClientMessageId,
    ) -> Result<Option<ClientTask>> {
        let mut tasks = self.at()?.tasks.values();
        let known = tasks
            .find(|row| row.task.creator.as_ref() == creator && row.client_id.as_ref() == Some(id));
        Ok(known.map(|row| ClientTask {
            id: row.task.id,
            title: row.task.title.clone(),
            body: row.task.body.clone(),
        }))
    }

    fn insert_task(&mut self, new: &NewTaskRow<'_>, now: Timestamp) -> Result<TaskId> {
        let tables = self.at()?;
        let newest = tables.tasks.keys().next_back();
        let id = TaskId(newest.map_or(1, |id| id.0 + 1));
        let task = Task {
            id,
            role: new.role.to_owned(),
            title: new.title.to_owned(),
            body: new.body.to_owned(),
            files: new.files.to_vec(),
            state: TaskState::Queued,
            fence: Fence(0),
            owner: None,
            owner_label: None,
            attempts: 0,
            failures: 0,
            progress: None,
            progress_at: None,
            result: None,
            reason: None,
            retry_at: None,
            created_at: now,
            changed_at: now,
            creator: new.creator.cloned(),
            last_owner: None,
        };
        let client_id = new.client_id.cloned();
        let row = TaskRow {
            task,
            client_id,
            claim_id: None,
        };
        tables.tasks.insert(id, row);
        Ok(id)
    }

    fn write_task(&mut self, task: &Task, was: Fence) -> Result<()> {
        let row = self.at()?.tasks.get_mut(&task.id);
        if let Some(row) = row.filter(|row| row.task.fence == was) {
            row.claim_id.take_if(|_| task.fence != was);
            row.task = task.clone();
        }
        Ok(())
    }

    fn claimed_as(&mut self, owner: &SessionKey, name: &ClientMessageId) -> Result<Option<TaskId>> {
        let mut tasks = self.at()?.tasks.values();
        let known = tasks.find(|row| {
            row.task.owner.as_ref() == Some(owner) && row.claim_id.as_ref() == Some(name)
        });
        Ok(known.map(|row| row.task.id))
    }

    fn name_claim(&mut self, task: TaskId, name: &ClientMessageId) -> Result<()> {
        if let Some(row) = self.at()?.tasks.get_mut(&task) {
            row.claim_id = Some(name.clone());
        }
        Ok(())
    }

    fn note_progress(
        &mut self,
        task: TaskId,
        fence: Fence,
        owner: &SessionKey,
        note: &str,
        now: Timestamp,
    ) -> Result<bool> {
        let row = self.at()?.tasks.get_mut(&task);
        let mine = |row: &&mut TaskRow| {
            row.task.state == TaskState::Leased
                && row.task.fence == fence
                && row.task.owner.as_ref() == Some(owner)
        };
        let Some(row) = row.filter(mine) else {
            return Ok(false);
        };
        row.task.progress = Some(note.to_owned());
        row.task.progress_at = Some(now);
        Ok(true)
    }

    fn tasks_of(&mut self, session: &SessionKey) -> Result<Vec<TaskId>> {
        Ok(self.at()?.tasks_of(session).map(|task| task.id).collect())
    }

    fn newest_lease(&mut self, session: &SessionKey) -> Result<Option<Timestamp>> {
        let leases = self.at()?.tasks_of(session).map(|task| task.changed_at);
        Ok(leases.max())
    }
}
