//! The command line `mcp-bridge`: arguments, what each command prints, and
//! which exit code it ends with. The work itself is the store's.

mod alert;
mod args;
mod bench;
mod candidates;
mod check;
mod completions;
mod context;
mod conversation;
pub mod demo;
mod doctor;
mod error;
mod events;
mod health;
mod heard;
mod heartbeat;
mod help;
mod holders;
mod hook;
mod input;
mod join;
mod machine_store;
mod mcp;
mod operator;
mod orders;
pub mod output;
mod send;
mod setup;
mod status;
mod stdout;
mod store;
pub mod table;
mod task;
mod team;
mod wait;
mod watch;

use std::process::ExitCode;

use clap::CommandFactory;
use clap_complete::CompleteEnv;

pub use args::Cli;
use args::Command;
pub use context::Context;
pub use error::CliError;
use error::report;

use crate::exit::{self, Exit};
use crate::session::Access;

/// The other faces that the program has: its first argument chooses one.
#[derive(Debug, Clone, Copy)]
pub struct Faces {
    /// Answers a hook of an agent's client; the words are its arguments.
    pub hook: fn(&Access, &[String]) -> Exit,
    /// Serves an agent's client as an MCP server.
    pub mcp: fn(&Access) -> Exit,
}

/// The program: everything from the arguments to the exit code.
#[must_use]
pub fn main(faces: Faces) -> ExitCode {
    let here = std::env::current_dir().ok();
    match CompleteEnv::with_factory(Cli::command).try_complete(std::env::args_os(), here.as_deref())
    {
        Ok(false) => {}
        // A shell that asks for completions is not helped by an error.
        Ok(true) | Err(_) => return ExitCode::SUCCESS,
    }
    let words: Vec<_> = std::env::args_os().collect();
    let cli = match help::parse(&words) {
        Ok(cli) => cli,
        Err(error) => return exit::refuse(&error),
    };
    let context = Context::new(cli.global);
    match &cli.command {
        Command::Hook(args) => return (faces.hook)(context.access(), &args.words).into(),
        Command::Mcp(_) => return (faces.mcp)(context.access()).into(),
        _ => {}
    }
    block_on(run(cli.command, &context))
        .unwrap_or_else(|error| report(&error))
        .into()
}

/// One thread is enough for what waits on one store.
fn block_on<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(work)
}

async fn run(command: Command, context: &Context) -> anyhow::Result<Exit> {
    match command {
        Command::Send(args) => send::run(args, context).await,
        Command::Check(args) => check::run(args, context).await,
        Command::Ack(args) => check::acknowledge(args, context).await,
        Command::Watch(args) => watch::run(args, context).await,
        Command::Wait(args) => wait::run(args, context).await,
        Command::Task(command) => task::run(command, context).await,
        Command::Status(args) => status::run(args, context).await,
        Command::Conversation(command) => conversation::run(command, context).await,
        Command::Team(command) => team::run(command, context).await,
        Command::Join(args) => join::run(args, context).await,
        Command::Setup(args) => setup::run(args, context).await,
        // Other faces, chosen before.
        Command::Hook(_) | Command::Mcp(_) => Ok(Exit::Usage),
        Command::Heartbeat(args) => heartbeat::run(args, context).await,
        Command::Drain(args) => orders::drain(args, context).await,
        Command::Hold(command) => orders::hold(command, context).await,
        Command::Capacity(args) => orders::capacity(args, context).await,
        Command::Alert(command) => alert::run(command, context).await,
        Command::Events(args) => events::run(args, context).await,
        Command::Store(command) => store::run(command, context).await,
        Command::Doctor(args) => doctor::run(args, context).await,
        Command::Health(args) => health::run(args, context).await,
        Command::Demo(args) => demo::run(args, context.json()).await,
        Command::Bench(args) => bench::run(args, context),
        Command::Completions(args) => completions::run(&args),
    }
}
