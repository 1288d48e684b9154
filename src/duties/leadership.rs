//! Duty *leadership*: of several orchestrators on one store, one acts.
//!
//! The lease is a row. A waiting orchestrator notes on its own boot clock when it saw
//! the row change, and takes it over when it stood still for its whole ttl; no two
//! clocks are ever compared. Every write of the leader checks the epoch, so that a
//! leader that was paused finds out before it does harm.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;
use tracing::{info, warn};

use super::links::{LeaderLink, StoreLink};
use super::{Duty, Figure, Patience, Report, Round, bounded};
use crate::clock;
use crate::config::{RoleSettings, Settings};
use crate::store::{DaemonRef, Leader, Lease, SharedStore, StoreError};

/// How often a lease is renewed within its ttl.
const RENEWALS: u32 = 4;
/// A renewal is also what shows that the store takes writes: it comes as often as
/// heartbeats, however long the ttl.
const RENEWAL: Duration = Duration::from_millis(2_500);
/// From one renewal of a lease to the next.
pub(crate) fn renewal(ttl: Duration) -> Duration {
    RENEWAL.min(ttl / RENEWALS)
}

/// How often another daemon's lease is read.
const LOOK: Duration = Duration::from_secs(1);
/// A look that comes so much later says more about us than about the holder.
const LATE: Duration = Duration::from_secs(3);

/// This daemon's row in the store that is open, as the duty *heartbeat*
/// registers it.
pub type Registration = watch::Receiver<Option<DaemonRef>>;

/// The duty.
#[derive(Debug)]
pub struct Leadership {
    ttl: Duration,
    link: StoreLink,
    registration: Registration,
    acting: watch::Sender<Option<Leader>>,
    /// The lease of another, and when it was first seen as it is.
    seen: Option<(Lease, Duration)>,
    looked: Option<Duration>,
}

/// What a round found.
#[derive(Debug, Default)]
pub struct LeadershipReport {
    words: String,
    trouble: Option<String>,
    acts: bool,
}

impl Leadership {
    /// The duty, and what it will publish.
    #[must_use]
    pub fn new(ttl: Duration, link: StoreLink, registration: Registration) -> (Self, LeaderLink) {
        let (acting, receiver) = watch::channel(None);
        let duty = Self {
            ttl,
            link,
            registration,
            acting,
            seen: None,
            looked: None,
        };
        (duty, receiver)
    }

    async fn round(
        &mut self,
        store: &SharedStore,
        daemon: &DaemonRef,
    ) -> Result<LeadershipReport, StoreError> {
        let patience = Patience::begin();
        let leader = self.acting.borrow().clone();
        if let Some(leader) = leader.filter(|leader| leader.daemon == *daemon) {
            match patience
                .bounded(store.location(), store.renew_lead(&leader))
                .await
            {
                Ok(()) => return Ok(acting(&leader).into()),
                Err(StoreError::NotLeading(epoch)) => {
                    warn!(
                        event = "lead-lost",
                        epoch, "another orchestrator is active now (epoch {epoch})"
                    );
                    self.publish(None);
                }
                Err(error) => return Err(error),
            }
        }
        let lease = patience.bounded(store.location(), store.lease()).await?;
        if !self.may_take(lease.as_ref(), daemon) {
            let holder = lease.and_then(|lease| lease.holder);
            return Ok(standing_by(holder.as_ref(), daemon));
        }
        let take = store.take_lead(daemon, lease.as_ref(), self.ttl, clock::now());
        let Some(leader) = patience.bounded(store.location(), take).await? else {
            return Ok("standing by".to_owned().into());
        };
        info!(
            event = "lead-taken",
            epoch = leader.epoch,
            "acting leader (epoch {})",
            leader.epoch
        );
        let words = acting(&leader);
        self.seen = None;
        self.publish(Some(leader));
        Ok(words.into())
    }

    /// Whether the lease is free: given back, an earlier life's of this very
    /// daemon, or unchanged for its whole ttl under our eyes.
    fn may_take(&mut self, lease: Option<&Lease>, daemon: &DaemonRef) -> bool {
        let now = clock::since_boot();
        let late = self
            .looked
            .replace(now)
            .is_none_or(|then| now.saturating_sub(then) > LOOK + LATE);
        let Some(lease) = lease else { return true };
        let Some(holder) = &lease.holder else {
            return true;
        };
        if is_earlier_life(holder, daemon) {
            return true;
        }
        match &self.seen {
            // While we slept the holder may have, too.
            Some((seen, since)) if seen == lease && !late => {
                now.saturating_sub(*since) >= lease.ttl
            }
            _ => {
                self.seen = Some((lease.clone(), now));
                false
            }
        }
    }

    fn publish(&self, leader: Option<Leader>) {
        self.acting.send_if_modified(|acting| {
            let changed = *acting != leader;
            *acting = leader;
            changed
        });
    }
}

fn acting(leader: &Leader) -> String {
    format!("acting leader (epoch {})", leader.epoch)
}

/// Whether `holder` is this daemon before it was started again: each start is
/// registered with a higher epoch. Another that took the same name later is a different
/// daemon, and alive.
fn is_earlier_life(holder: &DaemonRef, daemon: &DaemonRef) -> bool {
    holder.id == daemon.id && holder.epoch < daemon.epoch
}

/// Two of one name do not share the lead by turns, but they are a mistake.
fn standing_by(holder: Option<&DaemonRef>, daemon: &DaemonRef) -> LeadershipReport {
    let Some(holder) = holder else {
        return "standing by; no orchestrator is active".to_owned().into();
    };
    let name = &holder.id;
    if *name != daemon.id || holder.epoch == daemon.epoch {
        return format!("standing by for {name}").into();
    }
    LeadershipReport {
        words: format!("standing by for another {name}"),
        trouble: Some(format!(
            "another daemon on this host has the same name {name} and is active; the name comes from the configuration file: rename one of the two files, or stop one daemon"
        )),
        acts: false,
    }
}

impl From<String> for LeadershipReport {
    fn from(words: String) -> Self {
        Self {
            words,
            ..Self::default()
        }
    }
}

impl Duty for Leadership {
    type Report = LeadershipReport;

    fn name(&self) -> &'static str {
        "leadership"
    }

    async fn tick(&mut self) -> Round<LeadershipReport> {
        let store = self.link.borrow_and_update().clone();
        let daemon = self.registration.borrow_and_update().clone();
        let mut report = LeadershipReport::default();
        if let (Some(store), Some(daemon)) = (store, daemon) {
            match self.round(&store, &daemon).await {
                Ok(found) => report = found,
                Err(error) => report.trouble = Some(error.to_string()),
            }
        } else {
            // Another store, or none: what was held there is not held here.
            self.publish(None);
            self.seen = None;
        }
        report.acts = self.acting.borrow().is_some();
        let pause = match *self.acting.borrow() {
            Some(_) => renewal(self.ttl),
            None => LOOK.min(self.ttl / RENEWALS),
        };
        Round {
            report,
            next: Instant::now() + pause,
        }
    }

    fn reload(&mut self, settings: &Arc<Settings>) {
        if let RoleSettings::Orchestrator(own) = &settings.role {
            self.ttl = own.watchdog.leader_ttl;
        }
    }

    async fn stop(&mut self) {
        let (store, leader) = (self.link.borrow().clone(), self.acting.borrow().clone());
        if let (Some(store), Some(leader)) = (store, leader) {
            match bounded(store.location(), store.give_up_lead(&leader)).await {
                Ok(()) => info!(event = "lead-given-back", "released the lead"),
                Err(error) => {
                    warn!(event = "lead-not-given-back", %error, "the lead was not released");
                }
            }
        }
        self.publish(None);
    }
}

impl Report for LeadershipReport {
    fn summary(&self) -> String {
        self.words.clone()
    }

    fn trouble(&self) -> Option<String> {
        self.trouble.clone()
    }

    fn figures(&self) -> Vec<Figure> {
        vec![Figure::gauge("acts", u64::from(self.acts))]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_earlier_life_is_followed_at_once() {
        let named = |id: &str, epoch| DaemonRef {
            id: id.into(),
            epoch,
        };
        let this = named("host:orchestrator", 3);
        assert!(is_earlier_life(&named("host:orchestrator", 2), &this));
        assert!(!is_earlier_life(&named("host:orchestrator", 4), &this));
        assert!(!is_earlier_life(&named("other:orchestrator", 2), &this));
        let trouble = |holder| standing_by(Some(&holder), &this).trouble;
        assert!(trouble(named("host:orchestrator", 4)).is_some());
        assert!(trouble(named("other:orchestrator", 4)).is_none());
    }
}
