//! While the store takes no writes, no agent can give a sign of life, and silence means
//! nothing. This daemon's own writes show that: a leader renews its lease every few
//! seconds, in the same way as a heartbeat is written.

use std::time::Duration;

use tracing::{info, warn};

use super::Watchdog;
use crate::model::observer::OwnWrites;
use crate::store::SharedStore;
use crate::{clock, text};

/// For so long the status line tells of a time without writes: the ttl of most
/// sessions.
const SHOWN: Duration = Duration::from_secs(20);

/// How it stands, and what was said of it.
#[derive(Debug, Default)]
pub(super) struct Writable {
    /// Since when it takes no writes, if that was said.
    told: bool,
    /// When it took them again, and after how long.
    regained: Option<(Duration, Duration)>,
}

impl Watchdog {
    /// Takes in the state of the own writes, before any session is judged.
    pub(super) fn mind_the_store(&mut self, store: &SharedStore, now: Duration) {
        let writes = store.writes().beats;
        let own = OwnWrites {
            last: writes.last,
            failing_since: writes.failing_since,
            regained: writes.regained.map(|(at, _)| at),
        };
        let since = self.observer.unwritable_since();
        let regained = self.observer.own_writes(&own, now);
        if let Some(since) = self.observer.unwritable_since() {
            if !std::mem::replace(&mut self.writable.told, true) {
                warn!(
                    event = "store-unwritable",
                    "the store could not be written for {}: no silent session is declared lost",
                    text::long_duration(now.saturating_sub(since))
                );
            }
            return;
        }
        if regained {
            let waited = writes.regained.map(|(_, waited)| waited);
            let lasted = since.map(|since| now.saturating_sub(since));
            let lasted = waited.into_iter().chain(lasted).max().unwrap_or_default();
            self.writable.regained = Some((now, lasted));
            if std::mem::take(&mut self.writable.told) {
                info!(
                    event = "store-writable",
                    "the store can be written again, after {}: no silent session is declared \
                     lost before one whole ttl from now",
                    text::long_duration(lasted)
                );
            }
        }
    }

    /// Why no session is declared lost, if it is because of this.
    pub(super) fn unwritable(&self) -> Option<String> {
        let now = clock::since_boot();
        if let Some(since) = self.observer.unwritable_since() {
            return Some(format!(
                "the store could not be written for {}: no session is declared lost before one \
                 ttl after it can be",
                text::long_duration(now.saturating_sub(since))
            ));
        }
        let (at, lasted) = self.writable.regained?;
        let left = (at + SHOWN).checked_sub(now)?;
        (!left.is_zero()).then(|| {
            format!(
                "the store could not be written for {}: no session is declared lost for the \
                 next {}",
                text::long_duration(lasted),
                text::long_duration(left)
            )
        })
    }
}
