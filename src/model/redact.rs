//! Takes secrets out of text and metadata before anything is stored.
//!
//! Owns the one decision "is this a secret", for messages, hand-offs and
//! metadata alike. Knows no store, no clock and no session, and never reports
//! what it found, only which kinds.
//!
//! Two sorts of rule. A *format* is a secret by its shape alone (`ghp_...`). An
//! *assignment* is one by its name (`password: ...`), and there the value must also
//! look like a value, because agents talk about passwords far more often than they send
//! one. A value with digits or symbols is always taken: a mangled line costs a
//! question, a leaked key a rotation.

use std::borrow::Cow;

use serde_json::Value;

use self::assignment::{Name, is_literal_secret};
pub use self::kind::SecretKind;
use self::patterns::{Found, PATTERNS};
use self::rules::COMPILED;
use self::view::View;

mod assignment;
mod contexts;
mod formats;
mod kind;
mod patterns;
mod rules;
mod value;
mod view;

/// A text without its secrets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redacted<'a> {
    /// The text, borrowed where nothing had to go.
    pub text: Cow<'a, str>,
    /// What was taken out: each kind once, in the order of [`SecretKind::ALL`].
    pub kinds: Vec<SecretKind>,
}

/// Replaces every secret in `text` and leaves all else byte for byte.
///
/// Idempotent, and linear in the length of the text.
#[must_use]
pub fn redact(text: &str) -> Redacted<'_> {
    with_words(text, SecretKind::replacement)
}

/// Like [`redact`], for a text of at most `limit` characters that must not have
/// more afterwards: where the replacements are too long for that, asterisks stand
/// in their place.
#[must_use]
pub fn redact_within(text: &str, limit: usize) -> Redacted<'_> {
    let redacted = redact(text);
    // No text has more characters than bytes.
    if redacted.text.len() <= limit || redacted.text.chars().count() <= limit {
        return redacted;
    }
    let masked = with_words(text, |_| MASK);
    if masked.text.chars().count() <= limit {
        return masked;
    }
    with_words(text, |_| SHORTEST)
}

/// No longer than the shortest secret of two characters and more.
const MASK: &str = "**";

/// Where a secret of one character is masked: longer by nothing.
const SHORTEST: &str = "*";

fn with_words(text: &str, word: fn(SecretKind) -> &'static str) -> Redacted<'_> {
    let mut kinds = Vec::new();
    let mut text = Cow::Borrowed(text);
    // A replacement can complete another match (a value too short to be a token
    // grows), so a changed text is looked at again. The bound keeps time linear.
    for _ in 0..4 {
        match pass(&text, word, &mut kinds) {
            Some(changed) => text = Cow::Owned(changed),
            None => break,
        }
    }
    kinds.sort_unstable();
    kinds.dedup();
    Redacted { text, kinds }
}

/// Replaces every secret in the strings of `value`, and wholly each string whose
/// member name calls it one (`{"api_key": "..."}`); names stay as they are.
///
/// Returns each kind once, in the order of [`SecretKind::ALL`].
pub fn redact_json(value: &mut Value) -> Vec<SecretKind> {
    let mut kinds = Vec::new();
    redact_member(value, None, &mut kinds);
    kinds.sort_unstable();
    kinds.dedup();
    kinds
}

fn redact_member(value: &mut Value, name: Option<Name>, kinds: &mut Vec<SecretKind>) {
    match value {
        Value::String(text) => match name {
            Some(name) if is_literal_secret(text, name.claim_in_metadata()) => {
                name.kind.replacement().clone_into(text);
                kinds.push(name.kind);
            }
            _ => {
                let redacted = redact(text);
                if let Cow::Owned(clean) = redacted.text {
                    kinds.extend(redacted.kinds);
                    *text = clean;
                }
            }
        },
        Value::Array(items) => items
            .iter_mut()
            .for_each(|item| redact_member(item, name, kinds)),
        Value::Object(members) => {
            for (key, member) in members {
                let found = PATTERNS.member_name.captures(key);
                let name = found.and_then(|found| Name::of(&found));
                redact_member(member, name, kinds);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

fn pass(
    text: &str,
    word: fn(SecretKind) -> &'static str,
    kinds: &mut Vec<SecretKind>,
) -> Option<String> {
    let mut changed: Option<String> = None;
    let rules = COMPILED.rules_for(&View::new(text).text);
    for index in rules {
        let current = changed.as_deref().unwrap_or(text);
        let view = View::new(current);
        let found = COMPILED.rules[index].find(&view.text);
        if !found.is_empty() {
            changed = Some(replace(current, &view, found, word, kinds));
        }
    }
    changed
}

fn replace(
    current: &str,
    view: &View<'_>,
    found: Vec<Found>,
    word: fn(SecretKind) -> &'static str,
    kinds: &mut Vec<SecretKind>,
) -> String {
    let mut output = String::with_capacity(current.len());
    let mut copied = 0;
    for (range, kind) in found {
        let range = view.original(&range);
        let word = word(kind);
        output.push_str(&current[copied..range.start]);
        // A mask never makes a text longer.
        output.push_str(if word == MASK && range.len() < MASK.len() {
            "*"
        } else {
            word
        });
        copied = range.end;
        kinds.push(kind);
    }
    output.push_str(&current[copied..]);
    output
}
