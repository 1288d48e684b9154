//! Work, as agents and operators handle it. Every write by an owner carries the
//! fence, and one with an old fence is refused.

use std::time::Duration;

use jiff::Timestamp;

use crate::model::message::ClientMessageId;
use crate::model::redact::redact;
use crate::model::task::ProgressNote;
use crate::model::{Fence, SessionKey, TaskId};
#[cfg(doc)]
use crate::store::TaskError;
use crate::store::ops::tasks::{self, Wanted};
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
        // Before the lock is taken; so everywhere that secrets are looked for.
        let (creator, clean) = (creator.cloned(), tasks::clean(tasks));
        self.full
            .write("adding tasks", move |transaction| {
                tasks::add(transaction, creator.as_ref(), &clean, now)
            })
            .await
    }

    /// Tasks, oldest first.
    pub async fn tasks(&self, filter: &TaskFilter) -> Result<Vec<Task>> {
        let filter = filter.clone();
        self.reads
            .read("listing tasks", move |rows| rows.tasks(&filter))
            .await
    }

    /// One task, with its history, oldest first.
    ///
    /// # Errors
    /// [`TaskError::NoTask`].
    pub async fn task(&self, id: TaskId) -> Result<(Task, Vec<TaskEvent>)> {
        self.reads
            .read("looking at a task", move |rows| tasks::show(rows, id))
            .await
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
        let wanted = task.map_or(Wanted::Oldest(None), Wanted::This);
        self.claim(caller, wanted, now).await
    }

    /// Gives the caller the oldest task that waits for its role. A claim of the same name
    /// gives it the same task, as long as it has that.
    ///
    /// # Errors
    /// Those of [`Self::claim_task`].
    pub async fn claim_oldest_task(
        &self,
        caller: &Caller,
        name: ClientMessageId,
        now: Timestamp,
    ) -> Result<Option<Task>> {
        let wanted = Wanted::Oldest(Some(name));
        self.claim(caller, wanted, now).await
    }

    async fn claim(&self, caller: &Caller, wanted: Wanted, now: Timestamp) -> Result<Option<Task>> {
        let caller = caller.clone();
        self.full
            .write("claiming a task", move |transaction| {
                tasks::claim(transaction, &caller, &wanted, now)
            })
            .await
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
        let (caller, note) = (caller.clone(), tasks::clean_note(note));
        self.full
            .write("noting progress", move |transaction| {
                tasks::progress(transaction, &caller, (task, fence), &note, busy_for, now)
            })
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
        let text = tasks::clean_outcome(outcome);
        let (caller, outcome) = (caller.clone(), outcome.clone());
        self.full
            .write("ending a task", move |transaction| {
                let outcome = (&outcome, text.as_deref());
                tasks::end(transaction, &caller, (task, fence), outcome, now)
            })
            .await
    }

    /// Ends for good a task that is not to be done any more, and sends its owner a
    /// notice.
    ///
    /// # Errors
    /// [`TaskError::NoTask`], [`TaskError::Over`].
    pub async fn cancel_task(
        &self,
        task: TaskId,
        reason: Option<&str>,
        now: Timestamp,
    ) -> Result<Task> {
        let reason = reason.map(|reason| redact(reason).text.into_owned());
        self.full
            .write("cancelling a task", move |transaction| {
                tasks::cancel(transaction, task, reason.as_deref(), now)
            })
            .await
    }

    /// An operator's move: to this session, or back into the queue. A task
    /// that is dead or waits for its next attempt is given, too.
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
        let to = to.cloned();
        self.full
            .write("reassigning a task", move |transaction| {
                tasks::reassign(transaction, task, to.as_ref(), now)
            })
            .await
    }
}
