//! `mcp-bridge demo`: the product's main job in a scratch store, with real
//! processes: an orchestrator daemon, four worker daemons, four scripted agents
//! that sit idle until they are woken, and twelve tasks.
//!
//! On the way one agent is killed, one worker's daemon together with its agent,
//! and one agent stops in the middle of a task and comes back too late: what
//! works while everything is well proves little.

mod actors;
mod cast;
mod mail;
mod play;
mod record;
mod view;

use std::path::PathBuf;

use crate::exit::Exit;

/// Arguments of `demo`.
#[derive(Debug, clap::Args)]
pub struct DemoArgs {
    /// Number of tasks
    #[arg(long, value_name = "N", default_value_t = 12, value_parser = clap::value_parser!(u32).range(8..=100))]
    tasks: u32,

    /// A part of the demo, played by a process of its own
    #[command(subcommand)]
    part: Option<Part>,
}

/// The processes of the demo.
#[derive(Debug, clap::Subcommand)]
enum Part {
    /// An agent that waits to be woken, reads its mail and does its tasks
    #[command(hide = true)]
    Agent {
        /// Its credentials
        #[arg(long)]
        credentials: PathBuf,
        /// The pipe through which it is woken
        #[arg(long)]
        inbox: PathBuf,
    },
    /// The orchestrator's agent: adds tasks and hears what becomes of them
    #[command(hide = true)]
    Orchestrator {
        /// Its credentials
        #[arg(long)]
        credentials: PathBuf,
        /// How many tasks it adds
        #[arg(long)]
        tasks: u32,
    },
}

/// Plays the demo, or one part of it.
///
/// # Errors
/// If a process cannot be started, or the store fails.
pub async fn run(args: DemoArgs, json: bool) -> anyhow::Result<Exit> {
    match args.part {
        None => play::run(args.tasks, json).await,
        Some(Part::Agent { credentials, inbox }) => actors::agent(&credentials, &inbox).await,
        Some(Part::Orchestrator { credentials, tasks }) => {
            actors::orchestrator(&credentials, tasks).await
        }
    }
}
