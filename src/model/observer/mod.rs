//! The fleet as one orchestrator sees it: bookkeeping without I/O and clock.
//!
//! It gets the rows that changed, notes on the observer's own boot clock when it *saw*
//! that, and says whose health differs from what was last said. What it does costs what
//! changed or is due, never a walk over the fleet.

mod correlation;
mod entry;
mod sighting;
mod writes;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::mem;
use std::sync::Arc;
use std::time::Duration;

pub use correlation::{Correlated, CorrelationPolicy};
pub use sighting::{Beat, Change, Held, Sighting};
pub use writes::OwnWrites;

use super::health::{self, Health, HealthPolicy};
use super::ids::SessionKey;
use correlation::{Counted, Hosts, Ruling};
use entry::Entry;
use writes::Writability;

/// The fleet. All `now` are durations since boot on one clock, and never go
/// back. An orchestrator that does not act looks, too, but does not ask what is
/// [due](Self::due): so it knows what to say when it takes over.
#[derive(Debug)]
pub struct Observer {
    policy: HealthPolicy,
    index: HashMap<SessionKey, usize>,
    entries: Vec<Option<Entry>>,
    free: Vec<usize>,
    /// Whom to judge when; each entry at most once.
    deadlines: BTreeSet<(Duration, usize)>,
    /// Whom to judge at once.
    dirty: Vec<usize>,
    /// Suspect sessions: the ones that a new beginning concerns.
    silent: BTreeSet<usize>,
    /// Whose silence is over its ttl and not said because of a hold.
    kept_back: BTreeSet<usize>,
    /// Said to be lost by the last [`Self::due`], and from what.
    candidates: HashMap<usize, Health>,
    hosts: Hosts,
    hold: bool,
    writability: Writability,
    good_since: Duration,
    /// The same, but for times without writes.
    watched_since: Duration,
    latest: Duration,
}

impl Observer {
    /// Begins to look at `now`: no session is lost before one full ttl from here.
    #[must_use]
    pub fn new(policy: HealthPolicy, correlation: CorrelationPolicy, now: Duration) -> Self {
        Self {
            policy,
            index: HashMap::new(),
            entries: Vec::new(),
            free: Vec::new(),
            deadlines: BTreeSet::new(),
            dirty: Vec::new(),
            silent: BTreeSet::new(),
            kept_back: BTreeSet::new(),
            candidates: HashMap::new(),
            hosts: Hosts::new(correlation),
            hold: false,
            writability: Writability::default(),
            good_since: now,
            watched_since: now,
            latest: now,
        }
    }

    /// Takes new settings. Walks the fleet.
    pub fn set_policy(&mut self, policy: HealthPolicy, correlation: CorrelationPolicy) {
        self.policy = policy;
        self.hosts.set_policy(correlation);
        for at in 0..self.entries.len() {
            if let Some(entry) = &mut self.entries[at] {
                entry.set_ttl(&policy);
                self.mark(at);
            }
        }
    }

    /// A row was seen at `now`. Seeing the same row again is no sign of life.
    pub fn sighted(&mut self, sighting: &Sighting, now: Duration) {
        self.latest = now;
        let at = match self.index.get(&sighting.key) {
            Some(&at) => {
                if let Some(entry) = &mut self.entries[at] {
                    entry.see(sighting, now, &self.policy);
                }
                at
            }
            None => self.insert(Entry::new(sighting, now, &self.policy)),
        };
        self.place(at, sighting.host.as_deref());
        self.mark(at);
    }

    fn insert(&mut self, entry: Entry) -> usize {
        let key = entry.key.clone();
        let at = match self.free.pop() {
            Some(at) => {
                self.entries[at] = Some(entry);
                at
            }
            None => {
                self.entries.push(Some(entry));
                self.entries.len() - 1
            }
        };
        self.index.insert(key, at);
        at
    }

    fn place(&mut self, at: usize, host: Option<&str>) {
        let Some(entry) = &mut self.entries[at] else {
            return;
        };
        if entry.host.as_deref() != host {
            let counted = mem::take(&mut entry.counted);
            self.hosts
                .recount(entry.host.as_ref(), counted, Counted::Not);
            entry.host = host.map(Arc::from);
            self.hosts
                .recount(entry.host.as_ref(), Counted::Not, counted);
            entry.counted = counted;
        }
    }

    fn mark(&mut self, at: usize) {
        if let Some(entry) = &mut self.entries[at]
            && !mem::replace(&mut entry.dirty, true)
        {
            self.dirty.push(at);
        }
    }

    /// The observation was no good until `now`: a late tick, a suspend, an outage of
    /// the store. No session is lost before one full ttl from here; what was said
    /// before stands.
    pub fn interrupted(&mut self, now: Duration) {
        self.watched_since = now;
        self.begin_anew(now);
    }

    fn begin_anew(&mut self, now: Duration) {
        self.latest = now;
        self.good_since = now;
        // Deadlines only become later by this: a session that comes up too early is
        // judged again. Only suspicion is taken back at once.
        for at in mem::take(&mut self.silent) {
            self.mark(at);
        }
    }

    /// Forgets all sessions but these. Walks the fleet; for full looks.
    pub fn retain(&mut self, keys: &HashSet<SessionKey>) {
        let gone: Vec<usize> = self
            .index
            .iter()
            .filter(|(key, _)| !keys.contains(*key))
            .map(|(_, &at)| at)
            .collect();
        for at in gone {
            self.remove(at);
        }
    }

    /// Forgets one session. `false` if it was not known.
    pub fn forget(&mut self, key: &SessionKey) -> bool {
        let known = self.index.get(key).copied();
        if let Some(at) = known {
            self.remove(at);
        }
        known.is_some()
    }

    fn remove(&mut self, at: usize) {
        let Some(entry) = self.entries[at].take() else {
            return;
        };
        self.hosts
            .recount(entry.host.as_ref(), entry.counted, Counted::Not);
        if let Some(deadline) = entry.deadline {
            self.deadlines.remove(&(deadline, at));
        }
        self.silent.remove(&at);
        self.kept_back.remove(&at);
        self.candidates.remove(&at);
        self.index.remove(&entry.key);
        self.free.push(at);
    }

    /// The agent's process was seen alive on this host at `now`: good for one
    /// more ttl. Right after [`Self::due`] named the session as lost, this
    /// answer unsays it, as if it had not been named, and is `true`: do not
    /// write that change.
    pub fn process_alive(&mut self, key: &SessionKey, now: Duration) -> bool {
        self.latest = now;
        let Some(&at) = self.index.get(key) else {
            return false;
        };
        self.mark(at);
        let (Some(entry), candidate) = (&mut self.entries[at], self.candidates.remove(&at)) else {
            return false;
        };
        entry.process_alive(now);
        if let Some(from) = candidate {
            entry.reported = from;
        }
        candidate.is_some()
    }

    /// A change could not be written: it is judged anew, and said again if it
    /// still holds.
    pub fn take_back(&mut self, change: &Change) {
        let Some(&at) = self.index.get(&change.key) else {
            return;
        };
        if let Some(entry) = &mut self.entries[at]
            && entry.reported == change.to
        {
            entry.reported = change.from;
            entry.overtaken |= change.from != change.to;
            entry.hushed |= change.untold;
            entry.revocable = false;
            if entry.seen.standing == Some(change.to) && change.from != change.to {
                entry.seen.standing = None;
            }
        }
        self.candidates.remove(&at);
        self.mark(at);
    }

    /// An operator's hold: no session expires while it is on. An exit is a fact and no
    /// silence, and is said all the same: otherwise dead sessions would go on getting
    /// tasks. When it ends at `now`, silence counts from there.
    pub fn set_hold(&mut self, on: bool, now: Duration) {
        let ended = mem::replace(&mut self.hold, on) && !on;
        if ended {
            self.interrupted(now);
            self.release();
        }
    }

    /// How this observer's own writes fared until `now`. While they wait or fail
    /// no agent can give a sign of life, so none is lost; and when one gets through
    /// after that, silence counts from there, but for a session that was excused in
    /// this way several times since its last sign. `true` if it does so now.
    pub fn own_writes(&mut self, writes: &OwnWrites, now: Duration) -> bool {
        let regained = self.writability.take(writes, now);
        if regained {
            self.begin_anew(now);
            self.release();
        }
        regained
    }

    /// Since when the store takes no writes, as far as this observer's own show.
    #[must_use]
    pub fn unwritable_since(&self) -> Option<Duration> {
        self.writability.unwritable_since()
    }

    /// It leads no more: another leader sees by itself which hosts are silent together.
    /// When it leads again, it begins anew with that.
    pub fn stand_by(&mut self) {
        self.hosts.forget();
        self.release();
    }

    /// Judges anew the sessions that were kept back.
    fn release(&mut self) {
        for at in mem::take(&mut self.kept_back) {
            self.mark(at);
        }
    }

    /// Every session whose health differs from what was last said, at `now`. A change
    /// to [`Health::Lost`] is a candidate: a caller that can see the process answers
    /// with [`Self::process_alive`] before it writes the change.
    pub fn due(&mut self, now: Duration) -> Vec<Change> {
        self.latest = now;
        self.candidates.clear();
        let mut judged = Vec::new();
        loop {
            let over = self.judge_due(now, &mut judged);
            // Planned silence is no alarm: under an operator's hold none of
            // ours begins. One that was on goes on, and ends. And who cannot
            // write is not silent.
            let held = self.hold || self.unwritable_since().is_some();
            match self.hosts.rule(!over.is_empty() && !held, now) {
                Ruling::Expire if !held => {
                    let kept_back = mem::take(&mut self.kept_back);
                    for at in kept_back.into_iter().chain(over) {
                        self.expire(at);
                        judged.push(at);
                    }
                    break;
                }
                Ruling::Keep | Ruling::Expire => {
                    self.kept_back.extend(over);
                    break;
                }
                Ruling::StartOver => {
                    self.interrupted(now);
                    self.release();
                    for at in over {
                        self.mark(at);
                    }
                }
            }
        }
        judged.sort_unstable();
        judged.dedup();
        judged
            .into_iter()
            .filter_map(|at| self.change(at, now))
            .collect()
    }

    /// Judges all that are marked or whose time has come, and returns those
    /// whose ttl is over; until that is decided they count as suspect.
    fn judge_due(&mut self, now: Duration, judged: &mut Vec<usize>) -> Vec<usize> {
        let mut over = Vec::new();
        while let Some(&(deadline, at)) = self.deadlines.first()
            && deadline <= now
        {
            self.deadlines.pop_first();
            if let Some(entry) = &mut self.entries[at] {
                entry.deadline = None;
            }
            self.mark(at);
        }
        for at in mem::take(&mut self.dirty) {
            let Some(entry) = &mut self.entries[at] else {
                continue;
            };
            if !mem::take(&mut entry.dirty) {
                continue;
            }
            self.kept_back.remove(&at);
            let good_since = match self.writability.spent(entry.seen.life_seen()) {
                Some(spent) => spent.max(self.watched_since),
                None => self.good_since,
            };
            let mut verdict = health::classify(&entry.seen, good_since, now, &self.policy);
            let stands = entry.seen.standing == Some(Health::Lost);
            if verdict.health == Health::Lost && !stands {
                over.push(at);
                verdict.health = Health::Suspect;
            }
            entry.judged(verdict);
            self.reindex(at, verdict.until);
            judged.push(at);
        }
        over
    }

    fn expire(&mut self, at: usize) {
        if let Some(entry) = &mut self.entries[at] {
            entry.health = Health::Lost;
            entry.seen.standing = Some(Health::Lost);
        }
        self.reindex(at, None);
    }

    /// Brings queue, counts and the set of the silent up to an entry's health.
    fn reindex(&mut self, at: usize, until: Option<Duration>) {
        let Some(entry) = &mut self.entries[at] else {
            return;
        };
        if entry.deadline != until {
            if let Some(old) = entry.deadline {
                self.deadlines.remove(&(old, at));
            }
            if let Some(new) = until {
                self.deadlines.insert((new, at));
            }
            entry.deadline = until;
        }
        if entry.health == Health::Suspect {
            self.silent.insert(at);
        } else {
            self.silent.remove(&at);
        }
        let counted = Counted::from(entry.health);
        self.hosts
            .recount(entry.host.as_ref(), entry.counted, counted);
        entry.counted = counted;
    }

    fn change(&mut self, at: usize, now: Duration) -> Option<Change> {
        let entry = self.entries[at].as_mut()?;
        let news = entry.news()?;
        let spent = self.writability.spent(entry.seen.life_seen());
        let good_since = spent.map_or(self.good_since, |spent| spent.max(self.watched_since));
        if news.to == Health::Lost {
            self.candidates.insert(at, news.from);
        }
        Some(Change {
            key: entry.key.clone(),
            from: news.from,
            to: news.to,
            seq: entry.seq(),
            activity: entry.activity(),
            silent_for: entry.seen.silent_for(good_since, now),
            may_revoke: news.may_revoke,
            draining: entry.seen.draining,
            heard: entry.is_heard(),
            untold: news.untold,
        })
    }

    /// The next instant at which anything can change although nothing is seen.
    /// In the past if something is to be said already.
    #[must_use]
    pub fn next(&self) -> Option<Duration> {
        if !self.dirty.is_empty() {
            return Some(self.latest);
        }
        let deadline = self.deadlines.first().map(|&(deadline, _)| deadline);
        deadline.into_iter().chain(self.hosts.until()).min()
    }

    /// Hosts that fell silent together, so that no session expires.
    #[must_use]
    pub fn correlated(&self) -> Option<Correlated> {
        self.hosts.correlated()
    }

    /// How a session fared when it was last judged.
    #[must_use]
    pub fn health(&self, key: &SessionKey) -> Option<Health> {
        let entry = self.entries[*self.index.get(key)?].as_ref()?;
        Some(entry.health)
    }

    /// All sessions and how they fared when last judged, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (&SessionKey, Health)> {
        self.entries
            .iter()
            .flatten()
            .map(|entry| (&entry.key, entry.health))
    }

    /// Sessions that are known.
    #[must_use]
    pub fn len(&self) -> usize {
        self.index.len()
    }

    /// Whether none is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.index.is_empty()
    }

    /// Since when the observation is good, on the observer's boot clock.
    #[must_use]
    pub fn good_since(&self) -> Duration {
        self.good_since
    }

    /// Whether an operator's hold is on.
    #[must_use]
    pub fn is_held(&self) -> bool {
        self.hold
    }
}

#[cfg(test)]
mod tests;
