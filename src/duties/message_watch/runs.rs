//! Adapters that run beside the duty's rounds, and what they returned with.

use jiff::Timestamp;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tracing::{Instrument as _, warn};

use crate::config::AdapterSettings;
use crate::duties::DutyBell;
use crate::duties::roster::KeptSession;
use crate::model::{MessageId, SessionKey};
use crate::wake::{self, Pointer, Returned};

/// One run of an adapter.
pub(super) struct Run {
    pub(super) session: KeptSession,
    /// Which wake it is: index in the list, and the newest message.
    pub(super) adapter: usize,
    pub(super) mark: MessageId,
    /// When the sessions that its credentials act for had last done something
    /// before it was started.
    pub(super) acted_at: Vec<(SessionKey, Option<Timestamp>)>,
}

/// Runs adapters.
pub(super) struct Runs {
    /// Rung when one returns.
    bell: DutyBell,
    tasks: JoinSet<()>,
    results: mpsc::UnboundedSender<(Run, Returned)>,
    returned: mpsc::UnboundedReceiver<(Run, Returned)>,
}

impl Runs {
    pub(super) fn new(bell: DutyBell) -> Self {
        let (results, returned) = mpsc::unbounded_channel();
        Self {
            bell,
            tasks: JoinSet::new(),
            results,
            returned,
        }
    }

    /// Starts an adapter.
    pub(super) fn start(&mut self, run: Run, settings: AdapterSettings, pointer: Pointer) {
        let (results, bell) = (self.results.clone(), self.bell.clone());
        let work = async move {
            let returned = wake::run(&settings, &pointer).await;
            // Fails only when the daemon is stopping.
            let _ = results.send((run, returned));
            bell.ring();
        };
        self.tasks.spawn(work.in_current_span());
        // Results come through the channel; this only forgets tasks that ended.
        while let Some(ended) = self.tasks.try_join_next() {
            if let Err(error) = ended {
                warn!(event = "wake-died", %error, "a wake adapter died");
            }
        }
    }

    /// A run that has returned since the last call.
    pub(super) fn next(&mut self) -> Option<(Run, Returned)> {
        self.returned.try_recv().ok()
    }

    /// Ends those that still run.
    pub(super) async fn stop(&mut self) {
        self.tasks.shutdown().await;
    }
}
