//! Adapter `exec`: any command, the pointer as JSON on its stdin, identifiers
//! in its environment, nothing in its arguments.

use crate::command::{self, Ended};
use crate::config::ExecSettings;

use super::{Pointer, Returned};

pub(super) async fn run(settings: &ExecSettings, pointer: &Pointer) -> Returned {
    let mut input = match serde_json::to_vec(pointer) {
        Ok(input) => input,
        Err(error) => {
            return Returned {
                failure: Some(error.to_string()),
                ..Returned::default()
            };
        }
    };
    input.push(b'\n');
    let ended = command::run(&command::Request {
        command: &settings.command,
        environment: &environment(pointer),
        input,
        timeout: settings.timeout,
        output_limit: settings.output_limit,
    })
    .await;
    let said = ended.said();
    let failure = match ended {
        Ended::Success { .. } => None,
        failed => Some(format!("the command {failed}")),
    };
    Returned { failure, said }
}

fn environment(pointer: &Pointer) -> [(&'static str, String); 7] {
    let label = pointer.label.as_ref().map(ToString::to_string);
    [
        (
            "MCP_BRIDGE_WAKE_CONVERSATION",
            pointer.session.conversation.to_string(),
        ),
        (super::SESSION_VARIABLE, pointer.session.side.to_string()),
        ("MCP_BRIDGE_WAKE_LABEL", label.unwrap_or_default()),
        ("MCP_BRIDGE_WAKE_UNREAD", pointer.unread.to_string()),
        ("MCP_BRIDGE_WAKE_TEXT", pointer.text.clone()),
        // What `mcp-bridge check` in the command needs to act for the session.
        (
            "MCP_BRIDGE_CREDENTIALS",
            pointer.credentials.display().to_string(),
        ),
        ("MCP_BRIDGE_STORE", pointer.store.display().to_string()),
    ]
}
