//! `mcp-bridge team`: an orchestrator and its workers, ready to be started.

mod daemons;
mod new;
mod plan;
mod record;
mod removal;
mod remove;
mod removed;
mod show;

use clap::Subcommand;

use super::context::Context;
use super::error::CliError;
use crate::exit::Exit;
use crate::store::StoreError;

/// What to do with teams.
#[derive(Debug, Subcommand)]
pub(super) enum TeamCommand {
    /// Create a team: conversations, credentials, client set-up, daemon configuration
    ///
    /// Creates a conversation between the orchestrator and each worker (NAME-1, NAME-2,
    /// ...), credentials for every session, and configurations for the daemons. The
    /// agent in the current directory becomes the orchestrator: its client gets tools
    /// and hooks, as `join` and `setup` do it. If a step fails, all steps are undone.
    New(new::NewArgs),
    /// Take back what `team new` made: close its conversations, remove its files
    ///
    /// Closes the conversations, removes the credentials and the daemons' configurations
    /// that `team new` wrote, and undoes `join` and `setup` in every directory in which a
    /// session of the team works.
    Remove(remove::RemoveArgs),
}

pub(super) async fn run(command: TeamCommand, context: &Context) -> anyhow::Result<Exit> {
    match command {
        TeamCommand::New(args) => new::run(args, context).await,
        TeamCommand::Remove(args) => remove::run(args, context).await,
    }
}

/// Whether there is no store where one is meant.
fn is_missing(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        matches!(cause.downcast_ref(), Some(CliError::NoStore(_)))
            || matches!(cause.downcast_ref(), Some(StoreError::Missing(_)))
    })
}
