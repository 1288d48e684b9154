//! The rules: what each looks for, and those that know a secret by its shape.

use std::sync::{LazyLock, OnceLock};

use regex::{Regex, RegexSet};

use super::SecretKind;
use super::assignment::{assignments, elements, pairs};
use super::contexts::{CONTEXTS, Context, PAIRS};
use super::formats::{FORMATS, Format};
use super::patterns::{Found, PATTERNS, Pattern, constant, names, regex};
use super::value::{is_bearer, is_placeholder};

/// What a rule looks for, beside its pattern.
#[derive(Clone, Copy)]
pub(super) enum Looks {
    /// A function knows.
    By(fn(&Regex, &str) -> Vec<Found>),
    For(&'static Format),
    Around(&'static Context),
}

pub(super) struct Rule {
    looks: Looks,
    pattern: Pattern,
}

impl Rule {
    /// All that this rule finds, in order.
    pub(super) fn find(&self, text: &str) -> Vec<Found> {
        match self.looks {
            Looks::By(function) => function(&self.pattern, text),
            Looks::For(format) => formats(&self.pattern, format, text),
            Looks::Around(context) => contexts(&self.pattern, context, text),
        }
    }
}

/// What may stand before a token: a word boundary, the `_` of a longer name, the
/// `\n` of an escaped string, whose `n` would hide the boundary, or an escape of a
/// URL.
const TOKEN: &str = r"(?-u)(?:\b|_|\\[nrt]|%[0-9A-F]{2})((?:";

// After the name the end of its quotes or emphasis, then a separator, with a type
// where a default follows (`password: str = "..."`), then what may wrap a literal.
const ASSIGNMENT: &str = concat!(
    "(?i-u)",
    names!(),
    r#"[0-9]?(?:\\*["'`])?\]?\*{0,2}[ \t]*(?:(?P<compare>={2,3}|!={1,2})|:=|=>|[?+]?=|[?!]?:"#,
    r"(?:[ \t]*&?(?:'[a-z]+ )?(?:option(?:al)?[<\[])?&?(?:secret)?(?:str|string|bytes)[>\]]?",
    r"(?:[ \t]*\|[ \t]*[a-z]+)?[ \t]*=)?)\*{0,2}[ \t]*",
    r"(?:(?:some|ok|string::from|secretstr(?:ing)?(?:::new|::from)?|secret::new)\()*[\[(<*]*",
);

/// A rule that a function knows: that, a cheap sign that it may apply, and the
/// pattern that it gets.
type Known = (fn(&Regex, &str) -> Vec<Found>, &'static str, &'static str);

const FIRST: [Known; 2] = [
    (
        private_keys,
        "BEGIN ",
        "-{4,5} ?(BEGIN|END) [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)? ?-{4,5}",
    ),
    // A `/` may stand in a password, but not on the web; behind a number it begins
    // a port's path.
    (
        url_passwords,
        "://",
        r#"([A-Za-z0-9+.-]*)://[^\s:/@?#\[\]"'<>`]*:(?:([^\s/?#"'<>`]+)|([0-9]*[^0-9\s/?#@"'<>`][^\s@"'<>`]*))@"#,
    ),
];

const BEARER: Known = (
    bearer_tokens,
    r"(?i-u)bearer(?:[ \t:=]|%20)",
    r#"(?i-u)(authorization[: ="'\t]{1,4})?(bearer(?:[ \t:=]|%20)+)+([a-z0-9._~+/-][a-z0-9._~+/=-]*)"#,
);

// The kind of these is that of the name that they find.
const NAMED: [Known; 5] = [
    (
        elements,
        "</",
        concat!(
            "(?i-u)<[a-z0-9_:.-]*",
            names!(),
            "[0-9]?>(?P<value>(?u:[^<>]+))</"
        ),
    ),
    // `define('DB_PASSWORD', '...')`.
    (
        pairs,
        r#"["'][ \t]*,"#,
        concat!(
            r#"(?i-u)[a-z0-9_]\([ \t]*["'][a-z0-9_. -]*"#,
            names!(),
            r#"[0-9]?["'][ \t]*,[ \t]*["'](?P<value>(?u:[^"'\n]+))["']"#
        ),
    ),
    // `key="password" value="..."`, `- name: PASSWORD` above `value: ...`.
    (
        pairs,
        "(?i-u)value",
        concat!(
            r#"(?i-u)\b(?:key|name|id)["']?\s*[:=]\s*["']?[a-z0-9_.-]*"#,
            names!(),
            r#"[0-9]?["']?\s*,?\s*["']?value["']?\s*[:=]\s*["']?(?P<value>(?u:[^"'\s]+))"#
        ),
    ),
    (
        assignments,
        "--",
        concat!("(?i-u)--[a-z0-9_-]*", names!(), r"[0-9]?[ \t]+[\[(<]*"),
    ),
    (assignments, concat!("(?-u)", names!()), ASSIGNMENT),
];

/// Signs of rules, looked for in one scan. Compiling them takes longer than all else
/// that a short message needs, so it is done for a text that can have them.
struct Signs {
    of: Vec<(&'static str, usize)>,
    /// Whether a text can have any of them.
    may_have: fn(&str) -> bool,
    set: OnceLock<RegexSet>,
}

impl Signs {
    const fn new(may_have: fn(&str) -> bool) -> Self {
        Self {
            of: Vec::new(),
            may_have,
            set: OnceLock::new(),
        }
    }

    /// The rules whose sign is in the text.
    fn rules(&self, text: &str) -> impl Iterator<Item = usize> {
        let matches = (self.may_have)(text).then(|| {
            let set = || constant(RegexSet::new(self.of.iter().map(|(sign, _)| sign)));
            self.set.get_or_init(set).matches(text)
        });
        let found: Vec<_> = matches.iter().flatten().collect();
        found.into_iter().map(|index| self.of[index].1)
    }
}

/// The length of the shortest token that is known by its format.
const SHORTEST: usize = 12;

/// Whether this number of characters stand together as tokens have, capitals or digits
/// among them.
fn has_token(text: &str) -> bool {
    let part = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./:~$+/=%{}@?".contains(&byte);
    let (mut run, mut random) = (0, false);
    text.bytes().any(|byte| {
        if part(byte) {
            run += 1;
            random |= byte.is_ascii_uppercase() || byte.is_ascii_digit();
        } else {
            (run, random) = (0, false);
        }
        random && run >= SHORTEST
    })
}

/// Whether anything stands there that a value has, a separator or a command.
fn has_context(text: &str) -> bool {
    let bytes = text.as_bytes();
    let word = |word: &[u8]| {
        bytes
            .windows(word.len())
            .any(|w| w.eq_ignore_ascii_case(word))
    };
    bytes
        .iter()
        .any(|byte| byte.is_ascii_digit() || b":=@$<{-".contains(byte))
        || word(b"pass")
        || word(b"secret")
        || word(b"identified by")
        || word(b"pw")
}

impl Compiled {
    /// The rules that may find something, in their order.
    pub(super) fn rules_for(&self, text: &str) -> Vec<usize> {
        let mut rules: Vec<_> = self.signs.iter().flat_map(|s| s.rules(text)).collect();
        rules.sort_unstable();
        rules
    }
}

pub(super) struct Compiled {
    signs: [Signs; 3],
    /// In order: each sees what those above it left.
    pub(super) rules: Vec<Rule>,
}

pub(super) static COMPILED: LazyLock<Compiled> = LazyLock::new(|| {
    let mut signs = [
        Signs::new(|_| true),
        Signs::new(has_token),
        Signs::new(has_context),
    ];
    let [always, of_formats, of_contexts] = &mut signs;
    let mut rules = Vec::new();
    let mut add = |signs: &mut Signs, sign, looks, pattern| {
        signs.of.push((sign, rules.len()));
        rules.push(Rule { looks, pattern });
    };
    for (function, sign, pattern) in FIRST {
        add(always, sign, Looks::By(function), regex(pattern));
    }
    for context in PAIRS {
        let pattern = regex(context.pattern);
        add(of_formats, context.sign, Looks::Around(context), pattern);
    }
    let (function, sign, pattern) = BEARER;
    add(always, sign, Looks::By(function), regex(pattern));
    for format in FORMATS {
        let pattern = format.pattern;
        let token = move || constant(Regex::new(&[TOKEN, pattern, "))"].concat()));
        let pattern = LazyLock::new(Box::new(token) as Box<_>);
        add(of_formats, format.sign, Looks::For(format), pattern);
    }
    for context in CONTEXTS {
        let pattern = regex(context.pattern);
        add(of_contexts, context.sign, Looks::Around(context), pattern);
    }
    for (function, sign, pattern) in NAMED {
        add(always, sign, Looks::By(function), regex(pattern));
    }
    Compiled { signs, rules }
});

fn formats(pattern: &Regex, format: &Format, text: &str) -> Vec<Found> {
    let tokens = pattern.captures_iter(text).filter_map(|found| found.get(1));
    tokens
        .filter(|token| {
            let next = text.as_bytes().get(token.end());
            !next.is_some_and(u8::is_ascii_alphanumeric)
                && format.check.holds(token.as_str(), format.sign.len())
        })
        .map(|token| (token.range(), format.kind))
        .collect()
}

fn contexts(pattern: &Regex, context: &Context, text: &str) -> Vec<Found> {
    let mut found = Vec::new();
    let mut from = 0;
    while let Some(captures) = pattern.captures_at(text, from) {
        let (Some(whole), Some(secret)) = (captures.get(0), captures.name("s")) else {
            break;
        };
        let core = secret.as_str().trim_end_matches(['.', ',', ')', '*']);
        let core = if core.is_empty() {
            secret.as_str()
        } else {
            core
        };
        let lead = captures.name("lead").map_or("", |lead| lead.as_str());
        if context.check.holds(core) && !is_about_content(lead) {
            found.push((secret.start()..secret.start() + core.len(), context.kind));
            from = secret.end();
        } else {
            // A second context may begin in what was no secret. The bound keeps
            // time linear.
            from = match secret.len() {
                0..=256 => secret.start().max(whole.start() + 1),
                _ => secret.end(),
            };
            from = text.ceil_char_boundary(from);
        }
    }
    found
}

/// `token image sha256: 64 digits`: a hash of something.
fn is_about_content(lead: &str) -> bool {
    let lead = lead.to_ascii_lowercase();
    let words = [
        "sha",
        "digest",
        "hash",
        "checksum",
        "commit",
        "image",
        "fingerprint",
        "etag",
    ];
    words.iter().any(|word| lead.contains(word))
}

fn url_passwords(pattern: &Regex, text: &str) -> Vec<Found> {
    let passwords = pattern.captures_iter(text).filter_map(|found| {
        let web = found.get(1)?.as_str();
        let web = web.eq_ignore_ascii_case("http") || web.eq_ignore_ascii_case("https");
        found.get(2).or_else(|| found.get(3).filter(|_| !web))
    });
    passwords
        .filter(|password| !is_placeholder(password.as_str()))
        .map(|password| (password.range(), SecretKind::Password))
        .collect()
}

fn bearer_tokens(pattern: &Regex, text: &str) -> Vec<Found> {
    let tokens = pattern.captures_iter(text).filter_map(|found| {
        let named = found.get(1).is_some() || found.get(2)?.as_str().starts_with('B');
        Some((named, found.get(3)?))
    });
    tokens
        .map(|(named, token)| (named, token.start(), token.as_str().trim_end_matches('.')))
        .filter(|(named, _, token)| is_bearer(token, *named))
        .map(|(_, start, token)| (start..start + token.len(), SecretKind::BearerToken))
        .collect()
}

/// Key blocks; one without its end goes up to the end of its base64 body.
fn private_keys(pattern: &Regex, text: &str) -> Vec<Found> {
    let markers: Vec<_> = pattern
        .captures_iter(text)
        .filter_map(|found| Some((found.get(0)?, found.get(1)?)))
        .collect();
    let begins = markers
        .iter()
        .enumerate()
        .filter(|(_, (_, word))| word.as_str() == "BEGIN");
    begins
        .filter_map(|(index, (marker, _))| {
            let next = markers.get(index + 1);
            let end = match next {
                Some((end, word)) if word.as_str() == "END" => end.end(),
                _ => {
                    // No body is read twice: that keeps time linear.
                    let limit = next.map_or(text.len(), |(begin, _)| begin.start());
                    marker.end() + key_body(&text[marker.end()..limit])?
                }
            };
            Some((marker.start()..end, SecretKind::PrivateKey))
        })
        .collect()
}

/// How far the headers and base64 lines behind a `BEGIN` go, if there are any.
fn key_body(rest: &str) -> Option<usize> {
    let separator = |c: char| c.is_whitespace() || "\"'`,>|#*\\-".contains(c);
    let base64 = |byte: &u8| byte.is_ascii_alphanumeric() || b"+/=".contains(byte);
    let mut at = PATTERNS
        .key_headers
        .find(rest)
        .map_or(0, |headers| headers.end());
    let mut end = None;
    for piece in rest[at..].split_inclusive(separator) {
        let start = at;
        at += piece.len();
        let word = piece.trim_end_matches(separator);
        // What escaped line ends leave: a `\n` goes with the word behind it.
        if matches!(word, "" | "r" | "n") {
            continue;
        }
        let (run, tail) = word.split_at(word.bytes().take_while(|byte| base64(byte)).count());
        let long = run.len() >= if end.is_some() { 3 } else { 16 };
        // Letters alone are a word, and `name="..."` belongs to the rules below.
        let telling = run.contains(|c: char| !c.is_ascii_alphabetic());
        let name = run.ends_with('=')
            && rest[at..].starts_with(char::is_alphanumeric)
            && !piece.ends_with(char::is_whitespace);
        if !long || !telling || name || tail.contains(char::is_alphanumeric) {
            break;
        }
        end = Some(start + run.len());
        if !tail.is_empty() {
            break;
        }
    }
    end
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pattern_compiles() {
        let rules = COMPILED.rules.iter().map(|rule| &rule.pattern);
        for pattern in rules {
            LazyLock::force(pattern);
        }
    }
}
