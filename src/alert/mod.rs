//! Alerts: how they reach the operator. One file an adapter: its table in the
//! configuration, its keys in the documents, and what it does. A further adapter is a
//! file that implements `AlertAdapter` for its settings, and a line in `adapters`.
//!
//! Every alert goes to the journal, or to the log in its place, and to all configured
//! adapters at the same time, each with its own time limit and its own retries. Does
//! not know when an alert is due.

mod adapters;
mod exec;
mod journal;
mod settings;
mod webhook;

use std::path::PathBuf;

use async_trait::async_trait;
use futures_util::future::join_all;
use jiff::Timestamp;
use serde::Serialize;
use tracing::debug;

pub use adapters::AlertAdapterSettings;
pub(crate) use adapters::RawAlert;
pub use settings::AlertSettings;
pub(crate) use settings::{keys, settings};
pub use webhook::{InvalidWebhookUrl, WebhookAddress, WebhookSettings, WebhookUrl};

use crate::model::alert::{Alert, ReminderPolicy};
use crate::setting::Needs;
use crate::text::shown::shown;

/// One way to tell the operator: a table `[alert.NAME]`, and what is done with it.
#[async_trait]
pub(crate) trait AlertAdapter: Send + Sync {
    /// Tells, and returns what was answered, or why it could not, on one line. Never
    /// a URL, never a secret.
    async fn run(&self, alert: &Alert) -> Result<String, String>;

    /// Those of its files that the service manager, which hands over such, has not
    /// handed over.
    fn not_handed_over(&self) -> &[PathBuf] {
        &[]
    }

    /// What it needs of this machine.
    fn needs(&self) -> Needs<'_>;
}

/// An adapter that could not tell.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{adapter}: {why}")]
pub struct Failure {
    /// Its name, as `alert.order` has it.
    pub adapter: &'static str,
    /// Why, on one line, for people. Never a URL, never a secret.
    pub why: String,
}

/// What the adapters hand out: the alert, and when this try was.
#[derive(Debug, Serialize)]
struct Outgoing<'a> {
    #[serde(flatten)]
    alert: &'a Alert,
    /// Fresh with each try, so that an attacker who recorded one cannot pass it off as
    /// another later: it is signed with the rest.
    sent_at: Timestamp,
}

/// An alert on one line, which moves no terminal and no log.
#[must_use]
pub fn one_line(alert: &Alert) -> String {
    shown(&alert.line()).into_owned()
}

/// Sends to all configured adapters at once. The journal has it when this is polled for
/// the first time; an adapter that hangs holds up no other.
///
/// Takes as long as the slowest adapter: `exec` up to its timeout, `webhook` up
/// to its tries times its timeout and the pauses between them. Dropped, it kills
/// the command; a request that is under way ends at its own timeout.
///
/// # Errors
/// Each adapter that failed, in the order of the settings.
pub async fn deliver(settings: &AlertSettings, alert: &Alert) -> Result<(), Vec<Failure>> {
    journal::tell(alert);
    tell(settings.adapters.iter(), alert).await
}

/// Sends to the named adapters: they could not deliver before.
///
/// # Errors
/// As [`deliver`].
pub async fn deliver_again(
    settings: &AlertSettings,
    alert: &Alert,
    to: &[&str],
) -> Result<(), Vec<Failure>> {
    let adapters = settings.adapters.iter();
    tell(adapters.filter(|one| to.contains(&one.name())), alert).await
}

async fn tell(
    adapters: impl Iterator<Item = &AlertAdapterSettings>,
    alert: &Alert,
) -> Result<(), Vec<Failure>> {
    let told = adapters.map(|adapter| async move {
        let outcome = adapter.as_adapter().run(alert).await;
        let adapter = adapter.name();
        match outcome {
            Ok(said) => {
                debug!(adapter, id = alert.id, "sent an alert; it said: {said}");
                None
            }
            Err(why) => Some(Failure { adapter, why }),
        }
    });
    let failures: Vec<Failure> = join_all(told).await.into_iter().flatten().collect();
    match failures.is_empty() {
        true => Ok(()),
        false => Err(failures),
    }
}

/// When to remind, by these settings.
#[must_use]
pub fn reminders(settings: &AlertSettings) -> ReminderPolicy {
    ReminderPolicy {
        after: settings.remind_after,
        max: settings.remind_max,
    }
}

/// The JSON that every adapter hands out, without a line's end.
fn body(alert: &Alert, sent_at: Timestamp) -> Result<Vec<u8>, String> {
    serde_json::to_vec(&Outgoing { alert, sent_at }).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::alert::{AlertKind, Edge};

    #[test]
    fn a_line_obeys_no_text_of_another_party() {
        let odd = Alert {
            id: "0123456789abcdef".into(),
            kind: AlertKind::Lost,
            edge: Edge::Raised,
            subject: "backend-1/b".into(),
            session: None,
            task: None,
            text: "role x\nPRIORITY=0\u{1b}[2J\u{202e}\u{e0041}".into(),
            since: Timestamp::UNIX_EPOCH,
            at: Timestamp::UNIX_EPOCH,
            reminders: 0,
            daemon: "host-1:orchestrator".into(),
        };
        let line = one_line(&odd);
        assert!(!line.contains(char::is_control));
        assert!(line.is_ascii(), "{line}");
    }
}
