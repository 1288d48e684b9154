//! The configurations of daemons on this machine: where they are, and what starts
//! them.

use std::path::{Path, PathBuf};

use crate::config::{self, ConfigError, Settings};

/// Where a system service's configurations are.
pub(in crate::cli) const SYSTEM: &str = "/etc/mcp-bridge";

/// How a configuration's daemon is started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::cli) enum Home {
    /// `/etc/mcp-bridge`.
    System,
    /// `~/.config/mcp-bridge`.
    User,
    /// Anywhere.
    Elsewhere,
}

/// A configuration as it was read.
pub(in crate::cli) struct Loaded {
    pub(in crate::cli) path: PathBuf,
    pub(in crate::cli) instance: String,
    pub(in crate::cli) home: Home,
    pub(in crate::cli) settings: Result<Settings, ConfigError>,
}

/// `*.toml` in a directory, as far as there is one.
pub(in crate::cli) fn toml_in(directory: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let mut found: Vec<PathBuf> = entries
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|e| e == "toml") && path.is_file())
        .collect();
    found.sort();
    found
}

fn load_one(path: &Path, home: Home) -> Loaded {
    let instance = path.file_stem().unwrap_or_default().to_string_lossy();
    Loaded {
        path: path.to_owned(),
        home,
        settings: config::load(path, environment(&instance)),
        instance: instance.into_owned(),
    }
}

/// Those that are named, or else all in these directories.
pub(in crate::cli) fn load(named: &[PathBuf], looked_in: &[PathBuf]) -> Vec<Loaded> {
    let paths: Vec<PathBuf> = match named.is_empty() {
        true => looked_in.iter().flat_map(|d| toml_in(d)).collect(),
        false => named.to_vec(),
    };
    paths.iter().map(|p| load_one(p, home(p))).collect()
}

/// Whether some target wants the service: systemd keeps that as links.
pub(in crate::cli) fn is_enabled(home: Home, instance: &str) -> bool {
    let units = match home {
        Home::System => Some(PathBuf::from("/etc/systemd/system")),
        Home::User => user_units(),
        Home::Elsewhere => None,
    };
    let unit = format!("mcp-bridged@{instance}.service");
    let entries = units.and_then(|units| std::fs::read_dir(units).ok());
    entries.into_iter().flatten().flatten().any(|entry| {
        let path = entry.path();
        path.extension().is_some_and(|kind| kind == "wants")
            && path.join(&unit).symlink_metadata().is_ok()
    })
}

/// Where configurations are that no option names.
pub(in crate::cli) fn directories() -> Vec<PathBuf> {
    let mut found = vec![PathBuf::from(SYSTEM)];
    found.extend(user_directory());
    found
}

/// Where the daemons read theirs that this user starts: root the machine's, where its
/// package is.
pub(in crate::cli) fn own_directory() -> Option<PathBuf> {
    match rustix::process::geteuid().is_root() && Path::new(SYSTEM).is_dir() {
        true => Some(SYSTEM.into()),
        false => user_directory(),
    }
}

/// Where this user's daemons read theirs.
pub(in crate::cli) fn user_directory() -> Option<PathBuf> {
    Some(user_configuration()?.join("mcp-bridge"))
}

/// Where this user's own units are, and links to those that are enabled.
pub(in crate::cli) fn user_units() -> Option<PathBuf> {
    Some(user_configuration()?.join("systemd/user"))
}

fn user_configuration() -> Option<PathBuf> {
    use etcetera::BaseStrategy;
    Some(etcetera::choose_base_strategy().ok()?.config_dir())
}

/// How a daemon with this configuration is started.
fn home(path: &Path) -> Home {
    let directory = std::path::absolute(path).ok();
    let directory = directory.as_deref().and_then(Path::parent);
    if directory == Some(Path::new(SYSTEM)) {
        Home::System
    } else if directory.is_some() && directory.map(Path::to_owned) == user_directory() {
        Home::User
    } else {
        Home::Elsewhere
    }
}

/// The environment that a configuration is read with: this one's, and the credentials
/// that the service manager hands to a service of this name, if we may read them.
fn environment(instance: &str) -> Vec<(String, String)> {
    let mut environment = config::environment();
    let handed = format!("/run/credentials/mcp-bridged@{instance}.service");
    let known = environment
        .iter()
        .any(|(name, _)| name == "CREDENTIALS_DIRECTORY");
    if !known && std::fs::read_dir(&handed).is_ok() {
        environment.push(("CREDENTIALS_DIRECTORY".to_owned(), handed));
    }
    environment
}
