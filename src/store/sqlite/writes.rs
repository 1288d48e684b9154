//! How this process's own writes fare: when one last got through, and since
//! when those that came after it did not.
//!
//! A store that answers reads may still take no writes (a full disk, a lock that
//! another program keeps), and the only one who knows is who wrote. No more than
//! that is noted here; what is wrong is found out by writing again.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::clock;
use crate::store::{BeatWrites, LATE_WRITE, WriteHealth};

/// The writes of one connection, or of one store.
#[derive(Debug, Default)]
pub(super) struct Writes(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    last: Option<Duration>,
    doubtful: Option<Duration>,
    regained: Option<(Duration, Duration)>,
    /// When each write that is under way began.
    under_way: BTreeMap<u64, Duration>,
    number: u64,
}

impl Writes {
    /// A write begins, even if it must wait for the connection first.
    pub(super) fn begin(self: &Arc<Self>) -> Attempt {
        let begun = clock::since_boot();
        let mut state = self.lock();
        state.number += 1;
        let number = state.number;
        state.under_way.insert(number, begun);
        Attempt {
            writes: Arc::clone(self),
            number,
        }
    }

    pub(super) fn health(&self) -> WriteHealth {
        let state = self.lock();
        WriteHealth {
            last: state.last,
            doubtful_since: state.doubtful,
            waiting_since: state.under_way.values().min().copied(),
            beats: BeatWrites::default(),
        }
    }

    /// The same of the writes that heartbeats are among.
    pub(super) fn beats(&self) -> BeatWrites {
        let state = self.lock();
        let waiting = state.under_way.values().min().copied();
        BeatWrites {
            last: state.last,
            failing_since: waiting.into_iter().chain(state.doubtful).min(),
            regained: state.regained,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A write that is under way. Dropped before it got through, it leaves a doubt:
/// it failed, its caller lost patience, or it was refused for another reason.
#[derive(Debug)]
pub(super) struct Attempt {
    writes: Arc<Writes>,
    number: u64,
}

impl Attempt {
    /// How long ago it was asked for.
    pub(super) fn age(&self) -> Duration {
        let begun = self.writes.lock().under_way.get(&self.number).copied();
        begun.map_or(Duration::ZERO, |begun| {
            clock::since_boot().saturating_sub(begun)
        })
    }

    /// It is committed.
    pub(super) fn got_through(&self) {
        let now = clock::since_boot();
        let mut state = self.writes.lock();
        let begun = state.under_way.remove(&self.number);
        let since = begun.into_iter().chain(state.doubtful.take()).min();
        let waited = since.map_or(Duration::ZERO, |since| now.saturating_sub(since));
        if waited >= LATE_WRITE {
            state.regained = Some((now, waited));
        }
        state.last = Some(now);
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        let mut state = self.writes.lock();
        if let Some(begun) = state.under_way.remove(&self.number) {
            state.doubtful.get_or_insert(begun);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_doubt_lasts_until_a_write_gets_through() {
        let writes = Arc::new(Writes::default());
        assert_eq!(writes.health(), WriteHealth::default());
        drop(writes.begin());
        let doubt = writes.health().doubtful_since;
        assert!(doubt.is_some() && writes.health().last.is_none());
        drop(writes.begin());
        assert_eq!(writes.health().doubtful_since, doubt, "the first counts");
        let slow = writes.begin();
        assert!(writes.health().waiting_since >= doubt);
        let quick = writes.begin();
        quick.got_through();
        drop(quick);
        let health = writes.health();
        assert!(health.doubtful_since.is_none() && health.last.is_some());
        assert!(health.waiting_since.is_some(), "one is still under way");
        drop(slow);
        assert!(writes.health().doubtful_since.is_some());
    }
}
