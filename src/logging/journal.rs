//! The journal's layer: `tracing-journald`, told what it cannot know.
//!
//! Its fields all get a prefix (`MCP_`), which `MESSAGE_ID` must not have. But
//! a layer may carry fields of its own with every record, and these as they
//! are: so there is one layer for ordinary records, and one for each event that
//! has an id, made when that event first happens.

use std::io;
use std::sync::OnceLock;

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Subscriber};
use tracing_journald::{Priority, PriorityMappings};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

use super::events::{self, EVENTS};

/// See the module.
pub(super) struct Journal {
    role: &'static str,
    ordinary: tracing_journald::Layer,
    /// As `EVENTS` are.
    with_id: Vec<OnceLock<tracing_journald::Layer>>,
}

impl Journal {
    /// Fails where no journal listens.
    pub(super) fn new(role: &'static str) -> io::Result<Self> {
        Ok(Self {
            role,
            ordinary: layer(role, None)?,
            with_id: EVENTS.iter().map(|_| OnceLock::new()).collect(),
        })
    }

    /// The layer for this event.
    fn of(&self, event: &Event<'_>) -> &tracing_journald::Layer {
        let mut name = Name(None);
        event.record(&mut name);
        let Some(index) = name.0 else {
            return &self.ordinary;
        };
        let (Some(cell), Some(id)) = (self.with_id.get(index), EVENTS[index].message_id) else {
            return &self.ordinary;
        };
        if let Some(layer) = cell.get() {
            return layer;
        }
        match layer(self.role, Some(id)) {
            Ok(layer) => cell.get_or_init(|| layer),
            // No descriptor to be had: without its id it is still a record.
            Err(_) => &self.ordinary,
        }
    }
}

fn layer(role: &str, message_id: Option<&str>) -> io::Result<tracing_journald::Layer> {
    let fields = [("MCP_ROLE", Some(role)), ("MESSAGE_ID", message_id)];
    let fields = fields
        .into_iter()
        .filter_map(|(name, value)| Some((name, value?)));
    Ok(tracing_journald::layer()?
        // A field `session` of an event becomes MCP_SESSION.
        .with_field_prefix(Some("MCP".into()))
        .with_syslog_identifier("mcp-bridged".into())
        .with_custom_fields(fields)
        // Its own choice makes every record of an ordinary day a notice.
        .with_priority_mappings(PriorityMappings {
            info: Priority::Informational,
            debug: Priority::Debug,
            ..PriorityMappings::new()
        }))
}

/// Which of `EVENTS` a record is.
struct Name(Option<usize>);

impl Visit for Name {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "event" {
            self.0 = events::position(value);
        }
    }

    fn record_debug(&mut self, _: &Field, _: &dyn std::fmt::Debug) {}
}

/// Spans are one layer's business; their fields stand where all of them look.
impl<S> Layer<S> for Journal
where
    S: Subscriber + for<'span> LookupSpan<'span>,
{
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        self.ordinary.on_new_span(attributes, id, context);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        self.ordinary.on_record(id, values, context);
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        self.of(event).on_event(event, context);
    }
}
