//! Rows of the history of tasks.

use jiff::Timestamp;

use crate::model::SessionKey;
use crate::model::task::{Fence, TaskId, TaskState};
use crate::store::{Result, TaskEvent};

/// A line of a task's history, to be written.
#[derive(Debug, Clone, Copy)]
pub struct Event<'a> {
    /// The task.
    pub task: TaskId,
    /// The fence that it tells of.
    pub fence: Fence,
    /// What happened.
    pub event: &'a str,
    /// The session that it concerns.
    pub session: Option<&'a SessionKey>,
    /// Whether, as a loss, it counts against the task.
    pub counts: bool,
    /// For people.
    pub note: Option<&'a str>,
}

/// A task that a session lost, as it stands now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LostTask {
    /// Which.
    pub id: TaskId,
    /// Its state.
    pub state: TaskState,
    /// Who has it now.
    pub owner: Option<SessionKey>,
}

/// Operations on the history of tasks.
pub trait HistoryRows {
    /// Adds a line to a task's history.
    ///
    /// # Errors
    /// The engine's.
    fn note_event(&mut self, event: &Event<'_>, now: Timestamp) -> Result<()>;

    /// A task's history, oldest first, without what cannot be read.
    ///
    /// # Errors
    /// The engine's.
    fn history(&mut self, task: TaskId) -> Result<Vec<TaskEvent>>;

    /// Whether the owner of a task got to know it in this lease: it claimed it,
    /// read the message that gave it, or reported on it. `false` without such a
    /// task.
    ///
    /// # Errors
    /// The engine's.
    fn is_fetched(&mut self, task: TaskId) -> Result<bool>;

    /// Whether this session reported in this lease that the task failed.
    ///
    /// # Errors
    /// The engine's.
    fn has_failed(&mut self, task: TaskId, fence: Fence, session: &SessionKey) -> Result<bool>;

    /// How many sessions other than `except` lost a task, by the losses that count
    /// since it was last given up.
    ///
    /// # Errors
    /// The engine's.
    fn losses(&mut self, task: TaskId, except: &SessionKey) -> Result<u64>;

    /// Tasks that a session lost at `since` or later and does not have now, oldest
    /// first.
    ///
    /// # Errors
    /// The engine's.
    fn lost_by(&mut self, session: &SessionKey, since: Timestamp) -> Result<Vec<LostTask>>;
}
