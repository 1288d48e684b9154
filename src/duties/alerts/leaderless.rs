//! Who watches the watchdog: a worker that sees nobody act tells it.

use std::collections::HashSet;
use std::time::Duration;

use super::Alerts;
use crate::clock;
use crate::duties::Patience;
use crate::model::alert::AlertKind;
use crate::store::{Lease, SharedStore, StoreError};

/// What a worker sees of whoever acts.
#[derive(Debug, Default)]
pub(super) struct Watched {
    lease: Option<Lease>,
    since: Option<Duration>,
}

impl Alerts {
    /// A worker sees to it that somebody acts, once somebody ever did.
    pub(super) async fn watch_leader(
        &mut self,
        store: &SharedStore,
        patience: Patience,
        muted: &HashSet<String>,
    ) -> Result<(), StoreError> {
        let lease = patience.bounded(store.location(), store.lease()).await?;
        let now = clock::since_boot();
        let Watched { lease: seen, since } = &mut self.watched;
        if *seen != lease || since.is_none() {
            (*seen, *since) = (lease, Some(now));
            let acts = seen.as_ref().is_none_or(|lease| lease.holder.is_some());
            if acts {
                self.recover(AlertKind::NoActingLeader, "fleet".into(), muted);
            }
            return Ok(());
        }
        let still = now.saturating_sub(since.unwrap_or(now));
        if seen.is_some() && still >= self.settings.no_leader_after {
            let text = format!(
                "no orchestrator has acted for {}: nobody finds lost sessions or gives out tasks",
                crate::text::long_duration(still)
            );
            self.raise(AlertKind::NoActingLeader, "fleet".into(), None, text, muted);
        }
        Ok(())
    }
}
