//! Secrets known by their name: finding the value, and judging whether it is one.

use std::ops::Range;

use regex::{Captures, Regex};

use super::SecretKind;
use super::rules::{COMPILED, Found};

/// `<password>...</password>`.
pub(super) fn elements(pattern: &Regex, _: SecretKind, text: &str) -> Vec<Found> {
    let elements = pattern
        .captures_iter(text)
        .filter_map(|found| Some((Name::of(&found)?, found.name("value")?)));
    elements
        .filter(|(name, value)| is_literal_secret(value.as_str(), name.claim))
        .map(|(name, value)| (value.range(), name.kind))
        .collect()
}

pub(super) fn assignments(pattern: &Regex, _: SecretKind, text: &str) -> Vec<Found> {
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
        if path || arn {
            continue;
        }
        let value = quoted(text, from, name.claim).unwrap_or_else(|| {
            let code = captures.name("compare").is_some() || name.claim == Claim::Pass;
            let set = whole.as_str().strip_suffix('=');
            let set = set.is_some_and(|name| name.ends_with(|c: char| c.is_ascii_alphanumeric()));
            let length = if code {
                None
            } else {
                unquoted(rest, name, set)
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

/// How much a name says about the value behind it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Claim {
    /// Any literal is a secret.
    Strong,
    /// Parsers have tokens too: only what looks random is one.
    Token,
    /// The same, and only in quotes.
    Pass,
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
    let open = COMPILED.quote.captures(&text[at..])?;
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
    let name = after.starts_with([':', '=']) && COMPILED.member_name.is_match(near);
    Some((!name && is_literal_secret(literal, claim)).then_some(start..start + end))
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
    let code = COMPILED.expression.is_match(rest) || COMPILED.variable.is_match(first);
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
    let plain = set && (!token || name.shouted);
    (plain || looks_random(word)).then_some(core.len())
}

fn value_end(rest: &str) -> usize {
    let next_is =
        |index: usize, test: fn(&u8) -> bool| rest.as_bytes().get(index + 1).is_some_and(test);
    let end = rest.char_indices().find(|&(index, c)| match c {
        '"' | '`' => true,
        '\'' => !next_is(index, u8::is_ascii_alphanumeric),
        '\\' => next_is(index, |byte| b"nrt\"'".contains(byte)),
        '<' => next_is(index, |byte| *byte == b'/'),
        ',' | ';' | '&' => COMPILED.field.is_match(&rest[index + 1..]),
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
    !is_harmless(core, weak)
}

/// A placeholder, a type or a state; with `numbers` also a count.
pub(super) fn is_harmless(value: &str, numbers: bool) -> bool {
    is_placeholder(value)
        || HARMLESS.iter().any(|word| word.eq_ignore_ascii_case(value))
        || (numbers && value.len() <= 256 && COMPILED.number.is_match(value))
}

/// Nothing, a mask, a reference, or redacted already.
pub(super) fn is_placeholder(value: &str) -> bool {
    // None is longer than that, and a bounded look keeps time linear.
    value.is_empty()
        || is_replacement(value)
        || (value.len() <= 256 && COMPILED.reference.is_match(value))
}

fn is_replacement(value: &str) -> bool {
    SecretKind::ALL
        .iter()
        .any(|kind| kind.replacement() == value)
}

/// Digits, symbols, or letters that no word or camelCase name would put together.
pub(super) fn looks_random(value: &str) -> bool {
    let telling = |byte: u8| {
        byte.is_ascii_digit() || (byte.is_ascii_punctuation() && !b"-_./':".contains(&byte))
    };
    let vowel = |c: char| !c.is_ascii_lowercase() || "aeiouy".contains(c);
    value.len() > 256
        || value.bytes().any(telling)
        || value.split(vowel).any(|consonants| consonants.len() >= 7)
        || value.split(|c: char| !c.is_ascii_alphabetic()).any(jumbled)
}

/// Letters without the rhythm of a word, an acronym or a camelCase name.
fn jumbled(letters: &str) -> bool {
    let lower = letters
        .split(|c: char| c.is_ascii_uppercase())
        .filter(|run| !run.is_empty());
    let (runs, short) = lower.fold((0, 0), |(runs, short), run| {
        (runs + 1, short + usize::from(run.len() <= 2))
    });
    (letters.len() >= 24 && runs <= 1) || (letters.len() >= 8 && short >= 2 && short * 2 > runs)
}

#[rustfmt::skip]
const HARMLESS: [&str; 70] = [
    "none", "null", "nil", "undefined", "true", "false", "yes", "no", "on", "off", "self", "this",
    "string", "str", "text", "bytes", "char", "varchar", "int", "integer", "bool", "boolean", "number",
    "any", "object", "uuid", "hex", "u8", "u16", "u32", "u64", "u128", "i32", "i64", "f64", "int32", "int64",
    "password", "passwd", "passphrase", "pwd", "pass", "pw", "secret", "token", "key", "api_key", "apikey",
    "value", "input", "prompt", "required", "optional", "hidden", "masked", "redacted", "[redacted]", "omitted",
    "base64", "utf8", "utf-8", "md5", "sha1", "sha256", "sha512", "argon2", "argon2id", "pbkdf2", "oauth2", "rfc6750",
];
