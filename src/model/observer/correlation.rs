//! Correlated silence: when most hosts fall silent together, the fault is
//! probably ours, or the network's, and not theirs.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use super::super::health::Health;

/// When silence counts as correlated.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CorrelationPolicy {
    /// Fewer hosts than that say nothing about each other.
    pub min_hosts: usize,
    /// Share of the hosts that must be silent, 0 to 1.
    pub share: f64,
    /// How long no session expires then.
    pub hold: Duration,
}

impl Default for CorrelationPolicy {
    fn default() -> Self {
        Self {
            min_hosts: 3,
            share: 0.55,
            hold: Duration::from_secs(300),
        }
    }
}

/// Hosts that are silent together, so that no session expires.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Correlated {
    /// Hosts all of whose sessions are silent.
    pub silent: usize,
    /// Hosts that had a living session.
    pub hosts: usize,
    /// Since when expiry is held, on the observer's boot clock.
    pub since: Duration,
}

/// How a session counts for its host. One that is lost, gone or never started
/// says nothing about what goes on now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Counted {
    #[default]
    Not,
    Alive,
    Silent,
}

impl From<Health> for Counted {
    fn from(health: Health) -> Self {
        match health {
            Health::Suspect => Self::Silent,
            health if health.is_alive() => Self::Alive,
            _ => Self::Not,
        }
    }
}

#[derive(Debug, Default)]
struct Count {
    alive: usize,
    silent: usize,
}

impl Count {
    fn of(&mut self, counted: Counted) -> Option<&mut usize> {
        match counted {
            Counted::Not => None,
            Counted::Alive => Some(&mut self.alive),
            Counted::Silent => Some(&mut self.silent),
        }
    }

    fn is_silent(&self) -> bool {
        self.alive == 0 && self.silent > 0
    }
}

/// What is to be done with sessions whose ttl is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ruling {
    /// They are lost.
    Expire,
    /// They, and all that were kept so far, are kept.
    Keep,
    /// The others came back: that was no good observation, begin anew.
    StartOver,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Calm,
    Holding { since: Duration },
    // The hold is over and they are silent still: no second one for the same
    // silence.
    LetGo,
}

/// Living and silent sessions by host, kept up to date one by one.
#[derive(Debug)]
pub(super) struct Hosts {
    policy: CorrelationPolicy,
    counts: HashMap<Arc<str>, Count>,
    silent: usize,
    state: State,
}

impl Hosts {
    pub(super) fn new(policy: CorrelationPolicy) -> Self {
        Self {
            policy,
            counts: HashMap::new(),
            silent: 0,
            state: State::Calm,
        }
    }

    pub(super) fn set_policy(&mut self, policy: CorrelationPolicy) {
        self.policy = policy;
    }

    /// A session of `host` counts as `to` from now on. Sessions whose host is not known
    /// do not count.
    pub(super) fn recount(&mut self, host: Option<&Arc<str>>, from: Counted, to: Counted) {
        let Some(host) = host.filter(|_| from != to) else {
            return;
        };
        let count = self.counts.entry(Arc::clone(host)).or_default();
        let was_silent = count.is_silent();
        if let Some(sessions) = count.of(from) {
            *sessions = sessions.saturating_sub(1);
        }
        if let Some(sessions) = count.of(to) {
            *sessions += 1;
        }
        match (was_silent, count.is_silent()) {
            (false, true) => self.silent += 1,
            (true, false) => self.silent = self.silent.saturating_sub(1),
            _ => {}
        }
        if count.alive + count.silent == 0 {
            self.counts.remove(host);
        }
    }

    #[expect(
        clippy::cast_precision_loss,
        reason = "no fleet has 2^52 hosts, and a share is not exact"
    )]
    fn together(&self) -> bool {
        let hosts = self.counts.len();
        hosts >= self.policy.min_hosts
            && self.silent > 0
            && self.silent as f64 >= self.policy.share * hosts as f64
    }

    /// Decides at `now`. `over` says whether there is a session whose ttl is
    /// over: without one, no hold begins.
    pub(super) fn rule(&mut self, over: bool, now: Duration) -> Ruling {
        let together = self.together();
        match self.state {
            State::Calm if over && together => {
                self.state = State::Holding { since: now };
                Ruling::Keep
            }
            State::Holding { since } if together => {
                if now.saturating_sub(since) < self.policy.hold {
                    return Ruling::Keep;
                }
                self.state = State::LetGo;
                Ruling::Expire
            }
            State::Holding { .. } => {
                self.state = State::Calm;
                Ruling::StartOver
            }
            State::LetGo if together => Ruling::Expire,
            State::Calm | State::LetGo => {
                self.state = State::Calm;
                Ruling::Expire
            }
        }
    }

    /// Ends a hold, and what followed it, without a ruling.
    pub(super) fn forget(&mut self) {
        self.state = State::Calm;
    }

    pub(super) fn correlated(&self) -> Option<Correlated> {
        match self.state {
            State::Holding { since } => Some(Correlated {
                silent: self.silent,
                hosts: self.counts.len(),
                since,
            }),
            State::Calm | State::LetGo => None,
        }
    }

    /// When the hold ends by itself.
    pub(super) fn until(&self) -> Option<Duration> {
        match self.state {
            State::Holding { since } => Some(since + self.policy.hold),
            State::Calm | State::LetGo => None,
        }
    }
}
