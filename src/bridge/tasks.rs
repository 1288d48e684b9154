//! Tasks: added, claimed, reported on, ended, moved.

use std::collections::HashMap;
use std::time::Duration;

use super::messages::name_each;
use super::{Bridge, actor};
use crate::api::operations::{
    AddTasks, CancelTask, ClaimTask, EndTask, Ending, OneTask, ReassignTask, TaskCounts,
    TaskProgress, Tasks,
};
use crate::model::SessionKey;
use crate::model::task::{Fence, ProgressNote, TaskId};
use crate::store::{Added, Caller, Ended, NewTask, Result, Task, TaskEvent, TaskFilter};

impl Bridge {
    /// Adds tasks, all or none; with a creator in its name, and it hears what
    /// became of them.
    ///
    /// # Errors
    /// Credentials.
    pub async fn add_tasks(
        &self,
        creator: Option<&Caller>,
        tasks: &[NewTask],
    ) -> Result<Vec<Added>> {
        let mut tasks = tasks.to_vec();
        let own = match self.is_door() {
            true => name_each(tasks.iter_mut().map(|task| &mut task.client_id)),
            false => Vec::new(),
        };
        let mut added = self.ask(AddTasks { tasks }, actor(creator)).await?;
        // Added by the first of two tries, whose answer was lost: that is once.
        for place in own {
            if let Some(added) = added.get_mut(place) {
                added.duplicate = false;
            }
        }
        Ok(added)
    }

    /// Tasks, oldest first: all, or those that this program has a right to see.
    ///
    /// # Errors
    /// If the store failed.
    pub async fn tasks(&self, filter: &TaskFilter) -> Result<Vec<Task>> {
        let filter = filter.clone();
        let mut all = self.ask_by_each_right(Tasks { filter }).await?;
        all.sort_by_key(|task| task.id);
        all.dedup_by_key(|task| task.id);
        Ok(all)
    }

    /// The tasks that these sessions have or have created, oldest first, also where this
    /// program may see all.
    ///
    /// # Errors
    /// Credentials; if the store failed.
    pub async fn tasks_of(&self, callers: &[Caller], filter: &TaskFilter) -> Result<Vec<Task>> {
        let mut all = Vec::new();
        for caller in callers {
            let filter = filter.clone();
            all.extend(self.ask_as(caller, Tasks { filter }).await?);
        }
        all.sort_by_key(|task| task.id);
        all.dedup_by_key(|task| task.id);
        Ok(all)
    }

    /// One task, with its history, oldest first.
    ///
    /// # Errors
    /// No such task.
    pub async fn task(&self, id: TaskId) -> Result<(Task, Vec<TaskEvent>)> {
        let found = self.ask_by_right(OneTask { task: id }).await?;
        Ok((found.task, found.history))
    }

    /// How many tasks there are, by state.
    ///
    /// # Errors
    /// If the store failed.
    pub async fn task_counts(&self) -> Result<HashMap<String, u64>> {
        self.ask_openly(TaskCounts {}).await
    }

    /// Gives the caller a task: this one, or the oldest that waits for its role.
    /// `None` if none waits.
    ///
    /// # Errors
    /// Credentials; a task that was named and is not to be had; a caller that may
    /// have no more.
    pub async fn claim_task(&self, caller: &Caller, task: Option<TaskId>) -> Result<Option<Task>> {
        let mut client_id = None;
        if task.is_none() && self.is_door() {
            name_each(std::iter::once(&mut client_id));
        }
        self.ask_as(caller, ClaimTask { task, client_id }).await
    }

    /// Notes progress, and that the agent may be silent for a while.
    ///
    /// # Errors
    /// Credentials; a fence that holds no more.
    pub async fn task_progress(
        &self,
        caller: &Caller,
        task: TaskId,
        fence: Fence,
        note: &ProgressNote,
        busy_for: Option<Duration>,
    ) -> Result<()> {
        let note = note.clone();
        let progress = TaskProgress {
            task,
            fence,
            note,
            busy_for,
        };
        self.ask_as(caller, progress).await
    }

    /// Ends a task.
    ///
    /// # Errors
    /// Credentials; a fence that holds no more.
    pub async fn end_task(
        &self,
        caller: &Caller,
        task: TaskId,
        fence: Fence,
        outcome: Ending,
    ) -> Result<Ended> {
        let end = EndTask {
            task,
            fence,
            outcome,
        };
        self.ask_as(caller, end).await
    }

    /// Ends a task for good that no session is to do any more, and tells its owner.
    ///
    /// # Errors
    /// No such task, or one that is over.
    pub async fn cancel_task(&self, task: TaskId, reason: Option<ProgressNote>) -> Result<Task> {
        self.ask_by_right(CancelTask { task, reason }).await
    }

    /// Moves a task to this session, or back into the queue.
    ///
    /// # Errors
    /// No such task, or one that is over; a session that cannot take it.
    pub async fn reassign_task(&self, task: TaskId, to: Option<&SessionKey>) -> Result<Task> {
        let to = to.cloned();
        self.ask_by_right(ReassignTask { task, to }).await
    }
}
