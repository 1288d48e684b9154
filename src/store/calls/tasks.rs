//! Work, as agents and operators handle it. Every write by an owner carries the
//! fence, and one with an old fence is refused.

use std::time::Duration;

use jiff::Timestamp;

use crate::model::task::ProgressNote;
use crate::model::{Fence, SessionKey, TaskId};
#[cfg(doc)]
use crate::store::TaskError;
use crate::store::unmoved::Tasks as _;
use crate::store::{
    Added, Caller, Ended, NewTask, Outcome, Result, Store, Task, TaskEvent, TaskFilter,
};

impl Store {
    /// Adds tasks, all or none. With a caller, in its name; it hears what
    /// became of them.
    ///
    /// # Errors
    /// Wrong, missing or expired credentials.
    pub async fn add_tasks(
        &self,
        creator: Option<&Caller>,
        tasks: &[NewTask],
        now: Timestamp,
    ) -> Result<Vec<Added>> {
        self.unmoved()?.add_tasks(creator, tasks, now).await
    }

    /// Tasks, oldest first.
    pub async fn tasks(&self, filter: &TaskFilter) -> Result<Vec<Task>> {
        self.unmoved()?.tasks(filter).await
    }

    /// One task, with its history, oldest first.
    ///
    /// # Errors
    /// [`TaskError::NoTask`].
    pub async fn task(&self, id: TaskId) -> Result<(Task, Vec<TaskEvent>)> {
        self.unmoved()?.task(id).await
    }

    /// Gives the caller a task: this one, or the oldest that waits for its
    /// role. `None` if there is none.
    ///
    /// # Errors
    /// Credentials; [`TaskError::Taken`] and its like for a task
    /// that was named; [`TaskError::AtCapacity`]; [`TaskError::Exited`] for a
    /// session whose process is known to have ended.
    pub async fn claim_task(
        &self,
        caller: &Caller,
        task: Option<TaskId>,
        now: Timestamp,
    ) -> Result<Option<Task>> {
        self.unmoved()?.claim_task(caller, task, now).await
    }

    /// Notes progress, and that the agent may be silent for a while.
    ///
    /// # Errors
    /// Credentials; [`TaskError::StaleLease`].
    pub async fn task_progress(
        &self,
        caller: &Caller,
        task: TaskId,
        fence: Fence,
        note: &ProgressNote,
        busy_for: Option<Duration>,
        now: Timestamp,
    ) -> Result<()> {
        self.unmoved()?
            .task_progress(caller, task, fence, note, busy_for, now)
            .await
    }

    /// Ends a task.
    ///
    /// # Errors
    /// Credentials; [`TaskError::StaleLease`].
    pub async fn end_task(
        &self,
        caller: &Caller,
        task: TaskId,
        fence: Fence,
        outcome: &Outcome,
        now: Timestamp,
    ) -> Result<Ended> {
        self.unmoved()?
            .end_task(caller, task, fence, outcome, now)
            .await
    }

    /// Ends a task for good that nobody shall do any more, and tells its owner.
    ///
    /// # Errors
    /// [`TaskError::NoTask`], [`TaskError::Over`].
    pub async fn cancel_task(
        &self,
        task: TaskId,
        reason: Option<&str>,
        now: Timestamp,
    ) -> Result<Task> {
        self.unmoved()?.cancel_task(task, reason, now).await
    }

    /// An operator's move: to this session, or back into the queue. A task
    /// that is dead or waits for its next try is given, too.
    ///
    /// # Errors
    /// [`TaskError::NoTask`], [`TaskError::Over`],
    /// [`TaskError::Unfit`] for a session that cannot take it.
    pub async fn reassign_task(
        &self,
        task: TaskId,
        to: Option<&SessionKey>,
        now: Timestamp,
    ) -> Result<Task> {
        self.unmoved()?.reassign_task(task, to, now).await
    }
}
