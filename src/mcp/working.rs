//! The turns of a client that calls no hook, and answers whether its agent works, or waits
//! for its user. Such an agent may be at work for long without a call of the bridge's tools:
//! it would look as if it did not move.

use std::time::Duration;

use super::agent::Agent;
use super::turns::end_turn;
use super::waiting::{self, Knows};
use crate::clients::{Asked, Work};
use crate::clock;
use crate::model::health::{DEFAULT_TTL, Turn};
use crate::model::process::ProcessId;
use crate::session::SessionError;

/// Between two questions.
const EVERY: Duration = Duration::from_secs(3);

/// The same where the client did not answer: it may have no place for questions.
const LATER: Duration = Duration::from_secs(60);

/// A turn that goes on is said again after this time: it is the agent's activity.
const AGAIN: Duration = Duration::from_secs(30);

/// Asks for ever, where the client is of that kind.
pub(super) async fn run(agent: Agent, client: ProcessId) {
    let mut asked = Asked::default();
    // What was said last, and when.
    let mut said: Option<(Work, Duration)> = None;
    let mut pause = EVERY;
    loop {
        tokio::time::sleep(pause).await;
        let name = agent.client().name;
        if !name.is_empty() && !Asked::may_be(&name) {
            std::future::pending::<()>().await;
        }
        let work = asked.work(client).await;
        pause = work.map_or(LATER, |_| EVERY);
        let Some(work) = work else {
            continue;
        };
        let now = clock::since_boot();
        let is_said = said.is_some_and(|(before, at)| {
            before == work && (work == Work::Nothing || now.saturating_sub(at) < AGAIN)
        });
        if is_said {
            continue;
        }
        match say(&agent, work).await {
            Ok(()) => said = Some((work, now)),
            Err(_) => agent.forget_bridge(),
        }
    }
}

async fn say(agent: &Agent, work: Work) -> Result<(), SessionError> {
    match work {
        Work::Nothing => end_turn(agent).await?,
        Work::Working | Work::Asking => in_turn(agent).await?,
    }
    waiting::say(agent, work == Work::Asking, Knows::All).await
}

async fn in_turn(agent: &Agent) -> Result<(), SessionError> {
    let acting = agent.acting()?;
    let bridge = agent.bridge().await?;
    for caller in acting.callers() {
        let turn = Some(Turn::Inside);
        bridge.call_in(&caller, DEFAULT_TTL, turn).await?;
    }
    Ok(())
}
