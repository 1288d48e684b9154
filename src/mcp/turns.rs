//! What no hook tells of. A user who breaks a turn of Claude Code off makes it call none:
//! its agent would look busy for ever. And it calls none for each question that it asks its
//! user. The client notes of itself that it sits idle, or waits, and this server looks there.

use std::time::Duration;

use super::agent::Agent;
use super::waiting::{self, Knows};
use crate::clients::{self, OwnNote};
use crate::model::health::{DEFAULT_TTL, Turn};
use crate::model::process::ProcessId;
use crate::session::SessionError;

/// Between two looks. A client counts as idle that said the same at two of them: its hook
/// may be telling of a turn that begins this moment.
const EVERY: Duration = Duration::from_secs(3);

/// The same where the client says nothing of what it does, or sits idle and that is dealt
/// with. A turn that begins then and is broken off counts as over this much later.
const SELDOM: Duration = Duration::from_secs(12);

/// Looks for ever.
pub(super) async fn run(agent: Agent, client: ProcessId) {
    // What the client noted at the last look, and what was dealt with.
    let (mut last, mut done) = (None, None);
    let mut waited = None;
    let mut pause = EVERY;
    loop {
        tokio::time::sleep(pause).await;
        let OwnNote { waits, idle: now } = clients::own_note(client);
        if let Some(waits) = waits.filter(|_| waits == waited)
            && waiting::say(&agent, waits, Knows::Questions).await.is_err()
        {
            agent.forget_bridge();
        }
        waited = waits;
        if now.is_some() && now == last && now != done {
            match end_turn(&agent).await {
                Ok(()) => done.clone_from(&now),
                Err(_) => agent.forget_bridge(),
            }
        }
        let rests = waits.is_none() || (now.is_some() && now == done);
        pause = if rests { SELDOM } else { EVERY };
        last = now;
    }
}

/// The turn is over, if the store holds that there is one.
pub(super) async fn end_turn(agent: &Agent) -> Result<(), SessionError> {
    let acting = agent.acting()?;
    let callers = acting.callers();
    let bridge = agent.bridge().await?;
    let sessions: Vec<_> = callers.iter().map(|one| one.session.clone()).collect();
    let mail = bridge.unread(&sessions).await?;
    for (caller, mail) in callers.iter().zip(mail) {
        if mail.in_turn {
            bridge
                .call_in(caller, DEFAULT_TTL, Some(Turn::Outside))
                .await?;
        }
    }
    Ok(())
}
