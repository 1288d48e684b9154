//! Tasks and their history.

use std::collections::HashMap;

use crate::model::TaskId;
use crate::store::Result;
use crate::store::rows::TaskRows;
use crate::store::sqlite::engine::SqliteRows;
use crate::store::sqlite::statements::{Statements as _, count, readable};

impl TaskRows for SqliteRows {
    fn task_counts(&mut self) -> Result<HashMap<String, u64>> {
        self.run(|connection| {
            let counts = connection.all(
                "SELECT state, count(*) FROM bridge_task GROUP BY state",
                [],
                |row| {
                    let count = row.get(0).and_then(|state| Ok((state, count(row, 1)?)));
                    Ok(readable("states of tasks", count))
                },
            )?;
            Ok(counts.into_iter().flatten().collect())
        })
    }

    fn has_task(&mut self, task: TaskId) -> Result<bool> {
        self.run(|connection| {
            let found = connection.one(
                "SELECT EXISTS (SELECT 1 FROM bridge_task WHERE task_id = ?1)",
                [task.0],
                |row| row.get(0),
            )?;
            Ok(found)
        })
    }
}
