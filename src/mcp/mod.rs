//! The MCP server that an agent's client starts: the bridge as tools.
//!
//! Its standard output carries the protocol and nothing else. It ends when its client
//! closes one of the pipes, when the client's process ends, and on SIGTERM. What was fetched
//! for an agent is confirmed once the answer was written (`outbox`).

mod agent;
mod last_word;
mod outbox;
mod registrar;
mod server;
mod signs;
mod tools;
mod turns;
mod waiting;
mod waker;
mod working;

use futures_util::StreamExt as _;
use rmcp::ServiceExt as _;
use rmcp::transport::async_rw::AsyncRwTransport;
use rmcp::transport::stdio_pipes;
use rustix::process::{Pid, getppid};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook_tokio::Signals;

use crate::ending::{self, Gone};
use crate::exit::{self, Exit, Face};
use crate::liveness;
use crate::session::Access;
use agent::Agent;
use outbox::Outbox;
use server::Server;

/// Serves the client that started this program, until that ends.
#[must_use]
pub fn run(access: &Access) -> Exit {
    let served = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(anyhow::Error::from)
        .and_then(|runtime| {
            let served = runtime.block_on(serve(access.clone()));
            // A read of standard input may still wait, and ends with the program.
            runtime.shutdown_background();
            served
        });
    match served {
        Ok(()) => Exit::Success,
        Err(error) => exit::report(&error, Face::PLAIN),
    }
}

async fn serve(access: Access) -> anyhow::Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    let client = getppid();
    let shared = last_word::shared(client);
    let deaf = ending::when_gone(None)?;
    let agent = Agent::new(access);
    let (input, output) = stdio_pipes();
    let transport = Outbox::new(AsyncRwTransport::new(input, output), agent.clone());
    let serving = async {
        // A client that goes away before it said anything was none.
        if let Ok(running) = Server::new(agent.clone()).serve(transport).await {
            let _ = running.waiting().await;
        }
    };
    tokio::select! {
        () = serving => {}
        // A client that hears nothing has no use for what its open input asks.
        Ok(Gone::Reader) = deaf => {}
        // A client that was killed may leave the other end of the pipe to a child.
        () = ended(client) => {}
        () = wake(&agent, client) => {}
        () = registrar::run(agent.clone(), client) => {}
        _ = signals.next() => {}
    }
    last_word::say(&agent, shared).await;
    agent.close().await;
    Ok(())
}

/// Wakes the agent of this client, looks for the end of its turns, and gives signs of its
/// life, for ever.
async fn wake(agent: &Agent, client: Option<Pid>) {
    let client = client.and_then(|client| liveness::of(client.as_raw_nonzero().get()));
    match client {
        Some(client) => tokio::select! {
            () = waker::run(agent.clone(), client) => {}
            () = turns::run(agent.clone(), client) => {}
            () = signs::run(agent.clone(), client) => {}
            () = working::run(agent.clone(), client) => {}
        },
        None => std::future::pending().await,
    }
}

/// Returns once the client's process has ended. One that is outside of this program's
/// container has no id in here: the pipe alone tells of its end.
async fn ended(client: Option<Pid>) {
    match client {
        Some(client) => liveness::ended(client.as_raw_nonzero().get()).await,
        None => std::future::pending().await,
    }
}
