//! The state of this process's own writes: when one last got through, and since when
//! later ones did not.
//!
//! A store that answers reads may still take no writes (a full disk, a lock that
//! another program keeps), and the only one who knows is who wrote. Noted here is
//! how far each write is, so that what holds it up can be named: the lock, the
//! disk, or the other writes of this process. What else is wrong is found out by
//! writing again.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use crate::clock;
use crate::model::StoreName;
use crate::store::{BeatWrites, LATE_WRITE, StoreError, WriteHealth};

/// A step that takes so long holds others up.
const LONG: Duration = Duration::from_secs(1);
/// So long a disk that was slow once explains what waits.
const RECENT: Duration = Duration::from_secs(60);

/// How far a write is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// It waits for the connection, which another write of this process has.
    Connection,
    /// It waits for the lock.
    Lock,
    /// It has the lock, and reads and changes rows.
    Work,
    /// COMMIT: it waits for the disk.
    Disk,
}

/// A write that is under way.
#[derive(Debug, Clone, Copy)]
struct UnderWay {
    begun: Duration,
    step: Step,
    since: Duration,
}

/// The writes of one connection, or of one store.
#[derive(Debug, Default)]
pub struct Writes(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    last: Option<Duration>,
    doubtful: Option<Duration>,
    regained: Option<(Duration, Duration)>,
    under_way: BTreeMap<u64, UnderWay>,
    number: u64,
    /// The last wait for the disk that was long: when it ended, and its length.
    slow_disk: Option<(Duration, Duration)>,
    /// When a write was last given up, and in which step.
    given_up: Option<(Duration, Step)>,
}

impl State {
    fn waiting_since(&self) -> Option<Duration> {
        self.under_way.values().map(|write| write.begun).min()
    }
}

impl Writes {
    /// A write begins, even if it must wait for the connection first.
    pub(crate) fn begin(self: &Arc<Self>) -> Attempt {
        let begun = clock::since_boot();
        let mut state = self.lock();
        state.number += 1;
        let number = state.number;
        let write = UnderWay {
            begun,
            step: Step::Connection,
            since: begun,
        };
        state.under_way.insert(number, write);
        Attempt {
            writes: Arc::clone(self),
            number,
        }
    }

    pub(crate) fn health(&self) -> WriteHealth {
        let state = self.lock();
        WriteHealth {
            last: state.last,
            doubtful_since: state.doubtful,
            waiting_since: state.waiting_since(),
            beats: BeatWrites::default(),
        }
    }

    /// The same of the writes that heartbeats are among.
    pub(crate) fn beats(&self) -> BeatWrites {
        let state = self.lock();
        let waiting = state.waiting_since();
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
pub(crate) struct Attempt {
    writes: Arc<Writes>,
    number: u64,
}

impl Attempt {
    /// It is at its next step.
    pub(crate) fn is_at(&self, step: Step) {
        let now = clock::since_boot();
        if let Some(write) = self.writes.lock().under_way.get_mut(&self.number) {
            (write.step, write.since) = (step, now);
        }
    }

    /// It is committed.
    pub(crate) fn got_through(&self) {
        let now = clock::since_boot();
        let mut state = self.writes.lock();
        let write = state.under_way.remove(&self.number);
        if let Some(write) = write {
            state.note_disk(&write, now);
        }
        state.given_up = None;
        let begun = write.map(|write| write.begun);
        let since = begun.into_iter().chain(state.doubtful.take()).min();
        let waited = since.map_or(Duration::ZERO, |since| now.saturating_sub(since));
        if waited >= LATE_WRITE {
            state.regained = Some((now, waited));
        }
        state.last = Some(now);
    }

    /// It ended well and had nothing to write: whether the store takes writes is
    /// as open as before.
    pub(crate) fn changed_nothing(&self) {
        self.writes.lock().under_way.remove(&self.number);
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        let now = clock::since_boot();
        let mut state = self.writes.lock();
        if let Some(write) = state.under_way.remove(&self.number) {
            state.doubtful.get_or_insert(write.begun);
            state.note_disk(&write, now);
            if now.saturating_sub(write.since) >= LONG {
                state.given_up = Some((now, write.step));
            }
        }
    }
}

impl State {
    fn note_disk(&mut self, write: &UnderWay, now: Duration) {
        let took = now.saturating_sub(write.since);
        if write.step == Step::Disk && took >= LONG {
            self.slow_disk = Some((now, took));
        }
    }

    /// For how long the disk has held a write up, if one did lately.
    fn disk_took(&self, now: Duration) -> Option<Duration> {
        let waiting = self.under_way.values().filter_map(|write| {
            let took = now.saturating_sub(write.since);
            (write.step == Step::Disk && took >= LONG).then_some(took)
        });
        let lately = self
            .slow_disk
            .filter(|(at, _)| now.saturating_sub(*at) < RECENT);
        waiting.chain(lately.map(|(_, took)| took)).max()
    }

    /// Whether a write waits, or waited in vain lately, in that step.
    fn waits(&self, step: Step, now: Duration) -> bool {
        let mut all = self.under_way.values();
        let given_up = self
            .given_up
            .filter(|(at, _)| now.saturating_sub(*at) < RECENT);
        given_up.is_some_and(|(_, at)| at == step)
            || all.any(|write| write.step == step && now.saturating_sub(write.since) >= LONG)
    }
}

/// The state of both kinds of writes of a store.
pub(crate) fn health_of(full: &Writes, normal: &Writes) -> WriteHealth {
    let (messages, heartbeats) = (full.health(), normal.health());
    let earlier = |one: Option<Duration>, other: Option<Duration>| match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    };
    WriteHealth {
        last: messages.last.max(heartbeats.last),
        doubtful_since: earlier(messages.doubtful_since, heartbeats.doubtful_since),
        waiting_since: earlier(messages.waiting_since, heartbeats.waiting_since),
        beats: normal.beats(),
    }
}

/// The writes of this process, by their stores.
static KNOWN: Mutex<Vec<(StoreName, Weak<Writes>)>> = Mutex::new(Vec::new());

/// Registers these writes for [`held_up`] under the store's name.
pub(crate) fn register(store: &StoreName, writes: &Arc<Writes>) {
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    known.retain(|(_, one)| one.strong_count() > 0);
    known.push((store.clone(), Arc::downgrade(writes)));
}

/// What a call for which there was no time means for the store: which of
/// the lock, the disk and the writes of this process held it up, as far as the
/// writes of this process show.
#[must_use]
pub fn held_up(store: &StoreName) -> StoreError {
    let known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    let ours = known.iter().filter(|(known, _)| known == store);
    let ours: Vec<_> = ours.filter_map(|(_, one)| one.upgrade()).collect();
    drop(known);
    judged(store, &ours, clock::since_boot())
}

fn judged(store: &StoreName, ours: &[Arc<Writes>], now: Duration) -> StoreError {
    let waits = |step| ours.iter().any(|writes| writes.lock().waits(step, now));
    let disk = ours
        .iter()
        .filter_map(|writes| writes.lock().disk_took(now));
    if let Some(took) = disk.max() {
        return StoreError::SlowDisk(store.clone(), took);
    }
    if !waits(Step::Lock) && (waits(Step::Work) || waits(Step::Connection)) {
        return StoreError::Crowded(store.clone());
    }
    StoreError::Busy(store.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The writes of a process, one of which is at `step` since long before the
    /// time that is returned.
    fn waiting_at(step: Step) -> ([Arc<Writes>; 2], Attempt, Duration) {
        let all = [Arc::new(Writes::default()), Arc::default()];
        let attempt = all[0].begin();
        attempt.is_at(step);
        (all, attempt, clock::since_boot() + 2 * LONG)
    }

    #[test]
    fn cause_of_a_late_write_is_named() {
        let path = &StoreName::from("bridge.db");
        let (all, _attempt, now) = waiting_at(Step::Lock);
        assert!(matches!(judged(path, &all, now), StoreError::Busy(_)));
        let (all, _attempt, now) = waiting_at(Step::Work);
        assert!(matches!(judged(path, &all, now), StoreError::Crowded(_)));
        let (all, _attempt, now) = waiting_at(Step::Disk);
        let other = all[1].begin();
        other.is_at(Step::Lock);
        // The lock is our own, while the disk holds it up.
        assert!(matches!(judged(path, &all, now), StoreError::SlowDisk(_, took) if took >= LONG));
    }

    #[test]
    fn slow_disk_explains_what_waits_for_a_while() {
        let path = &StoreName::from("bridge.db");
        let (all, attempt, now) = waiting_at(Step::Disk);
        let write = all[0].lock().under_way[&attempt.number];
        all[0].lock().note_disk(&write, now);
        attempt.got_through();
        assert!(matches!(judged(path, &all, now), StoreError::SlowDisk(..)));
        let later = now + RECENT;
        assert!(matches!(judged(path, &all, later), StoreError::Busy(_)));
    }

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
