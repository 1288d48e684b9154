//! Sessions whose agents end right after they were given a task: pure.
//!
//! The store counts such ends in a row; the pause before the next task is counted
//! on the observer's own boot clock, from when it saw the count grow.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use super::super::ids::SessionKey;

/// An end so soon after a task was given is the agent's crash.
pub const CRASH_WITHIN: Duration = Duration::from_secs(60);
/// The pause after the second crash in a row; it doubles with each more.
const FIRST_PAUSE: Duration = Duration::from_secs(10);
/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(600);

/// How long a session waits for its next task after this number of crashes in a row.
/// One may have any cause: a new agent goes on at once.
#[must_use]
pub fn crash_pause(crashes: u32) -> Duration {
    match crashes {
        0 | 1 => Duration::ZERO,
        _ => FIRST_PAUSE
            .saturating_mul(1 << (crashes - 2).min(10))
            .min(LONGEST_PAUSE),
    }
}

/// What one observer saw of crashes.
#[derive(Debug, Clone, Default)]
pub struct Crashes {
    seen: HashMap<SessionKey, (u32, Duration)>,
}

impl Crashes {
    /// The counts as they stand at `now`, of all sessions that have one.
    pub fn see(&mut self, counts: impl Iterator<Item = (SessionKey, u32)>, now: Duration) {
        let mut there = HashSet::new();
        for (key, crashes) in counts.filter(|(_, crashes)| *crashes > 0) {
            let seen = self.seen.entry(key.clone()).or_insert((crashes, now));
            if seen.0 != crashes {
                *seen = (crashes, now);
            }
            there.insert(key);
        }
        self.seen.retain(|key, _| there.contains(key));
    }

    /// Whether the session gets no task at `now`.
    #[must_use]
    pub fn is_paused(&self, key: &SessionKey, now: Duration) -> bool {
        let end = |(crashes, since): &(u32, Duration)| *since + crash_pause(*crashes);
        self.seen.get(key).is_some_and(|seen| now < end(seen))
    }

    /// Sessions that crash again and again, with their crashes in a row: until each
    /// had the time to crash once more after its pause, and did not.
    pub fn crashing(&self, now: Duration) -> impl Iterator<Item = (&SessionKey, u32)> {
        self.seen
            .iter()
            .filter_map(move |(key, &(crashes, since))| {
                let pause = crash_pause(crashes);
                let lasts = !pause.is_zero() && now < since + pause + CRASH_WITHIN;
                lasts.then_some((key, crashes))
            })
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::ids::{ConversationId, Side};
    use super::*;

    fn at(second: u64) -> Duration {
        Duration::from_secs(second)
    }

    #[test]
    fn pauses_grow_to_a_limit() {
        let pauses: Vec<u64> = (0..10).map(|n| crash_pause(n).as_secs()).collect();
        assert_eq!(pauses, [0, 0, 10, 20, 40, 80, 160, 320, 600, 600]);
        assert_eq!(crash_pause(u32::MAX), LONGEST_PAUSE);
    }

    #[test]
    fn pause_counts_from_when_its_crash_was_seen() {
        let key = SessionKey::new(ConversationId::from_random([7; 8]), Side::B);
        let mut crashes = Crashes::default();
        let see = |crashes: &mut Crashes, count, now| {
            crashes.see(std::iter::once((key.clone(), count)), at(now));
            let told: Vec<u32> = crashes.crashing(at(now)).map(|(_, n)| n).collect();
            (crashes.is_paused(&key, at(now)), told)
        };
        assert_eq!(see(&mut crashes, 1, 100), (false, vec![]));
        assert_eq!(see(&mut crashes, 2, 110), (true, vec![2]));
        assert_eq!(see(&mut crashes, 2, 119), (true, vec![2]));
        assert_eq!(see(&mut crashes, 2, 120), (false, vec![2]));
        assert_eq!(see(&mut crashes, 3, 125), (true, vec![3]));
        assert_eq!(see(&mut crashes, 3, 145), (false, vec![3]));
        assert_eq!(see(&mut crashes, 3, 204), (false, vec![3]));
        assert_eq!(see(&mut crashes, 3, 205), (false, vec![]));
        assert_eq!(see(&mut crashes, 0, 206), (false, vec![]));
        assert!(crashes.seen.is_empty());
    }
}
