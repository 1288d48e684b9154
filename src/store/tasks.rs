//! Tasks as the store keeps them: what goes in, what comes out.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::message::ClientMessageId;
use crate::model::redact::SecretKind;
use crate::model::task::{Fence, ProgressNote, TaskBody, TaskId, TaskResult, TaskState, Title};
use crate::model::wire::word;
use crate::model::{Label, SessionKey};

/// A task to be added. Its texts are checked where they come in; secrets are
/// taken out before anything is stored.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewTask {
    /// The role that is to do it.
    pub role: String,
    /// One line.
    pub title: Title,
    /// Description of the task.
    #[serde(default)]
    pub body: TaskBody,
    /// Files that it is about.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<String>,
    /// The creator's own name for it: the same one twice is one task.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_id: Option<ClientMessageId>,
}

/// A task that was added.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Added {
    /// Its id.
    pub id: TaskId,
    /// Kinds of secrets that were taken out of it.
    pub redacted: Vec<SecretKind>,
    /// Whether it had been added before, under the same client id.
    pub duplicate: bool,
}

/// A task as people and agents see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Task {
    /// Its id.
    pub id: TaskId,
    /// The role that is to do it.
    pub role: String,
    /// One line.
    pub title: String,
    /// Description of the task.
    pub body: String,
    /// Files that it is about.
    pub files: Vec<String>,
    /// Its state.
    #[serde(deserialize_with = "word")]
    pub state: TaskState,
    /// Grows with each claim and each move; every write carries it.
    pub fence: Fence,
    /// The session that has it.
    pub owner: Option<SessionKey>,
    /// The owner's label.
    pub owner_label: Option<Label>,
    /// How often it was given to a session.
    pub attempts: i64,
    /// How often an owner reported failure.
    pub failures: u32,
    /// The last progress note.
    pub progress: Option<String>,
    /// When that was written.
    pub progress_at: Option<Timestamp>,
    /// The result.
    pub result: Option<String>,
    /// Why it waits, failed or ended.
    pub reason: Option<String>,
    /// When it may be tried again.
    pub retry_at: Option<Timestamp>,
    /// When it was added.
    pub created_at: Timestamp,
    /// When its state or owner changed last.
    pub changed_at: Timestamp,
    /// Who added it, if a session did; it hears what became of it.
    pub creator: Option<SessionKey>,
    /// The session that had it before.
    pub last_owner: Option<SessionKey>,
}

impl Task {
    /// Whether a session has it, with this fence.
    #[must_use]
    pub(crate) fn is_held(&self, session: &SessionKey, fence: Fence) -> bool {
        self.fence == fence && self.owner.as_ref() == Some(session)
    }

    /// What people call its owner.
    #[must_use]
    pub fn owner_name(&self) -> String {
        match (&self.owner, &self.owner_label) {
            (Some(owner), Some(label)) => format!("{label}/{}", owner.side),
            (Some(owner), None) => owner.to_string(),
            (None, _) => "no session".to_owned(),
        }
    }
}

/// One line of a task's history.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TaskEvent {
    /// When.
    pub at: Timestamp,
    /// `added`, `claimed`, `given`, `lost`, `failed`, `done`, ...
    pub event: String,
    /// The fence that held then.
    pub fence: Fence,
    /// The session that it concerns.
    pub session: Option<String>,
    /// For people.
    pub note: Option<String>,
}

/// Which tasks to return.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct TaskFilter {
    /// Only in these states; empty means all.
    pub states: Vec<TaskState>,
    /// Only of this role.
    pub role: Option<String>,
    /// Only those that this session has.
    pub owner: Option<SessionKey>,
    /// Only those that this session has or has created.
    #[serde(skip)]
    pub party: Option<SessionKey>,
    /// Maximum number; the newest rows.
    #[serde(default = "super::types::page")]
    pub limit: u32,
}

/// How an owner ends a task.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub enum Outcome {
    /// It is done, with a result for people.
    Done(TaskResult),
    /// It could not be done, and why; it is tried again later, unless that
    /// has happened too often.
    Failed {
        /// Why.
        reason: ProgressNote,
        /// A number from 0 to 1 for the jitter of the pause before it is given to an
        /// agent again.
        random: f64,
    },
}

/// The result of ending a task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Ended {
    /// Its state now.
    pub state: TaskState,
    /// Whether it had been ended so before, with the same fence.
    pub repeated: bool,
}

/// A session as people call it: `backend-1/b`, or by its key where it has no
/// label.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SessionName {
    /// Which.
    pub key: SessionKey,
    /// Its conversation's label, once the store was asked.
    pub label: Option<Label>,
}

impl From<SessionKey> for SessionName {
    fn from(key: SessionKey) -> Self {
        Self { key, label: None }
    }
}

impl std::fmt::Display for SessionName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.label {
            Some(label) => write!(f, "{label}/{}", self.key.side),
            None => self.key.fmt(f),
        }
    }
}

/// A task that a session has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldTask {
    /// Which.
    pub task: TaskId,
    /// The fence that its owner reports with.
    pub fence: Fence,
}

/// Why a task cannot be had, written or moved.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TaskError {
    /// No such task.
    #[error("there is no task {0}\n  `mcp-bridge task list` shows the tasks")]
    NoTask(TaskId),
    /// The caller's fence is not the one that holds: the task went on without
    /// it.
    #[error(
        "STALE_LEASE: task {task} {now_with}{}\n  \
         stop working on it and push nothing of it; `mcp-bridge task claim` gives you new work",
        not_yours(*.yours, *.fence)
    )]
    StaleLease {
        /// The task.
        task: TaskId,
        /// The fence that was presented.
        yours: Fence,
        /// The fence that holds.
        fence: Fence,
        /// `is now with backend-1/b`, `was cancelled`, ...
        now_with: String,
    },
    /// A report on a task that no session has claimed yet.
    #[error(
        "task {0} was not claimed: it waits in the queue\n  claim it first: mcp-bridge task claim {0}"
    )]
    NotClaimed(TaskId),
    /// Another session has it.
    #[error(
        "task {task} is with {owner}\n  `mcp-bridge task claim` without a number gives you one that is free"
    )]
    Taken {
        /// The task.
        task: TaskId,
        /// The session that has it.
        owner: String,
    },
    /// It has ended.
    #[error("task {task} is over: {}\n  for details: mcp-bridge task show {task}", .state.as_str())]
    Over {
        /// The task.
        task: TaskId,
        /// How it ended.
        state: TaskState,
    },
    /// It waits for another role.
    #[error(
        "task {task} is for the role `{role}`, and {session} is `{yours}`\n  `mcp-bridge task claim` without a number gives you one of yours"
    )]
    OtherRole {
        /// The task.
        task: TaskId,
        /// Whom it waits for.
        role: String,
        /// Who asked.
        session: SessionName,
        /// What that one is.
        yours: String,
    },
    /// It has as many tasks as it may have.
    #[error(
        "{session} has {}; its capacity is {capacity}\n  {}",
        crate::text::count(u64::try_from(*.open).unwrap_or(0), "open task"),
        end_first(.held)
    )]
    AtCapacity {
        /// Who.
        session: SessionName,
        /// What it has.
        open: i64,
        /// What it may have.
        capacity: i64,
        /// The oldest of its tasks, for a session that asked for one: the answer to its
        /// claim may have been lost.
        #[serde(default)]
        held: Option<HeldTask>,
    },
    /// Its agent's process was seen to have ended.
    #[error(
        "the agent process of {0} has ended: it gets no task\n  start the agent, and see that its proof (the pid file, for example) names the new process; its daemon notices within seconds"
    )]
    Exited(SessionName),
    /// An operator is draining the session or its host.
    #[error("{0} is being drained: it gets no new tasks\n  `mcp-bridge status` shows until when")]
    Draining(SessionName),
    /// The session cannot take it.
    #[error(
        "{session} cannot take task {task}: {why}\n  `mcp-bridge status` shows other sessions; --queue lets the orchestrator choose"
    )]
    Unfit {
        /// Who.
        session: SessionName,
        /// What.
        task: TaskId,
        /// Why.
        why: String,
    },
    /// The client id was used for another task.
    #[error(
        "client id `{id}` was already used for task {task}, with another text\n  give every task its own id"
    )]
    IdReused {
        /// The id.
        id: String,
        /// The task that has it.
        task: TaskId,
    },
}

impl TaskError {
    /// The session that it names.
    pub(crate) fn session_mut(&mut self) -> Option<&mut SessionName> {
        match self {
            Self::OtherRole { session, .. }
            | Self::AtCapacity { session, .. }
            | Self::Exited(session)
            | Self::Draining(session)
            | Self::Unfit { session, .. } => Some(session),
            _ => None,
        }
    }
}

/// How a session gets room for another task.
fn end_first(held: &Option<HeldTask>) -> String {
    match held {
        None => "end one first: mcp-bridge task done TASK --fence N".to_owned(),
        Some(HeldTask { task, fence }) => format!(
            "`mcp-bridge task claim {task}` shows task {task} again; \
             end it first: mcp-bridge task done {task} --fence {fence}"
        ),
    }
}

/// Two fences that differ tell an agent how it came about.
fn not_yours(yours: Fence, now: Fence) -> String {
    match yours == now {
        true => ", and is not yours any more".to_owned(),
        false => format!(", and is not yours any more (your fence is {yours}, it is {now} now)"),
    }
}
