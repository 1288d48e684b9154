//! What the product does with its data: each call hands its operation to an
//! executor, and is one transaction.

mod alerts;
mod conversations;
mod heartbeats;
mod messages;
mod orchestration;
mod registrations;
mod reports;
mod tasks;
mod upkeep;
mod wakes;

use super::{OnRing, Result, Store, WriteHealth};
use crate::doorbell::{Doorbell, Mode};
use crate::model::StoreName;

impl Store {
    /// Where it is, as people name it.
    #[must_use]
    pub fn location(&self) -> &StoreName {
        self.backend.location()
    }

    /// See [`super::Backend::doorbell`].
    ///
    /// # Errors
    /// As there.
    pub fn doorbell(&self, mode: Mode, on_ring: OnRing) -> Result<Doorbell> {
        self.backend.doorbell(mode, on_ring)
    }

    /// The state of this process's own writes; asks no store.
    #[must_use]
    pub fn writes(&self) -> WriteHealth {
        self.backend.writes()
    }

    /// When the newest COMMIT of this process that rings had returned, by
    /// [`crate::clock::monotonic_nanos`]: where the latency of a message begins.
    #[must_use]
    pub fn committed_at(&self) -> u64 {
        self.backend.committed_at()
    }

    /// Takes no further calls, finishes those that were asked for, and closes.
    pub async fn close(&self) {
        let mut threads = self.reads.close();
        threads.extend(self.full.close());
        threads.extend(self.normal.close());
        self.backend.close(threads).await;
    }
}
