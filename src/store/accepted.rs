//! Which unknown definitions an operator accepted, noted where one who may write
//! the store's directory cannot write: in root's configuration directory, or in
//! the user's own.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use etcetera::BaseStrategy as _;
use rustix::fs::OFlags;

/// Root's file, which counts for every user.
const OF_ROOT: &str = "/etc/mcp-bridge/accepted-schema";
/// As much of the file is read; a line takes about a hundred bytes.
const READ: u64 = 1 << 20;

/// What root or this user accepted for one store. It is read before a thread is
/// confined to the store's directory, from which it reaches no configuration.
#[derive(Debug, Default)]
pub(crate) struct Accepted(Vec<(String, PathBuf)>);

impl Accepted {
    /// What was accepted for the store at this path.
    pub(crate) fn of(store: &Path) -> Self {
        let mut all = Vec::new();
        let end = line(store, "");
        for file in [Some(PathBuf::from(OF_ROOT)), own()].into_iter().flatten() {
            let text = read(&file).unwrap_or_default();
            let hashes = text.lines().filter_map(|line| line.strip_suffix(&end));
            all.extend(hashes.map(|hash| (hash.to_owned(), file.clone())));
        }
        Self(all)
    }

    /// The file in which definitions of this hash were accepted.
    pub(crate) fn noted_in(&self, hash: &str) -> Option<&Path> {
        let mut all = self.0.iter();
        let noted = all.find(|(accepted, _)| accepted == hash);
        noted.map(|(_, file)| file.as_path())
    }
}

/// What an open store accepts. Its confined threads cannot read the file, so one
/// that is not confined reads it for them.
#[derive(Debug)]
pub(crate) struct Acceptance {
    configured: Option<String>,
    noted: Mutex<Accepted>,
    /// Whether something was refused since the file was read.
    refused: AtomicBool,
}

impl Acceptance {
    /// What was accepted so far; `configured` is the hash in the configuration.
    pub(crate) fn new(configured: Option<String>, noted: Accepted) -> Self {
        Self {
            configured,
            noted: Mutex::new(noted),
            refused: AtomicBool::new(false),
        }
    }

    /// Whether definitions of this hash are accepted.
    pub(crate) fn accepts(&self, hash: &str) -> bool {
        let noted = self.noted.lock().unwrap_or_else(PoisonError::into_inner);
        let accepts = self.configured.as_deref() == Some(hash) || noted.noted_in(hash).is_some();
        if !accepts {
            self.refused.store(true, Ordering::Relaxed);
        }
        accepts
    }

    /// Reads what an operator accepted meanwhile, if something was refused.
    pub(crate) fn renew(&self, store: &Path) {
        if self.refused.swap(false, Ordering::Relaxed) {
            let now = Accepted::of(store);
            *self.noted.lock().unwrap_or_else(PoisonError::into_inner) = now;
        }
    }
}

/// Notes them; returns the file.
///
/// # Errors
/// If the file cannot be written.
pub fn accept(store: &Path, hash: &str) -> std::io::Result<PathBuf> {
    let file = own().unwrap_or_else(|| PathBuf::from(OF_ROOT));
    let directory = file.parent().unwrap_or(Path::new("/"));
    std::fs::create_dir_all(directory)?;
    let mut text = read(&file).unwrap_or_default();
    let line = line(store, hash);
    if text.lines().any(|known| known == line) {
        return Ok(file);
    }
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    text.push_str(&line);
    text.push('\n');
    let fresh = file.with_extension(format!("new-{}", std::process::id()));
    let mode = if file == Path::new(OF_ROOT) {
        0o644
    } else {
        0o600
    };
    let written = File::options()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(&fresh)
        .and_then(|mut out| {
            out.write_all(text.as_bytes())?;
            out.sync_all()
        })
        .and_then(|()| std::fs::rename(&fresh, &file));
    if written.is_err() {
        let _ = std::fs::remove_file(&fresh);
    }
    written.map(|()| file)
}

/// One line for each store and hash.
fn line(store: &Path, hash: &str) -> String {
    let real = std::fs::canonicalize(store).unwrap_or_else(|_| store.to_owned());
    format!("{hash} {}", real.to_string_lossy().escape_debug())
}

/// The path of this user's own file; root's file counts for every user.
fn own() -> Option<PathBuf> {
    let named = std::env::var_os("XDG_CONFIG_HOME").is_some_and(|home| !home.is_empty());
    if rustix::process::geteuid().is_root() && !named {
        return Some(PathBuf::from(OF_ROOT));
    }
    let base = etcetera::choose_base_strategy().ok()?;
    Some(base.config_dir().join("mcp-bridge/accepted-schema"))
}

/// The text of a file that only root or this user can have written.
fn read(file: &Path) -> Option<String> {
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits();
    let open = File::options()
        .read(true)
        .custom_flags(i32::try_from(flags).ok()?)
        .open(file)
        .ok()?;
    let meta = open.metadata().ok()?;
    let owner = meta.uid() == 0 || meta.uid() == rustix::process::geteuid().as_raw();
    if !meta.is_file() || !owner || meta.mode() & 0o022 != 0 {
        return None;
    }
    let mut text = String::new();
    open.take(READ).read_to_string(&mut text).ok()?;
    Some(text)
}
