//! Adapter `exec`: any command, the alert as JSON on its stdin, identifiers in
//! its environment, nothing in its arguments.

use crate::clock;
use crate::command::{self, Ended, on_one_line};
use crate::config::ExecSettings;
use crate::model::alert::Alert;
use crate::text::shown::shown;

use super::body;

pub(super) async fn run(settings: &ExecSettings, alert: &Alert) -> Result<String, String> {
    let mut input = body(alert, clock::now())?;
    input.push(b'\n');
    let ended = command::run(&command::Request {
        command: &settings.command,
        environment: &environment(alert),
        input,
        timeout: settings.timeout,
        output_limit: settings.output_limit,
    })
    .await;
    match ended {
        Ended::Success { output } => Ok(on_one_line(&output, usize::MAX)),
        failed => Err(failed.reason()),
    }
}

/// Empty where there is none, so that a variable of our own environment with
/// such a name is not taken for the alert's.
fn environment(alert: &Alert) -> [(&'static str, String); 8] {
    let session = alert.session.as_ref();
    let conversation = session.map(|session| session.conversation.to_string());
    let side = session.map(|session| session.side.to_string());
    let task = alert.task.map(|task| task.to_string());
    [
        ("MCP_BRIDGE_ALERT_ID", alert.id.clone()),
        ("MCP_BRIDGE_ALERT_KIND", alert.kind.to_string()),
        ("MCP_BRIDGE_ALERT_EDGE", alert.edge.to_string()),
        (
            "MCP_BRIDGE_ALERT_SEVERITY",
            alert.severity().as_str().to_owned(),
        ),
        // A NUL would keep the command from being started.
        (
            "MCP_BRIDGE_ALERT_SUBJECT",
            shown(&alert.subject).into_owned(),
        ),
        (
            "MCP_BRIDGE_ALERT_CONVERSATION",
            conversation.unwrap_or_default(),
        ),
        ("MCP_BRIDGE_ALERT_SESSION", side.unwrap_or_default()),
        ("MCP_BRIDGE_ALERT_TASK", task.unwrap_or_default()),
    ]
}
