//! The store on SQLite: one file, shared with any process on this machine,
//! the Python bridge among them.
//!
//! Three kinds of connection, each used by one thread of an executor and opened when
//! it is first needed: a writer at `synchronous=FULL` for messages, one at `NORMAL`
//! for heartbeats, and readers. One more, of sqlx's, brings the schema up to date and
//! is closed by SQLite itself. Nothing in this process ever closes a descriptor of
//! its own on a database file: that would drop the locks that SQLite holds on it.

mod admission;
mod backup;
mod base;
mod beside;
mod confined;
mod copy;
mod definitions;
mod due;
mod engine;
mod fault;
mod file;
mod history;
mod holders;
mod inspect;
mod losses;
mod mounts;
mod newest;
mod numbers;
mod odd;
mod open;
mod ours;
mod owed;
mod owners;
mod partial;
mod restore;
mod rows;
mod schema;
mod shared;
mod statements;
mod tail;
mod turnstile;
mod upkeep;
mod written;

use std::ops::Deref;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use jiff::Timestamp;
use rusqlite::Connection;

pub use super::Durability;
use super::Store;
use super::accepted::Acceptance;
use super::executor::PATIENCE;
use super::postponed::Postponed;
use super::writes::Writes;
pub use super::writes::held_up;
use crate::clock;
use crate::doorbell::{Bell, OwnCommits};
use crate::model::StoreName;
pub use backup::{Copied, backup};
use base::Tended;
use confined::Confined;
pub use confined::{Confinement, confinement};
pub use copy::{Attendant, Progress};
use file::Files;
pub use file::room;
pub use inspect::{Inspection, Kind, answers, inspect, odd_rows};
pub use mounts::file_system;
use newest::Newest;
pub use open::{Brought, Create, Opening};
pub use restore::{Restored, candidate, restore};

/// The schema that this program writes.
pub const SCHEMA_VERSION: i64 = 10;

/// The schema of the first release. A store of an older one was made by a build of
/// before it, and is refused.
pub const FIRST_SCHEMA: i64 = 10;

/// Connections that read.
const READERS: usize = 4;

/// A store in an SQLite file.
#[derive(Debug)]
pub struct SqliteStore {
    opened: Arc<Opened>,
}

impl Deref for SqliteStore {
    type Target = Opened;
    fn deref(&self) -> &Opened {
        &self.opened
    }
}

/// The files, and what the connections of this process share.
#[derive(Debug)]
pub struct Opened {
    name: StoreName,
    /// The files that were opened; others at the same paths are not ours.
    files: Arc<Files>,
    /// Opens the connections.
    confined: Arc<Confined>,
    /// The state of the writes that wait for the disk, and of the others.
    full: Arc<Writes>,
    normal: Arc<Writes>,
    bell: Bell,
    newest: Newest,
    tended: Arc<Tended>,
    /// Which unknown definitions are accepted.
    acceptance: Acceptance,
    /// See [`Opened::committed_at`].
    committed_at: AtomicU64,
    /// Transactions of this process that may write to the log now.
    own_commits: Arc<OwnCommits>,
    /// Held by a connection that closes.
    closing: Mutex<()>,
}

impl SqliteStore {
    /// The store whose data it keeps, with messages that are so durable.
    fn store(opened: Arc<Opened>, messages: Durability, first: Option<Connection>) -> Store {
        let normal = Durability::Normal;
        Store {
            full: engine::executor(&opened, Durability::Full, messages, first),
            normal: engine::executor(&opened, normal, normal, None),
            reads: engine::readers(&opened, READERS),
            postponed: Arc::new(Postponed::new(Arc::clone(&opened.normal))),
            backend: Arc::new(Self { opened }),
        }
    }
}

impl Opened {
    /// When the newest COMMIT of this process that rings had returned, by
    /// [`clock::monotonic_nanos`]: where the latency of a message begins.
    #[must_use]
    pub fn committed_at(&self) -> u64 {
        self.committed_at.load(Ordering::Relaxed)
    }

    fn path(&self) -> &Path {
        &self.files.named
    }

    fn writes(&self, durability: Durability) -> &Arc<Writes> {
        match durability {
            Durability::Full => &self.full,
            Durability::Normal => &self.normal,
        }
    }

    /// Tells those who wait for messages or work that they are to look.
    fn ring(&self, newest: Option<i64>) {
        let now = clock::monotonic_nanos();
        self.committed_at.store(now, Ordering::Relaxed);
        match newest.filter(|newest| newest::is_plausible(*newest)) {
            Some(newest) => {
                self.newest.saw(newest);
                self.bell.ring_at(newest);
            }
            None => self.bell.ring(),
        }
    }
}

fn millis(at: Timestamp) -> i64 {
    at.as_millisecond()
}

fn from_millis(millis: i64) -> Timestamp {
    Timestamp::from_millisecond(millis).unwrap_or(Timestamp::UNIX_EPOCH)
}
