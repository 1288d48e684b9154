//! The health of a session, judged from what one observer saw of it: pure.
//!
//! Two clocks, as in Kafka: *alive* (the heartbeat) and *progressing* (what the
//! agent does by itself). All instants are durations since boot on the
//! observer's own clock, noted when it *saw* a change; no time that another
//! machine wrote is ever compared.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::wire::Word;

/// How old a heartbeat of a session without its own `ttl` may be.
pub const DEFAULT_TTL: Duration = Duration::from_secs(300);

/// The settings that verdicts depend on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HealthPolicy {
    /// Without activity for so long, and owing nothing, a session is idle.
    pub idle_after: Duration,
    /// Without activity for so long, and owing something, it is stalled.
    pub stalled_after: Duration,
    /// Stalled for so long, its tasks may be taken from it.
    pub revoke_after: Duration,
    /// How long a new session has until its first sign of life.
    pub starting_for: Duration,
    /// How long a sign of life is good for where no daemon keeps the session.
    pub default_ttl: Duration,
}

impl Default for HealthPolicy {
    fn default() -> Self {
        Self {
            idle_after: Duration::from_secs(60),
            stalled_after: Duration::from_secs(120),
            revoke_after: Duration::from_secs(300),
            starting_for: Duration::from_secs(120),
            default_ttl: DEFAULT_TTL,
        }
    }
}

/// What the agent's client reports about its turns.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Turn {
    /// It reports none: a long build and a dead agent look the same.
    #[default]
    Unknown,
    /// It waits for its user, or for a wake.
    Outside,
    /// It works, however long that takes.
    Inside,
}

impl Word for Turn {
    const UNKNOWN: Self = Self::Unknown;
}

impl Turn {
    /// The word in the store.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Outside => "outside",
            Self::Inside => "inside",
        }
    }

    /// Reads [`Self::as_str`] back.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        [Self::Unknown, Self::Outside, Self::Inside]
            .into_iter()
            .find(|turn| turn.as_str() == word)
    }
}

/// What a client said of its turns, and when: the word of a program that was held up may
/// arrive after the next one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TurnSaid {
    /// What.
    pub turn: Turn,
    /// Time since boot.
    pub at: Duration,
}

/// The health of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Health {
    /// New, without a sign of life yet.
    Starting,
    /// New no longer, and never a sign of life.
    NeverStarted,
    /// Alive, and did something lately or was given something lately.
    Active,
    /// Inside a turn, or it said until when it will be busy.
    Busy,
    /// Alive, and nothing to do.
    Idle,
    /// It said that it waits for a permission or is rate limited.
    Waiting,
    /// Alive, owes something, and does not move.
    Stalled,
    /// Silent for half its ttl.
    Suspect,
    /// Silent for its ttl.
    Lost,
    /// Its process was seen to have ended.
    Exited,
}

impl Health {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Starting,
        Self::NeverStarted,
        Self::Active,
        Self::Busy,
        Self::Idle,
        Self::Waiting,
        Self::Stalled,
        Self::Suspect,
        Self::Lost,
        Self::Exited,
    ];

    /// The word in the store.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::NeverStarted => "never_started",
            Self::Active => "active",
            Self::Busy => "busy",
            Self::Idle => "idle",
            Self::Waiting => "waiting",
            Self::Stalled => "stalled",
            Self::Suspect => "suspect",
            Self::Lost => "lost",
            Self::Exited => "exited",
        }
    }

    /// Reads [`Self::as_str`] back.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|health| health.as_str() == word)
    }

    /// Whether its tasks belong to other agents now.
    #[must_use]
    pub fn is_gone(self) -> bool {
        matches!(self, Self::Lost | Self::Exited)
    }

    /// Whether it gave a sign of life within half its ttl.
    #[must_use]
    pub fn is_alive(self) -> bool {
        matches!(
            self,
            Self::Active | Self::Busy | Self::Idle | Self::Waiting | Self::Stalled
        )
    }

    /// Whether new work may be given to it.
    #[must_use]
    pub fn takes_work(self) -> bool {
        matches!(self, Self::Active | Self::Busy | Self::Idle)
    }
}

impl fmt::Display for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What was seen of a session. Instants are on the observer's boot clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Observed {
    /// When the session itself was first seen.
    pub first_seen: Duration,
    /// When its heartbeat was last seen to change.
    pub beat_seen: Option<Duration>,
    /// How long a sign of life is good for: its heartbeat's own ttl where a
    /// daemon keeps it, [`HealthPolicy::default_ttl`] elsewhere.
    pub ttl: Duration,
    /// Whether it ever had a heartbeat, or ever called, also before it was
    /// first seen: it started, and if it is silent it is lost.
    pub promised: bool,
    /// When it was last seen to have done something by itself. A sign of life,
    /// too.
    pub activity_seen: Option<Duration>,
    /// When the observer itself saw the agent's process alive, on this host: a
    /// worker daemon that was killed does not make a living agent lost.
    pub process_seen_alive: Option<Duration>,
    /// Its process was seen to have ended.
    pub exited: bool,
    /// Until when it said that it would be busy.
    pub busy_until: Option<Duration>,
    /// The same where no daemon keeps it: until then nothing else could show
    /// its life, and its word does. A daemon that is silent breaks no word.
    pub vouched_until: Option<Duration>,
    /// What its client reports about turns.
    pub turn: Turn,
    /// Until when its word counts that it waits for a permission or is rate
    /// limited. It is an excuse for a while, and not for ever.
    pub waiting_until: Option<Duration>,
    /// Since when it has unread mail or an unfinished task.
    pub owes_since: Option<Duration>,
    /// It is to end: it gets nothing new, and is not missed if it never started.
    pub draining: bool,
    /// Since when its process is stopped by a signal: no turn and no word of being
    /// busy counts then, and a turn that it is in is something that it owes.
    pub stopped_since: Option<Duration>,
    /// No agent uses it: it is where an operator sends from, and is not missed.
    pub unused: bool,
    /// The verdict that stands: [`Health::Lost`], [`Health::Stalled`] or
    /// [`Health::NeverStarted`] are taken back by a sign of the session, never because
    /// the observer itself was late. The observer clears it then.
    pub standing: Option<Health>,
}

impl Observed {
    /// A session of which nothing was seen but its row.
    #[must_use]
    pub fn new(first_seen: Duration, ttl: Duration) -> Self {
        Self {
            first_seen,
            beat_seen: None,
            ttl,
            promised: false,
            activity_seen: None,
            process_seen_alive: None,
            exited: false,
            busy_until: None,
            vouched_until: None,
            turn: Turn::Unknown,
            waiting_until: None,
            owes_since: None,
            draining: false,
            stopped_since: None,
            unused: false,
            standing: None,
        }
    }

    /// The last sign of life, or of the row itself where there was none; ahead
    /// of now while its word stands for its life.
    #[must_use]
    pub fn life_seen(&self) -> Duration {
        [
            self.beat_seen,
            self.activity_seen,
            self.process_seen_alive,
            self.vouched_until,
        ]
        .into_iter()
        .flatten()
        .fold(self.first_seen, Duration::max)
    }

    /// Silence that counts: since the last sign of life, or since the observer
    /// could have seen one.
    #[must_use]
    pub fn silent_for(&self, good_since: Duration, now: Duration) -> Duration {
        now.saturating_sub(self.life_seen().max(good_since))
    }

    fn has_started(&self) -> bool {
        self.promised
            || self.beat_seen.is_some()
            || self.activity_seen.is_some()
            || self.process_seen_alive.is_some()
    }
}

/// What follows from what was seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verdict {
    /// Its health.
    pub health: Health,
    /// When that, or `may_revoke`, changes although nothing new is seen. Until
    /// then there is no need to ask again.
    pub until: Option<Duration>,
    /// Its tasks may be taken from it although it is alive.
    pub may_revoke: bool,
}

impl Verdict {
    fn of(health: Health, until: Option<Duration>) -> Self {
        Self {
            health,
            until,
            may_revoke: false,
        }
    }
}

/// Judges a session at `now`. `good_since` is the start of uninterrupted good
/// observation: before one full ttl of it, no session is lost.
#[must_use]
pub fn classify(
    seen: &Observed,
    good_since: Duration,
    now: Duration,
    policy: &HealthPolicy,
) -> Verdict {
    if seen.exited {
        return Verdict::of(Health::Exited, None);
    }
    if seen.unused {
        return Verdict::of(Health::Starting, None);
    }
    if seen.standing == Some(Health::Lost) {
        return Verdict::of(Health::Lost, None);
    }
    if !seen.has_started() {
        return starting(seen, good_since, now, policy);
    }
    let since = seen.life_seen().max(good_since);
    let (suspect, lost) = (since + seen.ttl / 2, since + seen.ttl);
    if now >= lost {
        return Verdict::of(Health::Lost, None);
    }
    if now >= suspect {
        return Verdict::of(Health::Suspect, Some(lost));
    }
    let mut verdict = progress(seen, good_since, now, policy);
    verdict.until = Some(verdict.until.map_or(suspect, |until| until.min(suspect)));
    verdict
}

fn starting(
    seen: &Observed,
    good_since: Duration,
    now: Duration,
    policy: &HealthPolicy,
) -> Verdict {
    let end = seen.first_seen.max(good_since) + policy.starting_for;
    if seen.draining {
        Verdict::of(Health::Starting, None)
    } else if now >= end || seen.standing == Some(Health::NeverStarted) {
        Verdict::of(Health::NeverStarted, None)
    } else {
        Verdict::of(Health::Starting, Some(end))
    }
}

/// The second clock, for a session that is alive.
fn progress(
    seen: &Observed,
    good_since: Duration,
    now: Duration,
    policy: &HealthPolicy,
) -> Verdict {
    let stopped = seen.stopped_since;
    if stopped.is_none() {
        if let Some(until) = seen.waiting_until.filter(|&until| until > now) {
            return Verdict::of(Health::Waiting, Some(until));
        }
        if seen.turn == Turn::Inside {
            return Verdict::of(Health::Busy, None);
        }
        if let Some(until) = seen.busy_until.filter(|&until| until > now) {
            return Verdict::of(Health::Busy, Some(until));
        }
    }
    // A declared time that ran out was activity until then; so was what it did
    // until it was stopped.
    let said = seen.busy_until.filter(|&until| until <= now);
    let active = [seen.activity_seen, said, stopped]
        .into_iter()
        .flatten()
        .fold(seen.first_seen, Duration::max);
    let works = seen.turn == Turn::Inside || seen.busy_until.is_some_and(|until| until > now);
    let Some(owes) = seen.owes_since.or(stopped.filter(|_| works)) else {
        let end = active + policy.idle_after;
        return if now >= end {
            Verdict::of(Health::Idle, None)
        } else {
            Verdict::of(Health::Active, Some(end))
        };
    };
    // No session stalls while we could not have seen it move.
    let stalled = active.max(owes).max(good_since) + policy.stalled_after;
    if now < stalled && seen.standing != Some(Health::Stalled) {
        return Verdict::of(Health::Active, Some(stalled));
    }
    if seen.turn == Turn::Unknown {
        return Verdict::of(Health::Stalled, None);
    }
    let revoke = stalled + policy.revoke_after;
    let may_revoke = now >= revoke;
    Verdict {
        health: Health::Stalled,
        until: (!may_revoke).then_some(revoke),
        may_revoke,
    }
}

#[cfg(test)]
mod tests;
