//! Tasks: added, claimed, reported on, ended, moved.

use std::collections::HashMap;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::ensure_role;
use crate::api::{At, Operation, Quota, Rights, Route};
use crate::clock;
use crate::model::door::DoorError;
use crate::model::message::{ClientMessageId, MAX_PATH};
use crate::model::task::{Fence, ProgressNote, TaskId, TaskResult, TaskState};
use crate::model::wire::{object, objects, seconds_if_any};
use crate::model::{SessionKey, Side};
use crate::store::{
    Added, Caller, Ended, NewTask, Outcome, Result, StoreError, Task, TaskError, TaskEvent,
    TaskFilter,
};

/// Tasks for the queue, all or none. A session that adds one is its creator, and
/// hears what became of it.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AddTasks {
    /// The tasks.
    #[serde(deserialize_with = "objects")]
    pub tasks: Vec<NewTask>,
}

impl Operation for AddTasks {
    const ROUTE: Route = Route::once("tasks/add", Rights::EITHER, "Adds tasks.").kept();
    type Answer = Vec<Added>;

    fn takes(&self) -> Option<(Quota, u64)> {
        Some((Quota::Tasks, self.tasks.len() as u64))
    }

    fn is_repeatable(&self) -> bool {
        self.tasks.iter().all(|task| task.client_id.is_some())
    }

    async fn run(self, at: At<'_>) -> Result<Vec<Added>> {
        let creator = at.verified::<Self>().await?;
        if let Some(caller) = creator
            && caller.session.side != Side::A
        {
            return Err(At::refuse::<Self>(
                &caller.session,
                "the orchestrator's side (a) of a conversation adds tasks",
            ));
        }
        for task in &self.tasks {
            ensure_role(&task.role)?;
            ensure_files(&task.files)?;
        }
        at.store.add_tasks(creator, &self.tasks, clock::now()).await
    }
}

/// The most files that a task names.
const MOST_FILES: usize = 200;

fn ensure_files(files: &[String]) -> Result<()> {
    let count = files.len();
    let longest = files.iter().map(String::len).max().unwrap_or(0);
    let why = if count > MOST_FILES {
        format!("the task names {count} files, {MOST_FILES} are allowed; name their directory")
    } else if longest > MAX_PATH {
        format!("the task names a file with a path of {longest} bytes; {MAX_PATH} are allowed")
    } else {
        return Ok(());
    };
    Err(DoorError::Malformed(why).into())
}

/// Tasks, oldest first: all for an operator, for a session those that it has or
/// has created.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Tasks {
    /// Which of them.
    #[serde(deserialize_with = "object")]
    pub filter: TaskFilter,
}

impl Operation for Tasks {
    const ROUTE: Route = Route::post("tasks", Rights::EITHER, "Lists tasks.").long();
    type Answer = Vec<Task>;

    async fn run(self, at: At<'_>) -> Result<Vec<Task>> {
        let mut filter = self.filter;
        if let Some(caller) = at.verified::<Self>().await? {
            filter.party = Some(caller.session.clone());
        }
        at.store.tasks(&filter).await
    }
}

/// One task.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OneTask {
    /// Which.
    pub task: TaskId,
}

/// A task and what became of it.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct TaskHistory {
    /// The task.
    pub task: Task,
    /// Its history, oldest first.
    pub history: Vec<TaskEvent>,
}

impl Operation for OneTask {
    const ROUTE: Route = Route::post("task", Rights::EITHER, "Shows a task.").long();
    type Answer = TaskHistory;

    async fn run(self, at: At<'_>) -> Result<TaskHistory> {
        let by = at.verified::<Self>().await?;
        let (task, history) = at.store.task(self.task).await?;
        match by {
            Some(caller) if !is_party(&task, &caller.session) => Err(At::refuse::<Self>(
                &caller.session,
                "only its owner, its creator and operators can see a task",
            )),
            _ => Ok(TaskHistory { task, history }),
        }
    }
}

fn is_party(task: &Task, session: &SessionKey) -> bool {
    // The session that ended it sees its result.
    let owner = task.owner.as_ref().or(task.last_owner.as_ref());
    owner == Some(session) || task.creator.as_ref() == Some(session)
}

/// How many tasks there are, by state.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct TaskCounts {}

impl Operation for TaskCounts {
    const ROUTE: Route = Route::get("tasks/counts", Rights::ANYONE, "Counts tasks by state.");
    type Answer = HashMap<String, u64>;

    async fn run(self, at: At<'_>) -> Result<HashMap<String, u64>> {
        at.store.task_counts().await
    }
}

/// Gives the caller a task: this one, or the oldest that waits for its role. `null`
/// if none waits.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ClaimTask {
    /// This one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<TaskId>,
    /// The caller's own id for this claim: while the caller has the task that it was given
    /// by it, the same claim gives it that task.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_id: Option<ClientMessageId>,
}

impl Operation for ClaimTask {
    const ROUTE: Route = Route::once("task/claim", Rights::SESSION, "Claims a task.").kept();
    type Answer = Option<Task>;

    /// The owner of a task gets the same task by the same claim.
    fn is_repeatable(&self) -> bool {
        self.task.is_some() || self.client_id.is_some()
    }

    async fn run(self, at: At<'_>) -> Result<Option<Task>> {
        let caller = at.caller::<Self>()?;
        match (self.task, self.client_id) {
            (None, Some(name)) => {
                let claimed = at.store.claim_oldest_task(caller, name, clock::now());
                claimed.await
            }
            (task, _) => at.store.claim_task(caller, task, clock::now()).await,
        }
    }
}

/// Notes progress, and that the agent may be silent for a while.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TaskProgress {
    /// Of which task.
    pub task: TaskId,
    /// The fence of the claim.
    pub fence: Fence,
    /// How far the owner has come.
    pub note: ProgressNote,
    /// For how long it may be silent.
    #[serde(
        rename = "busy_for_seconds",
        with = "seconds_if_any",
        default,
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(with = "Option<f64>")]
    pub busy_for: Option<Duration>,
}

impl Operation for TaskProgress {
    const ROUTE: Route = Route::post("task/progress", Rights::SESSION, "Notes progress.").kept();
    type Answer = ();

    async fn run(self, at: At<'_>) -> Result<()> {
        let caller = at.caller::<Self>()?;
        let Self {
            task, fence, note, ..
        } = &self;
        if at.is_repeated {
            at.verified::<Self>().await?;
            let (found, _) = at.store.task(*task).await?;
            let is_noted = found.progress.as_deref() == Some(note.as_str());
            if is_noted && found.fence == *fence && found.owner.as_ref() == Some(&caller.session) {
                return Ok(());
            }
        }
        at.store
            .task_progress(caller, *task, *fence, note, self.busy_for, clock::now())
            .await
    }
}

/// Ends a task.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EndTask {
    /// Which.
    pub task: TaskId,
    /// The fence of the claim.
    pub fence: Fence,
    /// The result.
    pub outcome: Ending,
}

/// How a task ended.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Ending {
    /// It is done.
    Done(TaskResult),
    /// It failed, and why.
    Failed(ProgressNote),
}

impl Operation for EndTask {
    const ROUTE: Route = Route::post("task/end", Rights::SESSION, "Ends a task.").kept();
    type Answer = Ended;

    async fn run(self, at: At<'_>) -> Result<Ended> {
        let caller = at.caller::<Self>()?;
        let outcome = match self.outcome {
            Ending::Done(result) => Outcome::Done(result),
            Ending::Failed(reason) => Outcome::Failed {
                reason,
                random: fastrand::f64(),
            },
        };
        at.store
            .end_task(caller, self.task, self.fence, &outcome, clock::now())
            .await
    }
}

/// Ends a task for good that no session is to do any more, and tells its owner.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CancelTask {
    /// Which.
    pub task: TaskId,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<ProgressNote>,
}

impl Operation for CancelTask {
    const ROUTE: Route = Route::post("task/cancel", Rights::EITHER, "Cancels a task.").kept();
    type Answer = Task;

    async fn run(self, at: At<'_>) -> Result<Task> {
        ensure_creator::<Self>(at, self.task).await?;
        let reason = self.reason.as_ref().map(ProgressNote::as_str);
        let cancelled = at.store.cancel_task(self.task, reason, clock::now());
        match cancelled.await {
            Err(StoreError::Task(TaskError::Over { state, .. }))
                if at.is_repeated && state == TaskState::Cancelled =>
            {
                Ok(at.store.task(self.task).await?.0)
            }
            cancelled => cancelled,
        }
    }
}

/// Moves a task to a session, or back into the queue.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReassignTask {
    /// Which.
    pub task: TaskId,
    /// To this session; without one, into the queue.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<SessionKey>,
}

impl Operation for ReassignTask {
    const ROUTE: Route = Route::post("task/reassign", Rights::EITHER, "Moves a task.").kept();
    type Answer = Task;

    async fn run(self, at: At<'_>) -> Result<Task> {
        ensure_creator::<Self>(at, self.task).await?;
        let to = self.to.as_ref();
        if at.is_repeated {
            let (task, _) = at.store.task(self.task).await?;
            let is_there = match to {
                Some(_) => task.owner.as_ref() == to,
                None => task.state == TaskState::Queued,
            };
            if is_there {
                return Ok(task);
            }
        }
        at.store.reassign_task(self.task, to, clock::now()).await
    }
}

/// Refuses a session that did not create the task.
async fn ensure_creator<O: Operation>(at: At<'_>, task: TaskId) -> Result<()> {
    let Some(Caller { session, .. }) = at.verified::<O>().await? else {
        return Ok(());
    };
    let (found, _) = at.store.task(task).await?;
    match found.creator.as_ref() == Some(session) {
        true => Ok(()),
        false => Err(At::refuse::<O>(
            session,
            "only the session that created a task and operators can do that",
        )),
    }
}
