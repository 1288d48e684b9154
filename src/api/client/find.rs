//! Which daemon has a store, and which daemon is the one to ask where none is named.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::Client;
use crate::api::operations::Health;
use crate::api::{Actor, Purpose, Sockets};
use crate::model::StoreName;

/// How long a daemon may take to say which store it has, before the next is asked.
const SOON: Duration = Duration::from_millis(500);

/// A daemon that answers.
#[derive(Debug)]
pub struct Found {
    /// Its sockets.
    pub sockets: Sockets,
    /// Its store.
    pub store: StoreName,
}

/// The first daemon among those whose sockets are below these directories that
/// answers for the store, or for any store where none is named.
pub async fn find(directories: &[PathBuf], store: Option<&Path>) -> Option<Found> {
    for sockets in directories.iter().flat_map(|directory| below(directory)) {
        let client = Client::new(&sockets, StoreName::from(PathBuf::new()));
        let client = client.with_patience(Duration::ZERO);
        let asked = client.call(&Health {}, &Actor::Anyone);
        let Ok(Ok(answer)) = tokio::time::timeout(SOON, asked).await else {
            continue;
        };
        if store.is_none_or(|store| is_same(answer.store.file(), store)) {
            let store = answer.store;
            return Some(Found { sockets, store });
        }
    }
    None
}

/// The sockets of the instances below a directory, in the order of their names.
fn below(directory: &Path) -> Vec<Sockets> {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let mut found: Vec<Sockets> = entries
        .map(|entry| Sockets::at(&entry.path()))
        .filter(|sockets| sockets.path(Purpose::Sessions).exists())
        .collect();
    found.sort_by(|one, other| one.directory().cmp(other.directory()));
    found
}

fn is_same(one: &Path, other: &Path) -> bool {
    let real = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
    one == other || real(one) == real(other)
}
