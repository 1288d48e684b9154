//! The adapters, one line each.

use super::AlertAdapter;
use crate::setting::{RawDuration, adapters};

adapters! {
    /// One way to tell the operator.
    enum AlertAdapterSettings of AlertAdapter;

    /// `[alert]` as it stands.
    table RawAlert {
        order: Vec<String>,
        remind_after: RawDuration,
        remind_max: RawDuration,
        no_leader_after: RawDuration,
    }

    Exec(exec::ExecSettings) = RawExec "exec",
    Webhook(webhook::WebhookSettings) = RawWebhook "webhook",
}
