//! Alerts, and what operators said.

use jiff::Timestamp;

use super::MemoryRows;
use crate::model::alert::AlertKind;
use crate::store::rows::{AlertRows, Raise};
use crate::store::{AlertNote, AlertRow, Noted, Result, ToldEdge};

/// The open alert of this kind about the subject.
fn open<'a>(rows: &'a mut [AlertRow], kind: AlertKind, subject: &str) -> Option<&'a mut AlertRow> {
    rows.iter_mut()
        .find(|row| row.kind == kind && row.subject == subject && row.recovered_at.is_none())
}

impl AlertRows for MemoryRows {
    fn raise(&mut self, alert: &Raise<'_>, now: Timestamp) -> Result<bool> {
        let tables = self.at()?;
        if open(&mut tables.alerts, alert.kind, alert.subject).is_some() {
            return Ok(false);
        }
        let label = alert
            .session
            .and_then(|session| tables.conversations.get(&session.conversation))
            .and_then(|row| row.label.clone());
        let row = AlertRow {
            id: i64::try_from(tables.alerts.len()).unwrap_or(i64::MAX) + 1,
            kind: alert.kind,
            subject: alert.subject.to_owned(),
            session: alert.session.cloned(),
            task: alert.task,
            text: alert.text.to_owned(),
            raised_by: alert.by.to_owned(),
            raised_at: now,
            recovered_at: None,
            reminders: 0,
            label,
            told: ToldEdge::None,
        };
        tables.alerts.push(row);
        Ok(true)
    }

    fn is_open(&mut self, kind: AlertKind, subject: &str) -> Result<bool> {
        Ok(open(&mut self.at()?.alerts, kind, subject).is_some())
    }

    fn note_all_told(&mut self, kind: AlertKind, subject: &str) -> Result<()> {
        if let Some(row) = open(&mut self.at()?.alerts, kind, subject) {
            row.told = ToldEdge::All;
        }
        Ok(())
    }

    fn recover(&mut self, kind: AlertKind, subject: &str, now: Timestamp) -> Result<bool> {
        let Some(row) = open(&mut self.at()?.alerts, kind, subject) else {
            return Ok(false);
        };
        row.recovered_at = Some(now);
        Ok(true)
    }

    fn open_alerts(&mut self) -> Result<Vec<AlertRow>> {
        let rows = self.at()?.alerts.iter();
        let wanted = rows.filter(|row| row.recovered_at.is_none() || row.told < ToldEdge::All);
        Ok(wanted.cloned().collect())
    }

    fn newest_alerts(&mut self, limit: u32) -> Result<Vec<AlertRow>> {
        let rows = &self.at()?.alerts;
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        Ok(rows[rows.len().saturating_sub(limit)..].to_vec())
    }

    fn note_told(&mut self, note: &AlertNote) -> Result<()> {
        let rows = self.at()?.alerts.iter_mut();
        let (told, reminders) = match note.told {
            Noted::Raised => (ToldEdge::Raised, 0),
            Noted::Recovered => (ToldEdge::All, 0),
            Noted::Reminder => (ToldEdge::None, 1),
        };
        for row in rows.filter(|row| row.reference() == note.alert) {
            row.told = row.told.max(told);
            row.reminders += reminders;
        }
        Ok(())
    }
}
