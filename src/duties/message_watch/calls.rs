//! What concerns an agent and not only one of its sessions: the call that is under way,
//! and the adapters that run for it.
//!
//! One look of an agent that holds several sessions goes through all of them, so
//! mail in fifty of them is one wake and not fifty. Each session keeps its own
//! record and its own row: one that its agent never looks at holds up no other for
//! long. This stands apart from the records because it outlives them: a record goes
//! when its session has looked or was taken out, the command may still run, and the
//! agent's look at its other sessions may still be under way.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use jiff::Timestamp;

use crate::duties::roster::{Agent, KeptSession};
use crate::model::SessionKey;

/// How long a look at all of an agent's sessions may take from the first to the
/// last.
const LOOK: Duration = Duration::from_secs(1);

/// The calls of all agents, by what each is known by.
#[derive(Debug, Default)]
pub(super) struct AgentCalls {
    calls: HashMap<Agent, Call>,
    /// Adapters that have not returned, each at most once for an agent.
    running: HashSet<(Agent, &'static str)>,
}

#[derive(Debug)]
struct Call {
    /// The session that it is about.
    session: SessionKey,
    /// When that session had last done something before.
    acted_at: Option<Timestamp>,
    /// When the next way would be tried, since boot.
    until: Duration,
    /// Since when the agent moves, or the call is over without it.
    over: Option<Duration>,
}

impl AgentCalls {
    /// The agent is called for this session, whose last act was then.
    pub(super) fn begin(
        &mut self,
        session: &KeptSession,
        acted_at: Option<Timestamp>,
        until: Duration,
    ) {
        let call = Call {
            session: session.key.clone(),
            acted_at,
            until,
            over: None,
        };
        self.calls.insert(session.agent.clone(), call);
    }

    /// What the session is at now: `awaited` is when it last did something, if it
    /// is woken and has not fetched. The call is over when the agent moves, or
    /// nothing is awaited any more.
    pub(super) fn follow(
        &mut self,
        session: &KeptSession,
        awaited: Option<Option<Timestamp>>,
        now: Duration,
    ) {
        if let Some(call) = self.calls.get_mut(&session.agent)
            && call.session == session.key
            && awaited != Some(call.acted_at)
        {
            call.over.get_or_insert(now);
        }
    }

    /// Until when a session has to wait for what comes of a call of its agent for
    /// another one.
    pub(super) fn holds_up(&self, session: &KeptSession, now: Duration) -> Option<Duration> {
        let call = self.calls.get(&session.agent)?;
        let end = call.over.map_or(call.until, |over| over + LOOK);
        (call.session != session.key && now < end).then_some(end)
    }

    /// Whether this adapter still runs for the agent of this session.
    pub(super) fn runs(&self, session: &KeptSession, adapter: &'static str) -> bool {
        let run = (session.agent.clone(), adapter);
        self.running.contains(&run)
    }

    /// The adapter was started.
    pub(super) fn started(&mut self, session: &KeptSession, adapter: &'static str) {
        self.running.insert((session.agent.clone(), adapter));
    }

    /// The adapter has returned.
    pub(super) fn returned(&mut self, session: &KeptSession, adapter: &'static str) {
        self.running.remove(&(session.agent.clone(), adapter));
    }

    pub(super) fn keep_only(&mut self, kept: &HashSet<&SessionKey>) {
        self.calls.retain(|_, call| kept.contains(&call.session));
    }

    /// Another store: no call was made for its sessions. Adapters run on.
    pub(super) fn forget(&mut self) {
        self.calls.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::WakeSettings;
    use crate::model::{ConversationId, Side};

    fn kept(number: u8) -> KeptSession {
        KeptSession {
            key: SessionKey::new(ConversationId::from_random([number; 8]), Side::A),
            agent: Agent::Configured(std::path::Path::new("team.toml").into()),
            label: None,
            role: String::new(),
            partner_role: String::new(),
            expires_at: Timestamp::UNIX_EPOCH,
            wake: std::sync::Arc::new(WakeSettings {
                adapters: Vec::new(),
                text: String::new(),
                verify_within: LOOK,
                backoff: LOOK,
                backoff_max: LOOK,
            }),
            directory: None,
        }
    }

    #[test]
    fn call_holds_up_others_until_the_agent_looks() {
        let (one, other) = (kept(1), kept(2));
        let at = Duration::from_secs;
        let mut calls = AgentCalls::default();
        assert_eq!(calls.holds_up(&other, at(1)), None);
        calls.begin(&one, None, at(25));
        calls.follow(&one, Some(None), at(11));
        assert_eq!(calls.holds_up(&one, at(11)), None);
        assert_eq!(calls.holds_up(&other, at(11)), Some(at(25)));
        // It fetched; its look at the other may be under way.
        calls.follow(&one, None, at(12));
        calls.follow(&one, None, at(13));
        assert_eq!(calls.holds_up(&other, at(12)), Some(at(13)));
        // New mail an hour later waits for nothing.
        assert_eq!(calls.holds_up(&other, at(13)), None);
        calls.begin(&one, None, at(35));
        calls.follow(&one, Some(Some(Timestamp::UNIX_EPOCH)), at(22));
        assert_eq!(calls.holds_up(&other, at(22)), Some(at(23)), "it moves");
    }

    #[test]
    fn a_running_adapter_outlives_its_session() {
        let (one, other) = (kept(1), kept(2));
        let mut calls = AgentCalls::default();
        calls.started(&one, "exec");
        calls.begin(&one, None, LOOK);
        calls.keep_only(&HashSet::from([&other.key]));
        assert_eq!(calls.holds_up(&other, Duration::ZERO), None);
        assert!(calls.runs(&other, "exec"), "the same agent");
        assert!(!calls.runs(&other, "file"));
        calls.forget();
        assert!(calls.runs(&one, "exec"));
        calls.returned(&one, "exec");
        assert!(!calls.runs(&other, "exec"));
    }
}
