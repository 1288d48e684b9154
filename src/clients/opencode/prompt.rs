//! The way by the server: a text begins a turn of the session that the agent is in. The
//! client's programs share one server of ours, and do not say which session a call of a
//! tool comes from: it is the one that its user used last since the client began.

use async_trait::async_trait;
use jiff::Timestamp;

use super::server::{IMPATIENCE, PATIENCE, Server, Session};
use crate::clients::{Addressee, Fired, Text, Way};
use crate::liveness;
use crate::model::wake::ClientWay;

/// The way by the server.
pub(super) struct Prompt;

/// Where an agent is, and whether it works.
enum AgentState {
    /// Its user has not said anything yet.
    Nowhere,
    /// It works.
    Busy,
    /// It waits for its user, or for a wake.
    Idle(Session),
}

#[async_trait]
impl Way for Prompt {
    fn kind(&self) -> ClientWay {
        ClientWay::OpencodeServer
    }

    async fn gate(&self, agent: &Addressee) -> Result<(), Fired> {
        // Whether it is in a turn its server knows before the store does.
        if agent.was_told {
            return Err(Fired::Done);
        }
        let place = async {
            let mut server = Server::here(agent.client, PATIENCE).await?;
            find(&mut server, agent).await
        };
        match place.await {
            Ok(AgentState::Idle(_)) => Ok(()),
            Ok(AgentState::Busy) => Err(Fired::Busy),
            Ok(AgentState::Nowhere) => Err(Fired::Later),
            Err(why) => Err(Fired::Failed(why)),
        }
    }

    async fn put(&self, agent: &Addressee, text: &Text) -> Fired {
        let found = async {
            let mut server = Server::here(agent.client, IMPATIENCE).await?;
            let place = find(&mut server, agent).await?;
            Ok::<_, String>((server, place))
        };
        match found.await {
            Ok((mut server, AgentState::Idle(session))) => {
                let taken = server.prompt(&session, &text.words).await;
                taken.map_or_else(Fired::Failed, |()| Fired::Done)
            }
            // Its user was faster, or it answers no more: what that means the gate says.
            Ok((_, AgentState::Busy | AgentState::Nowhere)) | Err(_) => Fired::Busy,
        }
    }
}

async fn find(server: &mut Server, agent: &Addressee) -> Result<AgentState, String> {
    let since = liveness::began(agent.client).map_or(0, Timestamp::as_millisecond);
    let sessions = server.sessions().await?;
    let Some(session) = likeliest(sessions, &agent.threads, since) else {
        return Ok(AgentState::Nowhere);
    };
    Ok(match server.busy().await?.contains(&session.id) {
        true => AgentState::Busy,
        false => AgentState::Idle(session),
    })
}

/// The session that the agent is in: one that a hook named, else the one used last.
/// Those that an earlier client left have no user any more.
pub(super) fn likeliest(sessions: Vec<Session>, threads: &[String], since: i64) -> Option<Session> {
    let used: Vec<_> = sessions
        .into_iter()
        .filter(|session| session.is_used_since(since))
        .collect();
    let told = threads
        .iter()
        .find_map(|thread| used.iter().find(|session| session.id == *thread));
    let last = || used.iter().max_by_key(|session| session.used());
    told.or_else(last).cloned()
}
