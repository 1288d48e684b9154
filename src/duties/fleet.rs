//! The fleet as the duties *watchdog* and *reassignment* share it, and what the
//! doorbell's thread leaves for them.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{CommitListener, DutyBell, News};
use crate::model::SessionKey;
use crate::model::health::Health;
use crate::model::session::session_name;
use crate::store::SeenSession;

/// What is known of one session besides its health.
#[derive(Debug, Clone)]
pub(super) struct Known {
    /// Its row, as it was read last.
    pub(super) row: SeenSession,
    /// Its health.
    pub(super) health: Health,
    /// It gets nothing new.
    pub(super) draining: bool,
    /// Its tasks may be taken from it although it lives.
    pub(super) revocable: bool,
}

impl Known {
    /// Whether its agent's process is stopped by a signal.
    pub(super) fn is_stopped(&self) -> bool {
        self.row.beat.as_ref().is_some_and(|beat| beat.stopped)
    }

    /// Its label.
    pub(super) fn name(&self) -> String {
        session_name(self.row.label.as_ref(), &self.row.key)
    }
}

/// All sessions of open conversations.
#[derive(Debug, Default)]
pub(super) struct FleetState {
    pub(super) sessions: HashMap<SessionKey, Known>,
    /// Whether this orchestrator acts and has judged them all.
    pub(super) judged: bool,
    /// Sessions to which the store gave nothing that was planned for them: their rows
    /// are others than those that were read.
    pub(super) refused: HashSet<SessionKey>,
}

/// Shared by the watchdog, which writes it, and the reassignment.
#[derive(Debug, Clone, Default)]
pub struct SharedFleet(Arc<Mutex<FleetState>>);

impl SharedFleet {
    /// The fleet, also after a duty panicked with it.
    pub(super) fn lock(&self) -> MutexGuard<'_, FleetState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the doorbell's thread leaves for the watchdog.
#[derive(Debug, Default)]
pub struct FleetInbox {
    arrived: Mutex<HashSet<SessionKey>>,
    work: AtomicBool,
    bell: DutyBell,
}

impl FleetInbox {
    /// An inbox that rings this bell.
    #[must_use]
    pub fn new(bell: DutyBell) -> Self {
        Self {
            bell,
            ..Self::default()
        }
    }

    fn arrived(&self) -> MutexGuard<'_, HashSet<SessionKey>> {
        self.arrived.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sessions with new mail since the last time, and whether there is work.
    pub(super) fn take(&self) -> (Vec<SessionKey>, bool) {
        let arrived = self.arrived().drain().collect();
        (arrived, self.work.swap(false, Ordering::AcqRel))
    }
}

impl CommitListener for FleetInbox {
    fn wants_signals(&self) -> bool {
        true
    }

    /// The watchdog looks at the whole fleet again and again; what it gives out
    /// need not wait for that.
    fn begins(&self) {
        self.work.store(true, Ordering::Release);
        self.bell.ring();
    }

    fn hears(&self, news: &News<'_>) {
        let mut arrived = self.arrived();
        arrived.extend(news.arrivals.iter().map(|arrival| arrival.to.clone()));
        let is_news = news.signalled.work || !arrived.is_empty();
        drop(arrived);
        if news.signalled.work {
            self.work.store(true, Ordering::Release);
        }
        if is_news {
            self.bell.ring();
        }
    }
}
