//! Texts that come from a file, or from standard input.

use std::io::{IsTerminal, Read};
use std::path::Path;

use anyhow::Context as _;

use super::error::CliError;
use super::output::note;
use crate::guarded;

/// More than the longest text has bytes, and little enough to be read before it
/// is refused.
const MOST_BYTES: u64 = 16 << 20;

/// The bytes of a file, all of them or none.
pub(super) fn read_file(path: &Path) -> anyhow::Result<Vec<u8>> {
    whole(read_all(path, MOST_BYTES + 1)?, || {
        path.display().to_string()
    })
}

/// The bytes of standard input; a person at a terminal sees what the command waits for.
pub(super) fn read_input(what: &str) -> anyhow::Result<Vec<u8>> {
    let bytes = read_all_input(what, MOST_BYTES + 1)?;
    whole(bytes, || "standard input".to_owned())
}

/// What was cut is not what was meant, whether or not the rest makes sense.
fn whole(bytes: Vec<u8>, source_name: impl FnOnce() -> String) -> anyhow::Result<Vec<u8>> {
    if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > MOST_BYTES {
        return Err(CliError::TooMuch(source_name(), MOST_BYTES >> 20).into());
    }
    Ok(bytes)
}

/// The bytes of a file, or of standard input for `-`: at most `most` of them.
pub(super) fn read_all(path: &Path, most: u64) -> anyhow::Result<Vec<u8>> {
    let read = || {
        let mut bytes = Vec::new();
        let file = match is_descriptor(path) {
            true => std::fs::File::open(path)?,
            false => guarded::open_named(path)?,
        };
        file.take(most).read_to_end(&mut bytes)?;
        Ok::<_, std::io::Error>(bytes)
    };
    read().map_err(|error| CliError::NoFile(path.to_owned(), error).into())
}

/// Whether a path means something that this process has open already, such as
/// the pipe of a shell's `<(command)`: only that is waited for.
fn is_descriptor(path: &Path) -> bool {
    let own = format!("/proc/{}/fd", std::process::id());
    path == Path::new("/dev/stdin")
        || path.parent().is_some_and(|directory| {
            let places = ["/dev/fd", "/proc/self/fd", &own];
            places.iter().any(|place| directory == Path::new(place))
        })
}

/// The same of standard input.
pub(super) fn read_all_input(what: &str, most: u64) -> anyhow::Result<Vec<u8>> {
    let input = std::io::stdin();
    if input.is_terminal() {
        note(&format!("type {what}, then Ctrl-D on an empty line"));
    }
    let mut bytes = Vec::new();
    input
        .lock()
        .take(most)
        .read_to_end(&mut bytes)
        .context("standard input")?;
    Ok(bytes)
}

/// The newline that ends the last line is the shell's.
pub(super) fn without_newline(mut bytes: Vec<u8>) -> Vec<u8> {
    if bytes.last() == Some(&b'\n') {
        bytes.pop();
    }
    bytes
}

/// Bytes from outside as a text; `what` names it in the error.
pub(super) fn utf8(what: &'static str, bytes: Vec<u8>) -> Result<String, CliError> {
    String::from_utf8(bytes).map_err(|error| CliError::NotUtf8 {
        what,
        at: error.utf8_error().valid_up_to(),
    })
}

/// A text that stands in an argument, or on standard input where that is `-`.
pub(super) fn word_or_input(what: &'static str, word: &str) -> anyhow::Result<String> {
    match word {
        "-" => {
            let bytes = without_newline(read_input(&format!("the {what}"))?);
            Ok(utf8(what, bytes)?)
        }
        text => Ok(text.to_owned()),
    }
}
