//! How a session fares, judged from what one observer saw of it: pure.
//!
//! Two clocks, as in Kafka: *alive* (the heartbeat) and *progressing* (what the
//! agent does by itself). All instants are durations since boot on the
//! observer's own clock, noted when it *saw* a change; no time that another
//! machine wrote is ever compared.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::session::DEFAULT_TTL;

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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
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

/// How a session fares.
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

    /// Whether its tasks belong to somebody else now.
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
    /// What its client reports about turns.
    pub turn: Turn,
    /// It said that it waits for a permission or is rate limited.
    pub waiting: bool,
    /// Since when it has unread mail or an unfinished task.
    pub owes_since: Option<Duration>,
    /// It is to end: nothing new, and nobody misses it if it never started.
    pub draining: bool,
    /// The verdict that stands: [`Health::Lost`], [`Health::Stalled`] or
    /// [`Health::NeverStarted`] are taken back by a sign of the session, never
    /// because the observer itself was late. Whoever observes clears it then.
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
            turn: Turn::Unknown,
            waiting: false,
            owes_since: None,
            draining: false,
            standing: None,
        }
    }

    /// The last sign of life, or of the row itself where there was none.
    #[must_use]
    pub fn life_seen(&self) -> Duration {
        [self.beat_seen, self.activity_seen, self.process_seen_alive]
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
    /// How it fares.
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
/// observation: before one full ttl of it, nobody is lost.
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
    if seen.waiting {
        return Verdict::of(Health::Waiting, None);
    }
    if seen.turn == Turn::Inside {
        return Verdict::of(Health::Busy, None);
    }
    if let Some(until) = seen.busy_until.filter(|&until| until > now) {
        return Verdict::of(Health::Busy, Some(until));
    }
    // A declared time that ran out was activity until then.
    let active = seen
        .activity_seen
        .into_iter()
        .chain(seen.busy_until)
        .fold(seen.first_seen, Duration::max);
    let Some(owes) = seen.owes_since else {
        let end = active + policy.idle_after;
        return if now >= end {
            Verdict::of(Health::Idle, None)
        } else {
            Verdict::of(Health::Active, Some(end))
        };
    };
    // Nobody stalls while we could not have seen him move.
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
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECOND: Duration = Duration::from_secs(1);
    const TTL: Duration = Duration::from_secs(20);

    fn at(second: u32) -> Duration {
        second * SECOND
    }

    /// Kept by a daemon, beat and active at 1000 s.
    fn kept() -> Observed {
        Observed {
            beat_seen: Some(at(1_000)),
            activity_seen: Some(at(1_000)),
            promised: true,
            ..Observed::new(at(500), TTL)
        }
    }

    fn health(seen: &Observed, now: Duration) -> Health {
        judge(seen, now).health
    }

    fn judge(seen: &Observed, now: Duration) -> Verdict {
        classify(seen, Duration::ZERO, now, &HealthPolicy::default())
    }

    /// The heartbeat goes on: only the second clock is tried.
    fn beating(seen: Observed, now: Duration) -> Observed {
        Observed {
            beat_seen: Some(now),
            ..seen
        }
    }

    #[test]
    fn silence_is_suspect_at_half_the_ttl_and_lost_at_the_ttl() {
        let seen = kept();
        let just_before = |second| at(second) - Duration::from_nanos(1);
        assert_eq!(health(&seen, just_before(1_010)), Health::Active);
        assert_eq!(health(&seen, at(1_010)), Health::Suspect);
        assert_eq!(health(&seen, just_before(1_020)), Health::Suspect);
        assert_eq!(health(&seen, at(1_020)), Health::Lost);
    }

    #[test]
    fn any_sign_of_life_counts_and_the_last_one_decides() {
        for seen in [
            Observed {
                beat_seen: Some(at(1_015)),
                ..kept()
            },
            Observed {
                activity_seen: Some(at(1_015)),
                ..kept()
            },
            Observed {
                process_seen_alive: Some(at(1_015)),
                ..kept()
            },
        ] {
            assert_eq!(health(&seen, at(1_034)), Health::Suspect);
            assert_eq!(health(&seen, at(1_035)), Health::Lost);
        }
    }

    #[test]
    fn nobody_expires_before_a_full_ttl_of_good_observation_but_an_exit_is_an_exit() {
        let policy = HealthPolicy::default();
        let judged = |seen: &Observed, now| classify(seen, at(5_000), now, &policy).health;
        assert_eq!(judged(&kept(), at(5_019)), Health::Suspect);
        assert_eq!(judged(&kept(), at(5_020)), Health::Lost);
        let exited = Observed {
            exited: true,
            ..kept()
        };
        assert_eq!(judged(&exited, at(5_000)), Health::Exited);
    }

    #[test]
    fn what_never_gave_a_sign_never_started_and_what_did_before_us_is_lost() {
        let new = Observed::new(at(500), at(300));
        assert_eq!(judge(&new, at(500)).until, Some(at(620)));
        assert_eq!(health(&new, at(619)), Health::Starting);
        assert_eq!(health(&new, at(620)), Health::NeverStarted);
        let before_us = Observed {
            promised: true,
            ..new
        };
        assert_eq!(health(&before_us, at(799)), Health::Suspect);
        assert_eq!(health(&before_us, at(800)), Health::Lost);
        let drained = Observed {
            draining: true,
            ..new
        };
        assert_eq!(judge(&drained, at(9_000)).health, Health::Starting);
    }

    #[test]
    fn idle_owes_nothing_and_stalled_owes_something() {
        let now = at(1_060);
        assert_eq!(health(&beating(kept(), now), now - SECOND), Health::Active);
        assert_eq!(health(&beating(kept(), now), now), Health::Idle);
        let owes = Observed {
            owes_since: Some(at(1_100)),
            ..kept()
        };
        let now = at(1_219);
        assert_eq!(health(&beating(owes, now), now), Health::Active);
        let now = at(1_220);
        assert_eq!(health(&beating(owes, now), now), Health::Stalled);
        let moved = Observed {
            activity_seen: Some(at(1_150)),
            ..owes
        };
        assert_eq!(health(&beating(moved, now), now), Health::Active);
    }

    #[test]
    fn a_session_that_is_busy_or_waits_is_not_stalled_however_long() {
        let now = at(9_000);
        let owes = beating(
            Observed {
                owes_since: Some(at(1_000)),
                ..kept()
            },
            now,
        );
        let inside = Observed {
            turn: Turn::Inside,
            ..owes
        };
        assert_eq!(health(&inside, now), Health::Busy);
        let waits = Observed {
            waiting: true,
            ..owes
        };
        assert_eq!(health(&waits, now), Health::Waiting);
        let said = Observed {
            busy_until: Some(now + SECOND),
            ..owes
        };
        assert_eq!(judge(&said, now).until, Some(now + SECOND));
        assert_eq!(health(&said, now), Health::Busy);
        // When the time that it declared is over, it has as long as anybody.
        assert_eq!(health(&said, now + SECOND), Health::Active);
        let later = now + 121 * SECOND;
        assert_eq!(health(&beating(said, later), later), Health::Stalled);
    }

    #[test]
    fn only_a_client_that_reports_turns_has_its_tasks_taken() {
        let owes = Observed {
            owes_since: Some(at(1_000)),
            turn: Turn::Outside,
            ..kept()
        };
        let judged = |seen, second| {
            let verdict = judge(&beating(seen, at(second)), at(second));
            (verdict.health, verdict.may_revoke)
        };
        assert_eq!(judged(owes, 1_120), (Health::Stalled, false));
        assert_eq!(judged(owes, 1_419), (Health::Stalled, false));
        assert_eq!(judged(owes, 1_420), (Health::Stalled, true));
        let silent_client = Observed {
            turn: Turn::Unknown,
            ..owes
        };
        assert_eq!(judged(silent_client, 90_000), (Health::Stalled, false));
    }

    #[test]
    fn our_own_lateness_takes_no_verdict_back() {
        let policy = HealthPolicy::default();
        let now = at(2_000);
        let standing = |seen: Observed, health| {
            let seen = Observed {
                standing: Some(health),
                ..seen
            };
            classify(&seen, now, now, &policy).health
        };
        assert_eq!(standing(kept(), Health::Lost), Health::Lost);
        let owes = Observed {
            owes_since: Some(at(1_000)),
            ..kept()
        };
        assert_eq!(standing(owes, Health::Stalled), Health::Stalled);
        assert_eq!(standing(kept(), Health::Stalled), Health::Idle);
        let new = Observed::new(at(1_000), TTL);
        assert_eq!(standing(new, Health::NeverStarted), Health::NeverStarted);
    }

    #[test]
    fn words_are_read_as_they_are_written() {
        for health in Health::ALL {
            assert_eq!(Health::from_word(health.as_str()), Some(health));
            assert_eq!(serde_json::to_value(health).expect("json"), health.as_str());
        }
        assert_eq!(Health::from_word("sleepy"), None);
        for turn in [Turn::Unknown, Turn::Outside, Turn::Inside] {
            assert_eq!(Turn::from_word(turn.as_str()), Some(turn));
        }
    }

    fn instant() -> impl Strategy<Value = Duration> {
        (0_u32..2_000).prop_map(at)
    }

    fn observed() -> impl Strategy<Value = Observed> {
        let maybe = || proptest::option::of(instant());
        let lives = (instant(), maybe(), maybe(), maybe(), any::<bool>());
        let turn = proptest::sample::select(vec![Turn::Unknown, Turn::Outside, Turn::Inside]);
        let progress = (maybe(), turn, any::<bool>(), maybe(), any::<bool>());
        let ttl = proptest::sample::select(vec![at(2), TTL, at(300)]);
        let standing = proptest::sample::select(vec![
            None,
            Some(Health::Lost),
            Some(Health::Stalled),
            Some(Health::NeverStarted),
        ]);
        (
            lives,
            progress,
            ttl,
            standing,
            proptest::bool::weighted(0.1),
        )
            .prop_map(|(lives, progress, ttl, standing, exited)| Observed {
                first_seen: lives.0,
                beat_seen: lives.1,
                activity_seen: lives.2,
                process_seen_alive: lives.3,
                promised: lives.4,
                busy_until: progress.0,
                turn: progress.1,
                waiting: progress.2,
                owes_since: progress.3,
                draining: progress.4,
                ttl,
                standing,
                exited,
            })
    }

    proptest! {
        /// `until` is what lets an orchestrator sleep: nothing changes before
        /// it, and something does at it.
        #[test]
        fn a_verdict_holds_until_it_says(
            seen in observed(),
            good_since in instant(),
            now in (2_000_u32..4_000).prop_map(at),
            part in 0.0..1.0_f64,
        ) {
            let policy = HealthPolicy::default();
            let words = |now| {
                let verdict = classify(&seen, good_since, now, &policy);
                (verdict.health, verdict.may_revoke)
            };
            let verdict = classify(&seen, good_since, now, &policy);
            match verdict.until {
                Some(until) => {
                    prop_assert!(until > now);
                    prop_assert_eq!(words(now), words(now + (until - now).mul_f64(part * 0.999)));
                    // Somebody who is suspect and was stalled may be either.
                    prop_assert_ne!(words(now), words(until));
                }
                None => prop_assert_eq!(words(now), words(now + at(100_000))),
            }
        }

        #[test]
        fn who_gave_a_sign_within_the_ttl_is_not_lost_and_who_did_not_is(
            seen in observed(),
            good_since in instant(),
            now in (0_u32..4_000).prop_map(at),
        ) {
            let verdict = classify(&seen, good_since, now, &HealthPolicy::default());
            let signs = [seen.beat_seen, seen.activity_seen, seen.process_seen_alive];
            let fresh = signs.iter().flatten().any(|&sign| now < sign + seen.ttl)
                || now < good_since + seen.ttl;
            let started = seen.promised || signs.iter().any(Option::is_some);
            if seen.exited {
                prop_assert_eq!(verdict.health, Health::Exited);
            } else if seen.standing == Some(Health::Lost) {
                prop_assert_eq!(verdict.health, Health::Lost);
            } else if fresh {
                prop_assert!(!verdict.health.is_gone());
            } else if started && now >= seen.first_seen + seen.ttl {
                prop_assert_eq!(verdict.health, Health::Lost);
            }
        }

        #[test]
        fn nobody_who_is_busy_or_waits_is_stalled_and_nobody_is_revoked_unseen(
            seen in observed(),
            good_since in instant(),
            now in (0_u32..4_000).prop_map(at),
        ) {
            let verdict = classify(&seen, good_since, now, &HealthPolicy::default());
            if verdict.health == Health::Stalled {
                prop_assert!(seen.owes_since.is_some() && !seen.waiting);
                prop_assert!(seen.turn != Turn::Inside);
                prop_assert!(seen.busy_until.is_none_or(|until| until <= now));
            }
            if verdict.may_revoke {
                prop_assert!(verdict.health == Health::Stalled && seen.turn == Turn::Outside);
                prop_assert!(now >= good_since + at(420));
            }
        }
    }
}
