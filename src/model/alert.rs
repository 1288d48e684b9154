//! What is announced to the operator, and when again: pure.
//!
//! Alerts are edges: one when something turns for the worse, one when it is
//! well again, and a reminder at a long, growing interval in between.

use std::time::Duration;

use jiff::Timestamp;
use serde::ser::{Serialize, Serializer};

pub use self::kind::{AlertKind, Edge, Severity};
use super::ids::SessionKey;

mod kind;

/// One edge of one trouble, as the operator hears of it. Holds no message and
/// no secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alert {
    /// The trouble's own: its edges share it. With `edge` and `reminders` it
    /// tells a repetition from news.
    pub id: String,
    /// What happened.
    pub kind: AlertKind,
    /// Whether it began, lasts or is over.
    pub edge: Edge,
    /// What it is about: `backend-1/b`, `task 17`.
    pub subject: String,
    /// The session, if it is about one.
    pub session: Option<SessionKey>,
    /// The task, if it is about one.
    pub task: Option<i64>,
    /// One sentence for people.
    pub text: String,
    /// When it began, by the wall clock of `daemon`.
    pub since: Timestamp,
    /// When this edge was.
    pub at: Timestamp,
    /// Reminders so far, this one included.
    pub reminders: u32,
    /// Who says it: `host:instance`, or `host:user/instance` of a user's own.
    pub daemon: String,
}

impl Alert {
    /// How bad it is; what is over is good news.
    #[must_use]
    pub fn severity(&self) -> Severity {
        match self.edge {
            Edge::Raised | Edge::Reminder => self.kind.severity(),
            Edge::Recovered => Severity::Notice,
        }
    }

    /// `MESSAGE_ID` of the journal: the kind's, or the one for all that is over.
    #[must_use]
    pub fn message_id(&self) -> &'static str {
        match self.edge {
            Edge::Raised | Edge::Reminder => self.kind.message_id(),
            Edge::Recovered => kind::RECOVERED,
        }
    }

    /// What people call the session, if it is about one: by its label, or by its
    /// id where the subject is another thing.
    #[must_use]
    pub fn session_name(&self) -> Option<String> {
        let session = self.session.as_ref()?;
        let named = self.subject.ends_with(&format!("/{}", session.side));
        Some(match named {
            true => self.subject.clone(),
            false => session.to_string(),
        })
    }

    /// What a person can do, while there is something to do.
    #[must_use]
    pub fn remedy(&self) -> Option<&'static str> {
        (self.edge != Edge::Recovered).then(|| self.kind.remedy())
    }

    /// Everything in words: `stalled: backend-1/b: 2 unread messages for
    /// 3 minutes; look at its agent`. A role or a task's title in it is another
    /// party's text, as it was written.
    #[must_use]
    pub fn line(&self) -> String {
        let mut line = match self.edge {
            Edge::Raised => format!("{}: ", self.kind),
            Edge::Reminder => format!("still {}: ", self.kind),
            Edge::Recovered => format!("recovered ({}): ", self.kind),
        };
        line += &format!("{}: {}", self.subject, self.text);
        if let Some(remedy) = self.remedy() {
            line += "; ";
            line += remedy;
        }
        line
    }
}

/// The JSON of an alert. Fields are added, never renamed or taken away; those
/// of a session, a task or a remedy are absent where there is none.
#[derive(serde::Serialize)]
struct Json<'a> {
    /// Tells alerts from other things that may be sent one day.
    event: &'static str,
    id: &'a str,
    kind: &'static str,
    edge: &'static str,
    severity: &'static str,
    subject: &'a str,
    #[serde(flatten)]
    session: Option<&'a SessionKey>,
    #[serde(skip_serializing_if = "Option::is_none")]
    task: Option<i64>,
    text: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    remedy: Option<&'static str>,
    since: Timestamp,
    at: Timestamp,
    reminders: u32,
    daemon: &'a str,
}

impl Serialize for Alert {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Json {
            event: "alert",
            id: &self.id,
            kind: self.kind.as_str(),
            edge: self.edge.as_str(),
            severity: self.severity().as_str(),
            subject: &self.subject,
            session: self.session.as_ref(),
            task: self.task,
            text: &self.text,
            remedy: self.remedy(),
            since: self.since,
            at: self.at,
            reminders: self.reminders,
            daemon: &self.daemon,
        }
        .serialize(serializer)
    }
}

/// When to remind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReminderPolicy {
    /// From the alert to its first reminder.
    pub after: Duration,
    /// The longest time between two.
    pub max: Duration,
}

/// From the alert, or its last reminder, to the next one; doubles each time.
#[must_use]
pub fn next_reminder(reminders_so_far: u32, policy: &ReminderPolicy) -> Duration {
    policy
        .after
        .saturating_mul(2_u32.saturating_pow(reminders_so_far))
        .min(policy.max)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn alert(edge: Edge) -> Alert {
        Alert {
            id: "0123456789abcdef".into(),
            kind: AlertKind::Stalled,
            edge,
            subject: "backend-1/b".into(),
            session: Some("conv_0123456789abcdef/b".parse().expect("a session")),
            task: Some(17),
            text: "2 unread messages, no activity for 2 minutes".into(),
            since: Timestamp::from_second(1_763_049_765).expect("in range"),
            at: Timestamp::from_second(1_763_053_365).expect("in range"),
            reminders: u32::from(edge == Edge::Reminder),
            daemon: "host-1:orchestrator".into(),
        }
    }

    /// So do those who take the JSON.
    #[test]
    fn the_json_does_not_change() {
        let json = |alert: &Alert| serde_json::to_string_pretty(alert).expect("JSON");
        insta::assert_snapshot!(json(&alert(Edge::Reminder)), @r#"
        {
          "event": "alert",
          "id": "0123456789abcdef",
          "kind": "stalled",
          "edge": "reminder",
          "severity": "warning",
          "subject": "backend-1/b",
          "conversation": "conv_0123456789abcdef",
          "session": "b",
          "task": 17,
          "text": "2 unread messages, no activity for 2 minutes",
          "remedy": "look at its agent: it may hang, or wait for its user",
          "since": "2025-11-13T16:02:45Z",
          "at": "2025-11-13T17:02:45Z",
          "reminders": 1,
          "daemon": "host-1:orchestrator"
        }
        "#);
        let over = Alert {
            session: None,
            task: None,
            ..alert(Edge::Recovered)
        };
        insta::assert_snapshot!(json(&over), @r#"
        {
          "event": "alert",
          "id": "0123456789abcdef",
          "kind": "stalled",
          "edge": "recovered",
          "severity": "notice",
          "subject": "backend-1/b",
          "text": "2 unread messages, no activity for 2 minutes",
          "since": "2025-11-13T16:02:45Z",
          "at": "2025-11-13T17:02:45Z",
          "reminders": 0,
          "daemon": "host-1:orchestrator"
        }
        "#);
    }

    #[test]
    fn alert_line_is_one_line_and_names_its_edge() {
        let line = |edge| alert(edge).line();
        assert_eq!(
            line(Edge::Raised),
            "stalled: backend-1/b: 2 unread messages, no activity for 2 minutes; \
             look at its agent: it may hang, or wait for its user"
        );
        assert!(line(Edge::Reminder).starts_with("still stalled: "));
        assert_eq!(
            line(Edge::Recovered),
            "recovered (stalled): backend-1/b: 2 unread messages, no activity for 2 minutes"
        );
    }

    #[test]
    fn recovery_has_an_id_of_its_own() {
        let id = |edge| alert(edge).message_id();
        assert_eq!(id(Edge::Raised), AlertKind::Stalled.message_id());
        assert_eq!(id(Edge::Reminder), AlertKind::Stalled.message_id());
        assert_eq!(id(Edge::Recovered), kind::RECOVERED);
    }

    #[test]
    fn reminders_grow_to_the_longest() {
        let policy = ReminderPolicy {
            after: Duration::from_hours(1),
            max: Duration::from_hours(24),
        };
        let hours: Vec<u64> = [0, 1, 2, 3, 4, 5, 6, u32::MAX]
            .iter()
            .map(|&n| next_reminder(n, &policy).as_secs() / 3600)
            .collect();
        assert_eq!(hours, [1, 2, 4, 8, 16, 24, 24, 24]);
    }

    proptest! {
        #[test]
        fn reminders_never_come_faster_and_never_beyond_the_longest(
            after in 1_u64..10_000_000, more in 0_u64..10_000_000, n in 0_u32..100,
        ) {
            let policy = ReminderPolicy {
                after: Duration::from_millis(after),
                max: Duration::from_millis(after + more),
            };
            let (this, next) = (next_reminder(n, &policy), next_reminder(n + 1, &policy));
            prop_assert!(policy.after <= this && this <= next && next <= policy.max);
            prop_assert!(next == policy.max || next == this * 2);
        }
    }
}
