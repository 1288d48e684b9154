//! The rules: what each looks for, and those that know a secret by its shape.

use std::ops::Range;
use std::sync::LazyLock;

use regex::{Regex, RegexSet};

use super::SecretKind;
use super::assignment::{assignments, elements, is_harmless, is_placeholder, looks_random};

/// A secret's place in the text, and what it is.
pub(super) type Found = (Range<usize>, SecretKind);

type Finder = fn(&Regex, SecretKind, &str) -> Vec<Found>;

pub(super) struct Rule {
    pub(super) kind: SecretKind,
    pub(super) find: Finder,
    /// Cheap sign that the rule may apply; one scan looks for all of them.
    pub(super) trigger: &'static str,
    pub(super) pattern: &'static str,
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
            r"(?i:(?P<password>pass(?:[_-]?word|wd|[_-]?phrase|code|wort)|(?:\b|_)pwd",
            r"|(?:db|user|admin|root|smtp|mail|mysql|pg|redis|ftp|login|sudo)[_-]?pass)",
            r"|(?P<api_key>api[_ -]?key)",
            r"|(?P<secret>secret(?:[_-]?(?:access[_-]?)?key(?:[_-]?base)?)?",
            r"|(?:access|private|encryption|signing|auth|master)[_-]?key)",
            r"|(?P<token>token)|(?P<pass>\bpass))",
            r"(?i:[_-]?(?:confirm(?:ation)?|value|old|new|prod(?:uction)?|staging|dev|test|live|backup))?"
        )
    };
}

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

// In order: each rule sees what the rules above it left.
#[rustfmt::skip]
pub(super) const RULES: [Rule; 15] = [
    rule(SecretKind::PrivateKey, private_keys, "BEGIN ",
        "-{4,5} ?(BEGIN|END) [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)? ?-{4,5}"),
    // A `/` may stand in a password; behind a number it begins a port's path.
    rule(SecretKind::Password, url_passwords, "://",
        r#"://[^\s:/@?#\[\]"'<>`]*:(?:([^\s/?#"'<>`]+)|([0-9]*[^0-9\s/?#@"'<>`][^\s@"'<>`]*))@"#),
    rule(SecretKind::BearerToken, bearer_tokens, r"(?i-u)bearer(?:[ \t:=]|%20)",
        r"(?i-u)(?:bearer(?:[ \t:=]|%20)+)+([a-z0-9._~+/-][a-z0-9._~+/=-]*)"),
    // The longest formats first: chance may put a short one inside them.
    rule(SecretKind::Jwt, formats, "eyJ", token!("eyJ[A-Za-z0-9_-]{6,}(?:[.][A-Za-z0-9_-]+){2,4}")),
    rule(SecretKind::AnthropicKey, formats, "sk-ant-", token!("sk-ant-[A-Za-z0-9_-]{16,}")),
    rule(SecretKind::OpenaiKey, formats, "sk-", token!(
        "sk-(?:(?:proj|svcacct|admin|None)-[A-Za-z0-9_-]{20,}",
        "|(?:[a-z0-9]{2,8}-){0,2}[A-Za-z0-9]{20}[A-Za-z0-9_-]*)")),
    rule(SecretKind::GithubToken, formats, "gh[pousr]_|github_pat_", token!(
        "(?:gh[pousr]_[A-Za-z0-9]{30}|github_pat_[A-Za-z0-9]{20})[A-Za-z0-9_]*")),
    rule(SecretKind::SlackToken, formats, "xox[a-z]|xapp-|hooks[.]slack", token!(
        "(?:xox[a-z](?:[.]xox[a-z])?|xapp)-[A-Za-z0-9-]{10,}",
        "|(?:https?://)?hooks[.]slack[.]com/[a-z]+/[A-Za-z0-9/_-]{8,}")),
    rule(SecretKind::AwsKey, formats, "AKIA|ASIA", token!("(?:AKIA|ASIA)[0-9A-Z]{16,}")),
    rule(SecretKind::GoogleKey, formats, "AIza", token!("AIza[A-Za-z0-9_-]{35,}")),
    rule(SecretKind::NpmToken, formats, "npm_", token!("npm_[A-Za-z0-9]{36,}")),
    rule(SecretKind::GitlabToken, formats, "gl(?:pat|ptt|dt|rt|cbt)-", token!(
        "gl(?:pat|ptt|dt|rt|cbt)-[A-Za-z0-9_-]{20,}(?:[.][A-Za-z0-9]+)*")),
    // The kind of the last three is that of the name that they find.
    rule(SecretKind::Secret, elements, "</",
        concat!("(?i-u)<[a-z0-9_:.-]*", names!(), "[0-9]?>(?P<value>(?u:[^<>]+))</")),
    rule(SecretKind::Secret, assignments, "--",
        concat!("(?i-u)--[a-z0-9_-]*", names!(), r"[0-9]?[ \t]+[\[(<]*")),
    rule(SecretKind::Secret, assignments, concat!("(?-u)", names!()), ASSIGNMENT),
];

const fn rule(
    kind: SecretKind,
    find: Finder,
    trigger: &'static str,
    pattern: &'static str,
) -> Rule {
    Rule {
        kind,
        find,
        trigger,
        pattern,
    }
}

/// Compiled when it is first needed: most messages need none, and compiling
/// all of them takes longer than all else that `send` does.
pub(super) type Pattern = LazyLock<Regex, Box<dyn FnOnce() -> Regex + Send + Sync>>;

pub(super) struct Compiled {
    pub(super) triggers: RegexSet,
    pub(super) patterns: Vec<Pattern>,
    pub(super) member_name: Pattern,
    /// The header lines of a key block.
    pub(super) key_headers: Pattern,
    /// A string literal's beginning: prefix, escapes, quotes.
    pub(super) quote: Pattern,
    /// Unquoted code: a substitution, a call, an index, a generic type.
    pub(super) expression: Pattern,
    /// A whole value that only masks a secret or says where it is.
    pub(super) reference: Pattern,
    /// A whole value that is another variable.
    pub(super) variable: Pattern,
    /// A whole value that is a count, a range, a version or a number's type.
    pub(super) number: Pattern,
    /// The next field of `a=1,b=2`, after its delimiter.
    pub(super) field: Pattern,
}

pub(super) static COMPILED: LazyLock<Compiled> = LazyLock::new(|| {
    let regex = |pattern: &'static str| -> Pattern {
        LazyLock::new(Box::new(move || constant(Regex::new(pattern))))
    };
    Compiled {
        triggers: constant(RegexSet::new(RULES.iter().map(|rule| rule.trigger))),
        patterns: RULES.iter().map(|rule| regex(rule.pattern)).collect(),
        member_name: regex(concat!("(?-u)", names!(), "[0-9]?$")),
        key_headers: regex(
            r#"^(?:\s*(?:\\[nr]\s*)*(?:Proc-Type|DEK-Info|Version|Comment|Charset|Hash) ?:[^\n\\"]*)*"#,
        ),
        quote: regex(r#"^[bfruBFRUL$@]{0,2}#?(\\{0,31})(["'`]+)"#),
        expression: regex(concat!(
            r"(?-u)^(?:[$#]?\{|[$%]\(|\\[nrt]|[&*!@]*(?:[A-Za-z_$]+|[A-Za-z_][A-Za-z0-9]*_[A-Za-z0-9_]+",
            r"|(?:[A-Za-z_$][A-Za-z0-9_$]*(?:\.|::|->|\?\.))+[A-Za-z_$][A-Za-z0-9_$]*",
            r"|(?i:sha[0-9]+|base64|md5|argon2|pbkdf2))[!?]?(?:::)?[(\[<{])"
        )),
        reference: regex(concat!(
            r"^(?:\$\{.*\}|\$\(.*\)|\$(?:env:)?[A-Za-z_.]+|\$[A-Z_][A-Z0-9_]*|[#%]?\{.*\}|<[A-Za-z][^<>]*>|\[[A-Za-z _-]*\]",
            r"|%\([A-Za-z_]+\)s|(?:%[A-Za-z_]+%?[:/@]?)+|[*•.…_?#:\\-]+|[xX]{3,}",
            r"|(?i:your)[ _-][A-Za-z _-]+|[A-Z]+(?:_[A-Z]+)*_(?:PASSWORD|PASSWD|PASS|PWD|SECRET|TOKEN|KEY)",
            r"|(?:op|vault|arn|ssm|env|file|keyring):[A-Za-z/][A-Za-z0-9_./:@#-]*",
            r"|(?:~|\.{0,2})(?:/[A-Za-z_.-]+[0-9]{0,4}[A-Za-z_.-]*){2,}/?)$"
        )),
        variable: regex(concat!(
            r"(?-u)^[&*!@$]*(?:(?:[A-Za-z_$]+(?:\.|::|->|\?\.))+[A-Za-z_$]+|[a-z]+(?:Password|Secret|Token|Key)",
            r"|(?:(?:[A-Za-z_$][A-Za-z0-9_$]*(?:\.|::|->|\?\.))+[A-Za-z0-9_$]*|(?:[A-Za-z]+[_-])*)",
            names!(),
            r"(?:[_-][A-Za-z]+)*)$"
        )),
        number: regex(concat!(
            r"(?-u)^(?:[<>=~v]*[0-9]{1,3}(?:[-+.x%][0-9]{0,3})*(?:[ui][0-9]{1,3})?",
            r"|(?:u?int|[uif])(?:8|16|32|64|128)(?:_t)?)$"
        )),
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

fn formats(pattern: &Regex, kind: SecretKind, text: &str) -> Vec<Found> {
    let tokens = pattern.captures_iter(text).filter_map(|found| found.get(1));
    tokens.map(|token| (token.range(), kind)).collect()
}

fn url_passwords(pattern: &Regex, kind: SecretKind, text: &str) -> Vec<Found> {
    let passwords = pattern
        .captures_iter(text)
        .filter_map(|found| found.get(1).or_else(|| found.get(2)));
    passwords
        .filter(|password| !is_placeholder(password.as_str()))
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
                    // No body is read twice: that keeps time linear.
                    let limit = next.map_or(text.len(), |(begin, _)| begin.start());
                    marker.end() + key_body(&text[marker.end()..limit])?
                }
            };
            Some((marker.start()..end, kind))
        })
        .collect()
}

/// How far the headers and base64 lines behind a `BEGIN` go, if there are any.
fn key_body(rest: &str) -> Option<usize> {
    let separator = |c: char| c.is_whitespace() || "\"'`,>|#*\\-".contains(c);
    let base64 = |byte: &u8| byte.is_ascii_alphanumeric() || b"+/=".contains(byte);
    let mut at = COMPILED
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
        for pattern in COMPILED.patterns.iter().chain([
            &COMPILED.member_name,
            &COMPILED.key_headers,
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
