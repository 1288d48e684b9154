//! What became of claimed wakes and is not in the store yet.
//!
//! This stays a queue apart from the records: a session may be gone, or be woken
//! anew, before the store takes the end of its last wake.

use std::collections::VecDeque;

use crate::clock;
use crate::duties::Patience;
use crate::model::wake::WakeOutcome;
use crate::store::{SharedStore, StoreError, WakeEnd, WakeRef};

/// The end of one wake.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Ending {
    pub(super) row: WakeRef,
    pub(super) outcome: WakeOutcome,
    pub(super) reason: Option<String>,
}

/// Ends that wait to be written, oldest first.
#[derive(Debug, Default)]
pub(super) struct Endings(VecDeque<Ending>);

impl Endings {
    pub(super) fn add(&mut self, ending: Option<Ending>) {
        self.0.extend(ending);
    }

    /// Another store: the rows are not in it.
    pub(super) fn forget(&mut self) {
        self.0.clear();
    }

    /// Writes them. What fails stays for the next time.
    pub(super) async fn flush(
        &mut self,
        store: &SharedStore,
        patience: Patience,
    ) -> Result<(), StoreError> {
        while let Some(ending) = self.0.front() {
            let end = WakeEnd {
                outcome: ending.outcome,
                reason: ending.reason.as_deref(),
            };
            let ended = store.end_wake(&ending.row, &end, clock::now());
            // `false`: our lease was over and another process took the row.
            patience.bounded(store.location(), ended).await?;
            self.0.pop_front();
        }
        Ok(())
    }

    #[cfg(test)]
    pub(super) fn iter(&self) -> impl Iterator<Item = &Ending> {
        self.0.iter()
    }
}
