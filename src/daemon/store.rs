//! Which store the daemon serves: the environment's, or the configuration's;
//! without either, the one that all its credentials name.

use std::path::{Path, PathBuf};

use crate::config::{ConfigError, SettingPlace, Settings, Source};
use crate::credentials::Credentials;
use crate::model::DOOR;
use crate::store::locate::{self, Hints, Location};

/// Finds it.
///
/// # Errors
/// A configuration error if it is none for this program, or if no setting says which of
/// several it is.
pub(super) fn find(settings: &Settings, variable: Option<&str>) -> Result<Location, ConfigError> {
    let hints = Hints {
        environment: variable.filter(|text| !text.is_empty()),
        configuration: settings.store.url.as_deref(),
        ..Hints::default()
    };
    if hints.environment.is_some() || hints.configuration.is_some() {
        // What stands in the configuration was looked at when it was read.
        let source = Source::Variable(locate::VARIABLE.to_owned());
        return locate::locate(&hints).map_err(|error| invalid(source, "", error.to_string()));
    }
    let named = of_credentials(settings)?;
    locate::locate(&Hints {
        credentials: named.as_ref().map(|(_, store)| store.as_str()),
        ..hints
    })
    .map_err(|error| {
        let file = named.map_or_else(|| settings.source.clone(), |(file, _)| file);
        invalid(Source::File(file), "store", error.to_string())
    })
}

/// The store that all credentials name, and the file that names it. One that
/// cannot be read says nothing: it is waited for, and looked at when it comes.
fn of_credentials(settings: &Settings) -> Result<Option<(PathBuf, String)>, ConfigError> {
    let mut found: Option<(PathBuf, String)> = None;
    for session in &settings.agents.sessions {
        let read = Credentials::read(&session.credentials);
        let named = read.ok().and_then(|credentials| credentials.store);
        // A socket is how a daemon is asked, and no file that one could serve.
        let Some(store) = named.filter(|store| !store.starts_with(DOOR)) else {
            continue;
        };
        let file = session.credentials.clone();
        match &found {
            Some((first, known)) if !same(known, &store) => {
                let problem = format!(
                    "missing, and the credentials name two stores: {known} in {}, {store} in {}; set one of them, and use another daemon for the other",
                    first.display(),
                    file.display()
                );
                let source = Source::File(settings.source.clone());
                return Err(invalid(source, "store.url", problem));
            }
            Some(_) => {}
            None if is_relative(&store) => {
                let problem = "a relative path has another meaning for a service; \
                               write an absolute one, or name the store with store.url";
                return Err(invalid(Source::File(file), "store", problem.to_owned()));
            }
            None => found = Some((file, store)),
        }
    }
    Ok(found)
}

fn same(one: &str, other: &str) -> bool {
    locate::parse(one).is_ok_and(|path| locate::is_at(other, &path))
}

fn is_relative(store: &str) -> bool {
    locate::parse(store).is_ok_and(|path: PathBuf| Path::is_relative(&path))
}

fn invalid(source: Source, key: &str, problem: String) -> ConfigError {
    let at = SettingPlace {
        source,
        session: None,
        key: key.to_owned(),
    };
    ConfigError::Invalid { at, problem }
}
