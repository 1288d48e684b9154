//! Adapter `exec`: any command, the pointer as JSON on its stdin, identifiers
//! in its environment, nothing in its arguments.

use crate::command::{self, Ended};
use crate::config::ExecSettings;
use crate::model::redact::redact;

use super::Pointer;

/// Characters of a failed command's output that go into the log and the store.
const REASON_LIMIT: usize = 500;

pub(super) async fn run(settings: &ExecSettings, pointer: &Pointer) -> Result<String, String> {
    let mut input = serde_json::to_vec(pointer).map_err(|error| error.to_string())?;
    input.push(b'\n');
    let ended = command::run(&command::Request {
        command: &settings.command,
        environment: &environment(pointer),
        input,
        timeout: settings.timeout,
        output_limit: settings.output_limit,
    })
    .await;
    match ended {
        Ended::Success { output } => Ok(on_one_line(&output, usize::MAX)),
        Ended::Failure { ref output, .. } if !output.is_empty() => Err(format!(
            "the command {ended}; it said: {}",
            on_one_line(output, REASON_LIMIT)
        )),
        other => Err(format!("the command {other}")),
    }
}

/// A command's output as part of a log line: a command may print anything, also
/// what it read with the session's credentials, or what moves a terminal.
fn on_one_line(output: &str, limit: usize) -> String {
    let redacted = redact(output);
    let words: Vec<&str> = redacted
        .text
        .split(|c: char| c.is_whitespace() || c.is_control())
        .filter(|word| !word.is_empty())
        .collect();
    let line = words.join(" ");
    match line.char_indices().nth(limit) {
        Some((end, _)) => format!("{}...", &line[..end]),
        None => line,
    }
}

fn environment(pointer: &Pointer) -> [(&'static str, String); 7] {
    let label = pointer.label.as_ref().map(ToString::to_string);
    [
        (
            "MCP_BRIDGE_WAKE_CONVERSATION",
            pointer.session.conversation.to_string(),
        ),
        ("MCP_BRIDGE_WAKE_SESSION", pointer.session.side.to_string()),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_becomes_one_line_without_secrets_and_without_an_end_in_a_letter() {
        let said = "oops\n\n  \x1b[31mpassword = hunter2hunter2\x07\r\nagain";
        let line = on_one_line(said, 500);
        assert!(
            !line.contains("hunter2") && !line.contains(char::is_control),
            "{line}"
        );
        assert!(
            line.starts_with("oops ") && line.ends_with("again"),
            "{line}"
        );
        assert_eq!(on_one_line("aé日b", 3), "aé日...");
        assert_eq!(on_one_line("aé日", 3), "aé日");
    }
}
