//! What a finding says to people: one sentence, no message and no secret.

use std::time::Duration;

use super::fleet::Known;
use crate::model::health::Health;
use crate::model::observer::Change;
use crate::text;

/// What was seen of a session: for an alert, which names the session itself, and as a
/// sentence for a notice and the log.
pub(super) fn of_change(
    known: &Known,
    change: &Change,
    stalled_after: Duration,
) -> (String, String) {
    let holds = holds(known);
    let (verdict, what) = match change.to {
        Health::NeverStarted => (
            "has not started",
            "no sign of life since it was created".to_owned(),
        ),
        Health::Stalled if known.is_stopped() => (
            "is stalled",
            format!("its agent's process is stopped (Ctrl-Z or SIGSTOP){holds}: continue it"),
        ),
        Health::Stalled => (
            "is stalled",
            format!(
                "has pending work{holds}, no activity for {}",
                text::long_duration(stalled_after)
            ),
        ),
        Health::Lost => (
            "is lost",
            format!(
                "silent for {}{holds}",
                text::long_duration(change.silent_for)
            ),
        ),
        Health::Exited => ("has exited", format!("its agent's process ended{holds}")),
        _ => (
            match change.from {
                Health::Lost | Health::Exited => "is back",
                Health::NeverStarted => "has started",
                _ => "is active again",
            },
            String::new(),
        ),
    };
    let mut sentence = format!("{} ({}) {verdict}", known.name(), known.row.role);
    if !what.is_empty() {
        sentence.push_str(": ");
        sentence.push_str(&what);
    }
    (what, sentence)
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
