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
use crate::store::Result;

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
    ///
    /// # Errors
    /// As for [`Client::call`], if that daemon does not answer any more.
    pub async fn lasting_name(&self) -> Result<StoreName> {
        match self.is_found {
            true => Ok(self.call(&Health {}, &Actor::Anyone).await?.store),
            false => Ok(self.store.clone()),
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn files_name_no_store_of_a_daemon_that_has_ended() {
        let directory = tempfile::tempdir().expect("a directory");
        let sockets = Sockets::at(directory.path());
        let ended = Client::found_at(&sockets).with_patience(Duration::ZERO);
        assert!(ended.lasting_name().await.is_err());
        // A store that its user named needs no daemon for its name.
        let named = Client::new(&sockets, StoreName::from(Path::new("/x/bridge.db")));
        let name = named.lasting_name().await.expect("a name");
        assert_eq!(name.file(), Path::new("/x/bridge.db"));
    }
}
