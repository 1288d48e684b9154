//! Standard error as a log: one line a record, also for fields with line ends.

use std::io::{self, Write};

use crate::text::shown::shown_page;

/// Where records go that no journal takes.
pub(crate) fn stderr() -> impl Write {
    Lines(io::stderr())
}

/// Gets each record whole, with its line end.
pub(super) struct Lines<W>(pub(super) W);

impl<W: Write> Write for Lines<W> {
    fn write(&mut self, record: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(record);
        let line = text.strip_suffix('\n').unwrap_or(&text);
        let line = shown_page(line).replace('\n', "\\n");
        let end = if text.ends_with('\n') { "\n" } else { "" };
        self.0.write_all(format!("{line}{end}").as_bytes())?;
        Ok(record.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_begins_no_line_of_its_own() {
        let mut out = Lines(Vec::new());
        out.write_all(b"\x1b[33m WARN\x1b[0m role=x\nERROR forged \x1b]52;c;x\x07\n")
            .expect("written");
        let text = String::from_utf8(out.0).expect("text");
        assert_eq!(
            text,
            "\u{1b}[33m WARN\u{1b}[0m role=x\\nERROR forged \\u{1b}]52;c;x\\u{7}\n"
        );
    }
}
