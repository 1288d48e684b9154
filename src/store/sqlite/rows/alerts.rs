//! Alerts, and what operators said.

use std::collections::HashMap;

use jiff::Timestamp;
use sqlx::Row;

use crate::model::alert::AlertKind;
use crate::store::rows::{AlertRows, Raise};
use crate::store::sqlite::engine::SqliteRows;
use crate::store::sqlite::written::Written as _;
use crate::store::sqlite::{alerts, controls, leader, millis, odd};
use crate::store::{AlertNote, AlertRow, Control, ControlKind, Leader, Noted, Result};

impl AlertRows for SqliteRows {
    fn raise(&mut self, alert: &Raise<'_>, now: Timestamp) -> Result<bool> {
        self.run(async |connection| alerts::raise(connection, alert, now).await)
    }

    fn note_all_told(&mut self, kind: AlertKind, subject: &str) -> Result<()> {
        self.run(async |connection| {
            sqlx::query(
                "UPDATE bridge_alert SET told = 2
                 WHERE kind = ?1 AND subject = ?2 AND recovered_ms IS NULL",
            )
            .bind(kind.as_str())
            .bind(subject)
            .execute(connection)
            .await?
            .wrote(1, "bridge_alert")?;
            Ok(())
        })
    }

    fn recover(&mut self, kind: AlertKind, subject: &str, now: Timestamp) -> Result<bool> {
        self.run(async |connection| alerts::recover(connection, kind, subject, now).await)
    }

    fn open_alerts(&mut self) -> Result<Vec<AlertRow>> {
        self.run(async |connection| alerts::open(connection).await)
    }

    fn newest_alerts(&mut self, limit: u32) -> Result<Vec<AlertRow>> {
        self.run(async |connection| alerts::newest(connection, limit).await)
    }

    fn note_told(&mut self, note: &AlertNote) -> Result<()> {
        let (told, reminders) = match note.told {
            Noted::Raised => (1, 0),
            Noted::Recovered => (2, 0),
            Noted::Reminder => (0, 1),
        };
        self.run(async |connection| {
            sqlx::query(
                "UPDATE bridge_alert SET told = max(told, ?3), reminders = reminders + ?4
                 WHERE alert_id = ?1 AND raised_ms = ?2",
            )
            .bind(note.alert.id)
            .bind(millis(note.alert.raised_at))
            .bind(told)
            .bind(reminders)
            .execute(connection)
            .await?;
            Ok(())
        })
    }

    fn set_control(&mut self, control: &Control) -> Result<()> {
        self.run(async |connection| controls::set(connection, control).await)
    }

    fn delete_control(&mut self, kind: ControlKind, subject: &str) -> Result<Option<Timestamp>> {
        self.run(async |connection| controls::delete(connection, kind, subject).await)
    }

    fn controls(&mut self, now: Timestamp) -> Result<Vec<Control>> {
        self.run(async |connection| controls::all(connection, now).await)
    }

    fn acts(&mut self, leader: &Leader) -> Result<std::result::Result<(), i64>> {
        self.run(async |connection| leader::acts(connection, leader).await)
    }

    fn task_counts(&mut self) -> Result<HashMap<String, u64>> {
        self.run(async |connection| {
            let rows = sqlx::query("SELECT state, count(*) FROM bridge_task GROUP BY state")
                .fetch_all(connection)
                .await?;
            let counts = odd::readable(&rows, "states of tasks", |row| {
                Ok((row.try_get(0)?, row.try_get(1)?))
            });
            Ok(counts.into_iter().collect())
        })
    }
}
