//! The journal: one line with the fields that an operator filters on.
//!
//! Its `MESSAGE_ID` is the alert's own, which no record of the log has, so it is
//! made here. Off systemd it is an ordinary line of the log.

use tracing::{error, info, warn};

use super::one_line;
use crate::logging::{self, Record};
use crate::model::alert::{Alert, Edge, Severity};

/// Tells it. Never waits for the journal.
pub(super) fn tell(alert: &Alert) {
    if !logging::alert_to_journal(record(alert, logging::role())) {
        log(alert);
    }
}

/// What happened, for `MCP_EVENT` and the log alike.
fn event(alert: &Alert) -> &'static str {
    match alert.edge {
        Edge::Raised => "alert-raised",
        Edge::Reminder => "alert-reminder",
        Edge::Recovered => "alert-recovered",
    }
}

fn record(alert: &Alert, role: Option<&str>) -> Record {
    let mut record = Record::default();
    let mut field = |name: &str, value: &str| record.field(name, value);
    field("MESSAGE", &one_line(alert));
    field("MESSAGE_ID", alert.message_id());
    field("PRIORITY", &alert.severity().priority().to_string());
    field("SYSLOG_IDENTIFIER", "mcp-bridged");
    if let Some(role) = role {
        field("MCP_ROLE", role);
    }
    field("MCP_DUTY", "alerts");
    field("MCP_EVENT", event(alert));
    field("MCP_ALERT", alert.kind.as_str());
    field("MCP_ALERT_ID", &alert.id);
    field("MCP_SUBJECT", &alert.subject);
    field("MCP_DAEMON", &alert.daemon);
    if let Some(session) = &alert.session {
        field("MCP_CONVERSATION", &session.conversation.to_string());
        // As everywhere else in our log: the whole name of the session.
        field("MCP_SESSION", &session.to_string());
        field("MCP_LABEL", &alert.session_name().unwrap_or_default());
    }
    if let Some(task) = alert.task {
        field("MCP_TASK", &task.to_string());
    }
    record
}

fn log(alert: &Alert) {
    let session = alert.session.as_ref();
    // A macro fixes its level, so there is one for each.
    macro_rules! say {
        ($level:ident) => {
            $level!(
                event = event(alert),
                alert = alert.kind.as_str(),
                alert_id = alert.id,
                conversation =
                    session.map(|session| tracing::field::display(&session.conversation)),
                session = session.map(tracing::field::display),
                label = alert.session_name(),
                task = alert.task,
                "{}",
                one_line(alert)
            )
        };
    }
    match alert.severity() {
        Severity::Critical | Severity::Error => say!(error),
        Severity::Warning => say!(warn),
        Severity::Notice => say!(info),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use jiff::Timestamp;

    use super::*;
    use crate::model::alert::AlertKind;

    fn alert() -> Alert {
        Alert {
            id: "0123456789abcdef".into(),
            kind: AlertKind::Lost,
            edge: Edge::Raised,
            subject: "backend-1/b".into(),
            session: Some("conv_0123456789abcdef/b".parse().expect("a session")),
            task: Some(17),
            text: "silent for 20 seconds".into(),
            since: Timestamp::UNIX_EPOCH,
            at: Timestamp::UNIX_EPOCH,
            reminders: 0,
            daemon: "host-1:orchestrator".into(),
        }
    }

    fn fields(alert: &Alert) -> BTreeMap<String, String> {
        logging::fields(&record(alert, Some("orchestrator")).into_bytes())
    }

    #[test]
    fn the_record_has_every_field() {
        let listed: Vec<String> = fields(&alert())
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        insta::assert_snapshot!(listed.join("\n"), @"
        MCP_ALERT=lost
        MCP_ALERT_ID=0123456789abcdef
        MCP_CONVERSATION=conv_0123456789abcdef
        MCP_DAEMON=host-1:orchestrator
        MCP_DUTY=alerts
        MCP_EVENT=alert-raised
        MCP_LABEL=backend-1/b
        MCP_ROLE=orchestrator
        MCP_SESSION=conv_0123456789abcdef/b
        MCP_SUBJECT=backend-1/b
        MCP_TASK=17
        MESSAGE=lost: backend-1/b: silent for 20 seconds; check that its machine and mcp-bridged there run
        MESSAGE_ID=53d4582334d54287b95e2c03a3d9da67
        PRIORITY=3
        SYSLOG_IDENTIFIER=mcp-bridged
        ");
    }

    #[test]
    fn recovery_is_a_notice_with_its_own_id() {
        let over = Alert {
            edge: Edge::Recovered,
            session: None,
            task: None,
            ..alert()
        };
        let fields = fields(&over);
        assert_eq!(fields["PRIORITY"], "5");
        assert_eq!(fields["MESSAGE_ID"], over.message_id());
        assert_ne!(fields["MESSAGE_ID"], alert().message_id());
        assert_eq!(fields["MCP_EVENT"], "alert-recovered");
        assert_eq!(fields["MCP_ALERT"], "lost");
        for absent in ["MCP_SESSION", "MCP_CONVERSATION", "MCP_TASK"] {
            assert!(!fields.contains_key(absent), "{absent}");
        }
    }

    #[test]
    fn no_text_makes_a_field_of_its_own() {
        let forged = Alert {
            subject: "x\nPRIORITY=0\nMCP_SESSION=other".into(),
            text: "y\n_UID=0".into(),
            ..alert()
        };
        let fields = fields(&forged);
        assert_eq!(fields["MCP_SUBJECT"], forged.subject);
        assert_eq!(fields["PRIORITY"], "3");
        assert_eq!(fields["MCP_SESSION"], "conv_0123456789abcdef/b");
        assert!(!fields["MESSAGE"].contains('\n') && !fields.contains_key("_UID"));
    }
}
