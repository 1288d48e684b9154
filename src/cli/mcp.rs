//! The arguments of `mcp-bridge mcp`; the face that does it is [`crate::mcp`].

use clap::Args;

/// Serves an agent's client on standard input and output.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  mcp-bridge mcp                     how the client starts it
  mcp-bridge -c backend/b mcp        for this session, in any directory
  claude mcp add bridge -- mcp-bridge mcp

A client starts this program and ends it by closing the pipe. `mcp-bridge setup`
writes the command into the client's files. `mcp-bridge join` or --credentials
chooses the session of its agent.
Tools: check_messages, send_to_partner, wait_for_messages, create_conversation,
update_my_status, check_partner_status, list_workers, my_status, list_tasks,
claim_task, report_progress, complete_task, fail_task, create_tasks.")]
pub(super) struct McpArgs {}
