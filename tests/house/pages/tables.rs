//! Events and alerts, as the journal has them.

use mcp_bridge::logging::events::EVENTS;
use mcp_bridge::model::alert::AlertKind;
use roff::{Roff, bold, roman};

pub(crate) fn events(roff: &mut Roff) {
    for event in EVENTS {
        roff.control("TP", []);
        let priority = event.level.priority();
        let priority = priority.map_or("the alert's".to_owned(), |number| number.to_string());
        roff.text([bold(event.name), roman(format!(" (priority {priority})"))]);
        let mut words = event.about.to_owned();
        if !event.fields.is_empty() {
            words = format!("{words}; {}", event.fields);
        }
        if let Some(id) = event.message_id {
            words = format!("{words}. MESSAGE_ID={id}");
        }
        roff.text([roman(words)]);
    }
}

pub(crate) fn events_markdown() -> String {
    let mut table =
        "| `MCP_EVENT` | priority | | fields | `MESSAGE_ID` |\n|---|---|---|---|---|\n".to_owned();
    for event in EVENTS {
        let priority = event.level.priority();
        let priority = priority.map_or("its own".to_owned(), |number| number.to_string());
        let id = event
            .message_id
            .map(|id| format!("`{id}`"))
            .unwrap_or_default();
        let row = format!(
            "| `{}` | {priority} | {} | {} | {id} |\n",
            event.name, event.about, event.fields
        );
        table.push_str(&row.replace("|  |", "| |").replace("|  |", "| |"));
    }
    table
}

pub(crate) fn alerts(roff: &mut Roff) {
    for kind in AlertKind::ALL {
        roff.control("TP", []);
        let priority = kind.severity().priority();
        roff.text([
            bold(kind.as_str()),
            roman(format!(" (priority {priority})")),
        ]);
        roff.text([roman(format!(
            "What to do: {}. MESSAGE_ID={}",
            kind.remedy(),
            kind.message_id()
        ))]);
    }
}
