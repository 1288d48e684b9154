//! Opening the store beside the keeper's rounds.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::{JoinError, JoinHandle};
use tokio::time::timeout;
use tracing::info;

use super::StoreKeeper;
use crate::duties::STORE_PATIENCE;
use crate::store::locate;
use crate::store::sqlite::{Create, Opening};
use crate::store::{SharedStore, StoreError};

/// How long a round looks after an opening that takes long.
const GLANCE: Duration = Duration::from_millis(100);

/// An opening may take as long as a copy of the store and a change of its schema, which
/// must not be cut short: it would begin anew each time. So it runs beside the rounds,
/// which look whether it has ended.
#[derive(Debug)]
pub(super) struct OpeningTask {
    task: JoinHandle<Result<SharedStore, StoreError>>,
    at: Arc<Opening>,
    /// Whether a round has waited for it in vain.
    long: bool,
    /// Whether it was said that the schema is changed.
    told: bool,
}

impl StoreKeeper {
    /// The store, or how far it is: opening ends in a later round if it must.
    pub(super) async fn open(&mut self) -> Result<Result<SharedStore, i64>, StoreError> {
        if self.opening.is_none() {
            // SQLite would open it for reading, and leave files beside it that
            // its owner may not write.
            self.ensure_writable()?;
        }
        let opening = self.opening.get_or_insert_with(|| {
            let at = Arc::new(Opening::accepting(self.accepted.clone()));
            let (location, telling) = (self.location.clone(), Arc::clone(&at));
            OpeningTask {
                task: tokio::spawn(async move {
                    locate::open_telling(&location, Create::No, &telling).await
                }),
                at,
                long: false,
                told: false,
            }
        });
        // Another process may hold the lock for as long as it likes.
        let patience = if opening.long { GLANCE } else { STORE_PATIENCE };
        let Ok(ended) = timeout(patience, &mut opening.task).await else {
            opening.long = true;
            let Some(schema) = opening.at.migrating() else {
                return Err(StoreError::Busy(self.location.name.clone()));
            };
            if !std::mem::replace(&mut opening.told, true) {
                info!(event = "store-migrating", store = %self.location.path().display(), "upgrading the store to schema {schema}");
            }
            return Ok(Err(schema));
        };
        if let Some(brought) = opening.at.brought() {
            let (store, copy) = (self.location.path().display(), brought.copy.display());
            match brought.from {
                None => {
                    info!(event = "store-adopted", %store, %copy, "adopted the Python bridge's database; a copy of the old one is kept");
                }
                Some(schema) => {
                    info!(event = "store-migrated", %store, %copy, "upgraded the store from schema {schema}; a copy of the old one is kept");
                }
            }
        }
        self.opening = None;
        let died = |error: JoinError| StoreError::Io(self.location.name.clone(), error.to_string());
        let store = ended.map_err(died)??;
        Ok(Ok(store))
    }
}
