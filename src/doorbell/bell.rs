//! Ringing: one byte into a file that all listeners watch.

use std::ffi::OsStr;
use std::fs::{File, OpenOptions};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use tracing::debug;

/// The bell of one store. Rung after COMMIT returned, so whoever looks then
/// sees the commit.
#[derive(Debug)]
pub struct Bell {
    path: PathBuf,
    file: OnceLock<Option<File>>,
}

impl Bell {
    /// The bell at `path`; the file is made when it is first rung.
    #[must_use]
    pub fn new(path: PathBuf) -> Self {
        Self {
            path,
            file: OnceLock::new(),
        }
    }

    /// Rings. A bell that cannot be rung costs latency and no message: the
    /// listeners' other ways of noticing stand behind it.
    pub fn ring(&self) {
        let file = self.file.get_or_init(|| match open(&self.path) {
            Ok(file) => Some(file),
            Err(error) => {
                debug!(bell = %self.path.display(), %error, "the doorbell cannot be opened");
                None
            }
        });
        if let Some(file) = file
            && let Err(error) = file.write_at(b".", 0)
        {
            debug!(bell = %self.path.display(), %error, "the doorbell cannot be rung");
        }
    }
}

/// Opens it with the mode of the database beside it: whoever may write there
/// may ring.
pub(crate) fn open(path: &Path) -> std::io::Result<File> {
    let database = path
        .as_os_str()
        .as_bytes()
        .strip_suffix(b"-bell")
        .map(|path| Path::new(OsStr::from_bytes(path)));
    let mode = database
        .and_then(|database| std::fs::metadata(database).ok())
        .map_or(0o600, |meta| meta.permissions().mode() & 0o777);
    match OpenOptions::new().write(true).open(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let file = OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(false)
                .mode(mode)
                .open(path)?;
            // The umask may have taken the group's bits.
            file.set_permissions(std::fs::Permissions::from_mode(mode))?;
            Ok(file)
        }
        other => other,
    }
}
