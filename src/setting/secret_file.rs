//! Reads a file whose content is never shown: a URL with a key in it, a password.
//! Errors name the file alone.

use std::io;
use std::path::Path;

use crate::guarded;

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
    match guarded::read_named(path, LIMIT) {
        Err(error) if error.kind() == io::ErrorKind::FileTooLarge => {
            Err(io::Error::other("is too long for a URL or a key"))
        }
        read => read,
    }
}
