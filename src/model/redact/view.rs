//! A text as the rules read it: in plain characters, with the way back.
//!
//! A zero-width space inside a token, a full-width colon behind `password` or a
//! colour code in front of a key hides the secret from a pattern and from no reader
//! else. The rules look at a copy without them; what they find is cut out of the
//! text as it was written.

use std::borrow::Cow;
use std::ops::Range;

/// The copy, and where its bytes came from.
pub(super) struct View<'a> {
    pub(super) text: Cow<'a, str>,
    /// Where copy and original drift apart, ascending: a byte of the copy, the
    /// same byte of the original, and where the character before it ended there.
    steps: Vec<(usize, usize, usize)>,
}

impl<'a> View<'a> {
    pub(super) fn new(original: &'a str) -> Self {
        if !needed(original) {
            return Self {
                text: Cow::Borrowed(original),
                steps: Vec::new(),
            };
        }
        let mut text = String::with_capacity(original.len());
        let mut steps = Vec::new();
        let (mut drift, mut ended, mut skip) = (0, 0, 0);
        for (at, c) in original.char_indices() {
            if at < skip {
                continue;
            }
            if c == '\u{1b}' {
                skip = at + escape(&original.as_bytes()[at..]);
                continue;
            }
            let Some(plain) = plain(c) else { continue };
            // A character that became shorter moves all that follows.
            if at - text.len() != drift {
                drift = at - text.len();
                steps.push((text.len(), at, ended));
            }
            text.push(plain);
            ended = at + c.len_utf8();
        }
        steps.push((text.len(), original.len(), ended));
        Self {
            text: Cow::Owned(text),
            steps,
        }
    }

    /// The place in the original that shows as this place of the copy.
    pub(super) fn original(&self, range: &Range<usize>) -> Range<usize> {
        if self.steps.is_empty() {
            return range.clone();
        }
        self.start(range.start)..self.end(range.end)
    }

    fn start(&self, at: usize) -> usize {
        match self
            .steps
            .partition_point(|step| step.0 <= at)
            .checked_sub(1)
        {
            Some(index) => self.steps[index].1 + (at - self.steps[index].0),
            None => at,
        }
    }

    /// The end of the last character before `at`: what the copy leaves out
    /// behind it stays.
    fn end(&self, at: usize) -> usize {
        let index = self.steps.partition_point(|step| step.0 < at);
        match self.steps.get(index) {
            Some(step) if step.0 == at => step.2,
            _ => self.start(at),
        }
    }
}

fn needed(text: &str) -> bool {
    // Plain ASCII, the usual case, is decided by the bytes.
    text.bytes().any(|byte| byte == 0x1b)
        || (!text.is_ascii() && text.chars().any(|c| plain(c) != Some(c)))
}

/// What a character reads as; `None` for what no reader sees.
fn plain(c: char) -> Option<char> {
    match c {
        '\u{00ad}'
        | '\u{034f}'
        | '\u{061c}'
        | '\u{180e}'
        | '\u{200b}'..='\u{200f}'
        | '\u{202a}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}'
        | '\u{fe00}'..='\u{fe0f}'
        | '\u{feff}'
        | '\u{e0000}'..='\u{e01ef}' => None,
        // The full-width forms of ASCII.
        '\u{ff01}'..='\u{ff5e}' => char::from_u32(u32::from(c) - 0xfee0),
        '\u{fe55}' | '\u{fe13}' | '\u{2236}' | '\u{a789}' | '\u{02d0}' => Some(':'),
        '\u{00a0}' | '\u{2002}'..='\u{200a}' | '\u{202f}' | '\u{205f}' | '\u{3000}' => Some(' '),
        '\u{2028}' | '\u{2029}' | '\u{0085}' => Some('\n'),
        _ => Some(c),
    }
}

/// The length of the control sequence that `rest` begins with (at least the ESC).
fn escape(rest: &[u8]) -> usize {
    let Some(b'[') = rest.get(1) else { return 1 };
    // No sequence of ours or of a terminal's is longer; the bound keeps time linear.
    let body = rest[2..].iter().take(64);
    let length = body.take_while(|byte| (0x20..0x40).contains(*byte)).count();
    match rest.get(2 + length) {
        Some(0x40..=0x7e) => length + 3,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secret_is_cut_out_of_the_original() {
        for (text, shown, part) in [
            ("a\u{200b}b", "ab", "a\u{200b}b"),
            ("\u{200b}ab\u{200b}", "ab", "ab"),
            ("é：\u{feff}ab é", "ab", "ab"),
            ("\u{1b}[31mab\u{1b}[0m!", "ab", "ab"),
            ("x\u{3000}ａｂ\u{e0041}c", "abc", "ａｂ\u{e0041}c"),
            ("ab", "ab", "ab"),
            ("\u{1b}[ab", "b", "b"),
        ] {
            let view = View::new(text);
            let at = view.text.find(shown).expect("shown");
            let range = view.original(&(at..at + shown.len()));
            assert_eq!(&text[range], part, "{text:?}");
        }
    }
}
