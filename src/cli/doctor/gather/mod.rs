//! Looks at this machine.

mod configs;
mod credentials;
mod daemons;
mod machine;
mod own;
mod sandbox;
mod stores;

use std::path::{Path, PathBuf};

use super::Expected;
use super::facts::{Config, Facts, Home};
use crate::cli::context::Context;
use crate::cli::heard::Heard;
use crate::clock;
use crate::config;
use crate::store::locate::Location;

/// Where a system service's configurations are.
const SYSTEM: &str = "/etc/mcp-bridge";

/// Everything that `judge` wants to know.
pub(super) async fn gather(named: &[PathBuf], context: &Context) -> anyhow::Result<Facts> {
    let looked_in = match named.is_empty() {
        true => directories(),
        false => Vec::new(),
    };
    let loaded = load(named, &looked_in);
    let own = own::Own::of(context.location()?, !named.is_empty());
    let mut daemons = daemons::daemons(&loaded, named.is_empty());
    for daemon in &mut daemons {
        daemon.other = own.other(
            daemon.home,
            own::store_of_daemon(daemon, &loaded).as_deref(),
        );
    }
    let mut configs: Vec<Config> = Vec::new();
    for one in &loaded {
        let store = own::store_of(one, &daemons);
        let other = own.other(one.home, store.as_deref());
        configs.push(configs::facts(one, &daemons, store, other).await);
    }
    let in_use = |one: &configs::Loaded| configs::is_in_use(one, &daemons);
    let (locations, used) = stores::locations(&loaded, in_use, context)?;
    let stores: Vec<_> = locations
        .iter()
        .enumerate()
        .map(|(index, location)| stores::store(location, index < used, &own, &configs))
        .collect();
    let now = clock::now();
    let mut credentials =
        credentials::credentials(&loaded, &locations, named.is_empty(), now).await;
    for file in &mut credentials {
        file.store = file.store.take().filter(|store| own.must_name(store));
        let of = loaded.iter().position(|one| names(one, &file.path));
        file.other = of.and_then(|index| configs[index].other.clone());
    }
    let ours = stores.iter().filter(|store| !store.other);
    let shared = ours.into_iter().any(stores::is_shared);
    Ok(Facts {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        now,
        looked_in,
        as_root: rustix::process::geteuid().is_root(),
        configs,
        inotify: machine::inotify(&daemons),
        daemons,
        stores,
        clock: machine::synchronized(),
        credentials,
        python: match shared {
            true => Some(machine::python().await),
            false => None,
        },
    })
}

fn load(named: &[PathBuf], looked_in: &[PathBuf]) -> Vec<configs::Loaded> {
    let paths: Vec<PathBuf> = match named.is_empty() {
        true => looked_in.iter().flat_map(|d| configs::toml_in(d)).collect(),
        false => named.to_vec(),
    };
    paths.iter().map(|p| configs::load(p, home(p))).collect()
}

/// Whether a configuration has a session of these credentials.
fn names(loaded: &configs::Loaded, credentials: &Path) -> bool {
    let settings = loaded.settings.as_ref();
    settings.is_ok_and(|settings| {
        let mut sessions = settings.agents.sessions.iter();
        sessions.any(|session| session.credentials == credentials)
    })
}

/// The daemons that run, died or should run, without a look at anything else.
pub(super) fn expected(named: &[PathBuf], own: Location) -> Vec<Expected> {
    let loaded = load(named, &directories());
    let daemons = daemons::daemons(&loaded, named.is_empty());
    let own = own::Own::of(own, !named.is_empty());
    let mut all: Vec<Expected> = daemons
        .iter()
        .map(|daemon| Expected {
            instance: daemon.instance.clone(),
            other: own
                .other(
                    daemon.home,
                    own::store_of_daemon(daemon, &loaded).as_deref(),
                )
                .is_some(),
            heard: Some(Heard {
                instance: daemon.instance.clone(),
                state: daemon.state.clone(),
                runs: daemon.runs,
            }),
        })
        .collect();
    for one in &loaded {
        let known = daemons
            .iter()
            .any(|daemon| (&daemon.instance, daemon.home) == (&one.instance, one.home));
        if !known && (!named.is_empty() || configs::is_enabled(one.home, &one.instance)) {
            all.push(Expected {
                instance: one.instance.clone(),
                other: own
                    .other(one.home, own::store_of(one, &daemons).as_deref())
                    .is_some(),
                heard: None,
            });
        }
    }
    all
}

/// Where configurations are that nobody names.
fn directories() -> Vec<PathBuf> {
    let mut found = vec![PathBuf::from(SYSTEM)];
    found.extend(user_directory());
    found
}

fn user_directory() -> Option<PathBuf> {
    Some(user_configuration()?.join("mcp-bridge"))
}

/// Where this user's own units are, and links to those that are enabled.
fn user_units() -> Option<PathBuf> {
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

/// The environment that a configuration is read with: this one's, and the
/// credentials that the service manager hands to a service of this name, if we
/// may see them.
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
