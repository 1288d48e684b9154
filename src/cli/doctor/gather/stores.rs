//! Stores: those that the configurations mean, and the one that this user's
//! commands would use.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::fs::{Access, access};
use rustix::io::Errno;

use crate::bridge::Found;
use crate::cli::context::Context;
use crate::cli::doctor::facts::{Config, Permissions, Store};
use crate::cli::heard::configs::Loaded;
use crate::cli::heard::is_same;
use crate::cli::heard::own::Own;
use crate::cli::machine_store;
use crate::host;
use crate::store::StoreError;
use crate::store::locate::{self, Hints, Location, Origin};
use crate::store::sqlite::{self, Kind};

/// Each once, and first those in use: `in_use` of the configurations and this user's
/// own. The second number is how many. A daemon's is what its configuration says: its
/// environment is not ours.
pub(super) async fn locations(
    configs: &[Loaded],
    in_use: impl Fn(&Loaded) -> bool,
    context: &Context,
) -> anyhow::Result<(Vec<Location>, usize)> {
    let environment = std::env::var(locate::VARIABLE).ok();
    let mut found: Vec<Location> = Vec::new();
    let add = |found: &mut Vec<Location>, location: Location| {
        let known = found
            .iter()
            .any(|other| real(other.path()) == real(location.path()));
        if !known {
            found.push(location);
        }
    };
    let meant = |config: &Loaded| -> anyhow::Result<Option<Location>> {
        let Ok(settings) = &config.settings else {
            return Ok(None);
        };
        let url = settings.store.url.as_deref();
        Ok(Some(locate::locate(&Hints {
            configuration: url,
            environment: environment.as_deref().filter(|_| url.is_none()),
            ..Hints::default()
        })?))
    };
    let (used, spare): (Vec<_>, Vec<_>) = configs.iter().partition(|config| in_use(config));
    for config in used {
        if let Some(location) = meant(config)? {
            add(&mut found, location);
        }
    }
    let own = context.location().await?.clone();
    // Beside the daemons' stores, this user's own counts if there is one.
    if configs.is_empty() || own.origin != Origin::Default || own.path().exists() {
        add(&mut found, own);
    }
    let count = found.len();
    for config in spare {
        if let Some(location) = meant(config)? {
            add(&mut found, location);
        }
    }
    Ok((found, count))
}

/// The store that a configuration means, of those that were found.
pub(super) fn of<'a>(config: &Loaded, found: &'a [Location]) -> Option<&'a Location> {
    let url = config.settings.as_ref().ok()?.store.url.as_deref();
    let hints = Hints {
        configuration: url,
        ..Hints::default()
    };
    match url {
        None => found.first(),
        Some(_) => {
            let meant = locate::locate(&hints).ok()?;
            found.iter().find(|l| real(l.path()) == real(meant.path()))
        }
    }
}

fn real(path: &Path) -> std::path::PathBuf {
    std::fs::canonicalize(path)
        .or_else(|_| std::path::absolute(path))
        .unwrap_or_else(|_| path.to_owned())
}

/// What there is to see of a store; `way` is how this user's commands use it, if they
/// do.
pub(super) fn store(
    location: &Location,
    in_use: bool,
    own: &Own,
    configs: &[Config],
    way: Option<&Found>,
) -> Store {
    let path = real(location.path());
    let directory = path.parent().unwrap_or(Path::new("/"));
    let outcome = match sqlite::inspect(&path, true) {
        Err(StoreError::Missing(_)) => Err(Context::lost(&Location {
            name: path.as_path().into(),
            origin: location.origin,
        })),
        other => other,
    };
    let is_closed = access(&path, Access::READ_OK | Access::WRITE_OK) == Err(Errno::ACCESS);
    let socket = way.and_then(Found::socket).filter(|_| is_closed);
    let mut store = Store {
        asked: socket.map(Path::to_owned),
        not_yet: matches!(outcome, Err(StoreError::Missing(_)))
            && location.origin == Origin::Default,
        in_use,
        // Of several daemons of a store one may be this user's.
        other: own.is_other(&path)
            && !configs.iter().any(|config| {
                config.other.is_none()
                    && config
                        .store
                        .as_deref()
                        .is_some_and(|store| is_same(store, &path))
            }),
        must_name: own.must_name(&path),
        outcome: outcome.map_err(|error| {
            let all = error.to_string();
            let (what, remedy) = all.split_once('\n').unwrap_or((&all, ""));
            (what.to_owned(), remedy.trim().to_owned())
        }),
        closes: false,
        file: permissions(&path),
        directory: permissions(directory),
        room: sqlite::room(directory),
        file_system: sqlite::file_system(directory),
        confined: cfg!(target_os = "linux")
            .then(|| sqlite::confinement(&path).ok())
            .flatten()
            .map(|found| found.enforced),
        path,
    };
    let is_open = || {
        let open = |found: &Permissions| found.mode & 0o2070 == 0o2070;
        store.directory.as_ref().is_some_and(open) && machine_store::is_kept_open(Path::new("/etc"))
    };
    store.closes =
        store.path.starts_with(machine_store::DIRECTORY) && is_shared(&store) && !is_open();
    store
}

fn permissions(path: &Path) -> Option<Permissions> {
    let meta = std::fs::metadata(path).ok()?;
    Some(Permissions {
        mode: meta.mode() & 0o7777,
        user: host::user_name(meta.uid()),
        group: host::group_name(meta.gid()),
        writable: access(path, Access::WRITE_OK).is_ok(),
    })
}

/// Whether the Python bridge may be writing it, too.
pub(super) fn is_shared(store: &Store) -> bool {
    store
        .outcome
        .as_ref()
        .is_ok_and(|found| matches!(found.kind, Kind::Bridge | Kind::Own { adopted: true, .. }))
}
