//! Whom an alert tells, in either role.

use std::path::PathBuf;
use std::time::Duration;

use super::webhook_url::WebhookUrl;
use crate::setting::ExecSettings;

/// `[alert]`. The journal, or the log in its place, is told in any case.
#[derive(Debug, Clone, PartialEq)]
pub struct AlertSettings {
    /// Who else is told; all of them at once.
    pub adapters: Vec<AlertAdapterSettings>,
    /// From an alert to its first reminder, 10 s to 7 d.
    pub remind_after: Duration,
    /// The longest time between two reminders, up to 30 d and never below `remind_after`.
    pub remind_max: Duration,
    /// How long a worker sees no acting leader before it alerts, 1 s to 1 h. Of
    /// no meaning to an orchestrator.
    pub no_leader_after: Duration,
}

/// One way to tell the operator.
#[derive(Debug, Clone, PartialEq)]
pub enum AlertAdapterSettings {
    /// Runs a command.
    Exec(ExecSettings),
    /// Posts to a URL.
    Webhook(WebhookSettings),
}

impl AlertAdapterSettings {
    /// The adapter's name, as `alert.order` has it.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Exec(_) => "exec",
            Self::Webhook(_) => "webhook",
        }
    }
}

/// `[alert.webhook]`.
#[derive(Debug, Clone, PartialEq)]
pub struct WebhookSettings {
    /// Where to.
    pub address: WebhookAddress,
    /// The file with the key that signs, an absolute path, read at each alert;
    /// `None` signs nothing.
    pub secret_file: Option<PathBuf>,
    /// Those of its files that the service manager, which hands over such, has
    /// not handed over.
    pub not_handed_over: Vec<PathBuf>,
    /// After which one try has failed, from the look-up of the name to the
    /// answer, 100 ms to 60 s.
    pub timeout: Duration,
    /// How often it is tried in all, 1 to 20.
    pub tries: u32,
    /// Before the second try, 100 ms to 10 min; doubles, with jitter.
    pub backoff: Duration,
}

/// Where a webhook's URL stands.
#[derive(Debug, Clone, PartialEq)]
pub enum WebhookAddress {
    /// In the configuration.
    Url(WebhookUrl),
    /// In this file, an absolute path, read at each alert.
    File(PathBuf),
}
