//! Alerts: open from when they are raised until their matter recovers.

use std::collections::HashMap;

use async_trait::async_trait;
use jiff::Timestamp;
use sqlx::SqliteConnection;

use super::fault::Fault;
use super::{SqliteStore, millis};
use crate::model::alert::AlertKind;
use crate::store::ops::alerts;
use crate::store::rows::Raise;
use crate::store::{AlertNote, AlertRow, Alerts, Control, ControlKind, Leader, NewAlert, Result};

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
        let (leader, alert) = (leader.cloned(), alert.clone());
        self.full
            .write("raising an alert", move |transaction| {
                alerts::raise(transaction, leader.as_ref(), &alert, now)
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
        let (leader, subject) = (leader.cloned(), subject.to_owned());
        self.normal
            .write("ending an alert", move |transaction| {
                alerts::recover(transaction, leader.as_ref(), kind, &subject, now)
            })
            .await
    }

    async fn open_alerts(&self) -> Result<Vec<AlertRow>> {
        self.reads
            .read("looking at alerts", |rows| rows.open_alerts())
            .await
    }

    async fn alerts(&self, limit: u32) -> Result<Vec<AlertRow>> {
        self.reads
            .read("listing alerts", move |rows| rows.newest_alerts(limit))
            .await
    }

    async fn note_alerts(&self, leader: &Leader, notes: &[AlertNote]) -> Result<()> {
        if notes.is_empty() {
            return Ok(());
        }
        let (leader, notes) = (leader.clone(), notes.to_vec());
        self.normal
            .write("noting what was told", move |transaction| {
                alerts::note(transaction, &leader, &notes)
            })
            .await
    }

    async fn set_control(&self, control: &Control) -> Result<()> {
        let control = control.clone();
        self.full
            .write("writing down what an operator said", move |transaction| {
                alerts::set_control(transaction, &control)
            })
            .await
    }

    async fn clear_control(
        &self,
        kind: ControlKind,
        subject: &str,
        now: Timestamp,
    ) -> Result<bool> {
        let subject = subject.to_owned();
        self.full
            .write("taking back what an operator said", move |transaction| {
                alerts::clear_control(transaction, kind, &subject, now)
            })
            .await
    }

    async fn controls(&self, now: Timestamp) -> Result<Vec<Control>> {
        self.reads
            .read("looking at what operators said", move |rows| {
                rows.controls(now)
            })
            .await
    }

    async fn task_counts(&self) -> Result<HashMap<String, u64>> {
        self.reads
            .read("counting tasks", |rows| rows.task_counts())
            .await
    }
}
