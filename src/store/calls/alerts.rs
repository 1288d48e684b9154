//! Alerts: what the operator learns, and what the operator answers.

use std::collections::HashMap;

use jiff::Timestamp;

use crate::model::alert::AlertKind;
#[cfg(doc)]
use crate::store::StoreError;
use crate::store::ops::alerts;
use crate::store::{AlertNote, AlertRow, Control, ControlKind, Leader, NewAlert, Result, Store};

impl Store {
    /// Raises an alert unless it is open already. `true` if it is new. An
    /// orchestrator that acts names its lease; what a daemon sees by itself
    /// needs none.
    ///
    /// # Errors
    /// [`StoreError::NotLeading`].
    pub async fn raise_alert(
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

    /// Ends an alert. `true` if it was open. The leader as in
    /// [`Store::raise_alert`].
    ///
    /// # Errors
    /// [`StoreError::NotLeading`].
    pub async fn recover_alert(
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

    /// Alerts that are open, and those that began or ended and were not announced.
    pub async fn open_alerts(&self) -> Result<Vec<AlertRow>> {
        self.reads
            .read("looking at alerts", |rows| rows.open_alerts())
            .await
    }

    /// The newest alerts, newest last.
    pub async fn alerts(&self, limit: u32) -> Result<Vec<AlertRow>> {
        self.reads
            .read("listing alerts", move |rows| rows.newest_alerts(limit))
            .await
    }

    /// Notes what was announced, all of it or nothing. A note about an alert that is
    /// gone has no effect.
    ///
    /// # Errors
    /// [`StoreError::NotLeading`].
    pub async fn note_alerts(&self, leader: &Leader, notes: &[AlertNote]) -> Result<()> {
        if notes.is_empty() {
            return Ok(());
        }
        let (leader, notes) = (leader.clone(), notes.to_vec());
        self.normal
            .write("recording sent alerts", move |transaction| {
                alerts::note(transaction, &leader, &notes)
            })
            .await
    }

    /// Says something to the orchestrator, until an end.
    pub async fn set_control(&self, control: &Control) -> Result<()> {
        let control = control.clone();
        self.full
            .write("recording an order", move |transaction| {
                alerts::set_control(transaction, &control)
            })
            .await
    }

    /// Takes it back. `false` if it had not been said.
    pub async fn clear_control(
        &self,
        kind: ControlKind,
        subject: &str,
        now: Timestamp,
    ) -> Result<bool> {
        let subject = subject.to_owned();
        self.full
            .write("ending an order", move |transaction| {
                alerts::clear_control(transaction, kind, &subject, now)
            })
            .await
    }

    /// What holds now.
    pub async fn controls(&self, now: Timestamp) -> Result<Vec<Control>> {
        self.reads
            .read("reading orders", move |rows| rows.controls(now))
            .await
    }

    /// Tasks by state, for `status`.
    pub async fn task_counts(&self) -> Result<HashMap<String, u64>> {
        self.reads
            .read("counting tasks", |rows| rows.task_counts())
            .await
    }
}
