//! What a finding says to people: one sentence, no message and no secret.

use std::time::Duration;

use super::fleet::Known;
use crate::model::health::Health;
use crate::model::observer::Change;
use crate::text;

/// What was seen of a session, for an alert, a notice and the log.
pub(super) fn of_change(known: &Known, change: &Change, stalled_after: Duration) -> String {
    let who = format!("{} ({})", known.name(), known.row.role);
    let silent = text::long_duration(change.silent_for);
    let holds = holds(known);
    match change.to {
        Health::NeverStarted => format!("{who} gave no sign of life since it was made"),
        Health::Stalled => format!(
            "{who} owes{holds} and has done nothing for {}",
            text::long_duration(stalled_after)
        ),
        Health::Lost => format!("{who} is lost: silent for {silent}{holds}"),
        Health::Exited => format!("{who} has exited: its agent's process ended{holds}"),
        _ => match change.from {
            Health::Lost | Health::Exited => format!("{who} is back"),
            Health::NeverStarted => format!("{who} has started"),
            _ => format!("{who} moves again"),
        },
    }
}

/// ` (2 tasks, 3 unread messages)`, or nothing.
fn holds(known: &Known) -> String {
    let counts = [
        (u64::from(known.row.open_tasks), "task"),
        (known.row.unread, "unread message"),
    ];
    let parts: Vec<String> = counts
        .into_iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, what)| text::count(count, what))
        .collect();
    if parts.is_empty() {
        String::new()
    } else {
        format!(" ({})", parts.join(", "))
    }
}
