//! What is this user's own: the store that this user's commands use. What belongs to
//! another store is another operator's, and only worth a note.

use std::path::{Path, PathBuf};

use super::configs::{Home, Loaded};
use super::daemons::{Daemon, is_of};
use super::is_same;
use crate::store::locate::{self, Hints, Location, Origin};

/// The store that this user's commands use.
pub(in crate::cli) struct Own {
    path: PathBuf,
    /// Whether a flag, a variable or credentials named it.
    named: bool,
    /// Whether a command without an option finds it.
    plain: bool,
    /// Whether this user has a store, so that the machine's is another's.
    apart: bool,
    /// Whether the operator named the configurations: all of them count.
    asked: bool,
}

impl Own {
    pub(in crate::cli) fn of(location: &Location, asked: bool) -> Self {
        let named = !matches!(
            location.origin,
            Origin::Default | Origin::System | Origin::Daemon
        );
        Self {
            named,
            // The environment is that of the commands that follow.
            plain: !named || location.origin == Origin::Environment,
            apart: !rustix::process::geteuid().is_root() && (named || location.path().exists()),
            asked,
            path: location.path().to_owned(),
        }
    }

    /// What a daemon or configuration is of, if not of this user's store; `store`
    /// is the one that it means, as far as that is known.
    pub(in crate::cli) fn other(&self, home: Home, store: Option<&Path>) -> Option<String> {
        let same = store.is_some_and(|store| is_same(store, &self.path));
        if self.asked || same {
            return None;
        }
        match store {
            Some(store) if self.named || (self.apart && home == Home::System) => {
                Some(format!("store {}", store.display()))
            }
            None if self.apart && home == Home::System => Some("the system's service".into()),
            _ => None,
        }
    }

    /// Whether `store` is not the one that this user's commands use.
    pub(in crate::cli) fn is_other(&self, store: &Path) -> bool {
        !is_same(store, &self.path)
    }

    /// Whether a command that works on `store` must name it.
    pub(in crate::cli) fn must_name(&self, store: &Path) -> bool {
        !self.plain || self.is_other(store)
    }
}

/// The store of a configuration: its running daemon's word first.
pub(in crate::cli) fn store_of(loaded: &Loaded, daemons: &[Daemon]) -> Option<PathBuf> {
    let said = daemons
        .iter()
        .find(|daemon| is_of(daemon, loaded))
        .and_then(|daemon| daemon.state.store.as_ref());
    match said {
        Some(said) => Some(said.path.clone()),
        None => meant_by(loaded),
    }
}

/// The store of a daemon: its own word first.
pub(in crate::cli) fn store_of_daemon(daemon: &Daemon, configs: &[Loaded]) -> Option<PathBuf> {
    let said = daemon.state.store.as_ref().map(|store| store.path.clone());
    said.or_else(|| {
        let mut configs = configs.iter();
        let own = configs.find(|one| (&one.instance, one.home) == (&daemon.instance, daemon.home));
        meant_by(own?)
    })
}

/// What stands in a configuration. Without a name in it, a daemon of this user
/// finds the store as this user's commands do; that of another user is not known.
fn meant_by(loaded: &Loaded) -> Option<PathBuf> {
    let url = loaded.settings.as_ref().ok()?.store.url.as_deref();
    if url.is_none() && loaded.home == Home::System {
        return None;
    }
    let environment = std::env::var(locate::VARIABLE).ok();
    let hints = Hints {
        configuration: url,
        environment: environment.as_deref().filter(|_| url.is_none()),
        ..Hints::default()
    };
    locate::locate(&hints)
        .ok()
        .map(|found| found.path().to_owned())
}
