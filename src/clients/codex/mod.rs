//! Codex: woken through the queue of a thread, by its app server where the session runs
//! in one that can be asked, else by its command.

mod app_server;
mod live_queue;
mod process;
mod queue;
mod screens;

use super::{Addressee, Fired, State, Way};
use crate::model::process::ProcessId;
use app_server::{AppServer, Thread};

/// What Codex calls itself in the servers that it starts.
const NAME: &str = "codex-mcp-client";

/// The first one first.
pub(super) const WAYS: &[&dyn Way] = &[&live_queue::LiveQueue, &queue::Queue];

/// Whether a client of this name is Codex.
pub(super) fn is_codex(name: &str) -> bool {
    name == NAME
}

/// Whether the client of this name, with this process, has that for one session alone.
pub(super) fn owns_its_process(name: &str, pid: i32) -> bool {
    !process::may_share(name) || process::is_alone(pid)
}

/// Whether this process may hold the sessions of several agents.
pub(super) fn is_shared_process(pid: i32) -> bool {
    !process::is_alone(pid)
}

/// What the app server says of the agent's thread.
pub(super) async fn state(client: ProcessId, threads: &[String]) -> Result<Option<State>, String> {
    let mut server = AppServer::of(client).await?;
    let waits = match find(&mut server, threads).await? {
        Some((_, Thread::Idle)) => false,
        Some((_, Thread::Active { waits })) => waits,
        Some((_, Thread::Broken)) | None => return Ok(None),
    };
    // Within this program's own connection.
    let has_screen = match app_server::socket() {
        Some(socket) => screens::any(&socket).await,
        None => None,
    };
    drop(server);
    Ok(Some(State { waits, has_screen }))
}

/// Whether the agent can take anything now, by any way.
fn is_open(agent: &Addressee) -> Result<(), Fired> {
    if agent.in_turn {
        return Err(Fired::Busy);
    }
    if agent.was_told {
        // By a hook, when it stopped or before.
        return Err(Fired::Done);
    }
    Ok(())
}

/// The thread of an agent, and how it fares: the first of these that is loaded. Before the
/// user's first prompt no hook and no call has named one. Codex starts this program in the
/// directory of its thread: if only one is loaded there, that is it.
async fn find(
    server: &mut AppServer,
    threads: &[String],
) -> Result<Option<(String, Thread)>, String> {
    if !threads.is_empty() {
        return server.first_of(threads).await;
    }
    match std::env::current_dir() {
        Ok(directory) => server.only_in(&directory).await,
        Err(_) => Ok(None),
    }
}

/// Whether this can be a thread's identifier, and no option of a command.
fn is_thread(id: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-';
    (8..=64).contains(&id.len()) && id.chars().all(plain) && !id.starts_with('-')
}

#[cfg(test)]
mod tests;
