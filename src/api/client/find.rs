//! Which daemon has a store.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::Client;
use crate::api::operations::Health;
use crate::api::{Actor, Purpose, Sockets};
use crate::model::StoreName;

/// How long a daemon may take to say which store it has, before the next is asked.
const SOON: Duration = Duration::from_millis(500);

/// Where the system's daemons have their sockets, a directory each.
const SYSTEM: &str = "/run/mcp-bridge";

/// The sockets of the first of this user's daemons, and then of the system's, that
/// says it has this file open. Only in directories that no other user may make sockets in.
pub async fn find(file: &Path) -> Option<Sockets> {
    let login = std::env::var_os("XDG_RUNTIME_DIR").filter(|value| !value.is_empty());
    let login = login.map(|directory| PathBuf::from(directory).join("mcp-bridge"));
    let directories = login.into_iter().chain([PathBuf::from(SYSTEM)]);
    for sockets in directories.flat_map(|directory| below(&directory)) {
        let client = Client::new(&sockets, StoreName::from(file));
        let client = client.with_patience(Duration::ZERO);
        let asked = client.call(&Health {}, &Actor::Anyone);
        if let Ok(Ok(answer)) = tokio::time::timeout(SOON, asked).await
            && is_same(answer.store.file(), file)
        {
            return Some(sockets);
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
