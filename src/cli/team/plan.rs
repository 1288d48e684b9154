//! A team that is to be made.

use std::path::PathBuf;

use anyhow::Context as _;
use jiff::Timestamp;

use super::daemons::Daemons;
use super::record::{Record, Records};
use crate::cli::setup::{Changes, Client, Service};
use crate::model::Label;
use crate::session::joined::{Joined, Joins};
use crate::session::made::NewFile;
use crate::store::NewConversation;

/// All that is to be made. Everything that can be refused is refused before anything is
/// made.
pub(super) struct Plan {
    pub(super) name: Label,
    pub(super) role: String,
    pub(super) client: Client,
    /// The client is set up for all projects of the user.
    pub(super) for_user: bool,
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
    pub(super) records: Records,
}

impl Plan {
    /// The files of the workers, and that of the orchestrator.
    pub(super) fn credentials(&self) -> (Vec<PathBuf>, PathBuf) {
        let mut files: Vec<PathBuf> = self.files.iter().map(|file| file.path.clone()).collect();
        let orchestrator = files.pop().unwrap_or_default();
        (files, orchestrator)
    }

    /// The configurations of daemons that are to be written.
    pub(super) fn daemon_files(&self) -> Vec<PathBuf> {
        let daemons = self.daemons.iter().flat_map(|daemons| &daemons.each);
        let wanted = daemons.filter(|daemon| !daemon.is_there);
        wanted.map(|daemon| daemon.file.clone()).collect()
    }

    /// What `team remove` is to know.
    pub(super) fn record(&self, store: &str) -> Record {
        Record {
            name: self.name.clone(),
            store: store.to_owned(),
            conversations: self.new.iter().map(|one| one.id.clone()).collect(),
            credentials: self.files.iter().map(|file| file.path.clone()).collect(),
            work_tree: self.joined.work_tree.clone(),
            client: self.client.word(),
            for_user: self.for_user,
            client_files: self.changes.files().map(Into::into).collect(),
            daemon_files: self.daemon_files(),
        }
    }

    /// Writes what stands beside the conversations and their credentials.
    ///
    /// # Errors
    /// If one of them cannot be written. The others stay.
    pub(super) fn write_files(&mut self, store: &str) -> anyhow::Result<()> {
        if let Some(daemons) = &mut self.daemons {
            daemons.write(&self.name, store)?;
        }
        self.joins
            .note(&self.joined)
            .context("the note of this directory cannot be written")?;
        self.changes.write()
    }

    /// Takes away what [`Self::write_files`] has written.
    pub(super) fn take_back_files(&mut self) {
        self.changes.take_back();
        let noted = self.joins.of(&self.joined.work_tree);
        if noted.as_ref() == Some(&self.joined) {
            let _ = self.joins.forget(&self.joined.work_tree);
        }
        if let Some(daemons) = &mut self.daemons {
            daemons.take_back();
        }
    }
}
