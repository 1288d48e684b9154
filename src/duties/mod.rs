//! The daemon's loops, each an idempotent, bounded tick.
//!
//! A duty takes no input: time, a doorbell or a reload only wakes it, and what
//! it needs to know it reads. So a lost event costs latency and nothing else,
//! and a duty that failed is simply run again.

pub mod alerts;
mod bells;
mod figures;
mod finding_text;
mod fleet;
pub mod heartbeat;
pub mod housekeeping;
pub mod leadership;
pub mod links;
mod listener;
pub mod message_watch;
pub mod reassignment;
pub mod roster;
mod state;
pub mod store_keeper;
pub mod watchdog;

pub use bells::{Bells, DutyBell};
pub use figures::{Figure, FigureKind, FigureUnit};
pub use fleet::{FleetInbox, SharedFleet};
pub use listener::{CommitListener, News};
pub use state::{SessionState, StoreCondition, StoreState};

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::config::Settings;
use crate::model::StoreName;
use crate::store::{StoreError, sqlite};

/// One of the daemon's loops.
pub trait Duty: Send + 'static {
    /// What a round returns.
    type Report: Report;

    /// `heartbeat`, `message-watch`, ...: in logs, fields and the state file.
    fn name(&self) -> &'static str;

    /// Longest time that a round may take. One that has not returned by then counts as
    /// hung: the watchdog is no longer pinged. A duty that needs longer does its work
    /// beside its rounds.
    fn deadline(&self) -> Duration {
        DEADLINE
    }

    /// One round. Returns well before its deadline, even if the store hangs.
    fn tick(&mut self) -> impl Future<Output = Round<Self::Report>> + Send;

    /// New settings; the next round is run with them.
    fn reload(&mut self, settings: &Arc<Settings>);

    /// A clean stop: lets go of what others would otherwise wait for.
    fn stop(&mut self) -> impl Future<Output = ()> + Send {
        async {}
    }
}

/// What a round did and when the next one is due.
#[derive(Debug)]
pub struct Round<R> {
    /// What it did.
    pub report: R,
    /// When the next one is due, if nothing wakes the duty before.
    pub next: Instant,
}

/// What a duty tells after a round.
pub trait Report: Send {
    /// What the duty is doing, for the service's status line; a few words.
    fn summary(&self) -> String;

    /// What keeps it from its work, if anything does. The first line is enough
    /// to show; what to do may stand below.
    fn trouble(&self) -> Option<String>;

    /// Its word about the store, if that is its business.
    fn store(&self) -> Option<StoreState> {
        None
    }

    /// Its word about sessions in trouble.
    fn sessions(&self) -> Vec<SessionState> {
        Vec::new()
    }

    /// What it counted. A counter is there in every round, and says how many more
    /// there are; a gauge is left out by a round that does not know it.
    fn figures(&self) -> Vec<Figure> {
        Vec::new()
    }

    /// Whether the duty has logged its trouble itself, in more words.
    fn already_told(&self) -> bool {
        false
    }
}

/// How long a call waits for the store. A store that takes longer is reported
/// as trouble: an outage is a state, not a reason for the watchdog to bite.
pub const STORE_PATIENCE: Duration = Duration::from_secs(4);

/// How long all calls of one round may take together. What is left up to the
/// deadline is for a machine that is slow.
const ROUND_PATIENCE: Duration = Duration::from_secs(6);

/// When a round counts as hung. Together with the units' `WatchdogSec=`,
/// `RestartSec=` and the start it stays below a heartbeat's `ttl`: a duty that
/// hangs costs no agent its session (`tests/machine/shipped_config.rs`).
pub const DEADLINE: Duration = Duration::from_secs(8);

/// A store call with a bound. The transaction of a call that is given up is
/// rolled back.
///
/// # Errors
/// The call's own, or what [`sqlite::held_up`] says when its time is over.
pub async fn bounded<T>(
    location: &StoreName,
    call: impl Future<Output = Result<T, StoreError>>,
) -> Result<T, StoreError> {
    bounded_until(Instant::now() + STORE_PATIENCE, location, call).await
}

async fn bounded_until<T>(
    end: Instant,
    location: &StoreName,
    call: impl Future<Output = Result<T, StoreError>>,
) -> Result<T, StoreError> {
    tokio::time::timeout_at(end, call)
        .await
        .unwrap_or_else(|_| Err(sqlite::held_up(location)))
}

/// The time of one round: many calls that are each slow must not add up to
/// more than its deadline.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Patience {
    /// Nothing more is begun then.
    over: Instant,
    /// What was begun is given up then.
    end: Instant,
}

impl Patience {
    /// For a round that begins now.
    pub(crate) fn begin() -> Self {
        let now = Instant::now();
        Self {
            over: now + STORE_PATIENCE,
            end: now + ROUND_PATIENCE,
        }
    }

    /// For a round that has done enough.
    #[cfg(test)]
    pub(crate) fn spent() -> Self {
        Self {
            over: Instant::now(),
            ..Self::begin()
        }
    }

    /// Whether this round should leave the rest to the next one.
    pub(crate) fn is_over(self) -> bool {
        Instant::now() >= self.over
    }

    /// [`bounded`], and not beyond the round's own end.
    pub(crate) async fn bounded<T>(
        self,
        location: &StoreName,
        call: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let end = (Instant::now() + STORE_PATIENCE).min(self.end);
        bounded_until(end, location, call).await
    }
}
