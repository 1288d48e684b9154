//! Reads a file whose content is shown to nobody: a URL with a key in it, a
//! password. What is wrong is said by the file's name alone.

use std::fs::OpenOptions;
use std::io::{self, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

/// Bytes of a file with a URL or a key.
const LIMIT: u64 = 64 * 1024;

/// The file's content.
///
/// # Errors
/// In words, the file's name first.
pub(crate) fn bytes(path: &Path) -> Result<Vec<u8>, String> {
    read(path).map_err(|error| named(path, &error.to_string()))
}

/// The same as text.
///
/// # Errors
/// In words, the file's name first.
pub(crate) fn text(path: &Path) -> Result<String, String> {
    String::from_utf8(bytes(path)?).map_err(|_| named(path, "is not UTF-8 text"))
}

/// `why` about the file.
pub(crate) fn named(path: &Path, why: &str) -> String {
    format!("{}: {why}", path.display())
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    OpenOptions::new()
        .read(true)
        // A pipe that nobody writes is empty, not a reason to wait.
        .custom_flags(i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).unwrap_or(0))
        .open(path)?
        .take(LIMIT + 1)
        .read_to_end(&mut bytes)?;
    if bytes.len() as u64 > LIMIT {
        return Err(io::Error::other("is too long for a URL or a key"));
    }
    Ok(bytes)
}
