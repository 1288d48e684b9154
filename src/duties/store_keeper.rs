//! Duty *store keeper*: opens the store, waits for a missing one, notices when
//! the file is not ours any more or takes no writes, and keeps its log short.
//!
//! It owns the connection, and with it the doorbell that hangs as long as the
//! store is open; the other duties take what it publishes. It never makes a store:
//! an empty one in the place of a lost one would hide the loss.

mod ear;
mod opening;
mod report;

use std::sync::Arc;
use std::time::Duration;

use rustix::io::Errno;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;
use tracing::{error, info, warn};

use super::alerts::AlertDesk;
use super::links::StoreLink;
use super::{Bells, Duty, Patience, Round, STORE_PATIENCE};
use crate::advice;
use crate::clock;
use crate::config::Settings;
use crate::model::alert::AlertKind;
use crate::store::locate::Location;
use crate::store::sqlite;
use crate::store::{ErrorClass, SharedStore, StoreError, StoreProbe};
use ear::Ear;
pub use ear::Listeners;
use opening::OpeningTask;
use report::State;
pub use report::StoreReport;

/// How often the store is looked at.
const INTERVAL: Duration = Duration::from_secs(1);
/// A log above this is written back, a part at a time.
const CHECKPOINT_ABOVE: u64 = 4 * MEBIBYTE;
/// At most so often: one that a reader holds up would be tried in vain.
const CHECKPOINT_EVERY: Duration = Duration::from_secs(30);
/// A log that cannot be written back grows until the disk is full.
const ALARM_ABOVE: u64 = 64 * MEBIBYTE;
/// A trouble that lasts so long is the operator's. With the pause between two
/// writes and a look, the operator hears of it within 10 s.
const LASTS: Duration = Duration::from_secs(2);
/// So long another program may keep the write lock without being one.
const LOCK_LASTS: Duration = Duration::from_secs(6);
/// After this time without a write of any duty here, the keeper tries one: longer than
/// the pause between two heartbeats, which are writes.
const QUIET: Duration = Duration::from_secs(6);
/// A write that has waited this long stands in the keeper's way, too.
const WAITS: Duration = Duration::from_secs(1);
/// Answering times that differ by less are the same.
const NOISE: Duration = Duration::from_millis(1);
const MEBIBYTE: u64 = 1024 * 1024;

/// The duty.
#[derive(Debug)]
pub struct StoreKeeper {
    location: Location,
    accepted: Option<String>,
    link: watch::Sender<Option<SharedStore>>,
    ear: Ear,
    /// An opening that is under way.
    opening: Option<OpeningTask>,
    /// What was said last, so that it is said once.
    trouble: Option<String>,
    /// The answering time that is shown: a new one only when it differs by
    /// much, or the status line would never rest.
    shown: Option<Duration>,
    /// A note of how far the store is that is under way.
    tending: Option<AbortOnDropHandle<Result<(), StoreError>>>,
    checkpointed: Option<Instant>,
    alarmed: bool,
    desk: AlertDesk,
    /// When the trouble began that lasts, since boot.
    since: Option<Duration>,
    /// Whether it answered in this round.
    answers: bool,
    /// How it answered.
    probe: Option<StoreProbe>,
    /// Whether it was open since this daemon began.
    was_open: bool,
}

impl StoreKeeper {
    /// A keeper of the store at `location`, and what it will publish. The listeners
    /// hear of each commit there.
    #[must_use]
    pub fn new(
        settings: &Settings,
        location: Location,
        listeners: Listeners,
        bells: &Bells,
        desk: AlertDesk,
    ) -> (Self, StoreLink) {
        let (link, receiver) = watch::channel(None);
        let keeper = Self {
            location,
            accepted: settings.store.accepted_schema.clone(),
            link,
            ear: Ear::new(
                settings.agents.message_watch.mode,
                listeners,
                bells.keeper.clone(),
            ),
            opening: None,
            trouble: None,
            shown: None,
            tending: None,
            checkpointed: None,
            alarmed: false,
            desk,
            since: None,
            answers: false,
            probe: None,
            was_open: false,
        };
        (keeper, receiver)
    }

    async fn look(&mut self) -> Result<State, StoreError> {
        self.ear.looks();
        let known = self.link.borrow().clone();
        let store = match known {
            Some(store) => {
                self.ear.mount(&store)?;
                store
            }
            None => match self.open().await? {
                Ok(store) => {
                    // First: the listeners hear of each commit from now on, and the
                    // duties' first look sees what was before.
                    let hangs = self.ear.mount(&store);
                    self.publish(&store);
                    hangs?;
                    store
                }
                Err(schema) => return Ok(State::Migrating(schema)),
            },
        };
        // After an opening that took its time, the round has not begun yet.
        let patience = Patience::begin();
        let probe = patience.bounded(&self.location.name, store.probe()).await?;
        self.answers = true;
        self.probe = Some(probe.clone());
        self.tend(&store).await?;
        self.tend_log(&store, probe.log_bytes, patience).await;
        let shown = *self.shown.get_or_insert(probe.took);
        if probe.took > shown * 2 + NOISE || probe.took * 2 + NOISE < shown {
            self.shown = Some(probe.took);
        }
        // Connections that are open may go on; new ones may not.
        self.ensure_writable()?;
        self.ensure_takes_writes(&store, patience).await?;
        Ok(State::Well(self.shown.unwrap_or(probe.took)))
    }

    fn publish(&mut self, store: &SharedStore) {
        info!(event = "store-open", store = %self.location.path().display(), "store open");
        self.link.send_replace(Some(Arc::clone(store)));
        self.was_open = true;
    }

    /// Whether the file system lets us write the file; one that is not there is
    /// another trouble.
    fn ensure_writable(&self) -> Result<(), StoreError> {
        let path = self.location.path();
        match rustix::fs::access(path, rustix::fs::Access::WRITE_OK) {
            Err(Errno::ACCESS | Errno::PERM | Errno::ROFS) if path.is_file() => {
                Err(StoreError::ReadOnly(path.to_owned()))
            }
            _ => Ok(()),
        }
    }

    /// Whether writes get through: those of the other duties, or one of the
    /// keeper's own where theirs failed or there are none.
    async fn ensure_takes_writes(
        &mut self,
        store: &SharedStore,
        patience: Patience,
    ) -> Result<(), StoreError> {
        let (now, writes) = (clock::since_boot(), store.writes());
        let age = |then: Duration| now.saturating_sub(then);
        let oldest = match (writes.doubtful_since, writes.waiting_since) {
            (Some(doubtful), Some(waiting)) => Some(doubtful.min(waiting)),
            (doubtful, waiting) => doubtful.or(waiting),
        };
        let outcome = if writes.waiting_since.is_some_and(|then| age(then) > WAITS) {
            let long = oldest.is_some_and(|then| age(then) >= STORE_PATIENCE);
            match long || self.trouble.is_some() {
                true => Err(sqlite::held_up(&self.location.name)),
                false => Ok(()),
            }
        } else if writes.doubtful_since.is_some() || writes.last.is_none_or(|at| age(at) > QUIET) {
            patience
                .bounded(&self.location.name, store.try_write())
                .await
        } else {
            Ok(())
        };
        if outcome.is_err() {
            self.since = self.since.or(oldest);
        }
        outcome
    }

    /// Gives up a store that is not the one at the path any more. What failed
    /// otherwise may work again, on the same connections.
    fn give_up(&mut self, error: &StoreError) {
        if error.is_another_file() || error.class() == ErrorClass::Unusable {
            self.let_go();
        }
    }

    fn let_go(&mut self) {
        self.tending = None;
        self.ear.take_down();
        if let Some(store) = self.link.send_replace(None) {
            // Others may still be in the middle of a call: it fails closed.
            tokio::spawn(async move { store.close().await });
        }
    }

    /// The operator hears of a trouble that lasts, not of a hiccup.
    fn alert(&mut self, error: &StoreError) {
        let now = clock::since_boot();
        let lasted = now.saturating_sub(*self.since.get_or_insert(now));
        let bearable = match error {
            StoreError::Busy(_) | StoreError::SlowDisk(..) | StoreError::Crowded(_) => LOCK_LASTS,
            _ => LASTS,
        };
        if lasted >= bearable {
            let subject = self.location.path().display().to_string();
            // The subject names the path already.
            let why = error.headline();
            let twice = format!("store {subject}: ");
            let why = why.strip_prefix(&twice).unwrap_or(&why).to_owned();
            self.desk.raise(AlertKind::StoreTrouble, &subject, why);
        }
    }

    fn recover(&mut self) {
        self.since = None;
        let subject = self.location.path().display().to_string();
        self.desk.recover(AlertKind::StoreTrouble, &subject);
        // It is the same as before, and yet news: a duty whose round failed meanwhile
        // tries again now, and does not wait for its next round.
        self.link.send_modify(|_| {});
    }

    /// Beside the rounds, since it waits for the disk.
    async fn tend(&mut self, store: &SharedStore) -> Result<(), StoreError> {
        match self.tending.take() {
            Some(task) if !task.is_finished() => {
                self.tending = Some(task);
                return Ok(());
            }
            // One that died begins anew.
            Some(task) => task.await.unwrap_or(Ok(()))?,
            None => {}
        }
        let store = Arc::clone(store);
        let task = tokio::spawn(async move { store.tend().await });
        self.tending = Some(AbortOnDropHandle::new(task));
        Ok(())
    }

    async fn tend_log(&mut self, store: &SharedStore, bytes: u64, patience: Patience) {
        if bytes > ALARM_ABOVE {
            if !self.alarmed {
                error!(
                    event = "store-log-large",
                    mebibytes = bytes / MEBIBYTE,
                    "the store's write-ahead log keeps growing: a process keeps a read transaction open; find it with `fuser` on the -wal file"
                );
            }
            self.alarmed = true;
        } else if bytes < ALARM_ABOVE / 2 {
            self.alarmed = false;
        }
        let due = self
            .checkpointed
            .is_none_or(|then| then.elapsed() >= CHECKPOINT_EVERY);
        if bytes > CHECKPOINT_ABOVE && due {
            self.checkpointed = Some(Instant::now());
            let back = patience.bounded(&self.location.name, store.checkpoint());
            if let Err(error) = back.await {
                warn!(event = "store-log-kept", %error, "the store's log was not written back");
            }
        }
    }
}

impl Duty for StoreKeeper {
    type Report = StoreReport;

    fn name(&self) -> &'static str {
        "store"
    }

    async fn tick(&mut self) -> Round<StoreReport> {
        self.answers = false;
        self.probe = None;
        let state = match self.look().await {
            Ok(state @ State::Migrating(_)) => state,
            Ok(state) => {
                if self.trouble.take().is_some() {
                    self.recover();
                    info!(event = "store-recovered", store = %self.location.path().display(), "store ok again");
                }
                state
            }
            Err(error) => {
                self.give_up(&error);
                let said = error.headline();
                self.alert(&error);
                if self.trouble.as_deref() != Some(&said) {
                    warn!(event = "store-trouble", store = %self.location.path().display(), "{}", advice::as_given(&error.to_string()));
                    self.trouble = Some(said.clone());
                }
                State::Trouble(error.to_string())
            }
        };
        Round {
            report: StoreReport {
                location: self.location.clone(),
                waiting: self.link.borrow().is_none(),
                answers: self.answers,
                was_open: self.was_open,
                probe: self.probe.take(),
                state,
            },
            next: Instant::now() + INTERVAL,
        }
    }

    /// Which store it is needs a restart; what rings does not.
    fn reload(&mut self, settings: &Arc<Settings>) {
        self.ear.listen_by(settings.agents.message_watch.mode);
    }

    async fn stop(&mut self) {
        self.ear.take_down();
    }
}
