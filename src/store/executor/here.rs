//! Threads that may wait for the disk, and when they are to do it.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::clock;

thread_local! {
    static MAY_WAIT: Cell<bool> = const { Cell::new(false) };
}

/// Lets the thread that calls it run its own writes, and wait for the disk meanwhile.
/// For threads whose other work can wait as long, or can be done by others of their
/// kind.
pub fn let_wait() {
    MAY_WAIT.set(true);
}

/// Whether this thread may.
pub(super) fn may_wait() -> bool {
    MAY_WAIT.get()
}

/// A write that takes longer is a slow disk's, for which no caller's thread waits.
const SLOW: Duration = Duration::from_millis(5);

/// For so long after a slow write they are left to the executor's thread.
const AFTER_SLOW: Duration = Duration::from_secs(1);

/// The same where writes come together: they share commits there.
const AFTER_MANY: Duration = Duration::from_millis(5);

/// A write that comes so soon after another one was there already while that one waited
/// for the disk: an answer takes longer to its caller, and the next request back.
const BEHIND: Duration = Duration::from_micros(100);

/// How writes went lately. Times are in nanoseconds since boot.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// Until when the executor's thread runs them.
    busy_until: AtomicU64,
    /// When the newest ended.
    ended: AtomicU64,
}

impl Pace {
    /// So many writes ran, since then.
    pub(super) fn ran(&self, many: usize, begun: Duration) {
        let now = clock::since_boot();
        self.ended.store(nanos(now), Ordering::Relaxed);
        match now.saturating_sub(begun) {
            took if took > SLOW => self.is_busy_until(now + AFTER_SLOW),
            _ if many > 1 => self.is_busy_until(now + AFTER_MANY),
            _ => {}
        }
    }

    /// Whether a caller may run its write itself now.
    pub(super) fn is_quiet(&self) -> bool {
        let now = clock::since_boot();
        let ended = self.ended.load(Ordering::Relaxed);
        if nanos(now) < ended.saturating_add(nanos(BEHIND)) {
            self.is_busy_until(now + AFTER_MANY);
        }
        self.busy_until.load(Ordering::Relaxed) <= nanos(now)
    }

    fn is_busy_until(&self, time: Duration) {
        self.busy_until.fetch_max(nanos(time), Ordering::Relaxed);
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One whose newest write ended so long ago.
    fn ended(ago: Duration) -> Pace {
        let pace = Pace::default();
        let ended = clock::since_boot().saturating_sub(ago);
        pace.ended.store(nanos(ended), Ordering::Relaxed);
        pace
    }

    #[test]
    fn a_slow_write_and_many_leave_the_next_to_the_thread() {
        let now = clock::since_boot();
        for (many, took) in [(2, Duration::ZERO), (1, SLOW * 2)] {
            let pace = Pace::default();
            pace.ran(many, now.saturating_sub(took));
            let until = pace.busy_until.load(Ordering::Relaxed);
            assert!(until > nanos(now), "{many} in {took:?}");
        }
        let pace = Pace::default();
        pace.ran(1, clock::since_boot());
        assert_eq!(pace.busy_until.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn a_write_right_behind_another_one_does_not_come_alone() {
        assert!(ended(BEHIND * 2).is_quiet());
        let pace = ended(Duration::ZERO);
        pace.ended.store(u64::MAX, Ordering::Relaxed);
        assert!(!pace.is_quiet());
        pace.ended.store(0, Ordering::Relaxed);
        assert!(
            !pace.is_quiet(),
            "those to come are left to the thread, too"
        );
    }
}
