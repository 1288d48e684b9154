//! The store: conversations, messages, heartbeats and wakes behind one
//! interface, and the only module that speaks SQL.
//!
//! Every call is one transaction. `now` is wall time, `boot` is the boot
//! clock's: a store reads no clock. A call that changes rows checks how many
//! it changed; zero is an error with a name or a typed "lost the race", never
//! a success.

pub mod accepted;
mod alerts;
mod asker;
mod audit;
mod backend;
mod calls;
mod error;
pub mod executor;
pub(crate) mod fetches;
mod fleet;
pub mod locate;
pub mod memory;
mod ops;
mod postponed;
mod registrations;
pub mod rows;
pub mod sqlite;
mod status;
mod tasks;
mod traces;
mod types;
mod used_up;
mod writes;

use std::sync::Arc;

pub use alerts::*;
pub use asker::for_user;
pub use audit::*;
pub use backend::{Backend, Look, OnRing, Signal, Signalled};
pub use error::{ErrorClass, StoreError};
pub use fleet::*;
pub use registrations::*;
pub use status::*;
pub use tasks::*;
pub use types::*;
pub use used_up::UsedUp;
pub use writes::Writes;

use executor::{Executor, Readers};

pub use crate::model::process::{Boot, Process, ProcessId};
pub use crate::model::session::Caller;

/// How much a commit must survive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// A power failure: messages, and all that a caller hears is stored.
    Full,
    /// A crash of the process: heartbeats, activity, wakes.
    Normal,
}

/// What a store call returns.
pub type Result<T> = std::result::Result<T, StoreError>;

/// A store that may be shared by all duties of a process.
pub type SharedStore = Arc<Store>;

/// The operations of the product on its data, over any backend. Backends must answer
/// alike: the conformance suite (`tests/store/conformance.rs`) is the specification.
/// The calls stand in `calls`, a file for each subject.
pub struct Store {
    /// What must survive a power failure.
    full: Executor,
    /// What must survive a crash of the process.
    normal: Executor,
    reads: Readers,
    backend: Arc<dyn Backend>,
    postponed: Arc<postponed::Postponed>,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store")
            .field("backend", &self.backend)
            .finish_non_exhaustive()
    }
}
