//! Alerts, and what operators said.

use jiff::Timestamp;
use rusqlite::{Connection, Row, params};

use crate::model::TaskId;
use crate::model::alert::AlertKind;
use crate::store::rows::{AlertRows, Raise};
use crate::store::sqlite::engine::SqliteRows;
use crate::store::sqlite::fault::Fault;
use crate::store::sqlite::statements::{Statements as _, readable, session_at};
use crate::store::sqlite::written::Written as _;
use crate::store::sqlite::{from_millis, millis};
use crate::store::{AlertNote, AlertRow, Noted, Result, ToldEdge};

/// The columns that [`alert`] reads.
macro_rules! alert_columns {
    () => {
        "SELECT alert_id, kind, subject, conversation_id, session_id, task_id, text,
                raised_by, raised_ms, recovered_ms, reminders, told, label
         FROM bridge_alert LEFT JOIN bridge_conversation USING (conversation_id) "
    };
}

fn alert(row: &Row<'_>) -> rusqlite::Result<Option<AlertRow>> {
    // A kind that a newer version raised is that version's to tell.
    let Some(kind) = AlertKind::from_word(&row.get::<_, String>(1)?) else {
        return Ok(None);
    };
    let recovered_at = row.get::<_, Option<i64>>(9)?.map(from_millis);
    let label: Option<String> = row.get(12)?;
    Ok(Some(AlertRow {
        id: row.get(0)?,
        kind,
        subject: row.get(2)?,
        session: session_at(row, 3)?,
        task: row.get::<_, Option<i64>>(5)?.map(TaskId),
        text: row.get(6)?,
        raised_by: row.get(7)?,
        raised_at: from_millis(row.get(8)?),
        recovered_at,
        reminders: row.get(10)?,
        label: label.and_then(|label| label.parse().ok()),
        told: match row.get(11)? {
            0 => ToldEdge::None,
            1 => ToldEdge::Raised,
            _ => ToldEdge::All,
        },
    }))
}

fn is_open(connection: &Connection, kind: AlertKind, subject: &str) -> rusqlite::Result<bool> {
    connection.one(
        "SELECT EXISTS (SELECT 1 FROM bridge_alert
                        WHERE kind = ?1 AND subject = ?2 AND recovered_ms IS NULL)",
        [kind.as_str(), subject],
        |row| row.get(0),
    )
}

impl AlertRows for SqliteRows {
    fn raise(&mut self, alert: &Raise<'_>, now: Timestamp) -> Result<bool> {
        self.run(|connection| {
            let (kind, subject) = (alert.kind.as_str(), alert.subject);
            let raised = connection.change(
                "INSERT INTO bridge_alert (kind, subject, conversation_id, session_id, task_id, text,
                     raised_by, raised_ms)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
                 ON CONFLICT (kind, subject) WHERE recovered_ms IS NULL DO NOTHING",
                params![
                    kind,
                    subject,
                    alert.session.map(|session| session.conversation.as_str()),
                    alert.session.map(|session| session.side.as_str()),
                    alert.task.map(|task| task.0),
                    alert.text,
                    alert.by,
                    millis(now)
                ],
            )?;
            if raised == 0 {
                // It is open, or was kept out.
                if !is_open(connection, alert.kind, subject)? {
                    return Err(Fault::Swallowed("bridge_alert"));
                }
            }
            Ok(raised == 1)
        })
    }

    fn is_open(&mut self, kind: AlertKind, subject: &str) -> Result<bool> {
        self.run(|connection| Ok(is_open(connection, kind, subject)?))
    }

    fn note_all_told(&mut self, kind: AlertKind, subject: &str) -> Result<()> {
        self.run(|connection| {
            connection
                .change(
                    "UPDATE bridge_alert SET told = 2
                     WHERE kind = ?1 AND subject = ?2 AND recovered_ms IS NULL",
                    [kind.as_str(), subject],
                )?
                .wrote(1, "bridge_alert")?;
            Ok(())
        })
    }

    fn recover(&mut self, kind: AlertKind, subject: &str, now: Timestamp) -> Result<bool> {
        self.run(|connection| {
            let ended = connection.change(
                "UPDATE bridge_alert SET recovered_ms = ?3
                 WHERE kind = ?1 AND subject = ?2 AND recovered_ms IS NULL",
                params![kind.as_str(), subject, millis(now)],
            )?;
            Ok(ended > 0)
        })
    }

    fn open_alerts(&mut self) -> Result<Vec<AlertRow>> {
        self.run(|connection| {
            let alerts = connection.all(
                concat!(
                    alert_columns!(),
                    "WHERE alert_id IN (
                         SELECT alert_id FROM bridge_alert WHERE recovered_ms IS NULL
                         UNION ALL
                         SELECT alert_id FROM bridge_alert
                         WHERE told < CASE WHEN recovered_ms IS NULL THEN 1 ELSE 2 END)
                     ORDER BY alert_id"
                ),
                [],
                |row| Ok(readable("alerts", alert(row)).flatten()),
            )?;
            Ok(alerts.into_iter().flatten().collect())
        })
    }

    fn newest_alerts(&mut self, limit: u32) -> Result<Vec<AlertRow>> {
        self.run(|connection| {
            let alerts = connection.all(
                concat!(
                    "SELECT * FROM (",
                    alert_columns!(),
                    "ORDER BY alert_id DESC LIMIT ?1) ORDER BY alert_id"
                ),
                [limit],
                |row| Ok(readable("alerts", alert(row)).flatten()),
            )?;
            Ok(alerts.into_iter().flatten().collect())
        })
    }

    fn note_told(&mut self, note: &AlertNote) -> Result<()> {
        let (told, reminders) = match note.told {
            Noted::Raised => (1, 0),
            Noted::Recovered => (2, 0),
            Noted::Reminder => (0, 1),
        };
        self.run(|connection| {
            connection.change(
                "UPDATE bridge_alert SET told = max(told, ?3), reminders = reminders + ?4
                 WHERE alert_id = ?1 AND raised_ms = ?2",
                params![note.alert.id, millis(note.alert.raised_at), told, reminders],
            )?;
            Ok(())
        })
    }
}
