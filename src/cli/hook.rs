//! The arguments of `mcp-bridge hook`; the face that does it is [`crate::hook`].

use clap::Args;

/// Answers a hook of an agent's client. The client's JSON is read from standard input.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  mcp-bridge hook                    answer an event; its JSON names the event
  mcp-bridge hook wait               wait, and wake the idle client when a message comes
  mcp-bridge hook codex-notify JSON  for notify in Codex's configuration

`mcp-bridge setup` writes these commands into the client's files. A hook does not
delay its client: what cannot be stored within 30 ms (MCP_BRIDGE_HOOK_PATIENCE) is
kept in a file of this user and stored later, in order. Without a session the hook
does nothing.

Exit codes: 0; `hook wait` ends with 2 when the client must show its agent the text
on standard error.")]
pub(super) struct HookArgs {
    /// Name of the event; or `wait`; or `codex-notify` with its JSON
    #[arg(value_name = "EVENT", num_args = 0..=2)]
    pub(super) words: Vec<String>,
}
