//! Agents that hold several sessions: one call at a time.
//!
//! One look of such an agent goes through all of its sessions, so mail in fifty of
//! them is one wake and not fifty. Each session keeps its own state and its own
//! row: one that its agent never looks at holds up no other for long.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::time::Duration;

use jiff::Timestamp;

use super::MessageWatch;
use crate::duties::roster::Kept;
use crate::model::SessionKey;

/// How long a look at all of an agent's sessions may take from the first to the
/// last.
const LOOK: Duration = Duration::from_secs(1);

/// Calls that are under way, by the agent's credentials.
#[derive(Debug, Default)]
pub(super) struct Called(HashMap<PathBuf, Call>);

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

impl Called {
    /// The agent is called for this session, whose last act was then.
    pub(super) fn begin(&mut self, session: &Kept, acted_at: Option<Timestamp>, until: Duration) {
        let call = Call {
            session: session.key.clone(),
            acted_at,
            until,
            over: None,
        };
        self.0.insert(session.credentials.clone(), call);
    }

    /// What the session is at now: `awaited` is when it last did something, if it
    /// is woken and has not fetched. The call is over when the agent moves, or
    /// nothing is awaited any more.
    pub(super) fn follow(
        &mut self,
        session: &Kept,
        awaited: Option<Option<Timestamp>>,
        now: Duration,
    ) {
        if let Some(call) = self.0.get_mut(&session.credentials)
            && call.session == session.key
            && awaited != Some(call.acted_at)
        {
            call.over.get_or_insert(now);
        }
    }

    /// Until when a session has to wait for what comes of a call of its agent for
    /// another one.
    pub(super) fn holds_up(&self, session: &Kept, now: Duration) -> Option<Duration> {
        let call = self.0.get(&session.credentials)?;
        let end = call.over.map_or(call.until, |over| over + LOOK);
        (call.session != session.key && now < end).then_some(end)
    }

    pub(super) fn keep_only(&mut self, kept: &HashSet<&SessionKey>) {
        self.0.retain(|_, call| kept.contains(&call.session));
    }
}

impl MessageWatch {
    pub(super) fn is_fired(&self, session: &SessionKey) -> bool {
        self.states
            .get(session)
            .is_some_and(super::Watched::is_fired)
    }

    /// All sessions that the agent of this one holds, this one first.
    pub(super) fn sessions_of(&self, session: &Kept) -> Vec<SessionKey> {
        let sessions = self.sessions.borrow();
        let others = sessions
            .iter()
            .filter(|kept| kept.credentials == session.credentials && kept.key != session.key);
        let keys = std::iter::once(session).chain(others);
        keys.map(|kept| kept.key.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::WakeSettings;
    use crate::model::{ConversationId, Side};

    fn kept(number: u8) -> Kept {
        Kept {
            key: SessionKey::new(ConversationId::from_random([number; 8]), Side::A),
            agent: 0,
            label: None,
            role: String::new(),
            partner_role: String::new(),
            expires_at: Timestamp::UNIX_EPOCH,
            credentials: "team.toml".into(),
            wake: std::sync::Arc::new(WakeSettings {
                adapters: Vec::new(),
                text: String::new(),
                verify_within: LOOK,
                backoff: LOOK,
                backoff_max: LOOK,
            }),
        }
    }

    #[test]
    fn a_call_holds_up_others_until_the_agent_has_looked_and_not_ever_after() {
        let (one, other) = (kept(1), kept(2));
        let at = Duration::from_secs;
        let mut called = Called::default();
        assert_eq!(called.holds_up(&other, at(1)), None);
        called.begin(&one, None, at(25));
        called.follow(&one, Some(None), at(11));
        assert_eq!(called.holds_up(&one, at(11)), None);
        assert_eq!(called.holds_up(&other, at(11)), Some(at(25)));
        // It fetched; its look at the other may be under way.
        called.follow(&one, None, at(12));
        called.follow(&one, None, at(13));
        assert_eq!(called.holds_up(&other, at(12)), Some(at(13)));
        // New mail an hour later waits for nothing.
        assert_eq!(called.holds_up(&other, at(13)), None);
        called.begin(&one, None, at(35));
        called.follow(&one, Some(Some(Timestamp::UNIX_EPOCH)), at(22));
        assert_eq!(called.holds_up(&other, at(22)), Some(at(23)), "it moves");
    }
}
