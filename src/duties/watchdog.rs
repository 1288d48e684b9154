//! Duty *watchdog*: sees every session, tells idle from stalled from dead, and
//! writes what it found.
//!
//! It sleeps until the next session can expire, the doorbell rings, or
//! `check_interval` is over. What changed is read by a counter, so that a round
//! costs what changed and not the fleet. Behind it stands a full look, a page in
//! each round, so that no round pays for all of it. An
//! orchestrator that does not act looks as well and writes nothing, so that it
//! knows the fleet when it takes over.

mod correlated;
mod look;
mod report;
mod verdicts;
mod writable;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tracing::warn;

use super::alerts::AlertDesk;
use super::fleet::{FleetInbox, FleetState, SharedFleet};
use super::links::{LeaderLink, StoreLink};
use super::{Bells, Duty, DutyBell, Patience, ROUND_PATIENCE, Round};
use crate::config::{OrchestratorSettings, RoleSettings, Settings, WatchdogSettings};
use crate::model::SessionKey;
use crate::model::health::{Health, HealthPolicy};
use crate::model::observer::{Change, CorrelationPolicy, Observer};
use crate::store::{Control, ControlKind, Cursor, Leader, SharedStore, StoreError};
use crate::{clock, text};
use look::FullLook;
pub use report::WatchdogReport;
use writable::Writable;

/// A look that comes so much later than it should was kept from its work: what
/// it did not see says nothing.
const LATE: Duration = Duration::from_secs(3);
/// The shortest sleep between two rounds without a bell.
const LEAST: Duration = Duration::from_millis(20);

/// The duty.
pub struct Watchdog {
    settings: WatchdogSettings,
    link: StoreLink,
    leader: LeaderLink,
    inbox: Arc<FleetInbox>,
    fleet: SharedFleet,
    desk: AlertDesk,
    /// Rung when there may be tasks to give.
    reassignment: DutyBell,
    /// Rung when another daemon seems to lead.
    leadership: DutyBell,
    observer: Observer,
    /// The store that was looked at.
    known: Option<SharedStore>,
    cursor: Cursor,
    /// Rows that were read since the fleet was judged.
    touched: HashSet<SessionKey>,
    full_look: FullLook,
    /// When the fleet was looked at last: what is judged is judged as of then.
    looked: Option<Duration>,
    /// The last look failed.
    blind: bool,
    /// The last round had more to write than it had time for.
    unwritten: bool,
    writable: Writable,
    controls: Vec<Control>,
    /// What was drained when the whole fleet was last held against it.
    drains: Vec<String>,
    /// Whether the store says that many hosts fell silent together, as far as that is
    /// known: the leader before may have said so.
    correlated: Option<bool>,
    /// Losses that had no effect, because no daemon promised to keep those sessions and
    /// they held nothing. Given something, they matter.
    unsaid: HashMap<SessionKey, Change>,
    /// Whose row was another than the one that was judged. What another program
    /// writes moves none of our counters, so these are read by name.
    reread: Vec<SessionKey>,
    /// The health of a session changed since the last count.
    recount: bool,
    round: WatchdogReport,
}

impl Watchdog {
    /// The duty. The inbox hears of commits; the fleet is shared with the
    /// reassignment.
    #[must_use]
    pub fn new(
        settings: &OrchestratorSettings,
        (link, leader): (StoreLink, LeaderLink),
        (inbox, fleet): (Arc<FleetInbox>, SharedFleet),
        bells: &Bells,
        desk: AlertDesk,
    ) -> Self {
        let now = clock::since_boot();
        let (health, correlation) = policies(&settings.watchdog);
        Self {
            settings: settings.watchdog.clone(),
            link,
            leader,
            inbox,
            fleet,
            desk,
            reassignment: bells.reassignment.clone(),
            leadership: bells.leadership.clone(),
            observer: Observer::new(health, correlation, now),
            known: None,
            cursor: Cursor::default(),
            touched: HashSet::new(),
            full_look: FullLook::begin(true),
            looked: None,
            blind: false,
            unwritten: false,
            writable: Writable::default(),
            controls: Vec::new(),
            drains: Vec::new(),
            correlated: None,
            unsaid: HashMap::new(),
            reread: Vec::new(),
            recount: true,
            round: WatchdogReport::default(),
        }
    }

    async fn round(&mut self, store: &SharedStore, patience: Patience) -> Result<(), StoreError> {
        if !self
            .known
            .as_ref()
            .is_some_and(|known| Arc::ptr_eq(known, store))
        {
            self.begin_anew(store);
        }
        let (arrived, work) = self.inbox.take();
        self.round.complete = self.look(store, &arrived, patience).await?;
        if !self.round.complete {
            return Ok(());
        }
        let now = clock::since_boot();
        self.mind_the_gap(now);
        self.mind_the_store(store, now);
        let leader = self.leader.borrow().clone();
        if leader.is_none() {
            self.fleet.lock().judged = false;
            self.correlated = None;
            self.observer.stand_by();
        }
        if let Some(leader) = leader {
            let judged = self.judge(store, &leader, patience).await;
            if work || self.round.settled > 0 {
                self.reassignment.ring();
            }
            if self.round.settled > 0 {
                self.desk.look();
            }
            let told = match judged {
                Ok(()) if self.unwritten => Ok(()),
                Ok(()) => self.tell_correlated(store, &leader, patience).await,
                failed => failed,
            };
            if let Err(StoreError::NotLeading(_)) = told {
                self.leadership.ring();
                return Ok(());
            }
            told?;
        }
        Ok(())
    }

    /// A watchdog that was kept from looking, by a suspend, a stop or the store, has
    /// not seen the signs of life of that time.
    fn mind_the_gap(&mut self, now: Duration) {
        let gap = now.saturating_sub(self.looked.replace(now).unwrap_or(now));
        // A watchdog that writes for all the time of a round is late, and not blind: a
        // mass loss would otherwise undo itself.
        let own = if std::mem::take(&mut self.unwritten) {
            ROUND_PATIENCE
        } else {
            Duration::ZERO
        };
        let late = gap > self.settings.check_interval + LATE + own;
        if late {
            warn!(
                event = "watchdog-late",
                "this daemon was paused for {}: no session is declared lost before a whole ttl has passed",
                text::long_duration(gap)
            );
        }
        if late || std::mem::take(&mut self.blind) {
            self.observer.interrupted(now);
        }
    }

    /// A round that has no time left for a second part, and how many findings
    /// it wrote. It is as late as such a round makes the next one.
    #[cfg(test)]
    pub(crate) async fn round_without_time(
        &mut self,
        store: &SharedStore,
    ) -> Result<usize, StoreError> {
        self.round.settled = 0;
        self.round(store, Patience::spent()).await?;
        let took = if self.unwritten {
            ROUND_PATIENCE
        } else {
            Duration::ZERO
        };
        self.looked = self.looked.map(|looked| looked.saturating_sub(took));
        Ok(self.round.settled)
    }

    /// Another store has other sessions.
    fn begin_anew(&mut self, store: &SharedStore) {
        let now = clock::since_boot();
        let (health, correlation) = policies(&self.settings);
        self.observer = Observer::new(health, correlation, now);
        *self.fleet.lock() = FleetState::default();
        self.known = Some(Arc::clone(store));
        self.cursor = Cursor::default();
        self.unsaid.clear();
        self.full_look = FullLook::begin(true);
    }

    /// Asks the observer whose health differs from what was said, and writes it.
    async fn judge(
        &mut self,
        store: &SharedStore,
        leader: &Leader,
        patience: Patience,
    ) -> Result<(), StoreError> {
        let changes = self
            .observer
            .due(self.looked.unwrap_or_else(clock::since_boot));
        let changes = self.spare_the_living(changes);
        let changes = self.look_again(store, changes, patience).await?;
        self.publish_health();
        self.recount |= !changes.is_empty();
        self.write(store, leader, changes, patience).await
    }

    /// Reassignment uses the health of sessions when they are judged, not only what
    /// changed.
    fn publish_health(&mut self) {
        let mut fleet = self.fleet.lock();
        for key in self.touched.drain() {
            let health = self.observer.health(&key);
            if let Some((known, health)) = fleet.sessions.get_mut(&key).zip(health) {
                known.health = health;
            }
        }
        fleet.judged = true;
    }

    fn count(&mut self) {
        if !std::mem::take(&mut self.recount) {
            return;
        }
        let (mut alive, mut stalled, mut gone) = (0, 0, 0);
        for (_, health) in self.observer.iter() {
            match health {
                Health::Lost | Health::Exited => gone += 1,
                Health::Stalled => {
                    alive += 1;
                    stalled += 1;
                }
                Health::Starting | Health::NeverStarted => {}
                _ => alive += 1,
            }
        }
        (self.round.alive, self.round.stalled, self.round.gone) = (alive, stalled, gone);
    }

    fn holds(&mut self) {
        self.round.hold = if self.controls.iter().any(|c| c.kind == ControlKind::Hold) {
            Some("on hold: no silent session is declared lost".into())
        } else if self.observer.correlated().is_some() {
            Some("many hosts are silent together: no session is declared lost".into())
        } else {
            self.unwritable()
        };
    }
}

fn policies(settings: &WatchdogSettings) -> (HealthPolicy, CorrelationPolicy) {
    let health = HealthPolicy {
        idle_after: settings.idle_after,
        stalled_after: settings.stalled_after,
        revoke_after: settings.revoke_after,
        starting_for: settings.starting_for,
        default_ttl: settings.default_ttl,
    };
    let correlation = CorrelationPolicy {
        min_hosts: usize::try_from(settings.correlated_hosts).unwrap_or(usize::MAX),
        share: f64::from(settings.correlated_percent) / 100.0,
        hold: settings.correlated_hold,
    };
    (health, correlation)
}

impl Duty for Watchdog {
    type Report = WatchdogReport;

    fn name(&self) -> &'static str {
        "watchdog"
    }

    async fn tick(&mut self) -> Round<WatchdogReport> {
        let store = self.link.borrow_and_update().clone();
        self.round.waiting = store.is_none();
        self.round.trouble = None;
        (self.round.read, self.round.settled) = (0, 0);
        if let Some(store) = store {
            if let Err(error) = self.round(&store, Patience::begin()).await {
                self.blind = true;
                self.round.trouble = Some(error.to_string());
            }
        } else {
            self.blind = true;
        }
        self.count();
        self.holds();
        let now = clock::since_boot();
        let longest = now + self.settings.check_interval;
        let acts = self.leader.borrow().is_some();
        let next = match self.observer.next() {
            Some(next) if acts => next.clamp(now, longest),
            _ => longest,
        };
        // Not at once again: what could not be written is tried in the next
        // round, and a round has its price.
        let next = next.max(now + LEAST);
        Round {
            report: self.round.clone(),
            next: Instant::now() + (next - now),
        }
    }

    fn reload(&mut self, settings: &Arc<Settings>) {
        if let RoleSettings::Orchestrator(own) = &settings.role {
            self.settings = own.watchdog.clone();
            let (health, correlation) = policies(&self.settings);
            self.observer.set_policy(health, correlation);
        }
    }
}

impl std::fmt::Debug for Watchdog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Watchdog")
            .field("settings", &self.settings)
            .field("sessions", &self.observer.len())
            .field("round", &self.round)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
