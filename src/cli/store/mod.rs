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
    /// Make a store, or adopt the Python bridge's
    Init(init::InitArgs),
    /// Look thoroughly: integrity, version, sizes
    #[command(after_help = "\
Examples:
  mcp-bridge store check
  mcp-bridge store check --json | jq .problems

Problems end it with exit code 78.")]
    Check,
    /// Copy the store to a file, while everybody goes on writing
    Backup(backup::BackupArgs),
    /// Put a backup in the place of the store; nobody may be using it
    Restore(restore::RestoreArgs),
    /// Show or set how much a session may send
    Limits(limits::LimitsArgs),
    /// Make the machine's directory of stores its daemon's alone; the package's upgrade
    /// calls this
    #[command(hide = true)]
    OwnDirectory(own_directory::OwnDirectoryArgs),
}

pub(super) async fn run(command: StoreCommand, context: &Context) -> anyhow::Result<Exit> {
    match command {
        StoreCommand::Init(args) => init::init(args, context).await,
        StoreCommand::Check => check::check(context).await,
        StoreCommand::Backup(args) => backup::run(args, context).await,
        StoreCommand::Restore(args) => restore::run(args, context).await,
        StoreCommand::Limits(args) => limits::limits(args, context).await,
        StoreCommand::OwnDirectory(args) => own_directory::run(&args),
    }
}
