//! Whether a wall clock can be believed. Anyone with the right may set it, and
//! a machine may start with a wrong one; the boot clock only goes forward, at
//! its own pace.
//!
//! A clock that went back is believed at once: nothing is deleted or prolonged
//! too early by that. A clock that is far ahead of what was seen before is
//! believed after a trial: a time in which it went on at the boot clock's pace.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

/// Days are what retention and the ends of conversations are counted in: a
/// clock that is ahead by less does no harm there.
const FAR: SignedDuration = SignedDuration::from_hours(24);

/// Two looks that differ by less, and by less than a thousandth of what passed
/// between them, are of one clock that was not set: time services slow it down or
/// speed it up by half of that at most.
const SAME_PACE: SignedDuration = SignedDuration::from_secs(5);

/// A wall clock, looked at again and again.
#[derive(Debug, Clone)]
pub struct Wall {
    /// How long a clock that is far ahead must go on steadily.
    trial: Duration,
    /// The last time that was believed, and the boot clock then.
    believed: Option<(Timestamp, Duration)>,
    /// The last look.
    last: Option<(Timestamp, Duration)>,
    /// Since when the two clocks go on together.
    steady_since: Duration,
}

/// What is to be taken for the time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Judged {
    /// The wall clock's time, or the time that the boot clock gives.
    pub now: Timestamp,
    /// By how much the wall clock is ahead of that, while it is not believed.
    pub ahead: Option<SignedDuration>,
}

impl Wall {
    /// A clock of which nothing was seen in this run. `witness` is a time that
    /// others wrote down before it, which cannot have been later than now; without
    /// one the first look is believed. `boot` is the boot clock at present.
    #[must_use]
    pub fn new(witness: Option<Timestamp>, boot: Duration, trial: Duration) -> Self {
        Self {
            trial,
            believed: witness.map(|at| (at, boot)),
            last: None,
            steady_since: boot,
        }
    }

    /// Looks at both clocks.
    pub fn judge(&mut self, wall: Timestamp, boot: Duration) -> Judged {
        if let Some(before) = self.last {
            let passed = boot.saturating_sub(before.1) / 1_000;
            let allowed =
                SignedDuration::try_from(passed).map_or(SAME_PACE, |part| SAME_PACE + part);
            if wall.duration_since(reckoned(before, boot)).abs() > allowed {
                self.steady_since = boot;
            }
        }
        self.last = Some((wall, boot));
        let expected = self.believed.map_or(wall, |before| reckoned(before, boot));
        let ahead = wall.duration_since(expected);
        if ahead > FAR && boot.saturating_sub(self.steady_since) < self.trial {
            return Judged {
                now: expected,
                ahead: Some(ahead),
            };
        }
        self.believed = Some((wall, boot));
        Judged {
            now: wall,
            ahead: None,
        }
    }
}

/// The time that it is if the clock was not set since.
fn reckoned((wall, then): (Timestamp, Duration), boot: Duration) -> Timestamp {
    let passed = SignedDuration::try_from(boot.saturating_sub(then));
    passed
        .ok()
        .and_then(|passed| wall.checked_add(passed).ok())
        .unwrap_or(wall)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRIAL: Duration = Duration::from_secs(300);
    const DAY: i64 = 24 * 3_600;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_763_000_000 + second).expect("in range")
    }

    fn boot(second: u64) -> Duration {
        Duration::from_secs(1_000 + second)
    }

    fn believed(wall: &mut Wall, second: i64, since: u64) -> bool {
        let judged = wall.judge(at(second), boot(since));
        assert_eq!(judged.ahead.is_none(), judged.now == at(second));
        judged.ahead.is_none()
    }

    #[test]
    fn a_first_look_without_a_witness_is_believed() {
        let mut wall = Wall::new(None, boot(0), TRIAL);
        assert!(believed(&mut wall, 400 * DAY, 0));
    }

    #[test]
    fn jump_is_ignored_and_the_boot_clock_counts() {
        let mut wall = Wall::new(Some(at(-30)), boot(0), TRIAL);
        assert!(believed(&mut wall, 0, 1));
        let judged = wall.judge(at(400 * DAY), boot(11));
        assert_eq!(judged.now, at(10));
        assert_eq!(
            judged.ahead,
            Some(SignedDuration::from_secs(400 * DAY - 10))
        );
        assert!(!believed(&mut wall, 400 * DAY + 60, 71));
        assert!(believed(&mut wall, 72, 73), "it was put right");
    }

    #[test]
    fn clock_that_stays_ahead_is_believed_after_its_trial() {
        let mut wall = Wall::new(Some(at(0)), boot(0), TRIAL);
        assert!(!believed(&mut wall, 45 * DAY, 0));
        assert!(!believed(&mut wall, 45 * DAY + 200, 200));
        // Set again, it begins anew.
        assert!(!believed(&mut wall, 50 * DAY, 299));
        assert!(!believed(&mut wall, 50 * DAY + 298, 597));
        assert!(believed(&mut wall, 50 * DAY + 301, 600));
        assert!(believed(&mut wall, 50 * DAY + 302, 601));
    }

    #[test]
    fn a_suspend_is_no_jump() {
        let mut wall = Wall::new(None, boot(0), TRIAL);
        assert!(believed(&mut wall, 0, 0));
        assert!(believed(&mut wall, 30 * DAY, 30 * 24 * 3_600));
    }

    #[test]
    fn a_clock_that_went_back_is_believed() {
        let mut wall = Wall::new(Some(at(0)), boot(0), TRIAL);
        assert!(believed(&mut wall, -400 * DAY, 5));
        assert!(!believed(&mut wall, 0, 6), "then it is the one that jumps");
    }

    #[test]
    fn hours_do_no_harm() {
        let mut wall = Wall::new(Some(at(0)), boot(0), TRIAL);
        assert!(believed(&mut wall, DAY - 60, 5));
    }
}
