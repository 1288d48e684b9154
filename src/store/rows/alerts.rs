//! Rows of ours about alerts, and about what operators said.

use std::collections::HashMap;

use jiff::Timestamp;

use crate::model::alert::AlertKind;
use crate::model::{SessionKey, TaskId};
use crate::store::{AlertNote, AlertRow, Control, ControlKind, Leader, Result};

/// An alert to be raised.
#[derive(Debug, Clone, Copy)]
pub struct Raise<'a> {
    /// What it is.
    pub kind: AlertKind,
    /// What it is about.
    pub subject: &'a str,
    /// The session, if it is about one.
    pub session: Option<&'a SessionKey>,
    /// The task, if it is about one.
    pub task: Option<TaskId>,
    /// For people.
    pub text: &'a str,
    /// A daemon's name.
    pub by: &'a str,
}

/// Operations on alerts, and on the words of operators.
pub trait AlertRows {
    /// Raises an alert, unless one of its kind is open for its subject. Whether it
    /// is new.
    ///
    /// # Errors
    /// The engine's.
    fn raise(&mut self, alert: &Raise<'_>, now: Timestamp) -> Result<bool>;

    /// Notes that all of the open alert of this kind is told by the daemon that
    /// raised it.
    ///
    /// # Errors
    /// The engine's.
    fn note_all_told(&mut self, kind: AlertKind, subject: &str) -> Result<()>;

    /// Ends the open alert of this kind about the subject. Whether there was one.
    ///
    /// # Errors
    /// The engine's.
    fn recover(&mut self, kind: AlertKind, subject: &str, now: Timestamp) -> Result<bool>;

    /// Alerts that are open or not told to their end, oldest first.
    ///
    /// # Errors
    /// The engine's.
    fn open_alerts(&mut self) -> Result<Vec<AlertRow>>;

    /// The newest alerts, newest last.
    ///
    /// # Errors
    /// The engine's.
    fn newest_alerts(&mut self, limit: u32) -> Result<Vec<AlertRow>>;

    /// Notes what was told of an alert.
    ///
    /// # Errors
    /// The engine's.
    fn note_told(&mut self, note: &AlertNote) -> Result<()>;

    /// Writes what an operator said, in the place of what stood there.
    ///
    /// # Errors
    /// The engine's.
    fn set_control(&mut self, control: &Control) -> Result<()>;

    /// Deletes what an operator said; returns its end.
    ///
    /// # Errors
    /// The engine's.
    fn delete_control(&mut self, kind: ControlKind, subject: &str) -> Result<Option<Timestamp>>;

    /// What holds at `now`.
    ///
    /// # Errors
    /// The engine's.
    fn controls(&mut self, now: Timestamp) -> Result<Vec<Control>>;

    /// Whether this leader acts; if not, the epoch of the one who does.
    ///
    /// # Errors
    /// The engine's.
    fn acts(&mut self, leader: &Leader) -> Result<std::result::Result<(), i64>>;

    /// How many tasks stand in each state.
    ///
    /// # Errors
    /// The engine's.
    fn task_counts(&mut self) -> Result<HashMap<String, u64>>;
}
