//! The credentials that a user has: the files in the default directory, and what a
//! name means there.

use std::path::{Path, PathBuf};

use super::{Result, SessionError};
use crate::credentials::{Credentials, CredentialsError, OF_THE_SERVICE};
use crate::model::token::Token;
use crate::model::{ConversationId, Label, SessionKey, Side};
use crate::store::locate;
use crate::text::near::did_you_mean;

/// Where new credentials are written unless another place is named. Root's stand below
/// root's home, as the store's directory belongs to the service's user.
#[must_use]
pub fn credentials_directory() -> Option<PathBuf> {
    let service = Path::new(OF_THE_SERVICE);
    if rustix::process::geteuid().is_root() && service.is_dir() {
        return Some(service.to_owned());
    }
    Some(locate::notes_directory()?.join("credentials"))
}

/// Credentials in the default directory that name the store at `path`.
#[must_use]
pub fn credentials_for(path: &Path) -> Option<PathBuf> {
    let files = toml_files(&credentials_directory()?).ok()?;
    files.into_iter().find(|file| {
        let store = Credentials::read(file).ok().and_then(|found| found.store);
        store.is_some_and(|store| locate::is_at(&store, path))
    })
}

/// Files in a directory that hold this session, and the token that they have for it.
#[must_use]
pub fn holding(directory: &Path, session: &SessionKey) -> Vec<(PathBuf, Token)> {
    let files = toml_files(directory).unwrap_or_default().into_iter();
    files
        .filter_map(|file| {
            let read = Credentials::read(&file).ok()?;
            let mut callers = read.callers.into_iter();
            let held = callers.find(|caller| caller.session == *session)?;
            Some((file, held.token))
        })
        .collect()
}

/// A file is itself, and a directory means all `*.toml` in it. What exists as neither
/// is looked up in the default directory: the name of a file there, or a session, as
/// `backend/b` means `backend.b.toml`.
///
/// # Errors
/// A directory without such files; a text that is no name; a session with a side that
/// there is not.
pub fn files(path: &Path) -> Result<Vec<PathBuf>> {
    if path.is_dir() {
        let found = toml_files(path).map_err(|error| {
            CredentialsError::Unreadable(path.to_owned(), format!("cannot be listed: {error}"))
        })?;
        return if found.is_empty() {
            let what = "there is no *.toml in this directory".to_owned();
            Err(CredentialsError::Unreadable(path.to_owned(), what).into())
        } else {
            Ok(found)
        };
    }
    if is_no_side(path) {
        return Err(SessionError::NoSuchSide(path.display().to_string()));
    }
    if !path.exists()
        && let Some(names) = file_names(path)
        && let Some(directory) = credentials_directory()
    {
        let known = names
            .iter()
            .map(|name| directory.join(name))
            .find(|candidate| candidate.exists());
        let name = path.to_string_lossy();
        return match known {
            Some(file) => Ok(vec![file]),
            None => Err(SessionError::NoSuchCredentials {
                hint: did_you_mean(&name, known_names().iter().map(String::as_str)),
                name: name.replace('/', "."),
                directory,
            }),
        };
    }
    Ok(vec![path.to_owned()])
}

/// Whether this is meant to be a session, and has no side of one: no directory stands at
/// what would be its label.
fn is_no_side(path: &Path) -> bool {
    let text = path.to_str().unwrap_or_default();
    text.split_once('/').is_some_and(|(label, side)| {
        let is_label = label.parse::<Label>().is_ok() || label.parse::<ConversationId>().is_ok();
        let is_word = !side.is_empty() && !side.contains(['/', '.']);
        is_label && is_word && side.parse::<Side>().is_err() && !Path::new(label).exists()
    })
}

/// The files of the default directory that a bare name may mean, or a session as
/// people write it. None for any other path.
fn file_names(path: &Path) -> Option<Vec<String>> {
    let text = path.to_str()?;
    let Some((label, side)) = text.split_once('/') else {
        let bare = path.file_name() == Some(path.as_os_str());
        return bare.then(|| vec![format!("{text}.toml"), text.to_owned()]);
    };
    let side: Side = side.parse().ok()?;
    if label.parse::<Label>().is_err() && label.parse::<ConversationId>().is_err() {
        return None;
    }
    let mut names = vec![format!("{label}.{side}.toml")];
    if side == Side::B {
        // As `team new` writes a worker's.
        names.push(format!("{label}.toml"));
    }
    Some(names)
}

/// What `join` gets for this session: its name if its credentials are where names are
/// looked for, else the file, which is not known.
#[must_use]
pub fn to_join(session: &str) -> &str {
    match files(Path::new(session)) {
        Ok(_) => session,
        Err(_) => "FILE",
    }
}

/// How people write the name of a credentials file: one of a single session as that
/// session, `backend/b` for `backend.b`.
#[must_use]
pub fn as_session(name: &str) -> String {
    match name.rsplit_once('.') {
        Some((label, side @ ("a" | "b"))) => format!("{label}/{side}"),
        _ => name.to_owned(),
    }
}

fn toml_files(directory: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        if path
            .extension()
            .is_some_and(|extension| extension == "toml")
        {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// The names that stand in the default directory.
#[must_use]
pub fn known_names() -> Vec<String> {
    credentials_directory()
        .and_then(|directory| toml_files(&directory).ok())
        .unwrap_or_default()
        .iter()
        .filter_map(|path| path.file_stem())
        .map(|name| name.to_string_lossy().into_owned())
        .collect()
}
