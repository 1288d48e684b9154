//! Looks at this machine.

mod configs;
mod credentials;
mod machine;
mod sandbox;
mod stores;

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::facts::{Config, Facts};
use crate::bridge::Found;
use crate::cli::context::Context;
use crate::cli::heard::configs::{Loaded, directories, load};
use crate::cli::heard::{daemons, is_same, own};
use crate::cli::status::is_leaderless;
use crate::clock;
use crate::model::task::TaskState;

/// How long the store's tasks may be looked for.
const GLANCE: Duration = Duration::from_secs(2);

/// Everything that `judge` needs.
pub(super) async fn gather(
    named: &[PathBuf],
    context: &Context,
    way: &Found,
) -> anyhow::Result<Facts> {
    let looked_in = match named.is_empty() {
        true => directories(),
        false => Vec::new(),
    };
    let loaded = load(named, &looked_in);
    let own = own::Own::of(context.location().await?, !named.is_empty());
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
    let in_use = |one: &Loaded| daemons::is_in_use(one, &daemons);
    let (locations, used) = stores::locations(&loaded, in_use, context).await?;
    let context_path = context.location().await?.path();
    let stores: Vec<_> = locations
        .iter()
        .enumerate()
        .map(|(index, location)| {
            let of = is_same(location.path(), context_path).then_some(way);
            stores::store(location, index < used, &own, &configs, of)
        })
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
        way: way.to_string(),
        as_root: rustix::process::geteuid().is_root(),
        configs,
        inotify: machine::inotify(&daemons),
        daemons,
        stores,
        clock: machine::synchronized(),
        credentials,
        waiting_tasks: 0,
        python: match shared {
            true => Some(machine::python().await),
            false => None,
        },
    })
}

/// Tasks that wait and that no orchestrator gives out; none where that is not known.
pub(super) async fn waiting_tasks(context: &Context) -> u64 {
    let look = async {
        let bridge = context.look().await.ok()?;
        let status = bridge.status().await.ok()?.status;
        bridge.close().await;
        let waiting = [TaskState::Queued, TaskState::RetryWait];
        let counts = waiting
            .iter()
            .filter_map(|state| status.tasks.get(state.as_str()));
        is_leaderless(&status).then(|| counts.sum())
    };
    let looked = tokio::time::timeout(GLANCE, look).await;
    looked.ok().flatten().unwrap_or_default()
}

/// Whether a configuration has a session of these credentials.
fn names(loaded: &Loaded, credentials: &Path) -> bool {
    let settings = loaded.settings.as_ref();
    settings.is_ok_and(|settings| {
        let mut sessions = settings.agents.sessions.iter();
        sessions.any(|session| session.credentials == credentials)
    })
}
