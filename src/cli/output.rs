//! Putting things on the terminal, or into a pipe.

use std::borrow::Cow;
use std::io::{IsTerminal, Write};

use serde::Serialize;

use crate::model::Label;
pub use crate::model::session::conversation_name;
pub use crate::session::framing::NOTICE;
pub use crate::text::shown::shown;
use crate::text::shown::{shown_json, shown_lines, shown_page};
pub use crate::text::{left, relative};

/// How wide a line may be: the width of the terminal, or what a program that shows our
/// output (watch(1), for example) says in `COLUMNS`; nothing where no screen is.
#[must_use]
pub fn width() -> Option<usize> {
    let out = std::io::stdout();
    let of_terminal = rustix::termios::tcgetwinsize(&out).ok();
    let of_terminal = of_terminal.filter(|_| out.is_terminal());
    let said = || std::env::var("COLUMNS").ok()?.parse().ok();
    let width = of_terminal.map(|size| usize::from(size.ws_col));
    width.or_else(said).filter(|width| *width > 0)
}

/// Writes to standard output and waits until it is out. Styles are the only escapes
/// that pass, so no text from elsewhere moves the cursor. Colours are left out where
/// the output is no terminal.
///
/// # Errors
/// If it cannot be written.
pub fn print(text: &str) -> std::io::Result<()> {
    let mut out = anstream::stdout().lock();
    out.write_all(shown_page(text).as_bytes())?;
    out.flush()
}

/// Writes JSON: on one line, or indented for a person at a terminal.
///
/// # Errors
/// If it cannot be written.
pub fn print_json(value: &impl Serialize) -> anyhow::Result<()> {
    let mut text = if std::io::stdout().is_terminal() {
        shown_json(&serde_json::to_string_pretty(value)?).into_owned()
    } else {
        serde_json::to_string(value)?
    };
    text.push('\n');
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()?;
    Ok(())
}

/// Says something beside the result, on standard error.
pub fn note(text: &str) {
    // A remark that cannot be made is no reason to fail.
    let _ = writeln!(anstream::stderr().lock(), "{}", shown_page(text));
}

/// A text that came from elsewhere, of one line or several, without what could
/// move the cursor or pass for our own colours.
#[must_use]
pub fn printable(text: &str) -> Cow<'_, str> {
    shown_lines(text)
}

/// A key that sorts labels as people count, `team-2` before `team-10`, and
/// what has none to the end.
#[must_use]
pub fn by_label(label: Option<&Label>) -> (bool, String, Option<u64>) {
    let name = label.map_or("", Label::as_str);
    let prefix = name.trim_end_matches(|c: char| c.is_ascii_digit());
    let number = name[prefix.len()..].parse().ok();
    (label.is_none(), prefix.to_owned(), number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_cannot_drive_the_terminal() {
        assert_eq!(printable("a\tb\r\nc"), "a\tb\nc");
        assert_eq!(printable("\u{1b}[2Jx\u{9b}1m"), "\\u{1b}[2Jx\\u{9b}1m");
        assert!(matches!(printable("plain\n"), Cow::Borrowed(_)));
    }
}
