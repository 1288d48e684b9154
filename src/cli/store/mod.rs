//! `mcp-bridge store`: the database itself.

mod attend;
mod backup;
mod check;
mod init;
mod limits;
mod own_directory;
mod restore;

use clap::Subcommand;

use super::context::Context;
use crate::exit::Exit;

/// What to do with the store.
#[derive(Debug, Subcommand)]
pub(super) enum StoreCommand {
    /// Create a store, or adopt the database of the Python bridge
    Init(init::InitArgs),
    /// Verify the store: integrity, version, sizes
    #[command(
        alias = "check",
        after_help = "\
Examples:
  mcp-bridge store verify
  mcp-bridge store verify --json | jq .problems

If there are problems, the exit code is 78."
    )]
    Verify,
    /// Copy the store to a file while daemons and agents go on writing
    Backup(backup::BackupArgs),
    /// Replace the store by a backup; no program may be using the store
    Restore(restore::RestoreArgs),
    /// Show or set how many messages a session may send
    Limits(limits::LimitsArgs),
    /// Give the system's store directory to its daemon alone; called by the package's
    /// upgrade
    #[command(hide = true)]
    OwnDirectory(own_directory::OwnDirectoryArgs),
}

pub(super) async fn run(command: StoreCommand, context: &Context) -> anyhow::Result<Exit> {
    match command {
        StoreCommand::Init(args) => init::init(args, context).await,
        StoreCommand::Verify => check::check(context).await,
        StoreCommand::Backup(args) => backup::run(args, context).await,
        StoreCommand::Restore(args) => restore::run(args, context).await,
        StoreCommand::Limits(args) => limits::limits(args, context).await,
        StoreCommand::OwnDirectory(args) => own_directory::run(&args),
    }
}
