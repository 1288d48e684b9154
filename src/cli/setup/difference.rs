//! What an edit changes, line by line, as `diff -u` shows it.

use std::fmt::Write as _;

use similar::DiffTag;
use similar::algorithms::{Capture, Replace, myers};
use similar::udiff::UnifiedHunkHeader;

/// Lines that are shown around a change.
const AROUND: usize = 2;

/// The lines that differ. By one method and not by a choice of them, as the library's
/// own view does it: each that could be chosen is linked.
pub(super) fn difference(before: &str, after: &str) -> String {
    let [old, new] = [before, after].map(|text| text.split_inclusive('\n').collect::<Vec<_>>());
    let mut found = Replace::new(Capture::new());
    let Ok(()) = myers::diff(&mut found, &old[..], 0..old.len(), &new[..], 0..new.len());
    let mut shown = String::new();
    for hunk in found.into_inner().into_grouped_ops(AROUND) {
        let _ = writeln!(shown, "{}", UnifiedHunkHeader::new(&hunk));
        for change in &hunk {
            let is_kept = change.tag() == DiffTag::Equal;
            put(
                &mut shown,
                if is_kept { ' ' } else { '-' },
                &old[change.old_range()],
            );
            if !is_kept {
                put(&mut shown, '+', &new[change.new_range()]);
            }
        }
    }
    shown
}

fn put(shown: &mut String, sign: char, lines: &[&str]) {
    for line in lines {
        let _ = write!(shown, "{sign}{line}");
        if !line.ends_with('\n') {
            shown.push_str("\n\\ No newline at end of file\n");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn difference_is_what_the_library_shows() {
        let texts = [
            "",
            "a\n",
            "a",
            "a\nb\nc\nd\ne\nf\ng\nh\n",
            "a\nb\nx\nd\ne\nf\ng\nh\ni",
            "a\nb\nc\ny\nz\nd\ne\nf\nh\n",
            "{\n  \"a\": 1,\n  \"b\": {\n    \"c\": 2\n  }\n}\n",
            "{\n  \"a\": 1,\n  \"b\": {\n    \"c\": 2,\n    \"d\": 3\n  },\n  \"e\": 4\n}\n",
        ];
        for before in texts {
            for after in texts {
                let whole = similar::TextDiff::from_lines(before, after);
                let theirs = whole.unified_diff().context_radius(AROUND).to_string();
                assert_eq!(difference(before, after), theirs, "{before:?} {after:?}");
            }
        }
    }
}
