//! The journal: one line with the fields that an operator filters on.
//!
//! `MESSAGE_ID` has no prefix, which the logging layer cannot do, so an alert
//! goes to journald's own socket, by its native protocol: a datagram of
//! `FIELD=value` lines (systemd.io/JOURNAL_NATIVE_PROTOCOL). Off systemd, and
//! where that socket does not take it, it is an ordinary line of the log.

use std::io;
use std::os::unix::net::UnixDatagram;
use std::path::Path;

use tracing::{debug, error, info, warn};

use crate::logging;
use crate::model::alert::{Alert, Edge, Severity};

const SOCKET: &str = "/run/systemd/journal/socket";

/// Tells it. Never waits: a journal that does not read is passed by.
pub(super) fn tell(alert: &Alert) {
    if logging::journal_reads_stderr() {
        match send(Path::new(SOCKET), alert, logging::role()) {
            Ok(()) => return,
            Err(error) => debug!(%error, "the journal's socket did not take an alert"),
        }
    }
    log(alert);
}

/// What happened, for `MCP_EVENT` and the log alike.
fn event(alert: &Alert) -> &'static str {
    match alert.edge {
        Edge::Raised => "alert-raised",
        Edge::Reminder => "alert-reminder",
        Edge::Recovered => "alert-recovered",
    }
}

fn send(socket: &Path, alert: &Alert, role: Option<&str>) -> io::Result<()> {
    let datagram = UnixDatagram::unbound()?;
    datagram.set_nonblocking(true)?;
    datagram.send_to(&message(alert, role), socket)?;
    Ok(())
}

fn message(alert: &Alert, role: Option<&str>) -> Vec<u8> {
    let mut message = Vec::new();
    let mut field = |name: &str, value: &str| append(&mut message, name, value);
    field("MESSAGE", &alert.line());
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
    }
    if let Some(task) = alert.task {
        field("MCP_TASK", &task.to_string());
    }
    message
}

/// A value with a line's end in it is given with its length, so that nobody's
/// text makes a field of its own.
fn append(message: &mut Vec<u8>, name: &str, value: &str) {
    message.extend_from_slice(name.as_bytes());
    if value.contains('\n') {
        message.push(b'\n');
        message.extend_from_slice(&(value.len() as u64).to_le_bytes());
    } else {
        message.push(b'=');
    }
    message.extend_from_slice(value.as_bytes());
    message.push(b'\n');
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
                task = alert.task,
                "{}",
                alert.line()
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

    /// Reads a datagram as journald does.
    fn fields(mut rest: &[u8]) -> BTreeMap<String, String> {
        let mut fields = BTreeMap::new();
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("text");
        while !rest.is_empty() {
            let end = rest.iter().position(|b| *b == b'\n').expect("a line");
            let line = text(&rest[..end]);
            rest = &rest[end + 1..];
            let (name, value) = match line.split_once('=') {
                Some((name, value)) => (name.to_owned(), value.to_owned()),
                None => {
                    let (length, after) = rest.split_at(8);
                    let length = u64::from_le_bytes(length.try_into().expect("8 bytes"));
                    let (value, after) = after.split_at(usize::try_from(length).expect("small"));
                    assert_eq!(after[0], b'\n');
                    rest = &after[1..];
                    (line, text(value))
                }
            };
            assert!(fields.insert(name.clone(), value).is_none(), "{name} twice");
        }
        fields
    }

    fn received(alert: &Alert) -> BTreeMap<String, String> {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("socket");
        let socket = UnixDatagram::bind(&path).expect("a socket");
        send(&path, alert, Some("orchestrator")).expect("sent");
        let mut datagram = vec![0; 65536];
        let length = socket.recv(&mut datagram).expect("received");
        fields(&datagram[..length])
    }

    #[test]
    fn the_socket_gets_every_field() {
        let listed: Vec<String> = received(&alert())
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
        MCP_ROLE=orchestrator
        MCP_SESSION=conv_0123456789abcdef/b
        MCP_SUBJECT=backend-1/b
        MCP_TASK=17
        MESSAGE=lost: backend-1/b: silent for 20 seconds; see whether its machine and mcp-bridged on it run
        MESSAGE_ID=53d4582334d54287b95e2c03a3d9da67
        PRIORITY=3
        SYSLOG_IDENTIFIER=mcp-bridged
        ");
    }

    #[test]
    fn what_is_over_is_a_notice_with_its_own_id() {
        let over = Alert {
            edge: Edge::Recovered,
            session: None,
            task: None,
            ..alert()
        };
        let fields = received(&over);
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
        let fields = received(&forged);
        assert_eq!(fields["MCP_SUBJECT"], forged.subject);
        assert_eq!(fields["PRIORITY"], "3");
        assert_eq!(fields["MCP_SESSION"], "conv_0123456789abcdef/b");
        assert!(!fields["MESSAGE"].contains('\n') && !fields.contains_key("_UID"));
    }

    #[test]
    fn a_socket_that_nobody_reads_is_passed_by() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("socket");
        let _full = UnixDatagram::bind(&path).expect("a socket");
        // More than any queue holds; a send that waits would never return.
        let refused = (0..100_000).find_map(|_| send(&path, &alert(), None).err());
        let kind = refused.map(|error| error.kind());
        assert_eq!(kind, Some(io::ErrorKind::WouldBlock));
    }
}
