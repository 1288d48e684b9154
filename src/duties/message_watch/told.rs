//! What came of wakes: for the log, for the operator, and for the store through the
//! endings.

use tracing::{debug, info, warn};

use super::wakes::{Wakes, recovered};
use crate::duties::SessionState;
use crate::duties::roster::KeptSession;
use crate::model::alert::AlertKind;
use crate::model::wake::WakeOutcome;

impl Wakes {
    /// The session gave evidence.
    pub(super) fn verified(&mut self, session: &KeptSession, adapter: usize) {
        let wake = self.record(&session.key);
        let adapter = wake.adapter(session, adapter);
        let ending = wake.ends(WakeOutcome::Verified, None);
        let was_given_up = wake.is_well();
        self.endings.add(ending);
        self.tally.verified += 1;
        if was_given_up {
            recovered(&self.desk, &session.key);
        }
        info!(
            event = "wake-verified", adapter,
            conversation = %session.key.conversation, session = %session.key,
            label = session.name(),
            "{} looked", session.name()
        );
    }

    /// The adapter failed, or its time is over without evidence.
    pub(super) fn unverified(
        &mut self,
        session: &KeptSession,
        adapter: usize,
        why: &str,
        spent: bool,
    ) {
        let wake = self.record(&session.key);
        let adapter = wake.adapter(session, adapter);
        let outcome = match spent {
            true => WakeOutcome::Spent,
            false => WakeOutcome::Unverified,
        };
        let ending = wake.ends(outcome, Some(why.to_owned()));
        if wake.given_up().is_some() {
            debug!(session = %session.key, adapter, "not woken: {why}");
        } else if spent {
            let text = format!("; the last, {adapter}: {why}");
            self.tell_spent(session, (adapter, why), &text);
        } else {
            warn!(
                event = "wake-unverified", adapter,
                conversation = %session.key.conversation, session = %session.key,
                label = session.name(),
                "{adapter} did not wake {}: {why}; trying the next adapter", session.name()
            );
        }
        self.endings.add(ending);
        self.tally.unverified += 1;
        self.tally.spent += u64::from(spent);
    }

    /// No way to wake the session worked: who tried last, why that came to nothing, and
    /// what follows "worked" where people read it.
    pub(super) fn tell_spent(
        &mut self,
        session: &KeptSession,
        (by, why): (&str, &str),
        text: &str,
    ) {
        let name = session.name();
        let state = unwakeable(session, format!("no adapter woke it{text}"));
        self.record(&session.key).gives_up(state);
        warn!(
            event = "wake-list-spent", adapter = by,
            conversation = %session.key.conversation, session = %session.key,
            label = name,
            "{by} did not wake {name}: {why}; no adapter is left, trying again later"
        );
        let kind = AlertKind::WakeListSpent;
        let text = format!("no adapter woke {name}{text}");
        self.desk.raise_about(kind, &session.key, name, text);
    }

    /// The session looked: what was announced to it before is over, also if no wake of
    /// ours did it.
    pub(super) fn owes_nothing(&mut self, session: &KeptSession) {
        if self.record(&session.key).is_well() {
            recovered(&self.desk, &session.key);
            info!(
                event = "session-looked",
                conversation = %session.key.conversation, session = %session.key,
                label = session.name(),
                "{} fetched its messages without a wake", session.name()
            );
        }
    }
}

/// The session for the state file.
fn unwakeable(session: &KeptSession, wake: String) -> SessionState {
    SessionState {
        session: session.key.to_string(),
        name: session.name(),
        credentials: session.credentials(),
        life: None,
        wake: Some(wake),
        beside: None,
    }
}
