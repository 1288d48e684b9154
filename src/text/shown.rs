//! Text from elsewhere is shown, never obeyed.
//!
//! Rows, roles, labels, titles, names of hosts and daemons, paths, arguments and causes
//! of errors hold what another user or an agent wrote. All that goes to a terminal, a
//! log or the service manager passes here: what would move a cursor, turn the direction
//! of writing, hide or end a line stands there as an escape.

use std::borrow::Cow;
use std::fmt::Write as _;

/// One line of text without what a reader would not see as it is: controls (line ends
/// among them), marks of direction, invisible and tag characters are written
/// `\\u{202e}`. Borrowed where it has none of these.
#[must_use]
pub fn shown(text: &str) -> Cow<'_, str> {
    escaped(text, |_| false)
}

/// Like [`shown`], with line ends and tabs kept: for a text of several lines.
#[must_use]
pub fn shown_lines(text: &str) -> Cow<'_, str> {
    match escaped(text, |c| c == '\n' || c == '\t') {
        Cow::Borrowed(text) => Cow::Borrowed(text),
        // A line end of another system is a line end.
        Cow::Owned(_) => escaped(&text.replace("\r\n", "\n"), |c| c == '\n' || c == '\t')
            .into_owned()
            .into(),
    }
}

/// One line of at most `limit` characters, for the service manager and for the
/// word that names another program's text.
#[must_use]
pub fn shown_within(text: &str, limit: usize) -> Cow<'_, str> {
    let text = shown(text);
    match text.char_indices().nth(limit) {
        Some((end, _)) => format!("{}...", &text[..end]).into(),
        None => text,
    }
}

/// Without the escape sequences that colour and move: what another program printed
/// for a terminal, as plain text.
#[must_use]
pub fn without_escapes(text: &str) -> Cow<'_, str> {
    if !text.contains('\u{1b}') {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\u{1b}') {
        out.push_str(&rest[..at]);
        rest = &rest[at + sequence(&rest.as_bytes()[at..])..];
    }
    out.push_str(rest);
    Cow::Owned(out)
}

/// The length of the escape sequence that `bytes` begins with: CSI, OSC and the
/// strings like it up to their end, or two bytes.
fn sequence(bytes: &[u8]) -> usize {
    match bytes.get(1) {
        Some(b'[') => {
            let body = bytes[2..]
                .iter()
                .take_while(|b| (0x20..0x40).contains(*b))
                .count();
            match bytes.get(2 + body) {
                Some(0x40..=0x7e) => body + 3,
                _ => body + 2,
            }
        }
        Some(b']' | b'P' | b'X' | b'^' | b'_') => {
            let end = bytes[2..]
                .iter()
                .position(|b| matches!(b, 0x07 | 0x1b | b'\n'));
            match end {
                Some(end) if bytes[2 + end] == 0x07 => end + 3,
                Some(end) if bytes[2 + end..].starts_with(b"\x1b\\") => end + 4,
                // Without its end it would swallow what follows.
                _ => 2,
            }
        }
        Some(0x20..=0x7e) => 2,
        _ => 1,
    }
}

/// Like [`shown_lines`] for a page that is finished: colours and styles stay, since
/// they are ours, and nothing else that acts.
#[must_use]
pub fn shown_page(text: &str) -> Cow<'_, str> {
    let harmless = |c: char| !is_odd(c) || matches!(c, '\n' | '\t');
    if text.chars().all(harmless) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    let mut rest = text;
    while let Some(at) = rest.find('\u{1b}') {
        out.push_str(&shown_lines(&rest[..at]));
        rest = &rest[at..];
        let length = sequence(rest.as_bytes());
        let style = rest[..length].starts_with("\u{1b}[") && rest[..length].ends_with('m');
        let end = if style { length } else { 1 };
        if style {
            out.push_str(&rest[..end]);
        } else {
            out.push_str(r"\u{1b}");
        }
        rest = &rest[end..];
    }
    out.push_str(&shown_lines(rest));
    Cow::Owned(out)
}

/// JSON that a terminal shows: what acts stands as JSON's own escape, so that the
/// value stays the same. (serde escapes only what JSON demands.)
#[must_use]
pub fn shown_json(json: &str) -> Cow<'_, str> {
    let odd = |c: char| is_odd(c) && c != '\n';
    if !json.contains(odd) {
        return Cow::Borrowed(json);
    }
    let mut out = String::with_capacity(json.len() + 16);
    for c in json.chars() {
        if odd(c) {
            for unit in c.encode_utf16(&mut [0; 2]) {
                let _ = write!(out, "\\u{unit:04x}");
            }
        } else {
            out.push(c);
        }
    }
    Cow::Owned(out)
}

fn escaped(text: &str, kept: fn(char) -> bool) -> Cow<'_, str> {
    let odd = |c: char| is_odd(c) && !kept(c);
    if !text.contains(odd) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            c if !odd(c) => out.push(c),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c => {
                // Writing into a string does not fail.
                let _ = write!(out, "\\u{{{:x}}}", u32::from(c));
            }
        }
    }
    Cow::Owned(out)
}

/// Whether a character acts instead of being seen.
fn is_odd(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{00ad}' | '\u{034f}' | '\u{061c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
            | '\u{180b}'..='\u{180f}' | '\u{200b}' | '\u{200c}' | '\u{200e}' | '\u{200f}'
            | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{feff}' | '\u{ffa0}'
            | '\u{fff9}'..='\u{fffb}' | '\u{fe00}'..='\u{fe0e}' | '\u{1d173}'..='\u{1d17a}'
            | '\u{e0000}'..='\u{e0fff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_become_escapes() {
        for (text, expected) in [
            ("\u{1b}[2Jx\u{9b}1m\u{7f}", r"\u{1b}[2Jx\u{9b}1m\u{7f}"),
            (
                "a\u{202e}b\u{2066}c\u{200f}",
                r"a\u{202e}b\u{2066}c\u{200f}",
            ),
            (
                "a\u{200b}\u{feff}\u{e0041}\u{2028}",
                r"a\u{200b}\u{feff}\u{e0041}\u{2028}",
            ),
            ("one\ntwo\r\tthree", r"one\ntwo\r\tthree"),
        ] {
            assert_eq!(shown(text), expected);
        }
        // Emoji keep their joiner and their variation.
        for text in ["plain", "größe 日本 👩\u{200d}💻 ❤\u{fe0f}"] {
            assert!(matches!(shown(text), Cow::Borrowed(same) if same == text));
        }
    }

    #[test]
    fn lines_stay_lines() {
        assert_eq!(shown_lines("a\tb\r\nc\u{7}"), "a\tb\nc\\u{7}");
        assert!(matches!(shown_lines("plain\n"), Cow::Borrowed(_)));
        assert_eq!(shown_within("a\nbcdef", 4), "a\\nb...");
    }

    #[test]
    fn a_page_keeps_its_styles_alone() {
        assert_eq!(
            shown_page("\u{1b}[1mbold\u{1b}[0m\n\u{1b}[2J\u{1b}]52;c;x\u{7}\u{202e}"),
            "\u{1b}[1mbold\u{1b}[0m\n\\u{1b}[2J\\u{1b}]52;c;x\\u{7}\\u{202e}"
        );
    }

    #[test]
    fn json_means_the_same() {
        let value = serde_json::json!(["\u{9b}x\u{202e}\u{e0041}\u{7f}", "é"]);
        let text = serde_json::to_string_pretty(&value).expect("JSON");
        let shown = shown_json(&text);
        assert!(!shown.contains(|c| is_odd(c) && c != '\n'), "{shown}");
        assert_eq!(
            serde_json::from_str::<serde_json::Value>(&shown).expect("JSON"),
            value
        );
    }

    #[test]
    fn escapes_go_whole() {
        for (text, expected) in [
            ("\u{1b}[1;31mred\u{1b}[0m", "red"),
            ("\u{1b}]52;c;aGk=\u{7}x\u{1b}]0;t\u{1b}\\y", "xy"),
            ("\u{1b}]never ended", "never ended"),
            ("a\u{1b}", "a"),
            ("\u{1b}é", "é"),
        ] {
            assert_eq!(without_escapes(text), expected, "{text:?}");
        }
    }
}
