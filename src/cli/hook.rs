//! The arguments of `mcp-bridge hook`; the face that does it is [`crate::hook`].

use clap::Args;

/// Answers a hook of an agent's client. The client's JSON is read from standard input.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  mcp-bridge hook                    for each event; the JSON says which one it is
  mcp-bridge hook wait               wakes the idle client when mail comes
  mcp-bridge hook codex-notify JSON  named in Codex's configuration as notify

`mcp-bridge setup` writes these into the client's own files. A hook never holds
its client up: what the store cannot be told within 30 ms (MCP_BRIDGE_HOOK_PATIENCE)
is kept in a file of this user's and told later, in order. Without a session it does nothing.

Exit codes: 0; of `wait`, 2 means that the client is to show its agent what
stands on standard error.")]
pub(super) struct HookArgs {
    /// The event; or wait, or codex-notify with its JSON
    #[arg(value_name = "EVENT", num_args = 0..=2)]
    pub(super) words: Vec<String>,
}
