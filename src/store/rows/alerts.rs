//! Rows of ours about alerts, and about what operators said.

use jiff::Timestamp;

use crate::model::alert::AlertKind;
use crate::model::{SessionKey, TaskId};
use crate::store::{AlertNote, AlertRow, Result};

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

    /// Whether an alert of this kind is open for the subject.
    ///
    /// # Errors
    /// The engine's.
    fn is_open(&mut self, kind: AlertKind, subject: &str) -> Result<bool>;

    /// Notes that all of the open alert of this kind is announced by the daemon that
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

    /// Alerts that are open or not announced to their end, oldest first.
    ///
    /// # Errors
    /// The engine's.
    fn open_alerts(&mut self) -> Result<Vec<AlertRow>>;

    /// The newest alerts, newest last.
    ///
    /// # Errors
    /// The engine's.
    fn newest_alerts(&mut self, limit: u32) -> Result<Vec<AlertRow>>;

    /// Notes what was announced of an alert.
    ///
    /// # Errors
    /// The engine's.
    fn note_told(&mut self, note: &AlertNote) -> Result<()>;
}
