//! Tasks that wait for an owner, or whose owner is gone.

use rusqlite::{Row, params};
use serde_json::json;

use super::tasks::{session, task, task_columns};
use crate::model::SessionKey;
use crate::model::task::{Fence, TaskId};
use crate::store::rows::{Due, Look, WaitingRows};
use crate::store::sqlite::engine::SqliteRows;
use crate::store::sqlite::losses::{counted, fetched};
use crate::store::sqlite::millis;
use crate::store::sqlite::statements::{Statements as _, readable};
use crate::store::{Result, Task, Waiting};

/// How many unreadable tasks may wait before a readable one.
const ODD: i64 = 1_000;

impl WaitingRows for SqliteRows {
    fn oldest_waiting(&mut self, role: &str, due: Due) -> Result<Option<Task>> {
        self.run(|connection| {
            // The first one that can be read: nearly always the first.
            for page in [1, ODD] {
                let tasks = connection.all(
                    concat!(
                        "SELECT ",
                        task_columns!(),
                        " FROM bridge_task t INDEXED BY bridge_task_role
                          LEFT JOIN bridge_conversation l
                              ON l.conversation_id = t.owner_conversation
                          WHERE t.state IN ('queued', 'retry_wait') AND t.role = ?1
                            AND (t.state = 'queued' OR t.retry_ms <= ?2 OR t.retry_ms > ?3)
                          ORDER BY t.task_id LIMIT ?4"
                    ),
                    params![role, millis(due.now), millis(due.far), page],
                    |row| Ok(readable("tasks", task(row))),
                )?;
                let is_empty = tasks.is_empty();
                let first = tasks.into_iter().flatten().next();
                if first.is_some() || is_empty {
                    return Ok(first);
                }
            }
            Ok(None)
        })
    }

    fn waiting(&mut self, look: &Look<'_>) -> Result<Vec<Waiting>> {
        let stalled: Vec<String> = look.stalled.iter().map(SessionKey::to_string).collect();
        self.run(|connection| {
            let tasks = connection.all(
                concat!(
                    // From role to role along the index, and of each the oldest.
                    "WITH RECURSIVE roles(role) AS (
                         SELECT min(role) FROM bridge_task INDEXED BY bridge_task_role
                         WHERE state IN ('queued', 'retry_wait') AND role > ''
                         UNION ALL
                         SELECT (SELECT min(role) FROM bridge_task INDEXED BY bridge_task_role
                                 WHERE state IN ('queued', 'retry_wait') AND role > roles.role)
                         FROM roles WHERE role IS NOT NULL)
                     SELECT t.task_id, t.role, t.fence, t.owner_conversation, t.owner_session,
                            t.last_conversation, t.last_session,
                            -- Each session once, and without the owner of today.
                            (SELECT count(DISTINCT y.conversation_id || '/' || y.session_id)
                             FROM bridge_task_history y
                             WHERE NOT (y.conversation_id IS t.owner_conversation
                                        AND y.session_id IS t.owner_session) AND ",
                    counted!(),
                    "),
                            t.owner_conversation IS NOT NULL
                                AND (",
                    fetched!(),
                    " OR EXISTS (SELECT 1 FROM bridge_task_history y
                                 WHERE y.conversation_id = t.owner_conversation
                                   AND y.session_id = t.owner_session AND ",
                    counted!(),
                    "))
                     FROM (SELECT q.task_id AS task_id FROM roles CROSS JOIN bridge_task q
                           WHERE q.task_id IN (
                               SELECT b.task_id FROM bridge_task b INDEXED BY bridge_task_role
                               WHERE b.role = roles.role AND b.state IN ('queued', 'retry_wait')
                                 AND (b.state = 'queued' OR b.retry_ms <= ?3 OR b.retry_ms > ?5)
                               ORDER BY b.task_id LIMIT ?4)
                           UNION ALL
                           SELECT task_id FROM bridge_session s CROSS JOIN bridge_task o
                               ON o.owner_conversation = s.conversation_id
                                  AND o.owner_session = s.session_id AND o.state = 'leased'
                           WHERE s.standing IN ('lost', 'exited')
                           UNION ALL
                           -- The Python bridge's cleanup deletes a conversation whose
                           -- session has a task.
                           SELECT o.task_id FROM bridge_task o INDEXED BY bridge_task_owner
                           WHERE o.state = 'leased' AND NOT EXISTS (
                               SELECT 1 FROM conversations c WHERE c.id = o.owner_conversation)
                           UNION ALL
                           SELECT task_id FROM json_each(?1) j CROSS JOIN bridge_task o
                               ON o.owner_conversation = substr(j.value, 1, instr(j.value, '/') - 1)
                                  AND o.owner_session = substr(j.value, instr(j.value, '/') + 1)
                                  AND o.state = 'leased') w
                     CROSS JOIN bridge_task t ON t.task_id = w.task_id
                     GROUP BY t.task_id ORDER BY t.task_id",
                ),
                params![
                    json!(stalled).to_string(),
                    millis(look.losses_since),
                    millis(look.due.now),
                    look.of_a_role,
                    millis(look.due.far)
                ],
                |row| Ok(readable("tasks", waiting(row))),
            )?;
            Ok(tasks.into_iter().flatten().collect())
        })
    }
}

fn waiting(row: &Row<'_>) -> rusqlite::Result<Waiting> {
    Ok(Waiting {
        task: TaskId(row.get(0)?),
        role: row.get(1)?,
        fence: Fence(row.get(2)?),
        owner: session(row, 3)?,
        last_owner: session(row, 5)?,
        losses: row.get(7)?,
        fetched: row.get(8)?,
    })
}
