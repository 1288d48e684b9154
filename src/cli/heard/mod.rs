//! The daemons of this machine: which are configured, which run, and their word, as
//! their state files have it. `status`, `health` and `doctor` go by it first.

pub(super) mod configs;
pub(super) mod daemons;
mod expected;
pub(super) mod own;

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::output::shown;
use super::table::{BAD, BOLD};
use crate::duties::{StoreCondition, StoreState};
use crate::store::locate::{Location, Origin};
use crate::supervisor::StateFile;
pub(super) use configs::Home;
pub(super) use daemons::Daemon;
pub(super) use expected::{Expected, expected};

/// A daemon of this machine, and what it says.
#[derive(Debug, Clone)]
pub(super) struct Heard {
    pub(super) instance: String,
    pub(super) state: StateFile,
    /// Whether it runs; one that was killed leaves its last word.
    pub(super) runs: bool,
}

impl Heard {
    /// Its word about the store, if it runs.
    pub(super) fn store(&self) -> Option<&StoreState> {
        self.state.store.as_ref().filter(|_| self.runs)
    }

    /// Whether it runs, and serves the store at `path`.
    pub(super) fn serves(&self, path: &Path) -> bool {
        self.store().is_some_and(|store| is_same(&store.path, path))
    }

    /// What it says is wrong with its store.
    pub(super) fn store_trouble(&self) -> Option<String> {
        let store = self.store()?;
        let why = || match store.condition {
            StoreCondition::NotWritable => "it cannot be written",
            _ => "it cannot be used",
        };
        (store.condition != StoreCondition::Well)
            .then(|| store.trouble.clone().unwrap_or_else(|| why().to_owned()))
    }

    /// `worker (pid 17)`.
    pub(super) fn name(&self) -> String {
        format!("{} (pid {})", shown(&self.instance), self.state.pid)
    }

    /// For scripts.
    pub(super) fn json(&self) -> Value {
        json!({
            "instance": self.instance,
            "pid": self.state.pid,
            "role": self.state.role,
            "runs": self.runs,
            "ready": self.state.ready,
            "status": self.state.status,
            "store": self.state.store,
            "sessions": self.state.sessions,
        })
    }
}

/// The daemons that run and serve the store at `path`.
pub(super) fn of(path: &Path) -> Vec<Heard> {
    let location = Location {
        name: path.into(),
        origin: Origin::Flag,
    };
    let all = expected(&[], &location).into_iter();
    all.filter_map(|one| one.heard)
        .filter(|daemon| daemon.serves(path))
        .collect()
}

/// Whether two paths name one file, or would if it were there.
pub(super) fn is_same(one: &Path, other: &Path) -> bool {
    real(one) == real(other)
}

fn real(path: &Path) -> PathBuf {
    let whole = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    if let Ok(found) = std::fs::canonicalize(&whole) {
        return found;
    }
    // It may be gone, and its directory still there.
    let directory = whole.parent().and_then(|place| place.canonicalize().ok());
    match (directory, whole.file_name()) {
        (Some(directory), Some(name)) => directory.join(name),
        _ => whole,
    }
}

/// What the daemons of a store say that is not well, a line each.
pub(super) fn lines(daemons: &[Heard]) -> String {
    let mut out = String::new();
    for daemon in daemons {
        let name = daemon.name();
        if let Some(why) = daemon.store_trouble() {
            let why = shown(&why).into_owned();
            out.push_str(&format!("{BOLD}{name}{BOLD:#} says: {BAD}{why}{BAD:#}\n"));
        }
        for session in &daemon.state.sessions {
            let troubles = [
                ("its life", &session.life),
                ("its wake", &session.wake),
                ("its directory", &session.beside),
            ];
            for (what, why) in troubles {
                if let Some(why) = why {
                    let (of, why) = (shown(&session.name), shown(why));
                    out.push_str(&format!(
                        "{BOLD}{name}{BOLD:#} reports about {of}: {what}: {why}\n"
                    ));
                }
            }
        }
    }
    out
}
