//! Rows of tasks and of their history.

use std::collections::HashMap;

use crate::model::TaskId;
use crate::store::Result;

/// Operations on tasks.
pub trait TaskRows {
    /// How many tasks stand in each state.
    ///
    /// # Errors
    /// The engine's.
    fn task_counts(&mut self) -> Result<HashMap<String, u64>>;

    /// Whether there is such a task.
    ///
    /// # Errors
    /// The engine's.
    fn has_task(&mut self, task: TaskId) -> Result<bool>;
}
