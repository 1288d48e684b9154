//! Reading and replacing a client's own file: a copy first, then all of it at once, with
//! the mode that it had, and through a link of the user's own to the file behind it.

use std::fs::Permissions;
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};

use crate::guarded;

/// Bytes of such a file at most: clients keep histories in some of them.
const MOST_BYTES: u64 = 64 << 20;

/// What a file holds now.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct There {
    /// Its text; nothing where it is not there.
    pub(super) text: Option<String>,
    mode: Option<u32>,
}

pub(super) fn read(path: &Path) -> anyhow::Result<There> {
    let failed = || {
        format!(
            "{}: it cannot be read, and was left as it is",
            path.display()
        )
    };
    let file = match guarded::open_named(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(There::default()),
        opened => opened.with_context(failed)?,
    };
    let bytes = guarded::bounded(&file, MOST_BYTES).with_context(failed)?;
    let text = String::from_utf8(bytes).with_context(failed)?;
    Ok(There {
        text: Some(text),
        mode: Some(file.metadata().with_context(failed)?.mode() & 0o7777),
    })
}

/// Replaces a file, or takes it away. Returns the copy of what was there, if one was
/// made now.
pub(super) fn write(
    path: &Path,
    there: &There,
    wanted: Option<&str>,
) -> anyhow::Result<Option<PathBuf>> {
    let failed = || {
        format!(
            "{}: it could not be replaced, and is as it was",
            path.display()
        )
    };
    // A link of the user's stays one.
    let target = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let directory = target.parent().unwrap_or(Path::new("/"));
    std::fs::create_dir_all(directory).with_context(failed)?;
    let backup = keep(path, there).with_context(failed)?;
    ensure!(
        read(path)? == *there,
        "{}: another program changed it this moment, and it was left as it is\n  try again",
        path.display()
    );
    match wanted {
        None => std::fs::remove_file(&target).with_context(failed)?,
        Some(text) => {
            let mut file = tempfile::NamedTempFile::new_in(directory).with_context(failed)?;
            file.write_all(text.as_bytes()).with_context(failed)?;
            let mode = Permissions::from_mode(there.mode.unwrap_or(0o600));
            file.as_file().set_permissions(mode).with_context(failed)?;
            file.as_file().sync_all().with_context(failed)?;
            file.persist(&target).with_context(failed)?;
        }
    }
    Ok(backup)
}

/// Keeps a copy of what was there before we came, once.
fn keep(path: &Path, there: &There) -> std::io::Result<Option<PathBuf>> {
    let Some(text) = &there.text else {
        return Ok(None);
    };
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".before-mcp-bridge");
    let copy = path.with_file_name(name);
    match guarded::make(&copy, there.mode.unwrap_or(0o600)) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(None),
        made => {
            let mut file = made?;
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            Ok(Some(copy))
        }
    }
}
