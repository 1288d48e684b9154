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
    let failed = || format!("{} cannot be read; it was not changed", path.display());
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
/// wanted, and was not there yet.
pub(super) fn write(
    path: &Path,
    there: &There,
    wanted: Option<&str>,
    with_copy: bool,
) -> anyhow::Result<Option<PathBuf>> {
    let backup = match with_copy {
        true => keep(path, there).with_context(|| not_replaced(path))?,
        false => None,
    };
    ensure!(
        read(path)? == *there,
        "{}: another program is changing it; it was not changed here\n  try again",
        path.display()
    );
    replace(path, there.mode, wanted)?;
    Ok(backup)
}

fn not_replaced(path: &Path) -> String {
    format!(
        "{} could not be replaced; it was not changed",
        path.display()
    )
}

fn replace(path: &Path, mode: Option<u32>, wanted: Option<&str>) -> anyhow::Result<()> {
    let failed = || not_replaced(path);
    // A link of the user's stays one.
    let target = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let directory = target.parent().unwrap_or(Path::new("/"));
    let Some(text) = wanted else {
        std::fs::remove_file(&target).with_context(failed)?;
        // A client's own directory that has nothing in it was there for the file.
        let name = directory.file_name().unwrap_or_default();
        if name.as_encoded_bytes().starts_with(b".") {
            let _ = std::fs::remove_dir(directory);
        }
        return Ok(());
    };
    std::fs::create_dir_all(directory).with_context(failed)?;
    let mut file = tempfile::NamedTempFile::new_in(directory).with_context(failed)?;
    file.write_all(text.as_bytes()).with_context(failed)?;
    let mode = Permissions::from_mode(mode.unwrap_or(0o600));
    file.as_file().set_permissions(mode).with_context(failed)?;
    file.as_file().sync_all().with_context(failed)?;
    file.persist(&target).with_context(failed)?;
    Ok(())
}

/// Puts back what was there, if the file is still as we wrote it.
pub(super) fn put_back(path: &Path, there: &There, written: Option<&str>) -> anyhow::Result<()> {
    let now = read(path)?;
    ensure!(
        now.text.as_deref() == written,
        "{}: another program changed it",
        path.display()
    );
    replace(path, there.mode, there.text.as_deref())
}

/// The copy of what was there before we came, and its text, if it can be read.
pub(super) fn copy_of(path: &Path) -> Option<(PathBuf, String)> {
    let copy = copy_name(path);
    let text = read(&copy).ok()?.text?;
    Some((copy, text))
}

fn copy_name(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".before-mcp-bridge");
    path.with_file_name(name)
}

/// Keeps a copy of what was there before we came, once.
fn keep(path: &Path, there: &There) -> std::io::Result<Option<PathBuf>> {
    let Some(text) = &there.text else {
        return Ok(None);
    };
    let copy = copy_name(path);
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
