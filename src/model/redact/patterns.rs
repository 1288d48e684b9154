//! The patterns that judge a value and what stands around it, and how a pattern is
//! compiled.

use std::ops::Range;
use std::sync::LazyLock;

use regex::Regex;

use super::SecretKind;

/// A secret's place in the text, and what it is.
pub(super) type Found = (Range<usize>, SecretKind);

// Names that announce a secret. `pass` alone also counts tests, so it is weak.
macro_rules! names {
    () => {
        concat!(
            r"(?i:(?P<password>pass(?:[_-]?word|wd|[_-]?phrase|code|wort)|(?:\b|_)pwd|\bpw",
            r"|(?:db|user|admin|root|smtp|mail|mysql|pg|redis|ftp|login|sudo)[_-]?pass)",
            r"|(?P<api_key>api[_ -]?key)",
            r"|(?P<secret>secret(?:[_-]?(?:access[_-]?)?key(?:[_-]?base)?)?",
            r"|(?:access|private|encryption|signing|auth|master|pre-?shared|account)[_-]?key|\bpsk)",
            r"|(?P<token>token|credentials?)|(?P<key>(?:deploy|storage|license|webhook|service|ssh|session|client|consumer|wi-?fi|wlan",
            r"|app|application|hmac|jwt|bot|subscription|admin|write|ingest|integration|shared|crypt|cipher|aes|seed|wallet|tls|ssl|host",
            r"|openai|anthropic|datadog|dd|cohere|mistral|algolia|sentry|stripe|twilio|sendgrid|cloudflare|mailgun|pagerduty)",
            r"[_-]?key(?:[_-]?data)?)|(?P<pass>\bpass))",
            r"(?i:[_-]?(?:confirm(?:ation)?|value|old|new|prod(?:uction)?|staging|dev|test|live|backup))?"
        )
    };
}
pub(super) use names;

/// Compiled when it is first needed: most messages need none, and compiling
/// all of them takes longer than all else that `send` does.
pub(super) type Pattern = LazyLock<Regex, Box<dyn FnOnce() -> Regex + Send + Sync>>;

/// A pattern that is written down here, compiled at its first use.
pub(super) fn regex(pattern: &'static str) -> Pattern {
    LazyLock::new(Box::new(move || constant(Regex::new(pattern))))
}

#[expect(
    clippy::expect_used,
    reason = "the patterns are constants, and a test compiles them all"
)]
pub(super) fn constant<T>(compiled: Result<T, regex::Error>) -> T {
    compiled.expect("a constant pattern")
}

/// The patterns of single values, members and literals.
pub(super) struct Patterns {
    /// A text that ends with a name that announces a secret.
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
    /// The next member of `a: 1, b: 2`, after its delimiter.
    pub(super) member: Pattern,
    /// A whole value that names an algorithm, an encoding or a length.
    pub(super) algorithm: Pattern,
    /// A whole value that a test made up.
    pub(super) dummy: Pattern,
}

pub(super) static PATTERNS: LazyLock<Patterns> = LazyLock::new(|| Patterns {
    member_name: regex(concat!("(?-u)", names!(), "[0-9]?$")),
    key_headers: regex(
        r#"^(?:\s*(?:\\[nr]\s*)*(?:Proc-Type|DEK-Info|Version|Comment|Charset|Hash) ?:[^\n\\"]*)*"#,
    ),
    quote: regex(r#"^[bfruBFRUL$@]{0,2}#?(\\{0,31})(["'`]+)"#),
    expression: regex(concat!(
        r"(?-u)^(?:[$#]?\{|[$%]\(|\\[nrt]|[&*!@]*(?:[A-Za-z_$]+|[A-Za-z_][A-Za-z0-9]*_[A-Za-z0-9_]+",
        r"|(?:[A-Za-z_$][A-Za-z0-9_$]*(?:\.|::|->|\?\.))+[A-Za-z_$][A-Za-z0-9_$]*",
        r"|(?i:sha[0-9]+|base64|md5|argon2|pbkdf2))[!?]?(?:::)?[(\[<{]|[A-Za-z_][A-Za-z0-9_]*\(\))"
    )),
    reference: regex(concat!(
        r"^(?:\$\{.*\}|\$\(.*\)|\$(?:env:)?[A-Za-z_.]+|\$[A-Z_][A-Z0-9_]*|[#%]?\{.*\}|<[A-Za-z][^<>]*>|\[[A-Za-z _-]*\]",
        r"|%\([A-Za-z_]+\)s|<\|[A-Za-z_ -]{1,40}\|>|(?:%[A-Za-z_]+%?[:/@]?)+|[*•.…_?#:\\-]+|[xX]{3,}",
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
    member: regex(r#"(?-u)^[ \t]*["'`*]{0,3}[A-Za-z_][A-Za-z0-9_ .-]{0,40}["'`*]{0,3}[ \t]*[:=]"#),
    algorithm: regex(concat!(
        r"(?i-u)^(?:(?:hmac[-_]?|pbkdf2[-_]|ssha|pkcs)?sha[-_]?[0-9]{1,3}|md[2-6]|[hrep]s(?:256|384|512)|eddsa|es256k|aes[-_]?[0-9]{0,3}",
        r"|base-?(?:16|32|36|58|62|64|85)|utf-?(?:8|16|32)|uuid(?:v?[1-8])?|argon2(?:id|i|d)?|b?s?crypt[0-9]{0,2}|pbkdf2|oauth-?[12](?:[.]0)?",
        r"|ed25519|x25519|curve25519|rsa[-_]?[0-9]*|ecdsa|chacha20|poly1305|blake[23][bs]?|3des|des3|rc[2456]|2fa|mfa|totp|hotp|x509|pkcs-?[0-9]+|ipv[46]|http2?|tls1?",
        r"|null|none|nil|undefined|string|text|str|bytes|int|bool|value|field|param|arg|input|foo|bar|baz|type|item|option",
        r"|[0-9]{1,4}[-_ ]?(?:bit|byte|char|character|digit|letter|word|day|hour|min|minute|sec|second|ms|kb|mb|k|b|x|d|h|m|s)s?)",
        r"(?:url|[0-9]{1,2})?(?:[-_/+.](?:[a-z]{1,12}|[0-9]{1,4})){0,4}$"
    )),
    dummy: regex(concat!(
        r"(?i-u)^(?:(?:wrong|test|dummy|fake|example|sample|mock|invalid|bad|incorrect|some|any|not[-_]?(?:a|the)|another|other)",
        r"[-_ ]?(?:real[-_ ]?)?(?:password|passwd|pass|secret|token|key|api[-_]?key|value)?[0-9]{0,3}",
        r"|change[-_ ]?(?:me|this|it)(?:[-_ ][a-z0-9]+)*[0-9!]{0,3}|(?:my|the|your|a|insert|put|enter|add|use)[-_ ](?:[a-z]+[-_ ])*(?:password|secret|token|key|here|value)(?:[-_ ]here)?",
        r"|replace[-_ ]?(?:me|this)?(?:[-_ ][a-z]+)*|x{3,}[-x]*|todo|tbd|fixme|n/a|placeholder|[a-z-]*example[a-z-]*|foo(?:bar)?[0-9]*|lorem)$"
    )),
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pattern_compiles() {
        for pattern in [
            &PATTERNS.member_name,
            &PATTERNS.key_headers,
            &PATTERNS.quote,
            &PATTERNS.expression,
            &PATTERNS.reference,
            &PATTERNS.variable,
            &PATTERNS.number,
            &PATTERNS.field,
            &PATTERNS.member,
            &PATTERNS.algorithm,
            &PATTERNS.dummy,
        ] {
            LazyLock::force(pattern);
        }
    }
}
