//! All wakes: one record for each session that has mail, or had some lately, and
//! the steps that a record takes.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use super::calls::AgentCalls;
use super::endings::Endings;
use super::report::Tally;
use super::runs::Runs;
use super::wake::{Wake, policy};
use crate::duties::alerts::AlertDesk;
use crate::duties::roster::KeptSession;
use crate::duties::{DutyBell, Patience, SessionState};
use crate::model::SessionKey;
use crate::model::alert::AlertKind;
use crate::model::wake::{Mail, WakeOutcome, WakeStep};
use crate::store::{SharedStore, StoreError};

/// The wakes of all kept sessions.
pub(super) struct Wakes {
    /// The daemon's name in the rows.
    pub(super) claimant: String,
    pub(super) desk: AlertDesk,
    pub(super) records: BTreeMap<SessionKey, Wake>,
    pub(super) calls: AgentCalls,
    pub(super) endings: Endings,
    pub(super) runs: Runs,
    /// Since the last report.
    pub(super) tally: Tally,
}

/// A session that is looked at in this round.
#[derive(Debug, Clone, Copy)]
pub(super) struct Watched<'a> {
    pub(super) session: &'a KeptSession,
    pub(super) mail: Mail,
    /// All kept sessions.
    pub(super) sessions: &'a [KeptSession],
    /// When, since boot.
    pub(super) now: Duration,
}

impl Watched<'_> {
    /// All sessions that the agent of this one holds, this one first.
    pub(super) fn agent(&self) -> Vec<SessionKey> {
        let session = self.session;
        let others = self
            .sessions
            .iter()
            .filter(|kept| kept.agent == session.agent && kept.key != session.key);
        let keys = std::iter::once(session).chain(others);
        keys.map(|kept| kept.key.clone()).collect()
    }
}

/// What came of the try to start an adapter.
pub(super) enum Started {
    /// It runs.
    Here,
    /// Another process is waking this session at the moment, or its mail was just read.
    Elsewhere,
    /// The same command still runs for an earlier wake of this agent, within its
    /// time limit: a second one beside it would only pile up.
    Running,
    /// It cannot be started.
    Failed(&'static str),
}

impl Wakes {
    /// No wakes. `bell` is the duty's.
    pub(super) fn new(claimant: String, bell: DutyBell, desk: AlertDesk) -> Self {
        Self {
            claimant,
            desk,
            records: BTreeMap::new(),
            calls: AgentCalls::default(),
            endings: Endings::default(),
            runs: Runs::new(bell),
            tally: Tally::default(),
        }
    }

    /// The record of a session.
    pub(super) fn record(&mut self, session: &SessionKey) -> &mut Wake {
        self.records.entry(session.clone()).or_default()
    }

    /// Goes on with a session's wake as far as it goes now.
    pub(super) async fn advance(
        &mut self,
        store: &SharedStore,
        watched: Watched<'_>,
        patience: Patience,
    ) -> Result<(), StoreError> {
        let Watched {
            session, mail, now, ..
        } = watched;
        self.record(&session.key).sees(mail);
        let outcome = self.take_steps(store, watched, patience).await;
        let is_fired = self.record(&session.key).is_fired();
        let awaited = is_fired.then_some(mail.acted_at);
        self.calls.follow(session, awaited, now);
        if mail.unread == 0 {
            self.owes_nothing(session);
        }
        if self.record(&session.key).is_over() {
            self.records.remove(&session.key);
        }
        outcome
    }

    async fn take_steps(
        &mut self,
        store: &SharedStore,
        watched: Watched<'_>,
        patience: Patience,
    ) -> Result<(), StoreError> {
        let Watched { session, now, .. } = watched;
        let policy = policy(session);
        let verified_by = now + policy.verify_within;
        loop {
            let (next, step) = self.record(&session.key).step(now, &policy);
            match step {
                WakeStep::Rest { until } => {
                    let wake = self.record(&session.key);
                    wake.comes_to(next);
                    wake.rests(until);
                    return Ok(());
                }
                WakeStep::Fire { adapter, mark } => {
                    if let Some(until) = self.calls.holds_up(session, now) {
                        self.record(&session.key).is_held_up(until);
                        return Ok(());
                    }
                    self.record(&session.key).rests(Some(verified_by));
                    // After an error the state is as it was, and the next round
                    // tries again.
                    let started = self
                        .start(store, watched, (adapter, mark), patience)
                        .await?;
                    let wake = self.record(&session.key);
                    match started {
                        Started::Here => {
                            wake.comes_to(next);
                            return Ok(());
                        }
                        // Its return rings the bell.
                        Started::Running => {
                            wake.is_held_up(verified_by);
                            return Ok(());
                        }
                        Started::Elsewhere => {
                            wake.leaves_it(next, verified_by);
                            return Ok(());
                        }
                        Started::Failed(why) => {
                            wake.comes_to(next);
                            self.fails(session, why, now);
                        }
                    }
                }
                WakeStep::Verified { adapter } => {
                    self.record(&session.key).comes_to(next);
                    self.verified(session, adapter);
                }
                WakeStep::Unverified { adapter, spent } => {
                    self.record(&session.key).comes_to(next);
                    let why = format!(
                        "it did not fetch within {}",
                        humantime::format_duration(policy.verify_within)
                    );
                    self.unverified(session, adapter, &why, spent);
                }
            }
        }
    }

    /// The adapter that was fired failed by itself.
    pub(super) fn fails(&mut self, session: &KeptSession, why: &str, now: Duration) {
        let step = self.record(&session.key).fails(now, &policy(session));
        if let WakeStep::Unverified { adapter, spent } = step {
            self.unverified(session, adapter, why, spent);
        }
    }

    /// Ends the wakes of sessions that are not kept any more, so that the daemon
    /// that keeps them need not wait for our lease, and of those whose agent ended.
    pub(super) fn keep_only(&mut self, kept: &HashSet<&SessionKey>) {
        self.calls.keep_only(kept);
        let (desk, endings) = (&self.desk, &mut self.endings);
        self.records.retain(|session, wake| {
            if kept.contains(session) {
                return true;
            }
            let why = "the session is not kept here any more, or its agent has ended";
            endings.add(wake.ends(WakeOutcome::Abandoned, Some(why.into())));
            if wake.is_well() {
                recovered(desk, session);
            }
            false
        });
    }

    /// Another store than the one that the records speak of.
    pub(super) fn forget(&mut self) {
        self.calls.forget();
        self.endings.forget();
        self.records.retain(|_, wake| {
            wake.moves();
            wake.given_up().is_some()
        });
    }

    /// A clean stop: ends adapters that still run, and lets go of their rows, so
    /// that the next daemon need not wait for our lease.
    pub(super) async fn stop(&mut self, store: Option<&SharedStore>) {
        self.runs.stop().await;
        self.keep_only(&HashSet::new());
        let Some(store) = store else { return };
        if let Err(error) = self.endings.flush(store, Patience::begin()).await {
            tracing::debug!(%error, "the running wakes were not ended");
        }
    }

    /// Whether any news may change what is to be done for this session.
    pub(super) fn is_open(&self, session: &SessionKey) -> bool {
        self.records.get(session).is_some_and(Wake::is_open)
    }

    /// Whether a fetch of this session is awaited.
    pub(super) fn is_fired(&self, session: &SessionKey) -> bool {
        self.records.get(session).is_some_and(Wake::is_fired)
    }

    /// Whether any wake is open: any commit may decide it.
    pub(super) fn any_open(&self) -> bool {
        self.records.values().any(Wake::is_open)
    }

    /// How many sessions were woken and have not looked yet.
    pub(super) fn awaiting(&self) -> usize {
        self.records.values().filter(|wake| wake.is_fired()).count()
    }

    /// Unread messages of all sessions.
    pub(super) fn unread(&self) -> u64 {
        self.records.values().map(Wake::unread).sum()
    }

    /// The sessions that no way could wake.
    pub(super) fn given_up(&self) -> Vec<SessionState> {
        let given_up = self.records.values().filter_map(Wake::given_up);
        given_up.cloned().collect()
    }

    /// When the first of them is to be looked at again, since boot.
    pub(super) fn until(&self) -> Option<Duration> {
        self.records.values().filter_map(Wake::until).min()
    }
}

/// A session that had been given up is well again.
pub(super) fn recovered(desk: &AlertDesk, session: &SessionKey) {
    desk.recover(AlertKind::WakeListSpent, &session.to_string());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::duties::alerts;
    use crate::duties::message_watch::wake::Claim;
    use crate::model::{ConversationId, Side};
    use crate::store::WakeRef;

    fn key(number: u8) -> SessionKey {
        SessionKey::new(ConversationId::from_random([number; 8]), Side::B)
    }

    fn given_up(session: &SessionKey) -> SessionState {
        SessionState {
            session: session.to_string(),
            name: String::new(),
            credentials: "one.toml".into(),
            life: None,
            wake: Some("all adapters failed".into()),
            beside: None,
        }
    }

    fn claim(id: i64) -> Claim {
        Claim {
            row: WakeRef { id, claim: 1 },
            adapter: "file",
        }
    }

    #[test]
    fn session_that_leaves_takes_its_wake_along() {
        let (desk, mut inbox) = alerts::desk(DutyBell::default());
        let mut wakes = Wakes::new("host:one".into(), DutyBell::default(), desk);
        let mail = |unread| Mail {
            unread,
            ..Mail::default()
        };
        for number in [1, 2, 3] {
            let wake = wakes.record(&key(number));
            wake.sees(mail(u64::from(number)));
            wake.claimed(claim(i64::from(number)));
            wake.gives_up(given_up(&key(number)));
        }
        assert_eq!((wakes.unread(), wakes.given_up().len()), (6, 3));
        wakes.keep_only(&HashSet::from([&key(2)]));
        assert_eq!((wakes.unread(), wakes.given_up().len()), (2, 1));
        let ended: Vec<_> = wakes.endings.iter().map(|one| one.row.id).collect();
        assert_eq!(ended, [1, 3]);
        let abandoned = |outcome| outcome == WakeOutcome::Abandoned;
        assert!(wakes.endings.iter().all(|one| abandoned(one.outcome)));
        assert_eq!(inbox.recoveries(), [1, 3].map(|n| key(n).to_string()));
    }

    #[test]
    fn reports_to_another_store_are_forgotten() {
        let (desk, mut inbox) = alerts::desk(DutyBell::default());
        let mut wakes = Wakes::new("host:one".into(), DutyBell::default(), desk);
        wakes.record(&key(1)).claimed(claim(1));
        wakes.record(&key(2)).gives_up(given_up(&key(2)));
        wakes.forget();
        wakes.keep_only(&HashSet::new());
        assert_eq!(wakes.endings.iter().count(), 0);
        assert_eq!(inbox.recoveries(), [key(2).to_string()]);
    }
}
