//! Which daemon has a store.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;

use super::{Client, request};
use crate::api::operations::{Answering, Health};
use crate::api::{Actor, Purpose, Sockets};
use crate::guarded;
use crate::model::StoreName;

/// How long a daemon may take to say which store it has, before the next is asked.
pub(super) const SOON: Duration = Duration::from_millis(500);

/// The first daemon of these directories that says it has this file open, by its
/// sockets.
pub async fn that_has(file: &Path, directories: &[PathBuf]) -> Option<(Sockets, Client)> {
    for sockets in sockets_below(directories) {
        let client = Client::new(&sockets, StoreName::from(file));
        if let Some(answer) = client.who_answers().await
            && is_same(answer.store.file(), file)
        {
            return Some((sockets, client));
        }
    }
    None
}

/// The sockets of the instances below these directories, in the order of the
/// directories and then of the instances' names. A directory in which another user may
/// make sockets has none.
#[must_use]
pub fn sockets_below(directories: &[PathBuf]) -> Vec<Sockets> {
    let mut all = Vec::new();
    for directory in directories {
        let Ok(entries) = std::fs::read_dir(directory) else {
            continue;
        };
        let entries = entries.flatten().map(|entry| entry.path());
        let mut found: Vec<PathBuf> = entries
            .filter(|instance| {
                let path = Sockets::at(instance).path(Purpose::Sessions);
                path.symlink_metadata().is_ok()
            })
            .collect();
        if found.is_empty() || !is_ours(directory) {
            continue;
        }
        found.sort();
        all.extend(found.iter().map(|instance| Sockets::at(instance)));
    }
    all
}

/// Whether no other user than root made the directory, or could put something into it.
fn is_ours(directory: &Path) -> bool {
    let owner = std::fs::metadata(directory).map(|meta| meta.uid());
    owner.is_ok_and(guarded::is_trusted) && guarded::exposed(directory).is_none()
}

impl Client {
    /// The store as files name it that outlive the daemon: where its user named no store,
    /// that of the daemon that was found, by its file.
    pub async fn lasting_name(&self) -> StoreName {
        let answer = match self.is_found {
            true => self.who_answers().await,
            false => None,
        };
        answer.map_or_else(|| self.store.clone(), |answer| answer.store)
    }

    /// The daemon and its store, if it answers within a moment.
    pub async fn who_answers(&self) -> Option<Answering> {
        let request = request::<Health>(&Actor::Anyone, Bytes::new());
        let asked = self.ask::<Health>(&self.sessions, request);
        tokio::time::timeout(SOON, asked).await.ok()?.ok()?.ok()
    }
}

/// Whether two paths name one file.
#[must_use]
pub fn is_same(one: &Path, other: &Path) -> bool {
    let real = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
    one == other || real(one) == real(other)
}
