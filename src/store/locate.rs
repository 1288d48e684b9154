//! Which store? One resolver for all programs: the flag, the environment, the
//! configuration, the credentials, the default of this user; the first that
//! says something decides.

use std::fmt;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use etcetera::BaseStrategy;

use super::sqlite::{Create, Durability, Opening, SqliteStore};
use super::{Result, SharedStore, StoreError};
use crate::guarded;
use crate::model::{DOOR, StoreName};

/// The variable that names a store.
pub const VARIABLE: &str = "MCP_BRIDGE_STORE";

/// Where a system service keeps its store.
const SYSTEM_STORE: &str = "/var/lib/mcp-bridge/bridge.db";

/// Which setting named the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// `--store`.
    Flag,
    /// `MCP_BRIDGE_STORE`.
    Environment,
    /// `store.url`, or the file that `store.url_file` names.
    Configuration,
    /// The credentials file.
    Credentials,
    /// Nothing; a daemon of this user's has it.
    Daemon,
    /// Nothing; this user has none, and may use the system's.
    System,
    /// Nothing.
    Default,
}

impl Origin {
    /// One word, for scripts.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Flag => "flag",
            Self::Environment => "environment",
            Self::Configuration => "configuration",
            Self::Credentials => "credentials",
            Self::Daemon => "daemon",
            Self::System => "system",
            Self::Default => "default",
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Flag => "from --store",
            Self::Environment => "from MCP_BRIDGE_STORE",
            Self::Configuration => "from store.url",
            Self::Credentials => "from the credentials",
            Self::Daemon => "of this user's daemon",
            Self::System => "the system's; this user has none",
            Self::Default => "the default of this user",
        })
    }
}

/// A store by its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Location {
    /// What it is called.
    pub name: StoreName,
    /// Why this one.
    pub origin: Origin,
}

impl Location {
    /// The SQLite file, or the socket of the daemon that has it.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.name.file()
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.name, self.origin)
    }
}

/// What may name a store, strongest first.
#[derive(Debug, Clone, Default)]
pub struct Hints<'a> {
    /// The command line.
    pub flag: Option<&'a str>,
    /// The environment.
    pub environment: Option<&'a str>,
    /// The daemon's configuration.
    pub configuration: Option<&'a str>,
    /// The credentials in use.
    pub credentials: Option<&'a str>,
    /// Whether a daemon may stand between this program and the store.
    pub doors: bool,
}

/// Finds the store that the hints mean, by its file.
///
/// # Errors
/// [`StoreError::Unsupported`] for a URL that is not SQLite's.
pub fn locate(hints: &Hints<'_>) -> Result<Location> {
    if let Some(location) = named(hints)? {
        return Ok(location);
    }
    let (own, system) = unnamed();
    Ok(system.filter(|_| !own.path().exists()).unwrap_or(own))
}

/// The store that the hints name.
///
/// # Errors
/// [`StoreError::Unsupported`] for a URL that is not SQLite's.
pub fn named(hints: &Hints<'_>) -> Result<Option<Location>> {
    let named = [
        (hints.flag, Origin::Flag),
        (hints.environment, Origin::Environment),
        (hints.configuration, Origin::Configuration),
        (hints.credentials, Origin::Credentials),
    ];
    for (text, origin) in named {
        if let Some(text) = text.filter(|text| !text.is_empty()) {
            let name = match text.strip_prefix(DOOR) {
                Some(socket) if hints.doors && !socket.is_empty() => {
                    StoreName::of_door(Path::new(socket))
                }
                _ => parse(text)?.into(),
            };
            return Ok(Some(Location { name, origin }));
        }
    }
    Ok(None)
}

/// What is meant where nothing names a store: this user's own, which may not be there,
/// and the system's, if it is there and this user may use it.
#[must_use]
pub fn unnamed() -> (Location, Option<Location>) {
    let (own, system) = (default_path(), Path::new(SYSTEM_STORE));
    let is_other = own != system;
    let found = |path: PathBuf, origin| Location {
        name: path.into(),
        origin,
    };
    let system = (is_other && system.exists() && may_use(system))
        .then(|| found(system.to_owned(), Origin::System));
    (found(own, Origin::Default), system)
}

/// Whether this user may read and write a file, and make others beside it.
fn may_use(path: &Path) -> bool {
    use rustix::fs::{Access, access};
    let all = Access::READ_OK | Access::WRITE_OK;
    let directory = path.parent().unwrap_or(Path::new("/"));
    access(path, all).is_ok() && access(directory, all | Access::EXEC_OK).is_ok()
}

/// The system's store, or where it would be, if this user may not use it.
#[must_use]
pub fn closed_system() -> Option<&'static Path> {
    use rustix::fs::{Access, access};
    let store = Path::new(SYSTEM_STORE);
    let directory = store.parent()?;
    let all = Access::READ_OK | Access::WRITE_OK | Access::EXEC_OK;
    // What is in a directory that may not be searched is not known.
    let closed = directory.is_dir() && access(directory, all).is_err();
    (closed || (store.exists() && !may_use(store))).then_some(store)
}

/// Whether a text names the store at `path`, in any spelling.
#[must_use]
pub fn is_at(text: &str, path: &Path) -> bool {
    let file = |path: &Path| {
        let meta = std::fs::metadata(path).ok()?;
        Some((meta.dev(), meta.ino()))
    };
    parse(text).is_ok_and(|named| {
        named == path || file(&named).is_some_and(|named| file(path) == Some(named))
    })
}

/// `sqlite:/path`, `sqlite:///path` or a plain path.
///
/// # Errors
/// [`StoreError::Unsupported`] for a URL that is not SQLite's, or a socket.
pub fn parse(text: &str) -> Result<PathBuf> {
    let path = match text.split_once(':') {
        Some(("sqlite", rest)) => rest.strip_prefix("//").unwrap_or(rest),
        Some(("unix", _)) => return Err(StoreError::Unsupported(text.to_owned())),
        // The rest of an unknown URL may hold a password.
        Some((scheme, rest)) if rest.starts_with("//") => {
            return Err(StoreError::Unsupported(format!("{scheme}://...")));
        }
        _ => text,
    };
    if path.is_empty() || path == ":memory:" {
        return Err(StoreError::Unsupported(text.to_owned()));
    }
    Ok(PathBuf::from(path))
}

fn default_path() -> PathBuf {
    let system = PathBuf::from(SYSTEM_STORE);
    if rustix::process::geteuid().is_root() {
        return system;
    }
    state_directory().map_or(system, |directory| directory.join("bridge.db"))
}

/// Where this user's own files of ours stand.
#[must_use]
pub fn state_directory() -> Option<PathBuf> {
    if rustix::process::geteuid().is_root() {
        return Path::new(SYSTEM_STORE).parent().map(Path::to_owned);
    }
    let base = etcetera::choose_base_strategy().ok()?;
    let state = base.state_dir().unwrap_or_else(|| base.data_dir());
    Some(state.join("mcp-bridge"))
}

/// Where this user's notes stand that are no part of a store: below the user's home for
/// root as well, whose store's directory belongs to the service's user. Nothing where
/// another user may write it.
#[must_use]
pub fn notes_directory() -> Option<PathBuf> {
    let base = etcetera::choose_base_strategy().ok()?;
    let state = base.state_dir().unwrap_or_else(|| base.data_dir());
    let directory = state.join("mcp-bridge");
    guarded::exposed(&directory).is_none().then_some(directory)
}

/// Where root's daemons do that are neither the service's nor of a login.
const ROOTS_DAEMONS: [&str; 2] = ["/run/mcp-bridge-root", "/var/run/mcp-bridge-root"];

/// The directories below which this user's daemons keep their state and their sockets:
/// the login's, where the user's service manager makes one for each daemon, and the
/// user's own. Not one that others may write.
#[must_use]
pub fn user_daemons() -> (Option<PathBuf>, Option<PathBuf>) {
    let login = std::env::var_os("XDG_RUNTIME_DIR").filter(|value| !value.is_empty());
    let login = login.map(|directory| PathBuf::from(directory).join("mcp-bridge"));
    let own = match rustix::process::geteuid().is_root() {
        true if Path::new("/run").is_dir() => Some(PathBuf::from(ROOTS_DAEMONS[0])),
        true => Some(PathBuf::from(ROOTS_DAEMONS[1])),
        false => state_directory().map(|directory| directory.join("run")),
    };
    let private = |directory: &PathBuf| guarded::exposed(directory).is_none();
    (login.filter(private), own.filter(private))
}

/// Opens the store at a location.
///
/// # Errors
/// As [`SqliteStore::open`].
pub async fn open(location: &Location, create: Create) -> Result<SharedStore> {
    open_telling(location, create, &Opening::default()).await
}

/// Opens the store at a location, and tells what it is at if that takes long.
///
/// # Errors
/// As [`SqliteStore::open`].
pub async fn open_telling(
    location: &Location,
    create: Create,
    opening: &Opening,
) -> Result<SharedStore> {
    let (path, durability) = (location.path(), Durability::Full);
    match SqliteStore::open_telling(path, create, durability, opening).await {
        Ok(store) => Ok(Arc::new(store)),
        Err(StoreError::Missing(path)) => Err(StoreError::missing(path)),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_that_says_something_decides() {
        let hints = Hints {
            flag: None,
            environment: Some(""),
            configuration: Some("sqlite:///srv/c.db"),
            credentials: Some("/srv/d.db"),
            doors: false,
        };
        let found = locate(&hints).expect("a store");
        assert_eq!(found.path(), Path::new("/srv/c.db"));
        assert_eq!(found.origin, Origin::Configuration);
    }

    #[test]
    fn paths_and_urls() {
        for (text, path) in [
            ("/a/b.db", "/a/b.db"),
            ("b.db", "b.db"),
            ("sqlite:/a/b.db", "/a/b.db"),
            ("sqlite:///a/b.db", "/a/b.db"),
            ("sqlite:b.db", "b.db"),
            ("/with:colon/b.db", "/with:colon/b.db"),
        ] {
            assert_eq!(parse(text).expect(text), Path::new(path), "{text}");
        }
    }

    #[test]
    fn a_refused_url_does_not_show_its_password() {
        let error = parse("postgres://u:hunter2@host/db").expect_err("no postgres");
        assert!(!error.to_string().contains("hunter2"), "{error}");
        assert!(parse("sqlite::memory:").is_err());
    }
}
