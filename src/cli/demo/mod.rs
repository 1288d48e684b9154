//! `mcp-bridge demo`: the product's main job in a scratch store, with real
//! processes: three worker daemons, three scripted agents that sit idle until
//! they are woken, an orchestrator that sends them work.
//!
//! On the way one daemon and one agent are killed, because messages that
//! arrive while everything is well prove little.

mod actors;
mod cast;
mod play;
mod summary;

use std::path::PathBuf;

use crate::cli::Exit;

/// Arguments of `demo`.
#[derive(Debug, clap::Args)]
pub struct DemoArgs {
    /// How many work messages the orchestrator sends
    #[arg(long, value_name = "N", default_value_t = 90, value_parser = clap::value_parser!(u32).range(9..=10_000))]
    messages: u32,

    /// A part of the demo, played by a process of its own
    #[command(subcommand)]
    part: Option<Part>,
}

/// The processes of the demo.
#[derive(Debug, clap::Subcommand)]
enum Part {
    /// An agent that waits to be woken, reads its mail and answers it
    #[command(hide = true)]
    Agent {
        /// Its credentials
        #[arg(long)]
        credentials: PathBuf,
        /// The pipe through which it is woken
        #[arg(long)]
        inbox: PathBuf,
    },
    /// An orchestrator that sends work and waits for the answers
    #[command(hide = true)]
    Orchestrator {
        /// Its credentials
        #[arg(long)]
        credentials: PathBuf,
        /// How many messages it sends
        #[arg(long)]
        messages: u32,
    },
}

/// Plays the demo, or one part of it.
///
/// # Errors
/// If a process cannot be started, or the store fails.
pub async fn run(args: DemoArgs, json: bool) -> anyhow::Result<Exit> {
    match args.part {
        None => play::run(args.messages, json).await,
        Some(Part::Agent { credentials, inbox }) => actors::agent(&credentials, &inbox).await,
        Some(Part::Orchestrator {
            credentials,
            messages,
        }) => actors::orchestrator(&credentials, messages).await,
    }
}
