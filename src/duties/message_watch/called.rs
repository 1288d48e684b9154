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

    /// Until when a session has to wait for what comes of a call of its agent for
    /// another one.
    pub(super) fn waits_for_another(&mut self, session: &Kept, now: Duration) -> Option<Duration> {
        let about = &self.called.0.get(&session.credentials)?.session;
        if *about == session.key {
            return None;
        }
        let watched = self.states.get(about).filter(|watched| watched.is_fired());
        let acted_at = watched.map(|watched| watched.mail.acted_at);
        let call = self.called.0.get_mut(&session.credentials)?;
        if acted_at == Some(call.acted_at) && call.over.is_none() {
            return Some(call.until.max(now));
        }
        let end = *call.over.get_or_insert(now) + LOOK;
        if now < end {
            return Some(end);
        }
        self.called.0.remove(&session.credentials);
        None
    }
}
