//! A team that is to be made.

use std::path::PathBuf;

use jiff::Timestamp;

use super::daemons::Daemons;
use crate::cli::setup::{Changes, Client, Service};
use crate::model::Label;
use crate::session::joined::{Joined, Joins};
use crate::session::made::NewFile;
use crate::store::NewConversation;

/// All that is to be made. Whatever can be refused is, before anything is made.
pub(super) struct Plan {
    pub(super) name: Label,
    pub(super) role: String,
    pub(super) client: Client,
    pub(super) new: Vec<NewConversation>,
    /// The credentials of each worker, and last those of the orchestrator.
    pub(super) files: Vec<NewFile>,
    pub(super) joined: Joined,
    pub(super) changes: Changes,
    /// Nothing where the machine's daemons serve the store.
    pub(super) daemons: Option<Daemons>,
    pub(super) service: Service,
    pub(super) now: Timestamp,
    pub(super) joins: Joins,
}

impl Plan {
    /// The files of the workers, and that of the orchestrator.
    pub(super) fn credentials(&self) -> (Vec<PathBuf>, PathBuf) {
        let mut files: Vec<PathBuf> = self.files.iter().map(|file| file.path.clone()).collect();
        let orchestrator = files.pop().unwrap_or_default();
        (files, orchestrator)
    }
}
