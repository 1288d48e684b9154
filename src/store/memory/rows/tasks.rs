//! Tasks.

use std::collections::HashMap;

use super::MemoryRows;
use crate::model::TaskId;
use crate::store::Result;
use crate::store::rows::TaskRows;

impl TaskRows for MemoryRows {
    fn task_counts(&mut self) -> Result<HashMap<String, u64>> {
        self.at()?;
        Ok(HashMap::new())
    }

    fn has_task(&mut self, task: TaskId) -> Result<bool> {
        Ok(self.at()?.tasks.contains(&task))
    }
}
