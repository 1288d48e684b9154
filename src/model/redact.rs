//! Takes secrets out of text and metadata before anything is stored.
//!
//! Owns the one decision "is this a secret", for messages, hand-offs and
//! metadata alike. Knows no store, no clock and no session, and never reports
//! what it found, only which kinds.
//!
//! Two sorts of rule. A *format* is a secret by its shape alone (`ghp_...`). An
//! *assignment* is one by its name (`password: ...`), and there the value must
//! also look like a value, because agents talk about passwords far more often
//! than they send one. A value with digits or symbols is taken whatever else
//! speaks against it: a mangled line costs a question, a leaked key a rotation.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;
use std::sync::LazyLock;

use regex::{Captures, Regex, RegexSet};
use serde_json::Value;

/// What sort of secret was taken out; the declaration order is the report order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SecretKind {
    /// AWS access key id, long-lived (`AKIA`) or temporary (`ASIA`).
    AwsKey,
    /// PEM, OpenSSH or PGP private key block, complete or cut off.
    PrivateKey,
    /// Credential after the word `Bearer`.
    BearerToken,
    /// Value of a password assignment, or the password inside a URL.
    Password,
    /// Value of an API key assignment.
    ApiKey,
    /// Value assigned to a secret, a token or a private, access or signing key.
    Secret,
    /// GitHub token of any type.
    GithubToken,
    /// OpenAI key, and the `sk-` keys of services that copied its format.
    OpenaiKey,
    /// Anthropic key.
    AnthropicKey,
    /// Slack token or incoming webhook URL.
    SlackToken,
    /// JSON Web Token.
    Jwt,
    /// Google API key.
    GoogleKey,
    /// npm access token.
    NpmToken,
    /// GitLab token.
    GitlabToken,
}

impl SecretKind {
    /// Every kind, in report order.
    pub const ALL: [Self; 14] = [
        Self::AwsKey,
        Self::PrivateKey,
        Self::BearerToken,
        Self::Password,
        Self::ApiKey,
        Self::Secret,
        Self::GithubToken,
        Self::OpenaiKey,
        Self::AnthropicKey,
        Self::SlackToken,
        Self::Jwt,
        Self::GoogleKey,
        Self::NpmToken,
        Self::GitlabToken,
    ];

    /// The stable name for audit rows.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        self.names().0
    }

    /// The word that stands in the place of the secret.
    #[must_use]
    pub const fn replacement(self) -> &'static str {
        self.names().1
    }

    // The first eight words are those of the Python bridge.
    const fn names(self) -> (&'static str, &'static str) {
        match self {
            Self::AwsKey => ("aws_key", "AWS_KEY_REDACTED"),
            Self::PrivateKey => ("private_key", "PRIVATE_KEY_REDACTED"),
            Self::BearerToken => ("bearer_token", "BEARER_TOKEN_REDACTED"),
            Self::Password => ("password", "PASSWORD_REDACTED"),
            Self::ApiKey => ("api_key", "API_KEY_REDACTED"),
            Self::Secret => ("secret", "SECRET_REDACTED"),
            Self::GithubToken => ("github_token", "GITHUB_TOKEN_REDACTED"),
            Self::OpenaiKey => ("openai_key", "OPENAI_KEY_REDACTED"),
            Self::AnthropicKey => ("anthropic_key", "ANTHROPIC_KEY_REDACTED"),
            Self::SlackToken => ("slack_token", "SLACK_TOKEN_REDACTED"),
            Self::Jwt => ("jwt", "JWT_REDACTED"),
            Self::GoogleKey => ("google_key", "GOOGLE_KEY_REDACTED"),
            Self::NpmToken => ("npm_token", "NPM_TOKEN_REDACTED"),
            Self::GitlabToken => ("gitlab_token", "GITLAB_TOKEN_REDACTED"),
        }
    }
}

impl fmt::Display for SecretKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

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
    let mut kinds = Vec::new();
    let mut text = Cow::Borrowed(text);
    // A replacement can complete another match (a value too short to be a token
    // grows), so a changed text is looked at again. The bound keeps time linear.
    for _ in 0..4 {
        match pass(&text, &mut kinds) {
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
                let found = COMPILED.member_name.captures(key);
                let name = found.and_then(|found| Name::of(&found));
                redact_member(member, name, kinds);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// A secret's place in the text, and what it is.
type Found = (Range<usize>, SecretKind);

struct Rule {
    kind: SecretKind,
    find: fn(&Regex, SecretKind, &str) -> Vec<Found>,
    /// Cheap sign that the rule may apply; one scan looks for all of them.
    trigger: &'static str,
    pattern: &'static str,
}

// A token may follow a word boundary, the `_` of a longer name, or the `\n` of
// an escaped string, whose `n` would hide the boundary.
macro_rules! token {
    ($($part:literal),+) => { concat!(r"(?-u)(?:\b|_|\\[nrt])(", $($part),+, ")") };
}

// Names that announce a secret. `pass` alone also counts tests, so it is weak.
macro_rules! names {
    () => {
        concat!(
            r"(?:(?P<password>pass(?:[_-]?word|wd|[_-]?phrase|code|wort)|(?:\b|_)pwd",
            r"|(?:db|user|admin|root|smtp|mail|mysql|pg|redis|ftp|login|sudo)[_-]?pass)",
            r"|(?P<api_key>api[_ -]?key)",
            r"|(?P<secret>secret(?:[_-]?(?:access[_-]?)?key(?:[_-]?base)?)?",
            r"|(?:access|private|encryption|signing|auth|master)[_-]?key)",
            r"|(?P<token>token)|(?P<pass>\bpass))[0-9]?"
        )
    };
}
const NAME: &str = "(?i-u)pass|pwd|api[_ -]?key|secret|token|(?:access|private|encryption|signing|auth|master)[_-]?key";

// After the name the end of its quotes or emphasis, then a separator, with a type
// where a default follows (`password: str = "..."`), or blanks alone, which are
// enough behind `--`; then what may wrap a literal.
const ASSIGNMENT: &str = concat!(
    "(?i-u)",
    names!(),
    r#"(?:(?:\\*["'`])?\]?\*{0,2}[ \t]*(?:(?P<compare>={2,3}|!={1,2})|:=|=>|=|[?!]?:"#,
    r"(?:[ \t]*&?(?:'[a-z]+ )?(?:option(?:al)?[<\[])?&?(?:secret)?(?:str|string|bytes)[>\]]?",
    r"(?:[ \t]*\|[ \t]*[a-z]+)?[ \t]*=)?)\*{0,2}[ \t]*|(?P<blank>[ \t]+))",
    r"(?:(?:some|ok|string::from|secretstr(?:ing)?(?:::new|::from)?|secret::new)\()*[\[(<*]*",
);

// In order: each rule sees what the rules above it left.
const RULES: [Rule; 14] = {
    use SecretKind as K;
    const fn format(kind: K, trigger: &'static str, pattern: &'static str) -> Rule {
        Rule {
            kind,
            find: formats,
            trigger,
            pattern,
        }
    }
    [
        Rule {
            kind: K::PrivateKey,
            find: private_keys,
            trigger: "BEGIN ",
            pattern: "-{4,5} ?(BEGIN|END) [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)? ?-{4,5}",
        },
        // A `/` may stand in a password; behind a number it begins a port's path.
        Rule {
            kind: K::Password,
            find: url_passwords,
            trigger: "://",
            pattern: r#"://[^\s:/@?#\[\]"'<>`]*:(?:([^\s/?#"'<>`]+)|([0-9]*[^0-9\s/?#@"'<>`][^\s@"'<>`]*))@"#,
        },
        Rule {
            kind: K::BearerToken,
            find: bearer_tokens,
            trigger: r"(?i-u)bearer(?:[ \t:=]|%20)",
            pattern: r"(?i-u)bearer(?:[ \t:=]|%20)+([a-z0-9._~+/-][a-z0-9._~+/=-]*)",
        },
        format(K::AwsKey, "AKIA|ASIA", token!("(?:AKIA|ASIA)[0-9A-Z]{16,}")),
        format(
            K::AnthropicKey,
            "sk-ant-",
            token!("sk-ant-[A-Za-z0-9_-]{16,}"),
        ),
        format(
            K::OpenaiKey,
            "sk-",
            token!(
                "sk-(?:(?:proj|svcacct|admin|None)-[A-Za-z0-9_-]{20,}",
                "|(?:[a-z0-9]{2,8}-){0,2}[A-Za-z0-9]{20}[A-Za-z0-9_-]*)"
            ),
        ),
        format(
            K::GithubToken,
            "gh[pousr]_|github_pat_",
            token!("(?:gh[pousr]_[A-Za-z0-9]{30}|github_pat_[A-Za-z0-9]{20})[A-Za-z0-9_]*"),
        ),
        format(
            K::SlackToken,
            "xox[a-z]|xapp-|hooks[.]slack",
            token!(
                "(?:xox[a-z](?:[.]xox[a-z])?|xapp)-[A-Za-z0-9-]{10,}",
                "|(?:https?://)?hooks[.]slack[.]com/[a-z]+/[A-Za-z0-9/_-]{8,}"
            ),
        ),
        format(
            K::Jwt,
            "eyJ",
            token!("eyJ[A-Za-z0-9_-]{6,}(?:[.][A-Za-z0-9_-]+){2,4}"),
        ),
        format(K::GoogleKey, "AIza", token!("AIza[A-Za-z0-9_-]{35,}")),
        format(K::NpmToken, "npm_", token!("npm_[A-Za-z0-9]{36,}")),
        format(
            K::GitlabToken,
            "gl(?:pat|ptt|dt|rt|cbt)-",
            token!("gl(?:pat|ptt|dt|rt|cbt)-[A-Za-z0-9_-]{20,}(?:[.][A-Za-z0-9]+)*"),
        ),
        Rule {
            kind: K::Secret,
            find: elements,
            trigger: "</",
            pattern: concat!(
                "(?i-u)<[a-z0-9_:.-]*",
                names!(),
                r">(?P<value>(?u:[^<>]+))</"
            ),
        },
        Rule {
            kind: K::Secret,
            find: assignments,
            trigger: NAME,
            pattern: ASSIGNMENT,
        },
    ]
};

/// Compiled when it is first needed: most messages need none, and compiling
/// all of them takes longer than all else that `send` does.
type Pattern = LazyLock<Regex, Box<dyn FnOnce() -> Regex + Send + Sync>>;

struct Compiled {
    triggers: RegexSet,
    patterns: Vec<Pattern>,
    member_name: Pattern,
    /// What follows a `BEGIN` line: headers, base64 lines, a short last line.
    key_body: Pattern,
    /// A string literal's beginning: prefix, escapes, quotes.
    quote: Pattern,
    /// Unquoted code: a substitution, a call, an index, a generic type.
    expression: Pattern,
    /// A whole value that only masks a secret or says where it is.
    reference: Pattern,
    /// A whole value that is another variable.
    variable: Pattern,
    /// A whole value that is a count, a range or a version.
    number: Pattern,
    /// The next field of `a=1,b=2`, after its delimiter.
    field: Pattern,
}

static COMPILED: LazyLock<Compiled> = LazyLock::new(|| {
    let regex = |pattern: &'static str| -> Pattern {
        LazyLock::new(Box::new(move || constant(Regex::new(pattern))))
    };
    Compiled {
        triggers: constant(RegexSet::new(RULES.iter().map(|rule| rule.trigger))),
        patterns: RULES.iter().map(|rule| regex(rule.pattern)).collect(),
        member_name: regex(concat!("(?i-u)", names!(), "$")),
        key_body: regex(concat!(
            r#"^(?:(?:[\s"'`,>|#*-]|\\[nrt\\])*(?:Proc-Type|DEK-Info|Version|Comment|Charset|Hash)[ ]?:[^\n\\"]*)*"#,
            r#"(?:(?:[\s"'`,>|#*-]|\\[nrt\\])*[A-Za-z0-9+/=]{16,})+"#,
            r#"(?:(?:[\s"'`,>|#*-]|\\[nrt\\])*(?:[A-Za-z]*[0-9+/][A-Za-z0-9+/]*=*|[A-Za-z]*=+[A-Za-z0-9+/]{0,4})){0,2}"#
        )),
        quote: regex(r#"^[bfruBFRUL$@]{0,2}#?(\\*)(["'`]+)"#),
        expression: regex(concat!(
            r"(?-u)^(?:[$#]?\{|[$%]\(|\\[nrt]|[&*!@]*(?:(?:[A-Za-z_$][A-Za-z0-9_$]*(?:\.|::|->|\?\.))+[A-Za-z_$][A-Za-z0-9_$]*",
            r"|[A-Za-z_$]+|(?i:sha[0-9]+|base64|md5|argon2|pbkdf2))[!?]?[(\[<{])"
        )),
        reference: regex(concat!(
            r"^(?:\$\{.*\}|\$\(.*\)|\$(?:env:)?[A-Za-z_.]+|\$[A-Z_][A-Z0-9_]*|[#%]?\{.*\}|<[A-Za-z][^<>]*>|\[[A-Za-z _-]*\]",
            r"|%\([A-Za-z_]+\)s|%[A-Za-z_]+%?|[*•.…xX_?#-]+",
            r"|(?:op|vault|arn|ssm|env|file|keyring):[A-Za-z/][A-Za-z0-9_./:@#-]*",
            r"|(?:~|\.{0,2})(?:/[A-Za-z_.-]+[0-9]{0,4}[A-Za-z_.-]*){2,}/?)$"
        )),
        variable: regex(concat!(
            r"(?-u)^[&*!@$]?(?:(?:[A-Za-z_$]+(?:\.|::|->|\?\.))+[A-Za-z_$]+",
            r"|(?:[A-Za-z]+_)*(?i:passwo?r?d|pwd|secret|token|key)(?:_[A-Za-z]+)*|[a-z]+(?:Password|Secret|Token|Key))$"
        )),
        number: regex(r"(?-u)^[<>=~v]*[0-9]{1,3}(?:[-+.x%][0-9]{0,3})*$"),
        field: regex(r"(?-u)^[A-Za-z_][A-Za-z0-9_.-]{0,40}="),
    }
});

#[expect(
    clippy::expect_used,
    reason = "the patterns are constants, and a test compiles them all"
)]
fn constant<T>(compiled: Result<T, regex::Error>) -> T {
    compiled.expect("a constant pattern")
}

fn pass(text: &str, kinds: &mut Vec<SecretKind>) -> Option<String> {
    let mut changed: Option<String> = None;
    for index in COMPILED.triggers.matches(text) {
        let current = changed.as_deref().unwrap_or(text);
        let found = (RULES[index].find)(&COMPILED.patterns[index], RULES[index].kind, current);
        if found.is_empty() {
            continue;
        }
        let mut output = String::with_capacity(current.len());
        let mut copied = 0;
        for (range, kind) in found {
            output.push_str(&current[copied..range.start]);
            output.push_str(kind.replacement());
            copied = range.end;
            kinds.push(kind);
        }
        output.push_str(&current[copied..]);
        changed = Some(output);
    }
    changed
}

fn formats(pattern: &Regex, kind: SecretKind, text: &str) -> Vec<Found> {
    let tokens = pattern.captures_iter(text).filter_map(|found| found.get(1));
    tokens.map(|token| (token.range(), kind)).collect()
}

fn url_passwords(pattern: &Regex, kind: SecretKind, text: &str) -> Vec<Found> {
    let passwords = pattern
        .captures_iter(text)
        .filter_map(|found| found.get(1).or_else(|| found.get(2)));
    passwords
        .filter(|password| !is_harmless(password.as_str(), false))
        .map(|password| (password.range(), kind))
        .collect()
}

fn bearer_tokens(pattern: &Regex, kind: SecretKind, text: &str) -> Vec<Found> {
    let tokens = pattern.captures_iter(text).filter_map(|found| found.get(1));
    tokens
        .map(|token| (token.start(), token.as_str().trim_end_matches('.')))
        .filter(|(_, token)| {
            let word = token.split('=').next().unwrap_or_default();
            word.len() >= 6 && looks_random(word) && !is_harmless(word, true)
        })
        .map(|(start, token)| (start..start + token.len(), kind))
        .collect()
}

/// Key blocks; one without its end goes up to the end of its base64 body.
fn private_keys(pattern: &Regex, kind: SecretKind, text: &str) -> Vec<Found> {
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
                    let limit = next.map_or(text.len(), |(begin, _)| begin.start());
                    let body = COMPILED.key_body.find(&text[marker.end()..limit])?;
                    marker.end() + body.end()
                }
            };
            Some((marker.start()..end, kind))
        })
        .collect()
}

/// `<password>...</password>`.
fn elements(pattern: &Regex, _: SecretKind, text: &str) -> Vec<Found> {
    let elements = pattern
        .captures_iter(text)
        .filter_map(|found| Some((Name::of(&found)?, found.name("value")?)));
    elements
        .filter(|(name, value)| is_literal_secret(value.as_str(), name.claim))
        .map(|(name, value)| (value.range(), name.kind))
        .collect()
}

fn assignments(pattern: &Regex, _: SecretKind, text: &str) -> Vec<Found> {
    let mut found = Vec::new();
    let mut from = 0;
    while let Some(captures) = pattern.captures_at(text, from) {
        let (Some(whole), Some(name)) = (captures.get(0), Name::of(&captures)) else {
            break;
        };
        from = whole.end();
        let prose = captures.name("blank").is_some() && !is_flag(&text[..whole.start()]);
        let path = text[..from].ends_with(':') && text[from..].starts_with(':');
        if prose || path {
            continue;
        }
        let value = quoted(text, from, name.claim).unwrap_or_else(|| {
            let compared = captures.name("compare").is_some();
            let tight = &text[name.end..from] == "=";
            let literal = !compared && name.claim != Claim::Pass;
            let length = literal
                .then(|| unquoted(&text[from..], name, tight))
                .flatten();
            length.map(|length| from..from + length)
        });
        if let Some(range) = value {
            from = range.end;
            found.push((range, name.kind));
        }
    }
    found
}

/// Whether the name at the end of `before` is part of `--some-option`.
fn is_flag(before: &str) -> bool {
    let name = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    let length = before.bytes().rev().take(64).take_while(name).count();
    before[before.len() - length..].starts_with("--")
}

/// How much a name says about the value behind it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Claim {
    /// Any literal is a secret.
    Strong,
    /// Parsers have tokens too: only what looks random is one.
    Token,
    /// The same, and only in quotes.
    Pass,
}

/// A name that announces a secret.
#[derive(Clone, Copy)]
struct Name {
    kind: SecretKind,
    claim: Claim,
    shouted: bool,
    end: usize,
}

impl Name {
    fn of(captures: &Captures<'_>) -> Option<Self> {
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
                end: word.end(),
            })
        })
    }

    /// Metadata holds no parser: a token there is a credential.
    fn claim_in_metadata(self) -> Claim {
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
    let line = body.lines().next().unwrap_or_default();
    let end = match closing(line, quote, slashes) {
        Some(end) => end,
        // Cut off: what is left of the line. An apostrophe rather begins a word.
        None if quote == b'"' => line.trim_end().len(),
        None => return None,
    };
    Some(is_literal_secret(&body[..end], claim).then_some(start..start + end))
}

/// Where a literal ends whose quote was escaped by `depth` backslashes.
fn closing(line: &str, quote: u8, depth: usize) -> Option<usize> {
    let mut slashes = 0;
    for (index, byte) in line.bytes().enumerate() {
        if byte == quote && (slashes <= depth || (depth == 0 && slashes % 2 == 0)) {
            return Some(index - slashes.min(depth));
        }
        slashes = if byte == b'\\' { slashes + 1 } else { 0 };
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

/// The length of the secret that `rest` begins with, if it is one.
fn unquoted(rest: &str, name: Name, tight: bool) -> Option<usize> {
    if COMPILED.expression.is_match(rest) {
        return None;
    }
    let value = &rest[..value_end(rest)];
    let core = value.trim_end_matches([',', ';', '.', ':', ')', ']', '}', '>', '*', '|']);
    let word = core.trim_matches(|c: char| c.is_ascii_punctuation());
    let token = name.claim == Claim::Token;
    if word.is_empty() || is_harmless(core, token || !tight) || is_harmless(word, token || !tight) {
        return None;
    }
    // The user before `@host` in a URL whose password is gone may be called a token.
    let gone = core
        .split_once('@')
        .is_some_and(|(user, _)| is_replacement(user));
    if gone || (token && word.len() < 6) {
        return None;
    }
    // A plain word is prose or code, unless it is set as in an environment.
    let set = tight && (!token || name.shouted) && !COMPILED.variable.is_match(core);
    (set || looks_random(word)).then_some(core.len())
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

fn is_literal_secret(literal: &str, claim: Claim) -> bool {
    let core = literal.trim().trim_end_matches(r"\n").trim_end();
    let weak = claim != Claim::Strong;
    if weak && (core.len() < 6 || core.contains(char::is_whitespace) || !looks_random(core)) {
        return false;
    }
    !is_harmless(core, weak)
}

/// Empty, a placeholder, a type, a reference, or redacted already; with
/// `numbers` also a count.
fn is_harmless(value: &str, numbers: bool) -> bool {
    // Nothing harmless is this long, and a bounded look keeps time linear.
    if value.len() > 256 {
        return false;
    }
    let word = |known: &&str| known.eq_ignore_ascii_case(value);
    value.is_empty()
        || HARMLESS.iter().any(|known| word(known))
        || is_replacement(value)
        || COMPILED.reference.is_match(value)
        || (numbers && COMPILED.number.is_match(value))
}

fn is_replacement(value: &str) -> bool {
    SecretKind::ALL
        .iter()
        .any(|kind| kind.replacement() == value)
}

/// Digits, symbols, or letters that no word or camelCase name would put together.
fn looks_random(value: &str) -> bool {
    let telling = |byte: u8| {
        byte.is_ascii_digit() || (byte.is_ascii_punctuation() && !b"-_./':".contains(&byte))
    };
    let vowel = |c: char| !c.is_ascii_lowercase() || "aeiouy".contains(c);
    let mixed = |run: &str| {
        let humps = run.as_bytes().windows(2);
        let humps =
            humps.filter(|pair| pair[0].is_ascii_lowercase() && pair[1].is_ascii_uppercase());
        run.len() >= 8 && run.len() < 3 * (humps.count() + 1)
    };
    value.len() > 256
        || value.bytes().any(telling)
        || value.split(vowel).any(|consonants| consonants.len() >= 7)
        || value
            .split(|c: char| !c.is_ascii_alphabetic())
            .any(|run| run.len() >= 24 || mixed(run))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pattern_compiles() {
        for pattern in COMPILED.patterns.iter().chain([
            &COMPILED.member_name,
            &COMPILED.key_body,
            &COMPILED.quote,
            &COMPILED.expression,
            &COMPILED.reference,
            &COMPILED.variable,
            &COMPILED.number,
            &COMPILED.field,
        ]) {
            LazyLock::force(pattern);
        }
    }
}
