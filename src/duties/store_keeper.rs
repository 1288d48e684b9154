//! Duty *store keeper*: opens the store, waits for a missing one, notices when
//! the file is not ours any more, and keeps its log short.
//!
//! It owns the connection; the other duties take what it publishes. It never
//! makes a store: an empty one in the place of a lost one would hide the loss.

use std::sync::Arc;
use std::time::Duration;

use rustix::io::Errno;
use tokio::sync::watch;
use tokio::time::Instant;
use tracing::{error, info, warn};

use super::alerts::AlertDesk;
use super::{Duty, Patience, Report, Round};
use crate::config::Settings;
use crate::model::alert::AlertKind;
use crate::store::locate::{self, Location};
use crate::store::sqlite::Create;
use crate::store::{ErrorClass, SharedStore, StoreError};

/// How often the store is looked at.
const INTERVAL: Duration = Duration::from_secs(1);
/// A log above this is written back, a part at a time.
const CHECKPOINT_ABOVE: u64 = 4 * MEBIBYTE;
/// At most so often: one that a reader holds up would be tried in vain.
const CHECKPOINT_EVERY: Duration = Duration::from_secs(30);
/// A log that cannot be written back grows until the disk is full.
const ALARM_ABOVE: u64 = 64 * MEBIBYTE;
/// A trouble that lasts so long is the operator's.
const LASTS: Duration = Duration::from_secs(10);
/// Answering times that differ by less are the same.
const NOISE: Duration = Duration::from_millis(1);
const MEBIBYTE: u64 = 1024 * 1024;

/// The store as the other duties see it: there, or waited for.
pub type StoreLink = watch::Receiver<Option<SharedStore>>;

/// The duty.
#[derive(Debug)]
pub struct StoreKeeper {
    location: Location,
    link: watch::Sender<Option<SharedStore>>,
    /// What was said last, so that it is said once.
    trouble: Option<String>,
    /// The answering time that is shown: a new one only when it differs by
    /// much, or the status line would never rest.
    shown: Option<Duration>,
    checkpointed: Option<Instant>,
    alarmed: bool,
    desk: AlertDesk,
    /// When the trouble began that lasts.
    since: Option<Instant>,
}

/// What the keeper found.
#[derive(Debug)]
pub struct StoreReport {
    location: Location,
    state: Result<Duration, String>,
    waiting: bool,
}

impl StoreKeeper {
    /// A keeper of the store at `location`, and what it will publish.
    #[must_use]
    pub fn new(location: Location, desk: AlertDesk) -> (Self, StoreLink) {
        let (link, receiver) = watch::channel(None);
        let keeper = Self {
            location,
            link,
            trouble: None,
            shown: None,
            checkpointed: None,
            alarmed: false,
            desk,
            since: None,
        };
        (keeper, receiver)
    }

    async fn open(&mut self, patience: Patience) -> Result<SharedStore, StoreError> {
        // SQLite would open it for reading, and leave files beside it that its
        // owner may not write.
        self.ensure_writable()?;
        // Another process may hold the lock for as long as it likes.
        let opening = locate::open(&self.location, Create::No);
        let store = patience.bounded(&self.location.path, opening).await?;
        info!(event = "store-open", store = %self.location.path.display(), "store open");
        self.link.send_replace(Some(Arc::clone(&store)));
        Ok(store)
    }

    async fn look(&mut self) -> Result<Duration, StoreError> {
        let patience = Patience::begin();
        let known = self.link.borrow().clone();
        let store = match known {
            Some(store) => store,
            None => self.open(patience).await?,
        };
        let probe = patience.bounded(&self.location.path, store.probe()).await?;
        self.tend_log(&store, probe.log_bytes, patience).await;
        let shown = *self.shown.get_or_insert(probe.took);
        if probe.took > shown * 2 + NOISE || probe.took * 2 + NOISE < shown {
            self.shown = Some(probe.took);
        }
        // Connections that are open may go on; whoever comes next may not.
        self.ensure_writable()?;
        Ok(self.shown.unwrap_or(probe.took))
    }

    /// Whether the file system lets us write the file; one that is not there is
    /// another trouble.
    fn ensure_writable(&self) -> Result<(), StoreError> {
        let path = &self.location.path;
        match rustix::fs::access(path, rustix::fs::Access::WRITE_OK) {
            Err(Errno::ACCESS | Errno::PERM | Errno::ROFS) if path.is_file() => {
                Err(StoreError::ReadOnly(path.clone()))
            }
            _ => Ok(()),
        }
    }

    /// Gives up a store that is not the one at the path any more. What failed
    /// otherwise may work again, on the same connections.
    fn give_up(&mut self, error: &StoreError) {
        let lost = matches!(error, StoreError::Replaced(_) | StoreError::Missing(_))
            || error.class() == ErrorClass::Unusable;
        if lost {
            self.let_go();
        }
    }

    fn let_go(&mut self) {
        if let Some(store) = self.link.send_replace(None) {
            // Others may still be in the middle of a call: it fails closed.
            tokio::spawn(async move { store.close().await });
        }
    }

    /// The operator hears of a trouble that lasts, not of a hiccup.
    fn alert(&mut self, trouble: Option<&str>) {
        let subject = self.location.path.display().to_string();
        match trouble {
            None => {
                self.since = None;
                self.desk.recover(AlertKind::StoreTrouble, &subject);
            }
            Some(why) if self.since.get_or_insert_with(Instant::now).elapsed() >= LASTS => {
                self.desk
                    .raise(AlertKind::StoreTrouble, &subject, None, why.to_owned());
            }
            Some(_) => {}
        }
    }

    async fn tend_log(&mut self, store: &SharedStore, bytes: u64, patience: Patience) {
        if bytes > ALARM_ABOVE {
            if !self.alarmed {
                error!(
                    event = "store-log-large",
                    mebibytes = bytes / MEBIBYTE,
                    "the store's write-ahead log keeps growing: some process holds a read \
                     transaction open; `fuser` on the -wal file names those that have it open"
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
            let back = patience.bounded(&self.location.path, store.checkpoint());
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
        let state = match self.look().await {
            Ok(took) => {
                if self.trouble.take().is_some() {
                    self.alert(None);
                    info!(event = "store-recovered", store = %self.location.path.display(), "store ok again");
                }
                Ok(took)
            }
            Err(error) => {
                self.give_up(&error);
                let said = error.headline();
                self.alert(Some(&said));
                if self.trouble.as_deref() != Some(&said) {
                    warn!(event = "store-trouble", store = %self.location.path.display(), "{error}");
                    self.trouble = Some(said.clone());
                }
                Err(said)
            }
        };
        Round {
            report: StoreReport {
                location: self.location.clone(),
                waiting: self.link.borrow().is_none(),
                state,
            },
            next: Instant::now() + INTERVAL,
        }
    }

    /// Which store it is needs a restart; everything else is constant.
    fn reload(&mut self, _settings: &Arc<Settings>) {}
}

impl Report for StoreReport {
    fn summary(&self) -> String {
        match &self.state {
            Ok(took) => format!("store ok (sqlite, {:.1} ms)", took.as_secs_f64() * 1e3),
            Err(_) if self.waiting => {
                format!("waiting for the store {}", self.location.path.display())
            }
            Err(why) => why.clone(),
        }
    }

    fn trouble(&self) -> Option<String> {
        self.state.as_ref().err().cloned()
    }

    fn already_told(&self) -> bool {
        true
    }
}
