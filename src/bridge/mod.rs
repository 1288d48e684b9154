//! The product's operations as one type, for every face.
//!
//! A face (the command line, a server of tools, a hook) asks a [`Bridge`] and does
//! not know how it reaches the store: what goes in and what comes out is plain
//! data, and the time is the bridge's own. Today a bridge opens the store's file
//! itself.

mod conversations;
mod follow;
mod messages;
mod operator;
mod orders;
mod status;
mod tasks;

use std::path::PathBuf;

pub use follow::{Begin, Cursor, FollowError, News, Sink, Subscription};
pub use operator::NotOperator;

use crate::store::locate::{self, Location};
use crate::store::sqlite::{self, Create, Opening, SCHEMA_VERSION};
use crate::store::{Result, SharedStore};

/// A way to a store.
#[derive(Debug, Clone)]
pub struct Bridge {
    store: SharedStore,
}

/// What a store is opened for, which decides what the opening may change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// To look: nothing is changed, and a store that would have to be is refused.
    Look,
    /// To write: an older store is brought up to date, the Python bridge's is
    /// adopted, and a missing one is an error.
    Write,
    /// To write, and a missing store is made.
    Make,
}

/// What an opening did to a store that was there before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Brought {
    /// The schema that it had; `None` for the Python bridge's own.
    pub from: Option<i64>,
    /// The schema that it has now.
    pub to: i64,
    /// The copy of it as it was.
    pub copy: PathBuf,
}

impl Bridge {
    /// Opens the store at a location. `brought` hears what that did to a store that
    /// was there before, even if the opening failed afterwards.
    ///
    /// # Errors
    /// Whatever is wrong with the store, by name.
    pub async fn open(
        location: &Location,
        purpose: Purpose,
        brought: impl FnOnce(&Brought),
    ) -> Result<Self> {
        let create = match purpose {
            Purpose::Look => Create::Look,
            Purpose::Write => Create::No,
            Purpose::Make => Create::Yes,
        };
        let opening = Opening::default();
        let opened = locate::open_telling(location, create, &opening).await;
        if let Some(sqlite::Brought { from, copy }) = opening.brought().cloned() {
            let to = SCHEMA_VERSION;
            brought(&Brought { from, to, copy });
        }
        Ok(opened?.into())
    }

    /// The store, as people name it and as credentials note it.
    #[must_use]
    pub fn name(&self) -> String {
        self.store.location().to_string()
    }

    /// Lets go of the store, once what was asked for is done.
    pub async fn close(&self) {
        self.store.close().await;
    }
}

impl From<SharedStore> for Bridge {
    /// To a store that this process has open.
    fn from(store: SharedStore) -> Self {
        Self { store }
    }
}
