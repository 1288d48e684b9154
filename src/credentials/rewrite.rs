//! A credentials file with another token in the place of a session's.
//!
//! The new file is written beside the old one, under its name and `.new`, before the
//! store hears of the token, and takes its place afterwards. So a process that is
//! killed in between leaves the token that counts in one of the two, and the next one
//! finds it there. The process that writes the new file holds a lock on it.

use std::ffi::OsString;
use std::fs::{File, Metadata};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::{MetadataExt as _, fchown};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use super::{Credentials, CredentialsError};
use crate::guarded;
use crate::model::SessionKey;
use crate::model::token::{Token, TokenStorage};

/// What stands behind the name of a file that is to take another's place.
const NEW: &str = ".new";

type Result<T> = std::result::Result<T, CredentialsError>;

/// A file that is to have another token, locked until this ends.
#[derive(Debug)]
pub struct Rewrite {
    path: PathBuf,
    new: PathBuf,
    /// The file in whose place the new one comes.
    old: Option<Old>,
    /// Written whole and locked.
    _locked: File,
}

/// A file as it stands.
#[derive(Debug)]
struct Old {
    text: String,
    meta: Metadata,
    credentials: Credentials,
}

/// What an earlier rewrite left beside a file: no process works on it any more.
#[derive(Debug)]
pub struct Left {
    path: PathBuf,
    new: PathBuf,
    token: Option<Token>,
    _locked: File,
}

impl Left {
    /// What is left beside the file at `path`, if anything.
    ///
    /// # Errors
    /// [`CredentialsError::Rewrite`]: another process is at work on it, or it is no
    /// file of this user's.
    pub fn beside(path: &Path, session: &SessionKey) -> Result<Option<Self>> {
        let failed = |error| CredentialsError::Rewrite(path.to_owned(), error);
        let new = beside(path);
        let locked = match guarded::open(&new) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            opened => opened.map_err(failed)?,
        };
        lock(&locked, &new).map_err(failed)?;
        // The store never got one that was not written to its end.
        let token = Credentials::read(&new).ok();
        let token = token.and_then(|read| read.token_of(session).cloned());
        Ok(Some(Self {
            path: path.to_owned(),
            new,
            token,
            _locked: locked,
        }))
    }

    /// The token in it.
    #[must_use]
    pub fn token(&self) -> Option<&Token> {
        self.token.as_ref()
    }

    /// Puts it in the place of the file, which the store has had for a while.
    ///
    /// # Errors
    /// [`CredentialsError::NotReplaced`].
    pub fn finish(self) -> Result<()> {
        put(&self.new, &self.path)
    }

    /// Takes it away: the store never had it.
    ///
    /// # Errors
    /// [`CredentialsError::Rewrite`].
    pub fn discard(self) -> Result<()> {
        std::fs::remove_file(&self.new).map_err(|error| CredentialsError::Rewrite(self.path, error))
    }
}

impl Rewrite {
    /// Writes what the file at `path` will be: with `token` for the session of
    /// `whole`, and everything else as it was. Where there is no such file it will
    /// be `whole` itself.
    ///
    /// # Errors
    /// [`CredentialsError::Rewrite`]; a file that is there and has no such session.
    pub fn prepare(path: &Path, whole: &Credentials, storage: TokenStorage) -> Result<Self> {
        let failed = |error| CredentialsError::Rewrite(path.to_owned(), error);
        let caller = whole.callers.first().ok_or(CredentialsError::None)?;
        let old = Old::read(path, &caller.session)?;
        let text = match &old {
            Some(old) => old.with(&caller.session, &caller.token, storage),
            None => whole.text(storage),
        };
        let text = text.map_err(failed)?;
        let new = beside(path);
        let mode = old.as_ref().map_or(0o600, |old| old.meta.mode() & 0o7777);
        let mut file = guarded::make(&new, mode).map_err(failed)?;
        // Where that fails, what stands there is another process's.
        lock(&file, &new).map_err(failed)?;
        let written = old
            .as_ref()
            .map_or(Ok(()), |old| give(&file, &old.meta))
            .and_then(|()| file.write_all(text.as_bytes()))
            .and_then(|()| file.sync_all())
            .and_then(|()| sync_directory(&new));
        let rewrite = Self {
            path: path.to_owned(),
            new,
            old,
            _locked: file,
        };
        match written {
            Ok(()) => Ok(rewrite),
            Err(error) => {
                rewrite.discard();
                Err(failed(error))
            }
        }
    }

    /// Puts it in its place, now that the store has the token.
    ///
    /// # Errors
    /// [`CredentialsError::NotReplaced`], with what is left to do.
    pub fn finish(self) -> Result<PathBuf> {
        if self.old.is_none() && self.path.symlink_metadata().is_ok() {
            let error = io::Error::from(ErrorKind::AlreadyExists);
            return Err(CredentialsError::NotReplaced(self.path, self.new, error));
        }
        put(&self.new, &self.path)?;
        Ok(self.path)
    }

    /// Takes it away: the store has not taken the token.
    pub fn discard(self) {
        // What stays is looked at by the next one, and found to be good for nothing.
        let _ = std::fs::remove_file(&self.new);
    }
}

impl Old {
    /// `None` if nothing stands at `path`.
    fn read(path: &Path, session: &SessionKey) -> Result<Option<Self>> {
        let failed = |error| CredentialsError::Rewrite(path.to_owned(), error);
        let file = match guarded::open(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            opened => opened.map_err(failed)?,
        };
        let meta = file.metadata().map_err(failed)?;
        // Its other name would keep the token that ends.
        if meta.nlink() > 1 {
            let what = "this file has a second name (a hard link)";
            return Err(failed(io::Error::new(ErrorKind::InvalidInput, what)));
        }
        let credentials = Credentials::read(path)?;
        if credentials.token_of(session).is_none() {
            let what = format!("this file exists, and does not contain session {session}");
            return Err(failed(io::Error::new(ErrorKind::AlreadyExists, what)));
        }
        let bytes = guarded::bounded(&file, guarded::MOST_BYTES).map_err(failed)?;
        let text = String::from_utf8(bytes)
            .map_err(|error| failed(io::Error::new(ErrorKind::InvalidData, error)))?;
        Ok(Some(Self {
            text,
            meta,
            credentials,
        }))
    }

    /// The text with another token for this session: as a person left it, where that
    /// can be had.
    fn with(
        &self,
        session: &SessionKey,
        token: &Token,
        storage: TokenStorage,
    ) -> io::Result<String> {
        let mut whole = self.credentials.clone();
        for caller in &mut whole.callers {
            if caller.session == *session {
                caller.token = token.clone();
            }
        }
        let presented = token.presented(storage);
        let changed = self.credentials.token_of(session).map(|old| {
            let text = replaced(&self.text, &format!("mcpb_{}", old.expose()), &presented);
            replaced(&text, old.expose(), &presented)
        });
        match changed {
            Some(text) if Credentials::parse(&text, Path::new("")).is_ok_and(|c| c.is(&whole)) => {
                Ok(text)
            }
            _ => whole.text(storage),
        }
    }
}

impl Credentials {
    /// The token of a session.
    fn token_of(&self, session: &SessionKey) -> Option<&Token> {
        let mut callers = self.callers.iter();
        let found = callers.find(|caller| caller.session == *session)?;
        Some(&found.token)
    }

    /// Whether both say the same, wherever they stand.
    fn is(&self, other: &Self) -> bool {
        let said = |credentials: &Self| {
            let callers = credentials.callers.iter();
            let callers = callers.map(|c| (c.session.clone(), c.token.expose().to_owned()));
            callers.collect::<Vec<_>>()
        };
        self.store == other.store && self.label == other.label && said(self) == said(other)
    }
}

/// `text` with every `old`, in any case, as `new`.
fn replaced(text: &str, old: &str, new: &str) -> String {
    // Hexadecimal digits are ASCII: places in both texts are the same.
    let lower = text.to_ascii_lowercase();
    let mut out = String::with_capacity(text.len());
    let mut end = 0;
    for (at, _) in lower.match_indices(old) {
        out.push_str(&text[end..at]);
        out.push_str(new);
        end = at + old.len();
    }
    out + &text[end..]
}

fn beside(path: &Path) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(NEW);
    name.into()
}

/// Locks a file, and makes sure that it is still the one at its path.
fn lock(file: &File, path: &Path) -> io::Result<()> {
    let at_work = || {
        io::Error::new(
            ErrorKind::WouldBlock,
            "another `conversation rekey` is using this file",
        )
    };
    match flock(file, FlockOperation::NonBlockingLockExclusive) {
        Err(Errno::WOULDBLOCK) => return Err(at_work()),
        locked => locked?,
    }
    let (held, there) = (file.metadata()?, path.symlink_metadata());
    match there {
        Ok(there) if (there.dev(), there.ino()) == (held.dev(), held.ino()) => Ok(()),
        _ => Err(at_work()),
    }
}

/// The new file is its owner's as the old one is: root rewrites an agent's, too.
fn give(file: &File, like: &Metadata) -> io::Result<()> {
    let own = file.metadata()?;
    if (own.uid(), own.gid()) == (like.uid(), like.gid()) {
        return Ok(());
    }
    fchown(file, Some(like.uid()), Some(like.gid()))
}

fn put(new: &Path, path: &Path) -> Result<()> {
    std::fs::rename(new, path)
        .and_then(|()| sync_directory(path))
        .map_err(|error| CredentialsError::NotReplaced(path.to_owned(), new.to_owned(), error))
}

fn sync_directory(of: &Path) -> io::Result<()> {
    let directory = of.parent().filter(|parent| !parent.as_os_str().is_empty());
    guarded::directory(directory.unwrap_or(Path::new(".")))?.sync_all()
}
