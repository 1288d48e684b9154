//! Rows of tasks.

use std::collections::HashMap;

use jiff::Timestamp;

use crate::model::SessionKey;
use crate::model::message::ClientMessageId;
use crate::model::task::{Fence, TaskId};
use crate::store::{Result, Task, TaskFilter};

/// A task to be written, as it is kept: without its secrets.
#[derive(Debug, Clone, Copy)]
pub struct NewTaskRow<'a> {
    /// The role that is to do it.
    pub role: &'a str,
    /// One line.
    pub title: &'a str,
    /// Description of the task.
    pub body: &'a str,
    /// Files that it is about.
    pub files: &'a [String],
    /// The session that adds it, if one does.
    pub creator: Option<&'a SessionKey>,
    /// The creator's own name for it.
    pub client_id: Option<&'a ClientMessageId>,
}

/// The task that a creator's own id stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientTask {
    /// Its id.
    pub id: TaskId,
    /// Its title.
    pub title: String,
    /// Its body.
    pub body: String,
}

/// Operations on tasks.
pub trait TaskRows {
    /// One task.
    ///
    /// # Errors
    /// The engine's; [`crate::store::StoreError::OddRow`] if it cannot be read.
    fn task(&mut self, id: TaskId) -> Result<Option<Task>>;

    /// Whether there is such a task.
    ///
    /// # Errors
    /// The engine's.
    fn has_task(&mut self, task: TaskId) -> Result<bool>;

    /// The newest tasks that a filter admits, oldest first, without those that
    /// cannot be read.
    ///
    /// # Errors
    /// The engine's.
    fn tasks(&mut self, filter: &TaskFilter) -> Result<Vec<Task>>;

    /// How many tasks stand in each state.
    ///
    /// # Errors
    /// The engine's.
    fn task_counts(&mut self) -> Result<HashMap<String, u64>>;

    /// The task that a creator's own id stands for.
    ///
    /// # Errors
    /// The engine's.
    fn client_task(
        &mut self,
        creator: Option<&SessionKey>,
        id: &ClientMessageId,
    ) -> Result<Option<ClientTask>>;

    /// Writes a task that waits for its first owner.
    ///
    /// # Errors
    /// The engine's.
    fn insert_task(&mut self, task: &NewTaskRow<'_>, now: Timestamp) -> Result<TaskId>;

    /// Writes where a task stands: its state, fence, owners, counts, result,
    /// reason, next try and the time of the change. `was` is the fence that it was
    /// read with in this transaction.
    ///
    /// # Errors
    /// The engine's.
    fn write_task(&mut self, task: &Task, was: Fence) -> Result<()>;

    /// The task of this session that a claim of this name gave to it.
    ///
    /// # Errors
    /// The engine's.
    fn claimed_as(&mut self, owner: &SessionKey, name: &ClientMessageId) -> Result<Option<TaskId>>;

    /// Writes the name of the claim that gave a task to its owner.
    ///
    /// # Errors
    /// The engine's.
    fn name_claim(&mut self, task: TaskId, name: &ClientMessageId) -> Result<()>;

    /// Writes a note of the owner's progress. Whether the task is still its, with
    /// this fence.
    ///
    /// # Errors
    /// The engine's.
    fn note_progress(
        &mut self,
        task: TaskId,
        fence: Fence,
        owner: &SessionKey,
        note: &str,
        now: Timestamp,
    ) -> Result<bool>;

    /// The tasks that a session has, oldest first.
    ///
    /// # Errors
    /// The engine's.
    fn tasks_of(&mut self, session: &SessionKey) -> Result<Vec<TaskId>>;

    /// When the newest of the tasks that a session has was given to it; `None` if
    /// it has none.
    ///
    /// # Errors
    /// The engine's.
    fn newest_lease(&mut self, session: &SessionKey) -> Result<Option<Timestamp>>;
}
