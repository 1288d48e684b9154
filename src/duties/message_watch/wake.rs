//! The record of one session's wake: everything that is true of it, from the first
//! unread message to the look that ends it.

use std::time::Duration;

use super::endings::Ending;
use crate::duties::SessionState;
use crate::duties::roster::KeptSession;
use crate::model::MessageId;
use crate::model::wake::{self, Mail, WakeOutcome, WakePolicy, WakeState, WakeStep};
use crate::store::WakeRef;

/// One session's wake.
#[derive(Debug, Default)]
pub(super) struct Wake {
    /// Where it stands; the decisions are `model::wake`'s.
    state: WakeState,
    /// What the store said of the session's mail last.
    mail: Mail,
    /// The row under which the adapter that is awaited was started. There is none
    /// while another process wakes the session.
    claim: Option<Claim>,
    /// No adapter of the list worked, and the operator was alerted: once, not with
    /// each try.
    given_up: Option<SessionState>,
    /// When to look again, since boot.
    until: Option<Duration>,
    /// An adapter that still runs, or a wake for another session of the same
    /// agent, stands in the way of the next try.
    held_up: bool,
}

/// The right to wake, as the store gave it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Claim {
    /// Its row.
    pub(super) row: WakeRef,
    /// The adapter that was started: a reload may have changed the list since.
    pub(super) adapter: &'static str,
}

impl Wake {
    /// Whether any news may change what is to be done.
    pub(super) fn is_open(&self) -> bool {
        self.held_up || self.state != WakeState::Quiet
    }

    /// An adapter was run, and a fetch is awaited.
    pub(super) fn is_fired(&self) -> bool {
        matches!(self.state, WakeState::Fired { .. })
    }

    /// Nothing is left to remember.
    pub(super) fn is_over(&self) -> bool {
        self.state == WakeState::Quiet
            && self.mail.unread == 0
            && self.claim.is_none()
            && self.given_up.is_none()
    }

    /// Whether this run of an adapter is the one that is awaited: its time may be
    /// over, and another one be awaited.
    pub(super) fn awaits(&self, number: usize, about: MessageId) -> bool {
        matches!(self.state,
            WakeState::Fired { adapter, mark, .. } if (adapter, mark) == (number, about))
    }

    /// Unread messages.
    pub(super) fn unread(&self) -> u64 {
        self.mail.unread
    }

    /// When to look again, since boot.
    pub(super) fn until(&self) -> Option<Duration> {
        self.until
    }

    /// The session in the state file, if its whole list has failed.
    pub(super) fn given_up(&self) -> Option<&SessionState> {
        self.given_up.as_ref()
    }

    /// The name of the adapter that was started, or of that one in the list.
    pub(super) fn adapter(&self, session: &KeptSession, number: usize) -> &'static str {
        self.claim
            .as_ref()
            .map_or_else(|| adapter_name(session, number), |claim| claim.adapter)
    }

    /// The store said this of the session's mail.
    pub(super) fn sees(&mut self, mail: Mail) {
        self.mail = mail;
        self.held_up = false;
    }

    /// The next step, and the state that it leads to. Firing leads there only if
    /// the adapter was started.
    pub(super) fn step(&self, now: Duration, policy: &WakePolicy) -> (WakeState, WakeStep) {
        wake::step(self.state, self.mail, now, policy)
    }

    /// The step was taken.
    pub(super) fn comes_to(&mut self, state: WakeState) {
        self.state = state;
    }

    /// Nothing is to be done before then.
    pub(super) fn rests(&mut self, until: Option<Duration>) {
        self.until = until;
    }

    /// The next try waits until then at most: something is in its way.
    pub(super) fn is_held_up(&mut self, until: Duration) {
        self.held_up = true;
        self.until = Some(until);
    }

    /// An adapter starts under this claim.
    pub(super) fn claimed(&mut self, claim: Claim) {
        self.claim = Some(claim);
    }

    /// The adapter that was fired failed: the step that follows.
    pub(super) fn fails(&mut self, now: Duration, policy: &WakePolicy) -> WakeStep {
        let (state, step) = wake::fail(self.state, now, policy);
        self.state = state;
        step
    }

    /// Another process is waking the session: it has its turn, until then.
    pub(super) fn leaves_it(&mut self, fired: WakeState, until: Duration) {
        self.state = match fired {
            WakeState::Fired { mark, rounds, .. } => WakeState::BackingOff {
                mark,
                until,
                rounds,
            },
            other => other,
        };
    }

    /// No adapter of its list worked.
    pub(super) fn gives_up(&mut self, state: SessionState) {
        self.given_up = Some(state);
    }

    /// It was woken, or looked by itself. `true` if it had been given up.
    pub(super) fn is_well(&mut self) -> bool {
        self.given_up.take().is_some()
    }

    /// Ends the claim. Without one another process had it, and ends it.
    pub(super) fn ends(&mut self, outcome: WakeOutcome, reason: Option<String>) -> Option<Ending> {
        let claim = self.claim.take()?;
        Some(Ending {
            row: claim.row,
            outcome,
            reason,
        })
    }

    /// Another store: its messages have other numbers, and the claim means nothing
    /// there. What the operator was alerted of holds until the session looks.
    pub(super) fn moves(&mut self) {
        *self = Self {
            given_up: self.given_up.take(),
            ..Self::default()
        };
    }
}

/// The settings that decisions on this session depend on.
pub(super) fn policy(session: &KeptSession) -> WakePolicy {
    WakePolicy {
        adapters: session.wake.adapters.len(),
        verify_within: session.wake.verify_within,
        backoff: session.wake.backoff,
        backoff_max: session.wake.backoff_max,
    }
}

/// The adapter of this number in the session's list.
pub(super) fn adapter_name(session: &KeptSession, number: usize) -> &'static str {
    let adapter = session.wake.adapters.get(number);
    adapter.map_or("an adapter", |adapter| adapter.name())
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: WakePolicy = WakePolicy {
        adapters: 1,
        verify_within: Duration::from_secs(10),
        backoff: Duration::from_secs(30),
        backoff_max: Duration::from_secs(60),
    };

    fn mail(ids: &[i64]) -> Mail {
        Mail {
            oldest_unread: ids.first().map(|id| MessageId(*id)),
            newest_unread: ids.last().map(|id| MessageId(*id)),
            unread: ids.len() as u64,
            ..Mail::default()
        }
    }

    fn claim(id: i64) -> Claim {
        Claim {
            row: WakeRef { id, claim: 1 },
            adapter: "exec",
        }
    }

    fn state(name: &str) -> SessionState {
        SessionState {
            session: "conv_0123456789abcdef/b".into(),
            name: name.into(),
            credentials: "one.toml".into(),
            life: None,
            wake: Some("all adapters failed".into()),
            beside: None,
        }
    }

    /// A wake about message 1 whose adapter runs under claim 7.
    fn fired() -> Wake {
        let mut wake = Wake::default();
        wake.sees(mail(&[1]));
        let (next, step) = wake.step(Duration::ZERO, &POLICY);
        let mark = MessageId(1);
        assert_eq!(step, WakeStep::Fire { adapter: 0, mark });
        wake.claimed(claim(7));
        wake.comes_to(next);
        wake
    }

    #[test]
    fn record_lives_as_long_as_its_wake() {
        assert!(Wake::default().is_over());
        let mut wake = fired();
        assert!(wake.is_open() && wake.is_fired() && !wake.is_over());
        wake.sees(mail(&[]));
        let (next, step) = wake.step(Duration::ZERO, &POLICY);
        assert_eq!(step, WakeStep::Verified { adapter: 0 });
        wake.comes_to(next);
        assert!(!wake.is_over(), "its row is to be ended");
        let ending = wake.ends(WakeOutcome::Verified, None).expect("a row");
        assert_eq!(ending.row, claim(7).row);
        assert_eq!(wake.ends(WakeOutcome::Verified, None), None, "once");
        assert!(wake.is_over());
    }

    #[test]
    fn held_up_try_stays_open_until_the_next_look() {
        let mut wake = Wake::default();
        wake.sees(mail(&[1]));
        assert!(!wake.is_open());
        wake.is_held_up(Duration::from_secs(5));
        assert!(wake.is_open() && !wake.is_fired());
        assert_eq!(wake.until(), Some(Duration::from_secs(5)));
        wake.sees(mail(&[1]));
        assert!(!wake.is_open());
    }

    #[test]
    fn only_the_run_that_is_awaited_counts() {
        let mut wake = fired();
        assert!(wake.awaits(0, MessageId(1)));
        assert!(!wake.awaits(0, MessageId(2)) && !wake.awaits(1, MessageId(1)));
        let step = wake.fails(Duration::ZERO, &POLICY);
        let (adapter, spent) = (0, true);
        assert_eq!(step, WakeStep::Unverified { adapter, spent });
        assert!(!wake.awaits(0, MessageId(1)), "its time is over");
    }

    #[test]
    fn session_that_another_process_wakes_is_left_alone() {
        let mut wake = Wake::default();
        wake.sees(mail(&[1]));
        let (next, _) = wake.step(Duration::ZERO, &POLICY);
        let until = Duration::from_secs(10);
        wake.leaves_it(next, until);
        assert!(!wake.is_fired());
        let (_, step) = wake.step(Duration::from_secs(9), &POLICY);
        let until = Some(until);
        assert_eq!(step, WakeStep::Rest { until });
        let (_, step) = wake.step(Duration::from_secs(10), &POLICY);
        let (adapter, mark) = (0, MessageId(1));
        assert_eq!(step, WakeStep::Fire { adapter, mark });
    }

    #[test]
    fn another_store_ends_all_but_reported_trouble() {
        let mut wake = fired();
        wake.moves();
        assert!(wake.is_over() && !wake.is_open());
        let mut wake = fired();
        wake.gives_up(state("one/b"));
        wake.moves();
        assert!(!wake.is_open() && wake.unread() == 0);
        assert_eq!(wake.ends(WakeOutcome::Abandoned, None), None);
        assert!(!wake.is_over() && wake.is_well(), "told of once more");
        assert!(wake.is_over() && !wake.is_well());
    }
}
