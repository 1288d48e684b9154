//! One session as the observer remembers it: what the rows said last, and when
//! it saw them say something else.

use std::mem;
use std::sync::Arc;
use std::time::Duration;

use super::super::health::{Health, HealthPolicy, Observed, Verdict};
use super::super::ids::SessionKey;
use super::correlation::Counted;
use super::sighting::{Beat, Held, Sighting};

/// Longest time that an agent may say it will be busy.
const MAX_BUSY: Duration = Duration::from_secs(30 * 60);

/// What is to be said of a session.
#[derive(Debug, Clone, Copy)]
pub(super) struct News {
    pub(super) from: Health,
    pub(super) to: Health,
    pub(super) may_revoke: bool,
    pub(super) untold: bool,
}

#[derive(Debug)]
pub(super) struct Entry {
    pub(super) key: SessionKey,
    pub(super) host: Option<Arc<str>>,
    pub(super) seen: Observed,
    pub(super) health: Health,
    /// What the store holds, or will hold when the last change is written.
    pub(super) reported: Health,
    /// A sign of life came after the loss, or of motion after the stall, that
    /// was reported: the same again is news.
    pub(super) overtaken: bool,
    /// It was found stalled while it drained: that was not announced.
    pub(super) hushed: bool,
    /// Whether it was said, and whether it is so, that its tasks may be taken.
    pub(super) revocable: bool,
    may_revoke: bool,
    /// When it must be judged again, as it stands in the observer's queue.
    pub(super) deadline: Option<Duration>,
    /// It stands in the observer's list of what to judge.
    pub(super) dirty: bool,
    pub(super) counted: Counted,
    beat: Option<Beat>,
    activity: i64,
    foreign: Option<String>,
    spoken: Option<String>,
    read_there: Option<i64>,
    /// It gave a sign through the other bridge that was seen, or lately.
    heard: bool,
    /// An agent has used it, at some time.
    was_used: bool,
    declaration: Option<i64>,
    /// It says that it waits, whether or not that still counts.
    waits: bool,
    stored: Held,
}

impl Entry {
    /// A first sight. It says that the row is there, not when it was written:
    /// the times in it are another machine's.
    pub(super) fn new(sighting: &Sighting, now: Duration, policy: &HealthPolicy) -> Self {
        // Also what the other bridge noted of it: it started there.
        let promised = sighting.beat.is_some()
            || sighting.activity > 0
            || sighting.foreign.is_some()
            || sighting.spoken.is_some()
            || sighting.read_there.is_some();
        let mut entry = Self {
            key: sighting.key.clone(),
            host: None,
            seen: Observed {
                promised,
                exited: sighting.beat.is_some_and(|beat| beat.exited),
                ..Observed::new(now, policy.default_ttl)
            },
            health: Health::Starting,
            reported: Health::Starting,
            overtaken: false,
            hushed: false,
            revocable: false,
            may_revoke: false,
            deadline: None,
            dirty: false,
            counted: Counted::Not,
            beat: sighting.beat,
            activity: sighting.activity,
            foreign: sighting.foreign.clone(),
            spoken: sighting.spoken.clone(),
            read_there: sighting.read_there,
            heard: sighting.fresh,
            was_used: false,
            declaration: None,
            waits: false,
            stored: Held::Well,
        };
        if promised && !sighting.unused {
            entry.health = Health::Active;
            entry.reported = Health::Active;
        }
        entry.note_the_rest(sighting, now);
        entry.note_waiting(sighting, (false, false), now, policy);
        entry.set_ttl(policy);
        entry.adopt(sighting.standing, false, false);
        entry
    }

    /// A sight of a row that is known: what differs from last time is a sign.
    pub(super) fn see(&mut self, sighting: &Sighting, now: Duration, policy: &HealthPolicy) {
        let before = self.seen.standing;
        let moved = self.note_beat(sighting.beat, now);
        let called = self.activity != sighting.activity;
        // A mark that vanished is no sign: our own mirror, or the row of the
        // conversation's other side, took its place.
        let wrote = sighting.foreign.is_some() && self.foreign != sighting.foreign;
        self.note_waiting(sighting, (called, wrote), now, policy);
        // A call of ours that sends is both.
        let spoke = sighting.spoken.is_some() && self.spoken != sighting.spoken;
        let read = sighting.read_there.is_some() && self.read_there != sighting.read_there;
        self.heard |= wrote || read || (spoke && !called);
        self.spoken.clone_from(&sighting.spoken);
        self.read_there = sighting.read_there;
        if read {
            self.show_life(now);
        }
        let acted = called || wrote || spoke;
        if acted {
            self.activity = sighting.activity;
            if wrote {
                self.foreign.clone_from(&sighting.foreign);
            }
            self.seen.activity_seen = Some(now);
            self.seen.standing = None;
        }
        self.overtaken |= before == Some(self.reported) && self.seen.standing != before;
        self.note_the_rest(sighting, now);
        self.set_ttl(policy);
        if sighting.standing != self.stored {
            // An act that comes with a verdict came before it, unless the
            // verdict was ours, and so known before.
            let returned = moved || (acted && before == Some(Health::Lost));
            let stirred = acted && before == Some(Health::Stalled);
            self.adopt(sighting.standing, returned, stirred);
            if sighting.standing == Held::Well && before == Some(Health::Lost) {
                // Another daemon saw it return.
                self.seen.standing = None;
                self.seen.beat_seen = Some(now);
            }
        }
    }

    /// Whether the heartbeat shows life. Its end is no life.
    fn note_beat(&mut self, beat: Option<Beat>, now: Duration) -> bool {
        if beat == self.beat {
            return false;
        }
        self.beat = beat;
        let Some(beat) = beat else {
            return false;
        };
        self.seen.promised = true;
        self.seen.exited = beat.exited;
        if !beat.exited {
            self.show_life(now);
        }
        !beat.exited
    }

    /// It lives, whether or not it moves.
    fn show_life(&mut self, now: Duration) {
        self.seen.promised = true;
        self.seen.beat_seen = Some(now);
        if self.seen.standing != Some(Health::Stalled) {
            self.seen.standing = None;
        }
    }

    fn note_the_rest(&mut self, sighting: &Sighting, now: Duration) {
        let declaration = sighting.busy.map(|(declaration, _)| declaration);
        if self.declaration != declaration {
            self.declaration = declaration;
            self.seen.busy_until = sighting.busy.map(|(_, length)| now + length.min(MAX_BUSY));
        }
        self.seen.turn = sighting.turn;
        self.seen.draining = sighting.draining;
        // What showed its use may be gone from the store later on.
        self.was_used |= !sighting.unused;
        self.seen.unused = !self.was_used;
        let since = self.seen.stopped_since.unwrap_or(now);
        self.seen.stopped_since = sighting.stopped.then_some(since);
        let owes = sighting.unread > 0 || sighting.open_tasks > 0;
        self.seen.owes_since = owes.then(|| self.seen.owes_since.unwrap_or(now));
    }

    /// Its word that it waits counts from when it was seen to say so. A session that
    /// `called` since and did not write it again does something, and waits no more; one
    /// that waits for too long is stalled like any other, so that its operator hears of
    /// it.
    fn note_waiting(
        &mut self,
        sighting: &Sighting,
        (called, wrote): (bool, bool),
        now: Duration,
        policy: &HealthPolicy,
    ) {
        let waited = mem::replace(&mut self.waits, sighting.waiting);
        let anew = !waited || wrote;
        if !sighting.waiting || (called && !anew) {
            self.seen.waiting_until = None;
        } else if anew {
            self.seen.waiting_until = Some(now + policy.revoke_after);
        }
    }

    pub(super) fn set_ttl(&mut self, policy: &HealthPolicy) {
        self.seen.ttl = match self.beat {
            Some(beat) if beat.kept => beat.ttl,
            Some(beat) => beat.ttl.max(policy.default_ttl),
            None => policy.default_ttl,
        };
        let kept = self.beat.is_some_and(|beat| beat.kept);
        self.seen.vouched_until = self.seen.busy_until.filter(|_| !kept);
    }

    /// Takes over the verdict that stands in the store, so that it is not said twice.
    /// `returned` and `stirred`: after it, the session gave a sign of life, or did
    /// something.
    fn adopt(&mut self, standing: Held, returned: bool, stirred: bool) {
        self.stored = standing;
        let seq = self.seq();
        match standing {
            Held::Well => {
                if self.reported.is_gone()
                    || matches!(self.reported, Health::Stalled | Health::NeverStarted)
                {
                    self.reported = Health::Active;
                }
            }
            Held::Lost { seq: judged } => {
                self.reported = Health::Lost;
                // Life after the verdict moves the heartbeat on.
                if !returned && seq.map_or(judged >= 0, |seq| seq == judged) {
                    self.seen.standing = Some(Health::Lost);
                }
                self.overtaken = self.seen.standing != Some(Health::Lost);
            }
            Held::Exited { seq: judged } => {
                self.reported = Health::Exited;
                self.seen.exited |= seq.is_none_or(|seq| seq == judged);
            }
            Held::Stalled => {
                if mem::replace(&mut self.reported, Health::Stalled) != Health::Stalled {
                    self.hushed = self.seen.draining;
                }
                if !stirred {
                    self.seen.standing = Some(Health::Stalled);
                }
                self.overtaken = self.seen.standing != Some(Health::Stalled);
            }
            Held::Stirred => {
                self.reported = Health::Stalled;
                self.overtaken = true;
            }
            Held::NeverStarted => {
                self.reported = Health::NeverStarted;
                if !returned && !self.seen.promised {
                    self.seen.standing = Some(Health::NeverStarted);
                }
            }
        }
    }

    /// The observer saw the agent's process itself.
    pub(super) fn process_alive(&mut self, now: Duration) {
        self.seen.process_seen_alive = Some(now);
        if self.seen.standing != Some(Health::Stalled) {
            self.seen.standing = None;
        }
    }

    /// Takes a verdict; one that only a sign may take back begins to stand.
    pub(super) fn judged(&mut self, verdict: Verdict) {
        self.health = verdict.health;
        self.may_revoke = verdict.may_revoke;
        match verdict.health {
            Health::Lost | Health::Stalled | Health::NeverStarted => {
                self.seen.standing = Some(verdict.health);
            }
            // Silence is no sign that it moves again.
            Health::Suspect => {}
            _ => self.seen.standing = None,
        }
    }

    /// What has not been said yet; it counts as said from now on.
    pub(super) fn news(&mut self) -> Option<News> {
        let overtaken = mem::take(&mut self.overtaken);
        let from = match mem::replace(&mut self.reported, self.health) {
            // It was back for a moment, in which it was not judged.
            Health::Lost if overtaken && self.health == Health::Lost => Health::Suspect,
            Health::Stalled if overtaken && self.health == Health::Stalled => Health::Active,
            reported => reported,
        };
        let may_take = mem::replace(&mut self.revocable, self.may_revoke);
        let draining = self.seen.draining;
        // What was no incident while it drained is one when that ends.
        let untold = self.hushed && !draining && self.health == Health::Stalled;
        self.hushed = match self.health {
            Health::Stalled if self.stored != Held::Stalled => draining,
            Health::Stalled => self.hushed && draining,
            // The stall stands.
            Health::Suspect => self.hushed,
            _ => false,
        };
        let news = from != self.health || (self.may_revoke && !may_take) || untold;
        news.then_some(News {
            from,
            to: self.health,
            may_revoke: self.may_revoke,
            untold,
        })
    }

    /// Whether it gave a sign through the other bridge that counts.
    pub(super) fn is_heard(&self) -> bool {
        self.heard
    }

    pub(super) fn seq(&self) -> Option<i64> {
        self.beat.map(|beat| beat.seq)
    }

    pub(super) fn activity(&self) -> i64 {
        self.activity
    }
}
