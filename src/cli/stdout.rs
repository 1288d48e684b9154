//! Whether anything can be read from standard output.

use rustix::fs::{OFlags, fcntl_getfl, fstat, stat};

use super::error::CliError;

/// Refuses to go on where standard output was closed (`>&-`): what is shown there
/// reaches no reader, and must not count as shown.
///
/// The runtime puts `/dev/null` in the place of a closed descriptor, open for reading
/// and writing; a shell's `>/dev/null` is open for writing alone, and is what its user
/// asked for.
///
/// # Errors
/// [`CliError::NoOutput`].
pub(super) fn ensure_open() -> Result<(), CliError> {
    let out = std::io::stdout();
    let (Ok(flags), Ok(found)) = (fcntl_getfl(&out), fstat(&out)) else {
        return Err(CliError::NoOutput);
    };
    let is_null = stat("/dev/null")
        .is_ok_and(|null| (null.st_dev, null.st_ino) == (found.st_dev, found.st_ino));
    if is_null && flags & OFlags::RWMODE == OFlags::RDWR {
        return Err(CliError::NoOutput);
    }
    Ok(())
}
