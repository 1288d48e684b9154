//! Watches the watchdog: a worker that sees no orchestrator lead raises an alert.

use std::time::Duration;

use super::{Alerts, LOOK};
use crate::clock;
use crate::duties::Patience;
use crate::model::alert::AlertKind;
use crate::store::{Leader, Lease, SharedStore, StoreError};

/// A look that comes so much later says more about us than about the fleet.
const LATE: Duration = Duration::from_secs(3);

/// What it is about: one alert for all who see it.
const FLEET: (AlertKind, &str) = (AlertKind::NoActingLeader, "fleet");

/// What a worker sees of the leader.
#[derive(Debug, Default)]
pub(super) struct Watched {
    lease: Option<Lease>,
    /// Since when it stands as it is, under our eyes.
    since: Option<Duration>,
    looked: Option<Duration>,
    /// Whether the alert stands in the store, by us or by another worker.
    raised: bool,
}

/// What a look found.
#[derive(Debug, PartialEq, Eq)]
enum Sight {
    /// An orchestrator leads, or led a moment ago; or none ever did.
    Acts,
    /// The lease was given back a moment ago.
    GivenBack,
    /// Nothing moved for so long.
    Still(Duration),
    /// We were away, and do not know the time between.
    Late,
}

impl Watched {
    fn look(&mut self, lease: Option<Lease>, now: Duration) -> Sight {
        let before = self.looked.replace(now);
        let late = before.is_some_and(|then| now.saturating_sub(then) > LOOK + LATE);
        if self.lease != lease || self.since.is_none() {
            let given_back = lease.as_ref().is_some_and(|lease| lease.holder.is_none());
            *self = Self {
                lease,
                since: Some(now),
                looked: Some(now),
                raised: false,
            };
            return if given_back {
                Sight::GivenBack
            } else {
                Sight::Acts
            };
        }
        if late {
            self.since = Some(now);
            return Sight::Late;
        }
        match (&self.lease, self.since) {
            (Some(_), Some(since)) => Sight::Still(now.saturating_sub(since)),
            _ => Sight::Acts,
        }
    }
}

impl Alerts {
    /// A worker raises an alert if no orchestrator leads and one did before. All
    /// workers see it; the first to write it into the store announces it.
    pub(super) async fn watch_leader(
        &mut self,
        store: &SharedStore,
        patience: Patience,
    ) -> Result<(), StoreError> {
        let lease = patience.bounded(store.location(), store.lease()).await?;
        let (kind, subject) = FLEET;
        match self.watched.look(lease, clock::since_boot()) {
            Sight::Acts => self.recover(kind, subject),
            Sight::Still(still)
                if still >= self.settings.no_leader_after && !self.watched.raised =>
            {
                let text = format!(
                    "no orchestrator has been active for {}: lost sessions are not noticed and tasks are not given out",
                    crate::text::long_duration(still)
                );
                self.begin_if_first(FLEET, text, store, patience).await?;
                self.watched.raised = true;
            }
            Sight::Still(_) | Sight::GivenBack | Sight::Late => {}
        }
        Ok(())
    }

    /// The leader ends it in the store, in case the worker that raised it has gone; the
    /// worker announces it.
    pub(super) async fn end_leaderless(
        &self,
        leader: &Leader,
        store: &SharedStore,
        patience: Patience,
    ) -> Result<(), StoreError> {
        let (kind, subject) = FLEET;
        let ending = store.recover_alert(Some(leader), kind, subject, clock::now());
        patience.bounded(store.location(), ending).await?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::store::DaemonRef;

    fn lease(renew_seq: i64) -> Option<Lease> {
        Some(Lease {
            epoch: 1,
            holder: Some(DaemonRef {
                id: "host:orchestrator".into(),
                epoch: 1,
            }),
            renew_seq,
            ttl: Duration::from_secs(10),
            since: Timestamp::UNIX_EPOCH,
        })
    }

    #[test]
    fn worker_that_was_away_begins_anew() {
        let seconds = Duration::from_secs;
        let mut watched = Watched::default();
        let mut look = |n, at| watched.look(lease(n), seconds(at));
        assert_eq!(look(1, 100), Sight::Acts);
        assert_eq!(look(1, 105), Sight::Still(seconds(5)));
        assert_eq!(look(2, 110), Sight::Acts);
        // A night's suspend of this machine, and of the orchestrator's.
        assert_eq!(look(2, 30_000), Sight::Late);
        assert_eq!(look(2, 30_005), Sight::Still(seconds(5)));
        assert_eq!(look(3, 30_010), Sight::Acts);
        // It may as well be ours alone: the lease has moved.
        assert_eq!(look(9, 60_000), Sight::Acts);
        assert_eq!(look(9, 60_008), Sight::Still(seconds(8)));
    }

    #[test]
    fn released_lease_has_no_holder() {
        let mut watched = Watched::default();
        let free = lease(1).map(|lease| Lease {
            holder: None,
            ..lease
        });
        assert_eq!(watched.look(None, Duration::ZERO), Sight::Acts);
        assert_eq!(watched.look(None, Duration::from_secs(5)), Sight::Acts);
        assert_eq!(watched.look(free, Duration::from_secs(6)), Sight::GivenBack);
    }
}
