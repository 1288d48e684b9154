//! Signs of life of an agent whose client's process proves none: all sessions of a Codex
//! run in one process, whose life does not prove a single session. Asked, the client
//! says which conversations it has, and which of them wait for their user.
//!
//! That is no activity of the agent's: one that owes something and does not move is
//! stalled all the same.

use std::time::Duration;

use super::agent::Agent;
use super::waiting::{self, Knows};
use crate::clients;
use crate::host;
use crate::model::health::DEFAULT_TTL;
use crate::model::process::ProcessId;
use crate::session::SessionError;
use crate::session::notes::Notes;

/// Between two questions: a few of them may fail before a sign has grown old.
const EVERY: Duration = Duration::from_secs(20);

/// Before the first one: the client may have been started again, and its sessions count
/// as alive for a short time only.
const FIRST: Duration = Duration::from_secs(5);

/// Asks and says for ever, where the client is of that kind.
pub(super) async fn run(agent: Agent, client: ProcessId) {
    let mut pause = FIRST;
    loop {
        tokio::time::sleep(pause).await;
        pause = EVERY;
        let name = agent.client().name;
        if !name.is_empty() && !clients::shares_its_process(&name) {
            std::future::pending::<()>().await;
        }
        if round(&agent, client).await.is_err() {
            agent.forget_bridge();
        }
    }
}

async fn round(agent: &Agent, client: ProcessId) -> Result<(), SessionError> {
    let acting = agent.acting()?;
    let Some(notes) = Notes::of(&acting) else {
        return Ok(());
    };
    let boot = host::boot().id;
    let threads = agent.threads(&notes.told(&boot));
    // Not asked is not answered: without a sign the session's time runs out.
    let Ok(Some(state)) = clients::state(client, &threads).await else {
        return Ok(());
    };
    if let Some(has_screen) = state.has_screen {
        agent.has_screen(has_screen);
    }
    let bridge = agent.bridge().await?;
    for caller in acting.callers() {
        bridge.call_in(&caller, DEFAULT_TTL, None).await?;
    }
    // Its hooks say the same, where its user trusts them.
    waiting::say(agent, state.waits, Knows::All).await
}
