//! What the watchdog sees of the fleet, and how it hands that to the observer:
//! what changed in each round, and a page of a look at everything.

use std::collections::HashSet;
use std::time::Duration;

use super::super::Patience;
use super::super::fleet::Known;
use super::Watchdog;
use crate::clock;
use crate::model::health::{Health, Turn};
use crate::model::observer::{Beat, Change, Held, Sighting};
use crate::model::standing::Standing;
use crate::model::{ConversationId, SessionKey, timestamp};
use crate::store::{ControlKind, Fleet, Pulse, SeenSession, SharedStore, StoreError, Wanted};

/// Between the end of one look at the whole fleet and the next.
const FULL_LOOK: Duration = Duration::from_secs(30);
/// Conversations that a round looks at for it, of two sessions each.
const PAGE: u32 = 250;
/// The same for the first look, which must be whole before any session is judged.
const FIRST_PAGE: u32 = 2_000;
/// How far the look at the whole fleet is.
#[derive(Debug)]
pub(super) enum FullLook {
    /// It begins then.
    Due(Duration),
    /// It goes on after this conversation.
    At {
        after: Option<ConversationId>,
        /// Sessions that were seen since it began.
        there: HashSet<SessionKey>,
        /// No session is judged before it is through.
        first: bool,
    },
}

impl FullLook {
    pub(super) fn begin(first: bool) -> Self {
        Self::At {
            after: None,
            there: HashSet::new(),
            first,
        }
    }
}

impl Watchdog {
    /// Reads what is new and hands it to the observer. `false` if the first look goes
    /// on in the next round: no session can be judged yet.
    pub(super) async fn look(
        &mut self,
        store: &SharedStore,
        arrived: &[SessionKey],
        patience: Patience,
    ) -> Result<bool, StoreError> {
        let (now, wall) = (clock::since_boot(), clock::now());
        let controls = store.controls(wall);
        self.controls = patience.bounded(store.location(), controls).await?;
        let hold = self
            .controls
            .iter()
            .any(|control| control.kind == ControlKind::Hold);
        self.observer.set_hold(hold, now);
        self.round.read = 0;
        if let FullLook::Due(then) = self.full_look
            && now >= then
        {
            self.full_look = FullLook::begin(false);
        }
        if matches!(self.full_look, FullLook::At { first: true, .. }) {
            if matches!(self.full_look, FullLook::At { after: None, .. }) {
                // What changes while the pages are read is read after them.
                let start = store.fleet(Wanted::These([].as_slice().into()), wall);
                self.cursor = patience.bounded(store.location(), start).await?.cursor;
            }
            while matches!(self.full_look, FullLook::At { .. }) {
                if patience.is_over() {
                    return Ok(false);
                }
                self.turn_a_page(store, FIRST_PAGE, patience).await?;
            }
        } else {
            self.turn_a_page(store, PAGE, patience).await?;
        }
        let fleet = store.fleet(Wanted::Since(self.cursor), wall);
        let Fleet {
            sessions,
            pulses,
            gone,
            cursor,
            ..
        } = patience.bounded(store.location(), fleet).await?;
        // When it was seen, not when it was asked for.
        let now = clock::since_boot();
        self.take_in(sessions, now);
        self.forget(&gone);
        let mut wanted = self.take_pulses(pulses, now);
        wanted.extend_from_slice(arrived);
        wanted.append(&mut self.reread);
        wanted.extend(self.fleet.lock().refused.drain());
        if !wanted.is_empty() {
            let these = store.fleet(Wanted::These((&wanted).into()), wall);
            let these = patience.bounded(store.location(), these).await?;
            self.take_in(these.sessions, clock::since_boot());
            self.forget(&these.gone);
        }
        self.cursor = cursor;
        self.take_drains(clock::since_boot());
        Ok(true)
    }

    #[cfg(test)]
    pub(crate) fn look_at_all_soon(&mut self) {
        self.full_look = FullLook::begin(false);
    }

    /// A part of the look at the whole fleet, if one is under way; after the
    /// last, those are forgotten that are not there any more.
    async fn turn_a_page(
        &mut self,
        store: &SharedStore,
        conversations: u32,
        patience: Patience,
    ) -> Result<(), StoreError> {
        let FullLook::At { after, .. } = &self.full_look else {
            return Ok(());
        };
        let page = Wanted::Page {
            after: after.clone(),
            conversations,
        };
        let page = store.fleet(page, clock::now());
        let page = patience.bounded(store.location(), page).await?;
        let now = clock::since_boot();
        self.take_in(page.sessions, now);
        let FullLook::At { after, there, .. } = &mut self.full_look else {
            return Ok(());
        };
        if page.page_end.is_some() {
            *after = page.page_end;
            return Ok(());
        }
        let there = std::mem::take(there);
        self.observer.retain(&there);
        self.fleet
            .lock()
            .sessions
            .retain(|key, _| there.contains(key));
        self.touched.retain(|key| there.contains(key));
        self.unsaid.retain(|key, _| there.contains(key));
        self.full_look = FullLook::Due(now + FULL_LOOK);
        self.recount = true;
        Ok(())
    }

    /// Takes rows, when they were seen.
    fn take_in(&mut self, rows: Vec<SeenSession>, now: Duration) {
        self.round.read += rows.len();
        let mut fleet = self.fleet.lock();
        for row in rows {
            let draining = self.is_draining(&row.key, row.host.as_deref());
            self.observer
                .sighted(&sighting(&row, draining, self.settings.default_ttl), now);
            self.touched.insert(row.key.clone());
            if row.open_tasks > 0
                && let Some(unsaid) = self.unsaid.remove(&row.key)
            {
                self.observer.take_back(&unsaid);
            }
            if let FullLook::At { there, .. } = &mut self.full_look {
                there.insert(row.key.clone());
            }
            match fleet.sessions.get_mut(&row.key) {
                Some(known) => {
                    known.draining = draining;
                    known.row = row;
                }
                None => {
                    let known = Known {
                        health: Health::Starting,
                        draining,
                        revocable: false,
                        row,
                    };
                    fleet.sessions.insert(known.row.key.clone(), known);
                }
            }
        }
    }

    /// Forgets sessions whose conversation has ended: their silence means nothing.
    fn forget(&mut self, gone: &[SessionKey]) {
        let mut fleet = self.fleet.lock();
        for key in gone {
            self.recount |= self.observer.forget(key);
            fleet.sessions.remove(key);
            self.touched.remove(key);
            self.unsaid.remove(key);
        }
    }

    /// Takes what is new of sessions that are known; returns the others, whose
    /// rows are wanted whole.
    fn take_pulses(&mut self, pulses: Vec<Pulse>, now: Duration) -> Vec<SessionKey> {
        self.round.read += pulses.len();
        let mut unknown = Vec::new();
        let mut fleet = self.fleet.lock();
        for pulse in pulses {
            let Some(known) = fleet.sessions.get_mut(&pulse.key) else {
                unknown.push(pulse.key);
                continue;
            };
            let draining = self.is_draining(&pulse.key, pulse.host.as_deref());
            // Its daemon beat for others only.
            if known.row.beat.as_ref() == Some(&pulse.beat)
                && known.row.foreign == pulse.foreign
                && known.draining == draining
            {
                continue;
            }
            known.draining = draining;
            known.row.host = pulse.host;
            known.row.beat = Some(pulse.beat);
            known.row.foreign = pulse.foreign;
            known.row.reported = pulse.reported;
            self.observer.sighted(
                &sighting(&known.row, known.draining, self.settings.default_ttl),
                now,
            );
            self.touched.insert(pulse.key);
        }
        unknown
    }

    /// A drain concerns sessions of which nothing else is new.
    fn take_drains(&mut self, now: Duration) {
        let drains = self.controls.iter();
        let drains: Vec<String> = drains
            .filter(|control| control.kind == ControlKind::Drain)
            .map(|control| control.subject.clone())
            .collect();
        if drains == self.drains {
            return;
        }
        self.drains = drains;
        let mut fleet = self.fleet.lock();
        for (key, known) in &mut fleet.sessions {
            let draining = self.is_draining(key, known.row.host.as_deref());
            if draining != known.draining {
                known.draining = draining;
                self.observer.sighted(
                    &sighting(&known.row, draining, self.settings.default_ttl),
                    now,
                );
                self.touched.insert(key.clone());
            }
        }
    }

    fn is_draining(&self, key: &SessionKey, on: Option<&str>) -> bool {
        self.controls.iter().any(|control| {
            control.kind == ControlKind::Drain
                && match control.subject.strip_prefix("host:") {
                    Some(host) => on == Some(host),
                    None => control.subject == key.to_string(),
                }
        })
    }

    /// What a session owes, and what it did through the other bridge, is read whole
    /// only when something of its own changes here: it may have read, written or
    /// called there since.
    pub(super) async fn look_again(
        &mut self,
        store: &SharedStore,
        changes: Vec<Change>,
        patience: Patience,
    ) -> Result<Vec<Change>, StoreError> {
        let stalled: Vec<SessionKey> = {
            let fleet = self.fleet.lock();
            let kept = |key| {
                let known: Option<&Known> = fleet.sessions.get(key);
                known.is_some_and(|known| known.row.beat.as_ref().is_some_and(|beat| beat.kept))
            };
            let asked = changes.iter().filter(|change| match change.to {
                Health::Stalled => true,
                Health::Lost | Health::NeverStarted => !kept(&change.key),
                _ => false,
            });
            asked.map(|change| change.key.clone()).collect()
        };
        if stalled.is_empty() {
            return Ok(changes);
        }
        let these = store.fleet(Wanted::These((&stalled).into()), clock::now());
        let these = match patience.bounded(store.location(), these).await {
            Ok(these) => these,
            Err(error) => {
                // None of what was just judged is written.
                for change in &changes {
                    self.observer.take_back(change);
                }
                return Err(error);
            }
        };
        let fleet = self.fleet.lock();
        let moved: HashSet<SessionKey> = these
            .sessions
            .iter()
            .filter(|row| {
                let known = fleet.sessions.get(&row.key).map(|known| &known.row);
                known.is_some_and(|known| {
                    known.foreign != row.foreign
                        || known.spoken != row.spoken
                        || known.read_there != row.read_there
                        || (known.unread, known.open_tasks) != (0, 0)
                            && (row.unread, row.open_tasks) == (0, 0)
                })
            })
            .map(|row| row.key.clone())
            .collect();
        drop(fleet);
        self.take_in(these.sessions, clock::since_boot());
        // No finding is made of one that is not known.
        self.forget(&these.gone);
        let (back, rest): (Vec<Change>, Vec<Change>) = changes
            .into_iter()
            .partition(|change| stalled.contains(&change.key) && moved.contains(&change.key));
        for change in &back {
            self.observer.take_back(change);
        }
        Ok(rest)
    }
}

/// A row as the observer takes it.
fn sighting(row: &SeenSession, draining: bool, default_ttl: Duration) -> Sighting {
    Sighting {
        host: row.host.clone(),
        beat: row.beat.as_ref().map(|beat| Beat {
            seq: beat.seq,
            ttl: beat.ttl,
            kept: beat.kept,
            exited: beat.exited,
        }),
        activity: row.activity,
        foreign: row.foreign.clone(),
        spoken: row.spoken.clone(),
        read_there: row.read_there,
        fresh: is_fresh(row, default_ttl),
        unused: row.is_unused(),
        stopped: row.beat.as_ref().is_some_and(|beat| beat.stopped),
        busy: row.busy,
        turn: match row.turn {
            None => Turn::Unknown,
            Some(true) => Turn::Inside,
            Some(false) => Turn::Outside,
        },
        waiting: matches!(row.reported.as_deref(), Some("waiting" | "blocked")),
        unread: row.unread,
        open_tasks: row.open_tasks,
        draining,
        standing: standing(row),
        ..Sighting::new(row.key.clone())
    }
}

/// Whether another program noted a sign of the session within this time. This is
/// the one place where a time of another clock counts: it is all that is known of a
/// session that is seen for the first time. What our own programs noted is not meant.
fn is_fresh(row: &SeenSession, within: Duration) -> bool {
    let status = row
        .foreign
        .as_deref()
        .and_then(|mark| mark.rsplit_once(' '));
    let spoken = row.spoken.as_deref().filter(|_| row.activity == 0);
    let within = jiff::SignedDuration::try_from(within).unwrap_or(jiff::SignedDuration::MAX);
    status
        .map(|(at, _)| at)
        .into_iter()
        .chain(spoken)
        .filter_map(timestamp::from_text)
        .any(|at| clock::now().duration_since(at) < within)
}

/// What the store holds about it.
pub(super) fn standing(row: &SeenSession) -> Held {
    let seq = row.standing_seq.unwrap_or(0);
    match row.standing {
        Some(Standing::Stalled) if seq < 0 => Held::Stirred,
        Some(Standing::Stalled) => Held::Stalled,
        Some(Standing::Lost) => Held::Lost { seq },
        Some(Standing::Exited) => Held::Exited { seq },
        Some(Standing::NeverStarted) => Held::NeverStarted,
        Some(Standing::Well) | None => Held::Well,
    }
}
