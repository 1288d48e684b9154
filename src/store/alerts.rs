//! Alerts as the store keeps them, and what operators tell the orchestrator.

use std::time::Duration;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::alert::AlertKind;
use crate::model::session::session_name;
use crate::model::task::TaskId;
use crate::model::wire::{Word, word};
use crate::model::{Label, SessionKey};

/// How long telling an alert may take before it is worth a word.
const TELLING: Duration = Duration::from_mins(1);

/// An alert in the store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AlertRow {
    /// Its id.
    pub id: i64,
    /// What it is.
    #[serde(deserialize_with = "word")]
    pub kind: AlertKind,
    /// What it is about.
    pub subject: String,
    /// The session, if it is about one.
    pub session: Option<SessionKey>,
    /// The task, if it is about one.
    pub task: Option<TaskId>,
    /// For people.
    pub text: String,
    /// The daemon or duty that raised it.
    pub raised_by: String,
    /// When.
    pub raised_at: Timestamp,
    /// When its matter recovered.
    pub recovered_at: Option<Timestamp>,
    /// Number of reminders.
    pub reminders: u32,
    /// The conversation's label, if it is about a session.
    pub label: Option<Label>,
    /// Which of its edges was sent.
    #[serde(deserialize_with = "word")]
    pub told: ToldEdge,
}

/// Which edge of an alert was announced last.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum ToldEdge {
    /// None.
    None,
    /// Its beginning.
    Raised,
    /// Its end; or the daemon that raised it sends all of it.
    All,
}

impl AlertRow {
    /// Which one it is.
    #[must_use]
    pub fn reference(&self) -> AlertRef {
        AlertRef {
            id: self.id,
            raised_at: self.raised_at,
        }
    }

    /// Whether it should have been announced by now and was not: an adapter fails, its
    /// kind is muted, or no process acts.
    #[must_use]
    pub fn is_overdue(&self, now: Timestamp) -> bool {
        let (due, since) = match self.recovered_at {
            None => (ToldEdge::Raised, self.raised_at),
            Some(at) => (ToldEdge::All, at),
        };
        self.told < due && crate::text::elapsed(since, now) > TELLING
    }

    /// What people call what it is about.
    #[must_use]
    pub fn about(&self) -> String {
        match (&self.label, &self.session) {
            (Some(label), Some(session)) => session_name(Some(label), session),
            _ => self.subject.clone(),
        }
    }
}

/// An alert of the store. Its id alone would do, if no backup were ever brought
/// back: then a number is given again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct AlertRef {
    /// Its id.
    pub id: i64,
    /// When it was raised.
    pub raised_at: Timestamp,
}

/// What was announced of an alert.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Noted {
    /// Its beginning.
    Raised,
    /// Its end.
    Recovered,
    /// That it lasts, once more.
    Reminder,
}

/// A record that an alert was announced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AlertNote {
    /// Of which.
    pub alert: AlertRef,
    /// What.
    pub told: Noted,
}

/// An alert to be raised.
#[derive(Debug, Clone)]
pub struct NewAlert {
    /// What it is.
    pub kind: AlertKind,
    /// What it is about; one alert of a kind is open for a subject.
    pub subject: String,
    /// The session, if it is about one.
    pub session: Option<SessionKey>,
    /// For people.
    pub text: String,
    /// Who raises it: a daemon's name.
    pub by: String,
    /// Whether the process that raises it also announces it; otherwise the orchestrator
    /// does.
    pub told: bool,
}

/// Kinds of orders.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ControlKind {
    /// No new tasks for a session or a host, and no alert when it ends.
    Drain,
    /// No silent session is declared lost.
    Hold,
    /// One kind of alert is not sent.
    Mute,
    /// A word of a newer program: it stands in answers alone.
    #[serde(skip_deserializing)]
    #[schemars(skip)]
    Unknown,
}

impl Word for ControlKind {
    const UNKNOWN: Self = Self::Unknown;
}

impl Word for ToldEdge {
    /// It is later than all that this program knows.
    const UNKNOWN: Self = Self::All;
}

impl ControlKind {
    /// The word in the store.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Drain => "drain",
            Self::Hold => "hold",
            Self::Mute => "mute",
            Self::Unknown => "unknown",
        }
    }
}

/// An order of an operator, and when it ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Control {
    /// What.
    #[serde(deserialize_with = "word")]
    pub kind: ControlKind,
    /// For a drain `conv_.../b` or `host:NAME`, for a mute the kind of alert.
    pub subject: String,
    /// Since when.
    pub since: Timestamp,
    /// Until when.
    pub until: Timestamp,
}
