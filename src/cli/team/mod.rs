//! `mcp-bridge team`: an orchestrator and its workers, ready to be started.

mod daemons;
mod new;
mod plan;
mod show;

use clap::Subcommand;

use super::context::Context;
use crate::exit::Exit;

/// What to do with teams.
#[derive(Debug, Subcommand)]
pub(super) enum TeamCommand {
    /// Make a team: conversations, credentials, set-up, daemon configuration
    ///
    /// Makes a conversation between the orchestrator and each worker (NAME-1,
    /// NAME-2, ...), the credentials of each, and what the daemons need. The agent
    /// in the current directory becomes the orchestrator: its client gets tools and
    /// hooks, as `join` and `setup` do it. If a step fails, all is taken back.
    New(new::NewArgs),
}

pub(super) async fn run(command: TeamCommand, context: &Context) -> anyhow::Result<Exit> {
    match command {
        TeamCommand::New(args) => new::run(args, context).await,
    }
}
