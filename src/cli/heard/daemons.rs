//! State files of daemons, wherever they may be.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::configs::{Home, Loaded, is_enabled};
use crate::host::SYSTEM_DAEMONS;
use crate::store::locate::user_daemons;
use crate::supervisor::{self, StateFile, is_elsewhere, lock_is_closed, read_state};

/// A daemon that left a state file.
#[derive(Debug)]
pub(in crate::cli) struct Daemon {
    pub(in crate::cli) instance: String,
    pub(in crate::cli) state_path: PathBuf,
    pub(in crate::cli) home: Home,
    pub(in crate::cli) state: StateFile,
    pub(in crate::cli) runs: bool,
    /// Its process, where that number means something here: in this PID namespace.
    pub(in crate::cli) process: Option<u32>,
    /// What it is of, if not of the store that this user's commands use: `store
    /// /srv/b.db`. Its troubles are not this user's.
    pub(in crate::cli) other: Option<String>,
}

/// Daemons of the configurations; with `all`, also those whose configuration
/// was not found.
pub(in crate::cli) fn daemons(configs: &[Loaded], all: bool) -> Vec<Daemon> {
    // By its file, so that one that is found in two ways is one.
    let mut files: BTreeMap<PathBuf, (String, Home)> = BTreeMap::new();
    let mut places = vec![(PathBuf::from(SYSTEM_DAEMONS), Home::System)];
    let (login, own) = user_daemons();
    places.extend(login.map(|place| (place, Home::User)));
    places.extend(own.map(|place| (place, Home::Elsewhere)));
    for (place, home) in &places {
        for path in states_in(place) {
            let instance = stem(&path);
            let known = configs.iter().any(|config| config.instance == instance);
            if all || known {
                files.insert(path, (instance, *home));
            }
        }
    }
    for config in configs {
        let own = config.settings.as_ref().ok();
        if let Some(path) = own.and_then(|own| own.service.state_file.clone()) {
            files.insert(path, (config.instance.clone(), config.home));
        }
    }
    files
        .into_iter()
        .filter_map(|(state_path, (instance, home))| {
            // A file that is none of ours is no daemon's.
            let state = read_state(&state_path)?;
            let home = home_of(configs, &instance, home);
            Some(Daemon {
                runs: runs(&state_path, &state),
                process: (!is_elsewhere(&state)).then_some(state.pid),
                other: None,
                instance,
                home,
                state_path,
                state,
            })
        })
        .collect()
}

/// Whether this is the configuration's daemon, and runs.
pub(in crate::cli) fn is_of(daemon: &Daemon, loaded: &Loaded) -> bool {
    daemon.runs && (&daemon.instance, daemon.home) == (&loaded.instance, loaded.home)
}

/// Whether a daemon has this configuration, or is to have: those that a package
/// brought belong to no daemon until they are enabled.
pub(in crate::cli) fn is_in_use(loaded: &Loaded, daemons: &[Daemon]) -> bool {
    loaded.home == Home::Elsewhere
        || is_enabled(loaded.home, &loaded.instance)
        || daemons.iter().any(|daemon| is_of(daemon, loaded))
}

/// How the daemon is started that keeps its state in a place of `home`. The machine's
/// and each user's may have the same name; one that a user started by hand keeps its
/// state where those of the user's service manager do.
fn home_of(configs: &[Loaded], instance: &str, home: Home) -> Home {
    let mut homes = configs
        .iter()
        .filter(|config| config.instance == instance)
        .map(|config| config.home);
    let is_own = |of: Home| (of == Home::System) == (home == Home::System);
    if homes.clone().any(|of| of == home) {
        return home;
    }
    homes.find(|&of| is_own(of)).unwrap_or(home)
}

/// `*.json` here and one level below.
fn states_in(directory: &Path) -> Vec<PathBuf> {
    let list = |directory: &Path| -> Vec<PathBuf> {
        let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
        entries.map(|entry| entry.path()).collect()
    };
    let mut found = Vec::new();
    for path in list(directory) {
        if path.is_dir() {
            found.extend(list(&path));
        } else {
            found.push(path);
        }
    }
    found.retain(|path| path.extension().is_some_and(|e| e == "json"));
    found
}

fn stem(path: &Path) -> String {
    let stem = path.file_stem().unwrap_or_default();
    stem.to_string_lossy().into_owned()
}

/// The lock says it; where another user's may not be read, the process does, if
/// its number means something here: else the file, which a clean stop removes.
fn runs(path: &Path, state: &StateFile) -> bool {
    if supervisor::runs(path, state) {
        return true;
    }
    if !lock_is_closed(path) {
        return false;
    }
    is_elsewhere(state)
        || std::fs::read_to_string(format!("/proc/{}/comm", state.pid))
            .is_ok_and(|name| name.starts_with("mcp-bridge"))
}
