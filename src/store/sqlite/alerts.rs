//! Alerts: open from when they are raised until their matter recovers.

use std::collections::HashMap;

use async_trait::async_trait;
use jiff::Timestamp;
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};

use super::fault::Fault;
use super::tasks::{session_of, signal};
use super::written::Written as _;
use super::{Durability, Ring, SqliteStore, controls, from_millis, leader, millis, odd};
use crate::model::alert::AlertKind;
use crate::model::{SessionKey, TaskId};
use crate::store::{
    AlertNote, AlertRow, Alerts, Control, ControlKind, Leader, NewAlert, Noted, Result, ToldEdge,
};

/// An alert to be raised inside another transaction.
pub(super) struct Raise<'a> {
    pub(super) kind: AlertKind,
    pub(super) subject: &'a str,
    pub(super) session: Option<&'a SessionKey>,
    pub(super) task: Option<TaskId>,
    pub(super) text: &'a str,
    pub(super) by: &'a str,
}

/// Raises it unless one of the kind is open for the subject.
pub(super) async fn raise(
    connection: &mut SqliteConnection,
    alert: &Raise<'_>,
    now: Timestamp,
) -> std::result::Result<bool, Fault> {
    let new = sqlx::query(
        "INSERT INTO bridge_alert (kind, subject, conversation_id, session_id, task_id, text,
             raised_by, raised_ms)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
         ON CONFLICT (kind, subject) WHERE recovered_ms IS NULL DO NOTHING",
    )
    .bind(alert.kind.as_str())
    .bind(alert.subject)
    .bind(alert.session.map(|session| session.conversation.as_str()))
    .bind(alert.session.map(|session| session.side.as_str()))
    .bind(alert.task.map(|task| task.0))
    .bind(alert.text)
    .bind(alert.by)
    .bind(millis(now))
    .execute(&mut *connection)
    .await?
    .rows_affected();
    if new == 0 && !is_open(connection, alert.kind, alert.subject).await? {
        return Err(Fault::Swallowed("bridge_alert"));
    }
    Ok(new == 1)
}

/// Whether one of this kind is open for the subject.
pub(super) async fn is_open(
    connection: &mut SqliteConnection,
    kind: AlertKind,
    subject: &str,
) -> std::result::Result<bool, Fault> {
    Ok(sqlx::query_scalar(
        "SELECT EXISTS (SELECT 1 FROM bridge_alert
                        WHERE kind = ?1 AND subject = ?2 AND recovered_ms IS NULL)",
    )
    .bind(kind.as_str())
    .bind(subject)
    .fetch_one(connection)
    .await?)
}

/// Ends the alert of this kind about the subject.
pub(super) async fn recover(
    connection: &mut SqliteConnection,
    kind: AlertKind,
    subject: &str,
    now: Timestamp,
) -> std::result::Result<bool, Fault> {
    let ended = sqlx::query(
        "UPDATE bridge_alert SET recovered_ms = ?3
         WHERE kind = ?1 AND subject = ?2 AND recovered_ms IS NULL",
    )
    .bind(kind.as_str())
    .bind(subject)
    .bind(millis(now))
    .execute(connection)
    .await?
    .rows_affected();
    Ok(ended > 0)
}

#[async_trait]
impl Alerts for SqliteStore {
    async fn raise_alert(
        &self,
        leader: Option<&Leader>,
        alert: &NewAlert,
        now: Timestamp,
    ) -> Result<bool> {
        self.run("raising an alert", async {
            let mut write = self.write(Durability::Full).await?;
            leader::ensure_if(write.connection(), leader).await?;
            let raise_it = Raise {
                kind: alert.kind,
                subject: &alert.subject,
                session: alert.session.as_ref(),
                task: None,
                text: &alert.text,
                by: &alert.by,
            };
            let new = raise(write.connection(), &raise_it, now).await?;
            if new && alert.told {
                sqlx::query(
                    "UPDATE bridge_alert SET told = 2
                     WHERE kind = ?1 AND subject = ?2 AND recovered_ms IS NULL",
                )
                .bind(alert.kind.as_str())
                .bind(&alert.subject)
                .execute(write.connection())
                .await?
                .wrote(1, "bridge_alert")?;
            }
            write.commit(Ring::No).await?;
            Ok(new)
        })
        .await
    }

    async fn recover_alert(
        &self,
        leader: Option<&Leader>,
        kind: AlertKind,
        subject: &str,
        now: Timestamp,
    ) -> Result<bool> {
        self.run("ending an alert", async {
            let mut write = self.write(Durability::Normal).await?;
            leader::ensure_if(write.connection(), leader).await?;
            let ended = recover(write.connection(), kind, subject, now).await?;
            write.commit(Ring::No).await?;
            Ok(ended)
        })
        .await
    }

    async fn open_alerts(&self) -> Result<Vec<AlertRow>> {
        self.run("looking at alerts", async {
            let rows = sqlx::query(
                "SELECT alert_id, kind, subject, conversation_id, session_id, task_id, text,
                        raised_by, raised_ms, recovered_ms, reminders, told, label
                 FROM bridge_alert LEFT JOIN bridge_conversation USING (conversation_id)
                 WHERE alert_id IN (
                     SELECT alert_id FROM bridge_alert WHERE recovered_ms IS NULL
                     UNION ALL
                     SELECT alert_id FROM bridge_alert
                     WHERE told < CASE WHEN recovered_ms IS NULL THEN 1 ELSE 2 END)
                 ORDER BY alert_id",
            )
            .fetch_all(&mut *self.reader().await?)
            .await?;
            Ok(rows_of(&rows))
        })
        .await
    }

    async fn alerts(&self, limit: u32) -> Result<Vec<AlertRow>> {
        self.run("listing alerts", async {
            let rows = sqlx::query(
                "SELECT * FROM (
                     SELECT alert_id, kind, subject, conversation_id, session_id, task_id, text,
                            raised_by, raised_ms, recovered_ms, reminders, told, label
                     FROM bridge_alert LEFT JOIN bridge_conversation USING (conversation_id)
                     ORDER BY alert_id DESC LIMIT ?1) ORDER BY alert_id",
            )
            .bind(limit)
            .fetch_all(&mut *self.reader().await?)
            .await?;
            Ok(rows_of(&rows))
        })
        .await
    }

    async fn note_alerts(&self, leader: &Leader, notes: &[AlertNote]) -> Result<()> {
        if notes.is_empty() {
            return Ok(());
        }
        self.run("noting what was told", async {
            let mut write = self.write(Durability::Normal).await?;
            leader::ensure(write.connection(), leader).await?;
            for note in notes {
                let (told, reminders) = match note.told {
                    Noted::Raised => (1, 0),
                    Noted::Recovered => (2, 0),
                    Noted::Reminder => (0, 1),
                };
                sqlx::query(
                    "UPDATE bridge_alert SET told = max(told, ?3), reminders = reminders + ?4
                     WHERE alert_id = ?1 AND raised_ms = ?2",
                )
                .bind(note.alert.id)
                .bind(millis(note.alert.raised_at))
                .bind(told)
                .bind(reminders)
                .execute(write.connection())
                .await?;
            }
            write.commit(Ring::No).await
        })
        .await
    }

    async fn set_control(&self, control: &Control) -> Result<()> {
        self.run("writing down what an operator said", async {
            let mut write = self.write(Durability::Full).await?;
            controls::set(write.connection(), control).await?;
            signal(write.connection()).await?;
            write.commit(Ring::Yes).await
        })
        .await
    }

    async fn clear_control(
        &self,
        kind: ControlKind,
        subject: &str,
        now: Timestamp,
    ) -> Result<bool> {
        self.run("taking back what an operator said", async {
            let mut write = self.write(Durability::Full).await?;
            let cleared = controls::clear(write.connection(), kind, subject, now).await?;
            signal(write.connection()).await?;
            write.commit(Ring::Yes).await?;
            Ok(cleared)
        })
        .await
    }

    async fn controls(&self, now: Timestamp) -> Result<Vec<Control>> {
        self.run("looking at what operators said", async {
            controls::all(&mut *self.reader().await?, now).await
        })
        .await
    }

    async fn task_counts(&self) -> Result<HashMap<String, u64>> {
        self.run("counting tasks", async {
            let rows = sqlx::query("SELECT state, count(*) FROM bridge_task GROUP BY state")
                .fetch_all(&mut *self.reader().await?)
                .await?;
            let counts = odd::readable(&rows, "states of tasks", |row| {
                Ok((row.try_get(0)?, row.try_get(1)?))
            });
            Ok(counts.into_iter().collect())
        })
        .await
    }
}

fn rows_of(rows: &[SqliteRow]) -> Vec<AlertRow> {
    odd::readable_of_ours(rows, "alerts", |row| {
        // A kind that a newer version raised is that version's to tell.
        let Some(kind) = AlertKind::from_word(row.try_get(1)?) else {
            return Ok(None);
        };
        let recovered_at = row.try_get::<Option<i64>, _>(9)?.map(from_millis);
        let label: Option<&str> = row.try_get(12)?;
        Ok(Some(AlertRow {
            id: row.try_get(0)?,
            kind,
            subject: row.try_get(2)?,
            session: session_of(row.try_get(3)?, row.try_get(4)?),
            task: row.try_get::<Option<i64>, _>(5)?.map(TaskId),
            text: row.try_get(6)?,
            raised_by: row.try_get(7)?,
            raised_at: from_millis(row.try_get(8)?),
            recovered_at,
            reminders: row.try_get(10)?,
            label: label.and_then(|label| label.parse().ok()),
            told: match row.try_get(11)? {
                0 => ToldEdge::None,
                1 => ToldEdge::Raised,
                _ => ToldEdge::All,
            },
        }))
    })
}
