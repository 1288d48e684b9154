//! Secrets known by their name: finding the value, and judging whether it is one.

use std::ops::Range;

use regex::{Captures, Regex};

use super::SecretKind;
use super::patterns::{Found, PATTERNS};
use super::value::{
    is_common, is_harmless, is_lone_word, is_replacement, is_sentence, looks_random,
};

/// `<password>...</password>`.
pub(super) fn elements(pattern: &Regex, text: &str) -> Vec<Found> {
    named_values(pattern, text, |_| true)
}

/// Name and value side by side, as arguments or as attributes. Captions of forms
/// look the same.
pub(super) fn pairs(pattern: &Regex, text: &str) -> Vec<Found> {
    named_values(pattern, text, looks_random)
}

fn named_values(pattern: &Regex, text: &str, also: fn(&str) -> bool) -> Vec<Found> {
    let elements = pattern
        .captures_iter(text)
        .filter_map(|found| Some((Name::of(&found)?, found.name("value")?)));
    elements
        .filter(|(name, value)| {
            is_literal_secret(value.as_str(), name.claim) && also(value.as_str())
        })
        .map(|(name, value)| (value.range(), name.kind))
        .collect()
}

pub(super) fn assignments(pattern: &Regex, text: &str) -> Vec<Found> {
    let mut found = Vec::new();
    let mut from = 0;
    while let Some(captures) = pattern.captures_at(text, from) {
        let (Some(whole), Some(name)) = (captures.get(0), Name::of(&captures)) else {
            break;
        };
        from = whole.end();
        let (before, rest) = (&text[..whole.start()], &text[from..]);
        let path = whole.as_str().ends_with(':') && rest.starts_with(':');
        // An ARN (`arn:aws:secretsmanager:...:secret:name`) says where a secret is.
        let near = &before[before.floor_char_boundary(before.len().saturating_sub(96))..];
        let arn = near.ends_with(':') && near.contains("secretsmanager:");
        if path || arn || named_otherwise(before, name) {
            continue;
        }
        let value = quoted(text, from, name.claim).unwrap_or_else(|| {
            let code = captures.name("compare").is_some();
            let set = whole.as_str().strip_suffix('=');
            let set = set.is_some_and(|name| name.ends_with(|c: char| c.is_ascii_alphanumeric()));
            let colon = whole.as_str().trim_end().ends_with([':', '*'])
                || (whole.as_str().ends_with("= ") && begins_line(before));
            let length = if code {
                None
            } else {
                unquoted(rest, name, set).or_else(|| lone_word(rest, name, colon))
            };
            length.map(|length| from..from + length)
        });
        if let Some(range) = value {
            from = range.end;
            found.push((range, name.kind));
        }
    }
    found
}

/// `password = dragon` in a file of settings; in code, names of variables stand
/// there, and something before it.
fn begins_line(before: &str) -> bool {
    let line = before.rsplit(['\n', '"', '`']).next().unwrap_or_default();
    line.bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || b"_.-#".contains(&byte))
}

/// How much a name says about the value behind it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Claim {
    /// Any literal is a secret.
    Strong,
    /// Parsers have tokens too: only what looks random is one.
    Token,
    /// The same, and outside of quotes only letters and digits mixed.
    Pass,
}

/// `existingSecret`, `stop_token`: the word before the name makes it the name of
/// another thing.
fn named_otherwise(before: &str, name: Name) -> bool {
    let near = &before.as_bytes()[before.len().saturating_sub(24)..];
    let prefix = near
        .iter()
        .rposition(|byte| !byte.is_ascii_alphanumeric() && !b"_-".contains(byte))
        .map_or(near, |index| &near[index + 1..]);
    let prefix = prefix.to_ascii_lowercase();
    let prefix = prefix.trim_ascii_end();
    let ends = |words: &[&str]| {
        let prefix = match prefix.last() {
            Some(b'_' | b'-') => &prefix[..prefix.len() - 1],
            _ => prefix,
        };
        words.iter().any(|word| prefix.ends_with(word.as_bytes()))
    };
    match name.claim {
        Claim::Strong => ends(&["existing"]),
        Claim::Token | Claim::Pass => ends(&[
            "existing",
            "eos",
            "bos",
            "pad",
            "unk",
            "sep",
            "cls",
            "mask",
            "stop",
            "start",
            "end",
            "special",
            "max",
            "min",
            "num",
            "next",
            "prev",
            "page",
            "continuation",
            "public",
            "primary",
            "foreign",
            "cache",
            "sort",
            "partition",
            "index",
            "cancellation",
            "image",
        ]),
    }
}

/// A name that announces a secret.
#[derive(Clone, Copy)]
pub(super) struct Name {
    pub(super) kind: SecretKind,
    claim: Claim,
    shouted: bool,
}

impl Name {
    pub(super) fn of(captures: &Captures<'_>) -> Option<Self> {
        let groups = [
            ("password", SecretKind::Password, Claim::Strong),
            ("api_key", SecretKind::ApiKey, Claim::Strong),
            ("secret", SecretKind::Secret, Claim::Strong),
            ("token", SecretKind::Secret, Claim::Token),
            ("key", SecretKind::Secret, Claim::Token),
            ("pass", SecretKind::Password, Claim::Pass),
        ];
        groups.into_iter().find_map(|(group, kind, claim)| {
            let word = captures.name(group)?;
            let shouted = !word.as_str().contains(|c: char| c.is_ascii_lowercase());
            Some(Self {
                kind,
                claim,
                shouted,
            })
        })
    }

    /// Metadata holds no parser: a token there is a credential.
    pub(super) fn claim_in_metadata(self) -> Claim {
        if self.claim == Claim::Token {
            Claim::Strong
        } else {
            self.claim
        }
    }
}

/// `None` if no string literal begins at `at`, `Some(None)` if it is no secret.
fn quoted(text: &str, at: usize, claim: Claim) -> Option<Option<Range<usize>>> {
    let open = PATTERNS.quote.captures(&text[at..])?;
    let (whole, slashes, quotes) = (open.get(0)?, open.get(1)?.len(), open.get(2)?.as_str());
    let quote = *quotes.as_bytes().last()?;
    let start = at + whole.end();
    let body = &text[start..];
    let empty = quotes.len() == 2 && !body.starts_with(|c: char| c.is_alphanumeric());
    if empty || closes_outer(&text[..at], quote, body) {
        return Some(None);
    }
    let end = match closing(body, quote, slashes) {
        Some(end) => end,
        // Cut off: what is left of the line. An apostrophe rather begins a word.
        None if quote == b'"' => body.lines().next().unwrap_or_default().trim_end().len(),
        None => {
            let end = body.find(char::is_whitespace).unwrap_or(body.len());
            let secret = looks_random(&body[..end]) && is_literal_secret(&body[..end], claim);
            return Some(secret.then_some(start..start + end));
        }
    };
    // A stray quote, and what it seems to open is the next member's name.
    let literal = &body[..end];
    let near = &literal[literal.floor_char_boundary(end.saturating_sub(64))..];
    let after = body[end..].trim_start_matches(['\\', '"', '\'', '`', ' ']);
    let name = after.starts_with([':', '=']) && PATTERNS.member_name.is_match(near);
    // `'x' * 80` makes one up.
    let repeated = after.starts_with('*') && !after.starts_with("**") && literal.len() <= 2;
    let secret = !name && !repeated && is_literal_secret(literal, claim);
    Some(secret.then_some(start..start + end))
}

/// Where a literal ends whose quote was escaped by `depth` backslashes.
fn closing(body: &str, quote: u8, depth: usize) -> Option<usize> {
    let bytes = body.as_bytes();
    let mut slashes = 0;
    for (index, byte) in bytes.iter().enumerate() {
        // A letter behind the quote: a stray quote, and the next one ends it. The
        // bound keeps time linear.
        let stray = || index < 256 && bytes.get(index + 1).is_some_and(u8::is_ascii_alphanumeric);
        let escaped = slashes > depth && (depth > 0 || slashes % 2 == 1);
        match byte {
            b'\n' => return None,
            _ if *byte == quote && !escaped && !stray() => return Some(index - slashes.min(depth)),
            _ => {}
        }
        slashes = if *byte == b'\\' { slashes + 1 } else { 0 };
    }
    None
}

/// `prompt("Password: ")`: the quote ends a string that began before the name.
fn closes_outer(before: &str, quote: u8, after: &str) -> bool {
    let ends = |c: char| c.is_whitespace() || "),;]}.+:>|&\\".contains(c);
    if !after.chars().next().is_none_or(ends) {
        return false;
    }
    // A long line stays unread, for linear time; its quote counts as opening.
    let bytes = &before.as_bytes()[before.len().saturating_sub(512)..];
    let line = match bytes.iter().rposition(|byte| *byte == b'\n') {
        Some(newline) => &bytes[newline..],
        None if bytes.len() == before.len() => bytes,
        None => return false,
    };
    let letter = |index: usize| line.get(index).is_some_and(u8::is_ascii_alphabetic);
    let quotes = line.iter().enumerate().filter(|(index, byte)| {
        let apostrophe = **byte == b'\'' && *index > 0 && letter(index - 1) && letter(index + 1);
        **byte == quote && !apostrophe
    });
    quotes.count() % 2 == 1
}

/// The length of the secret that `rest` begins with, if it is one. `set` says
/// that it is set as in an environment, `NAME=value`.
fn unquoted(rest: &str, name: Name, set: bool) -> Option<usize> {
    let token = name.claim == Claim::Token;
    let harmless = |value: &str| is_harmless(value, token || !set);
    // In `f(password=g.password).h()` only what stands before the bracket counts.
    let near = &rest[..rest.floor_char_boundary(256)];
    let brackets = |c: char| c.is_whitespace() || ")]},;=\"'`".contains(c);
    let first = near.split(brackets).next().unwrap_or_default();
    let code = PATTERNS.expression.is_match(rest) || PATTERNS.variable.is_match(first);
    // The user of a URL whose password is gone may be called a token.
    let (user, host) = near.split_once('@').unwrap_or_default();
    let gone = !host.is_empty() && is_replacement(user);
    if code || gone || (!set && harmless(first)) {
        return None;
    }
    let value = &rest[..value_end(rest)];
    let core = value.trim_end_matches([',', ';', '.', ':', ')', ']', '}', '>', '*', '|']);
    let word = core.trim_matches(|c: char| c.is_ascii_punctuation());
    if word.is_empty() || (token && word.len() < 6) || harmless(core) || harmless(word) {
        return None;
    }
    if name.claim == Claim::Pass {
        let digits = word.bytes().filter(u8::is_ascii_digit).count();
        let letters = word.bytes().filter(u8::is_ascii_alphabetic).count();
        return (word.len() >= 8 && digits > 0 && letters >= 4).then_some(core.len());
    }
    let plain = set && (!token || name.shouted);
    (plain || looks_random(word)).then_some(core.len())
}

/// `password: letmein`, and nothing else on its line; what all the world has as a
/// password in any place.
fn lone_word(rest: &str, name: Name, colon: bool) -> Option<usize> {
    let value = &rest[..value_end(rest)];
    let core = value.trim_end_matches([',', ';', '.', '!', ':', ')', ']', '}', '>', '*', '|']);
    let lone = colon && is_lone_word(core, &rest[core.len()..]);
    (name.claim == Claim::Strong && (lone || is_common(core))).then_some(core.len())
}

fn value_end(rest: &str) -> usize {
    let next_is =
        |index: usize, test: fn(&u8) -> bool| rest.as_bytes().get(index + 1).is_some_and(test);
    let end = rest.char_indices().find(|&(index, c)| match c {
        '"' | '`' => true,
        '\'' => !next_is(index, u8::is_ascii_alphanumeric),
        '\\' => next_is(index, |byte| b"nrt\"'".contains(byte)),
        '<' => next_is(index, |byte| *byte == b'/'),
        ',' | ';' | '&' => PATTERNS.field.is_match(&rest[index + 1..]),
        _ => c.is_whitespace(),
    });
    end.map_or(rest.len(), |(index, _)| index)
}

pub(super) fn is_literal_secret(literal: &str, claim: Claim) -> bool {
    let core = literal.trim().trim_end_matches(r"\n").trim_end();
    let weak = claim != Claim::Strong;
    if weak && (core.len() < 6 || core.contains(char::is_whitespace) || !looks_random(core)) {
        return false;
    }
    !is_harmless(core, weak) && !is_sentence(core)
}
