//! Tasks: added, claimed, reported on, ended, moved.

use std::collections::HashMap;
use std::time::Duration;

use super::Bridge;
use crate::clock;
use crate::model::SessionKey;
use crate::model::task::{Fence, ProgressNote, TaskId};
use crate::store::{Added, Caller, Ended, NewTask, Outcome, Result, Task, TaskEvent, TaskFilter};

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
        self.store.add_tasks(creator, tasks, clock::now()).await
    }

    /// Tasks, oldest first.
    ///
    /// # Errors
    /// If the store failed.
    pub async fn tasks(&self, filter: &TaskFilter) -> Result<Vec<Task>> {
        self.store.tasks(filter).await
    }

    /// One task, with its history, oldest first.
    ///
    /// # Errors
    /// No such task.
    pub async fn task(&self, id: TaskId) -> Result<(Task, Vec<TaskEvent>)> {
        self.store.task(id).await
    }

    /// How many tasks there are, by state.
    ///
    /// # Errors
    /// If the store failed.
    pub async fn task_counts(&self) -> Result<HashMap<String, u64>> {
        self.store.task_counts().await
    }

    /// Gives the caller a task: this one, or the oldest that waits for its role.
    /// `None` if none waits.
    ///
    /// # Errors
    /// Credentials; a task that was named and is not to be had; a caller that may
    /// have no more.
    pub async fn claim_task(&self, caller: &Caller, task: Option<TaskId>) -> Result<Option<Task>> {
        self.store.claim_task(caller, task, clock::now()).await
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
        self.store
            .task_progress(caller, task, fence, note, busy_for, clock::now())
            .await
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
        outcome: &Outcome,
    ) -> Result<Ended> {
        self.store
            .end_task(caller, task, fence, outcome, clock::now())
            .await
    }

    /// Ends a task for good that no session is to do any more, and tells its owner.
    ///
    /// # Errors
    /// No such task, or one that is over.
    pub async fn cancel_task(&self, task: TaskId, reason: Option<&str>) -> Result<Task> {
        self.store.cancel_task(task, reason, clock::now()).await
    }

    /// Moves a task to this session, or back into the queue.
    ///
    /// # Errors
    /// No such task, or one that is over; a session that cannot take it.
    pub async fn reassign_task(&self, task: TaskId, to: Option<&SessionKey>) -> Result<Task> {
        self.store.reassign_task(task, to, clock::now()).await
    }
}
