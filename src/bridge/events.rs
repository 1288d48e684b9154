//! The audit log, by either way.

use tokio::sync::{mpsc, watch};

use super::{Bridge, Way};
use crate::api::events::{self, FollowEvents};
use crate::api::operations::Events;
use crate::doorbell::Mode;
use crate::store::{AuditEntry, AuditFilter, AuditPage, Result};

impl Bridge {
    /// The newest rows of the audit log that a filter admits, newest last.
    ///
    /// # Errors
    /// If the store failed.
    pub async fn events(&self, filter: &AuditFilter) -> Result<Vec<AuditEntry>> {
        let filter = filter.clone();
        self.ask_as_operator(Events { filter }).await
    }

    /// Hands rows of the audit log to `pages`, those of each commit soon after it, until
    /// nothing takes them any more.
    ///
    /// # Errors
    /// The store's; a daemon that stays away.
    pub async fn follow_events(
        &self,
        wanted: FollowEvents,
        pages: mpsc::Sender<AuditPage>,
    ) -> Result<()> {
        match &self.way {
            Way::Embedded(store) => {
                let (ring, commits) = watch::channel(0);
                let on_ring = Box::new(move |_: &mut dyn crate::store::Look| {
                    ring.send_modify(|count| *count += 1);
                });
                // Held for its drop, which takes it down.
                let _doorbell = store.doorbell(Mode::Events, on_ring)?;
                events::follow(store, commits, wanted, pages).await
            }
            Way::Door(client) => client.follow_events(wanted, pages).await,
        }
    }
}
