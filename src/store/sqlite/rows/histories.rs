//! The history of tasks.

use jiff::Timestamp;
use rusqlite::{Row, params};

use super::tasks::session;
use crate::model::SessionKey;
use crate::model::task::{Fence, TaskId, TaskState};
use crate::store::rows::{Event, HistoryRows, LostTask};
use crate::store::sqlite::engine::SqliteRows;
use crate::store::sqlite::losses::{counted, fetched};
use crate::store::sqlite::statements::{Statements as _, count, readable};
use crate::store::sqlite::written::Written as _;
use crate::store::sqlite::{from_millis, millis};
use crate::store::{Result, TaskEvent};

fn event(row: &Row<'_>) -> rusqlite::Result<TaskEvent> {
    Ok(TaskEvent {
        at: from_millis(row.get(0)?),
        event: row.get(1)?,
        fence: Fence(row.get(2)?),
        session: row.get(3)?,
        note: row.get(4)?,
    })
}

impl HistoryRows for SqliteRows {
    fn note_event(&mut self, event: &Event<'_>, now: Timestamp) -> Result<()> {
        self.run(|connection| {
            connection
                .change(
                    "INSERT INTO bridge_task_history (task_id, fence, event, conversation_id,
                         session_id, at_ms, counts, note)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
                    params![
                        event.task.0,
                        event.fence.0,
                        event.event,
                        event.session.map(|session| session.conversation.as_str()),
                        event.session.map(|session| session.side.as_str()),
                        millis(now),
                        event.counts,
                        event.note
                    ],
                )?
                .wrote(1, "bridge_task_history")?;
            Ok(())
        })
    }

    fn history(&mut self, task: TaskId) -> Result<Vec<TaskEvent>> {
        self.run(|connection| {
            let events = connection.all(
                "SELECT h.at_ms, h.event, h.fence,
                        coalesce(l.label, h.conversation_id) || '/' || h.session_id, h.note
                 FROM bridge_task_history h LEFT JOIN bridge_conversation l
                     ON l.conversation_id = h.conversation_id
                 WHERE h.task_id = ?1 ORDER BY h.history_id",
                [task.0],
                |row| Ok(readable("events of tasks", event(row))),
            )?;
            Ok(events.into_iter().flatten().collect())
        })
    }

    fn is_fetched(&mut self, task: TaskId) -> Result<bool> {
        self.run(|connection| {
            let fetched = connection.first(
                concat!(
                    "SELECT ",
                    fetched!(),
                    " FROM bridge_task t WHERE t.task_id = ?1"
                ),
                [task.0],
                |row| row.get::<_, Option<bool>>(0),
            )?;
            Ok(fetched.flatten().unwrap_or(false))
        })
    }

    fn has_failed(&mut self, task: TaskId, fence: Fence, session: &SessionKey) -> Result<bool> {
        self.run(|connection| {
            let found = connection.first(
                "SELECT 1 FROM bridge_task_history h
                 WHERE h.task_id = ?1 AND h.fence = ?2 AND h.event = 'failed'
                   AND h.conversation_id = ?3 AND h.session_id = ?4",
                params![
                    task.0,
                    fence.0,
                    session.conversation.as_str(),
                    session.side.as_str()
                ],
                |_| Ok(()),
            )?;
            Ok(found.is_some())
        })
    }

    fn losses(&mut self, task: TaskId, except: &SessionKey) -> Result<u64> {
        self.run(|connection| {
            let losses = connection.one(
                concat!(
                    "SELECT count(DISTINCT y.conversation_id || '/' || y.session_id)
                     FROM bridge_task t CROSS JOIN bridge_task_history y
                     WHERE t.task_id = ?1 AND (y.conversation_id, y.session_id) <> (?3, ?4) AND ",
                    counted!()
                ),
                params![
                    task.0,
                    i64::MIN,
                    except.conversation.as_str(),
                    except.side.as_str()
                ],
                |row| count(row, 0),
            )?;
            Ok(losses)
        })
    }

    fn lost_by(&mut self, session: &SessionKey, since: Timestamp) -> Result<Vec<LostTask>> {
        self.run(|connection| {
            let lost = connection.all(
                "SELECT DISTINCT t.task_id, t.state, t.owner_conversation, t.owner_session
                 FROM bridge_task_history y JOIN bridge_task t USING (task_id)
                 WHERE y.conversation_id = ?1 AND y.session_id = ?2
                   AND y.event IN ('lost', 'exited') AND y.at_ms >= ?3
                   AND NOT (t.owner_conversation IS ?1 AND t.owner_session IS ?2)
                 ORDER BY t.task_id",
                params![
                    session.conversation.as_str(),
                    session.side.as_str(),
                    millis(since)
                ],
                lost_task,
            )?;
            Ok(lost)
        })
    }
}

fn lost_task(row: &Row<'_>) -> rusqlite::Result<LostTask> {
    Ok(LostTask {
        id: TaskId(row.get(0)?),
        // The schema admits no other word.
        state: TaskState::from_word(&row.get::<_, String>(1)?).unwrap_or(TaskState::Dead),
        owner: session(row, 2)?,
    })
}
