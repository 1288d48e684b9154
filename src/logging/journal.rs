//! The journal's layer: a record's fields, as `MCP_NAME`, and with the
//! `MESSAGE_ID` of its event.

use std::fmt::{Debug, Write};

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

use super::events::{self, EVENTS};
use super::native::Record;
use super::queue::{Queue, Rank};

/// See the module.
pub(super) struct Journal {
    role: &'static str,
    queue: Queue,
}

impl Journal {
    pub(super) fn new(role: &'static str, queue: Queue) -> Self {
        Self { role, queue }
    }
}

/// The journal's `PRIORITY`.
fn priority(level: Level) -> &'static str {
    match level {
        Level::ERROR => "3",
        Level::WARN => "4",
        Level::INFO => "6",
        _ => "7",
    }
}

/// A span's fields, kept with it for the records within.
struct Fields(Record);

impl<S> Layer<S> for Journal
where
    S: Subscriber + for<'span> LookupSpan<'span>,
{
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut fields = Visitor::default();
        attributes.record(&mut fields);
        if let Some(span) = context.span(id) {
            span.extensions_mut().insert(Fields(fields.record));
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut fields = Visitor::default();
        event.record(&mut fields);
        let mut record = fields.record;
        if let Some(id) = fields.event.and_then(|event| EVENTS[event].message_id) {
            record.field("MESSAGE_ID", id);
        }
        record.field("PRIORITY", priority(*event.metadata().level()));
        record.field("SYSLOG_IDENTIFIER", super::IDENTIFIER);
        record.field("MCP_ROLE", self.role);
        for span in context.event_scope(event).into_iter().flatten() {
            if let Some(Fields(fields)) = span.extensions().get() {
                record.extend(fields);
            }
        }
        record.field("TARGET", event.metadata().target());
        if let Some(file) = event.metadata().file() {
            record.field("CODE_FILE", file);
        }
        if let Some(line) = event.metadata().line() {
            record.field("CODE_LINE", &line.to_string());
        }
        self.queue.push(record.into_bytes(), Rank::Ordinary);
    }
}

/// Collects the fields of a record or a span.
#[derive(Default)]
struct Visitor {
    record: Record,
    /// Which of `EVENTS` it is.
    event: Option<usize>,
}

impl Visit for Visitor {
    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            // The journal's own.
            "message" => self.record.field("MESSAGE", value),
            name => {
                if name == "event" {
                    self.event = events::position(value);
                }
                self.record.field(&journal_name(name), value);
            }
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let mut text = String::new();
        // Nothing fails that writes into memory, unless the value does.
        let _ = write!(text, "{value:?}");
        self.record_str(field, &text);
    }
}

/// `MCP_` and the field's name, of the characters that the journal allows.
fn journal_name(name: &str) -> String {
    let allowed = name.chars().map(|c| match c {
        c if c.is_ascii_alphanumeric() => c.to_ascii_uppercase(),
        _ => '_',
    });
    "MCP_".chars().chain(allowed).collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixDatagram;
    use std::time::Duration;

    use tracing_subscriber::layer::SubscriberExt;

    use super::*;
    use crate::logging::native::{Socket, fields};
    use crate::logging::{LAST_WORDS, duty_span};

    #[test]
    fn record_has_its_fields_its_duty_and_its_id() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("socket");
        let reader = UnixDatagram::bind(&path).expect("a socket");
        let socket = Socket::connect(&path, "worker").expect("connected");
        let queue = Queue::spawn(socket).expect("a thread");
        let journal = Journal::new("worker", queue.clone());
        let subscriber = tracing_subscriber::registry().with(journal);
        tracing::subscriber::with_default(subscriber, || {
            let forged = "x\nPRIORITY=0";
            duty_span("heartbeat").in_scope(|| {
                tracing::warn!(event = "session-exited", session = %forged, "it {}", "ended");
            });
        });
        assert!(queue.flush(Duration::from_secs(30)));
        let mut datagram = [0; 4096];
        let length = reader.recv(&mut datagram).expect("received");
        let mut fields = fields(&datagram[..length]);
        assert_eq!(fields.remove("CODE_FILE").as_deref(), Some(file!()));
        assert!(fields.remove("CODE_LINE").is_some());
        let listed: Vec<String> = fields
            .iter()
            .map(|(name, value)| format!("{name}={value:?}"))
            .collect();
        insta::assert_snapshot!(listed.join("\n"), @r#"
        MCP_DUTY="heartbeat"
        MCP_EVENT="session-exited"
        MCP_ROLE="worker"
        MCP_SESSION="x\nPRIORITY=0"
        MESSAGE="it ended"
        MESSAGE_ID="a6394cae5bb84b7ca2791736f31d879b"
        PRIORITY="4"
        SYSLOG_IDENTIFIER="mcp-bridged"
        TARGET="mcp_bridge::logging::journal::tests"
        "#);
    }

    #[test]
    fn journal_that_stands_still_holds_no_record_up() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("socket");
        // Nothing reads there.
        let reader = UnixDatagram::bind(&path).expect("a socket");
        let socket = Socket::connect(&path, "worker").expect("connected");
        let queue = Queue::spawn(socket).expect("a thread");
        let journal = Journal::new("worker", queue.clone());
        let subscriber = tracing_subscriber::registry().with(journal);
        const TOLD: u64 = 100_000;
        tracing::subscriber::with_default(subscriber, || {
            for number in 0..TOLD {
                tracing::info!(number, "told");
            }
        });
        assert!(!queue.flush(Duration::ZERO), "the journal stands still");
        let (mut came, mut missing) = (0, 0);
        let mut datagram = [0; 4096];
        while came + missing < TOLD {
            let length = reader.recv(&mut datagram).expect("received");
            let fields = fields(&datagram[..length]);
            match fields.get("MCP_COUNT") {
                Some(count) => missing += count.parse::<u64>().expect("a number"),
                None => came += 1,
            }
        }
        assert!(missing > 0 && came + missing == TOLD, "{came} {missing}");
        assert!(queue.flush(LAST_WORDS * 30));
    }
}
