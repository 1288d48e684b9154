//! Files with tokens in them: who may read them, and what the store says of
//! them. No token leaves this file.

use std::collections::HashMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use super::stores;
use crate::bridge::{Bridge, Found, Purpose, Surroundings};
use crate::cli::doctor::facts::{CredentialsFile, CredentialsTrouble, Standing};
use crate::cli::doctor::judge::unit;
use crate::cli::heard::configs::{Loaded, toml_in};
use crate::config::is_closed;
use crate::credentials::{Credentials, CredentialsError};
use crate::model::session::session_name;
use crate::session::known::credentials_directory;
use crate::store::locate::{self, Location};
use crate::store::{Caller, StoreError};
use crate::text;

/// Those of the configurations; with `all`, also those in this user's own
/// directory.
pub(super) async fn credentials(
    configs: &[Loaded],
    locations: &[Location],
    all: bool,
    now: Timestamp,
) -> Vec<CredentialsFile> {
    let mut files: Vec<(PathBuf, bool, Option<&Location>)> = Vec::new();
    let mut not_loaded: HashMap<PathBuf, &Loaded> = HashMap::new();
    for config in configs {
        let Ok(settings) = &config.settings else {
            continue;
        };
        let store = stores::of(config, locations);
        for session in &settings.agents.sessions {
            files.push((session.credentials.clone(), true, store));
            if session.not_handed_over && is_kept_from_service(&session.credentials) {
                not_loaded.insert(session.credentials.clone(), config);
            }
        }
    }
    let own = credentials_directory().filter(|_| all);
    for path in own.iter().flat_map(|directory| toml_in(directory)) {
        if !files.iter().any(|(known, ..)| *known == path) {
            files.push((path, false, None));
        }
    }
    let mut opened: Vec<(PathBuf, Option<Bridge>)> = Vec::new();
    let mut found = Vec::new();
    for (path, configured, meant) in files {
        let mut of = meant.map(|meant| meant.path().to_owned());
        let outcome = match Credentials::read(&path) {
            Ok(_) if not_loaded.contains_key(&path) => Err(CredentialsTrouble::Wrong(
                format!(
                    "{}: the service started before this file was there",
                    path.display()
                ),
                unit(
                    "restart",
                    &not_loaded[&path].instance,
                    not_loaded[&path].home,
                ),
            )),
            Err(error) => Err(trouble(&path, &error)),
            Ok(credentials) => {
                let place = match (&credentials.store, meant) {
                    (_, Some(meant)) => Some(meant.path().to_owned()),
                    (Some(store), None) => Some(PathBuf::from(store)),
                    (None, None) => locations.last().map(|own| own.path().to_owned()),
                };
                of.clone_from(&place);
                let store = match place {
                    Some(place) => open(&mut opened, place).await,
                    None => None,
                };
                Ok(standings(&credentials, store.as_ref(), now).await)
            }
        };
        found.push(CredentialsFile {
            path,
            configured,
            other: None,
            store: of,
            outcome,
        });
    }
    for (_, store) in opened {
        if let Some(store) = store {
            store.close().await;
        }
    }
    found
}

/// Whether only root may look into its directory, so that the service has what
/// it was given at its start.
fn is_kept_from_service(file: &Path) -> bool {
    let directory = file
        .parent()
        .and_then(|directory| directory.metadata().ok());
    directory.is_some_and(|meta| meta.uid() == 0 && meta.mode() & 0o077 == 0)
}

/// Opens a store that would not be changed by it.
async fn open(opened: &mut Vec<(PathBuf, Option<Bridge>)>, path: PathBuf) -> Option<Bridge> {
    if let Some((_, store)) = opened.iter().find(|(known, _)| *known == path) {
        return store.clone();
    }
    let hints = locate::Hints {
        flag: path.to_str(),
        ..locate::Hints::default()
    };
    let store = match locate::locate(&hints) {
        Ok(location) => {
            let found = Found::named(location, &Surroundings::here()).await;
            Bridge::open(&found, Purpose::Look, |_| {}).await.ok()
        }
        Err(_) => None,
    };
    opened.push((path, store.clone()));
    store
}

async fn standings(
    credentials: &Credentials,
    store: Option<&Bridge>,
    now: Timestamp,
) -> Vec<(String, Standing)> {
    let callers = &credentials.callers;
    let label = credentials.label.as_ref().filter(|_| callers.len() == 1);
    let name = |caller: &Caller| session_name(label, &caller.session);
    let verdicts = match store {
        Some(store) => store.verify(callers).await.ok(),
        None => None,
    };
    let Some(verdicts) = verdicts else {
        let unasked = callers.iter().map(|c| (name(c), Standing::NotAsked));
        return unasked.collect();
    };
    let standing = |verdict| match verdict {
        Ok(_) => Standing::Good,
        Err(StoreError::Expired { expired_at, .. }) => {
            Standing::Expired(text::elapsed(expired_at, now))
        }
        Err(StoreError::Closed(_)) => Standing::Closed,
        Err(StoreError::WrongToken(_)) => Standing::WrongToken,
        Err(_) => Standing::Unknown,
    };
    let each = callers.iter().zip(verdicts);
    each.map(|(caller, verdict)| (name(caller), standing(verdict)))
        .collect()
}

fn trouble(path: &Path, error: &CredentialsError) -> CredentialsTrouble {
    if let CredentialsError::Missing(_) = error {
        return CredentialsTrouble::Missing;
    }
    if is_closed(path) {
        return CredentialsTrouble::NotOurs;
    }
    let all = error.to_string();
    let (what, remedy) = all.split_once('\n').unwrap_or((&all, ""));
    CredentialsTrouble::Wrong(what.to_owned(), remedy.trim().to_owned())
}
