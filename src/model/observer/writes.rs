//! Whether the store takes writes, as the observer's own show: silence while
//! no agent can write is no silence.

use std::collections::VecDeque;
use std::time::Duration;

/// A write that waits or fails for so long was kept from the store.
const LATE: Duration = Duration::from_secs(3);
/// Without any write of its own for so long, an observer does not know.
const UNKNOWN: Duration = Duration::from_secs(10);

/// How often in a row a time without writes excuses the silence of one session. The
/// observer's writes got through in between, and so would a heartbeat: a disk that
/// stays slow hides no death.
const EXCUSES: usize = 3;
/// How many of these times are remembered: more than there are in the longest ttl.
const REMEMBERED: usize = 1_024;

/// The state of the observer's own writes, on its boot clock.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct OwnWrites {
    /// When one last got through.
    pub last: Option<Duration>,
    /// When the oldest began that waits still, or failed with none getting through
    /// since.
    pub failing_since: Option<Duration>,
    /// When one last got through that had waited for long, or after others that
    /// had failed for long.
    pub regained: Option<Duration>,
}

/// What is known of it.
#[derive(Debug, Clone, Default)]
pub(super) struct Writability {
    last: Option<Duration>,
    regained: Option<Duration>,
    unwritable_since: Option<Duration>,
    /// When each time without writes ended.
    ends: VecDeque<Duration>,
}

impl Writability {
    /// `true` if the store takes writes again, after a time without.
    pub(super) fn take(&mut self, writes: &OwnWrites, now: Duration) -> bool {
        let gap = writes.last.zip(self.last);
        let unknown = gap.is_some_and(|(last, before)| last.saturating_sub(before) > UNKNOWN);
        let regained = writes.regained.is_some() && writes.regained != self.regained;
        let was_unwritable = self.unwritable_since.is_some();
        let late = |since: &Duration| now.saturating_sub(*since) >= LATE;
        self.unwritable_since = writes.failing_since.filter(late);
        self.last = writes.last.or(self.last);
        self.regained = writes.regained;
        let again = regained || self.unwritable_since.is_none() && (unknown || was_unwritable);
        if again {
            if self.ends.len() == REMEMBERED {
                self.ends.pop_front();
            }
            self.ends.push_back(now);
        }
        again
    }

    /// From when on the silence of a session counts that gave its last sign at
    /// `life`, if it was excused so often that it is excused no more.
    pub(super) fn spent(&self, life: Duration) -> Option<Duration> {
        let after = self.ends.partition_point(|&end| end <= life);
        self.ends.get(after + EXCUSES - 1).copied()
    }

    pub(super) fn unwritable_since(&self) -> Option<Duration> {
        self.unwritable_since
    }
}
