//! Judging a value: is it a secret, or a word, a type, a count, a placeholder?

use super::SecretKind;
use super::patterns::PATTERNS;

/// A placeholder, a type or a state; with `numbers` also a count.
pub(super) fn is_harmless(value: &str, numbers: bool) -> bool {
    let word = value.trim_end_matches(['.', '!', '?']);
    is_placeholder(value)
        || listed(HARMLESS, word)
        || (value.len() <= 256
            && (PATTERNS.algorithm.is_match(value)
                || PATTERNS.dummy.is_match(value)
                || (numbers && PATTERNS.number.is_match(value))))
}

/// Nothing, a mask, a reference, or redacted already.
pub(super) fn is_placeholder(value: &str) -> bool {
    // None is longer than that, and a bounded look keeps time linear.
    value.is_empty()
        || is_replacement(value)
        || (value.len() <= 256 && PATTERNS.reference.is_match(value))
}

pub(super) fn is_replacement(value: &str) -> bool {
    SecretKind::ALL
        .iter()
        .any(|kind| kind.replacement() == value)
}

fn listed(words: &[&str], value: &str) -> bool {
    words.iter().any(|word| word.eq_ignore_ascii_case(value))
}

/// A caption or a rule about passwords, not one: words alone, and one of them
/// such as no passphrase has.
pub(super) fn is_sentence(value: &str) -> bool {
    if value.len() > 256 || !value.contains(' ') {
        return false;
    }
    let words = || {
        value
            .split(|c: char| c.is_whitespace() || ".,!?:;()".contains(c))
            .filter(|word| !word.is_empty())
    };
    let caption = value.starts_with(char::is_uppercase)
        && words()
            .skip(1)
            .all(|word| word.chars().all(|c| c.is_lowercase() || c == '\''))
        && words().any(|word| listed(CAPTION, word));
    caption || words().any(|word| listed(RULE, word))
}

/// Behind a name and no more than a space, or alone on the next line: letters
/// and digits as no word has them.
pub(super) fn is_spoken(value: &str) -> bool {
    let core = value.trim_end_matches(['.', ',', '!', '?', ')', ':', '*']);
    if is_common(core) {
        return true;
    }
    let letters = core.bytes().filter(u8::is_ascii_alphabetic).count();
    let digits = core.bytes().filter(u8::is_ascii_digit).count();
    let code = core.contains(|c: char| "(){}[]|\\=".contains(c))
        || core.starts_with(['-', '/', '.', '~', '<', '&', '#'])
        || core.contains("://");
    // `field2`, `reset2`: a word of code and its number.
    let stem = core.trim_end_matches(|c: char| c.is_ascii_digit());
    let numbered = core.len() - stem.len() <= 2 && listed(STEMS, stem);
    core.len() >= 6 && letters >= 2 && digits >= 1 && !code && !numbered && !is_harmless(core, true)
}

/// A password so common that it counts as one anywhere.
pub(super) fn is_common(value: &str) -> bool {
    listed(COMMON, value)
}

/// Four words or more that make no sentence, as a passphrase has them.
pub(super) fn is_phrase(value: &str) -> bool {
    let words = || value.split([' ', '-']);
    words().count() >= 4
        && words().all(|word| word.bytes().all(|byte| byte.is_ascii_lowercase()))
        // `correct` is in a passphrase that all the world knows.
        && !words().any(|word| listed(CAPTION, word) || listed(RULE, word) || listed(LINKS, word))
}

/// One word that says nothing else: behind `password:`, with nothing after it on
/// its line or the next field, that is the password.
pub(super) fn is_lone_word(value: &str, after: &str) -> bool {
    let small = value
        .strip_prefix(|c: char| c.is_ascii_uppercase())
        .unwrap_or(value);
    let word = (5..=32).contains(&value.len()) && small.bytes().all(|b| b.is_ascii_lowercase());
    let end = after.trim_start_matches(['.', '!', '*', '`', '"', '\'']);
    let end = end.trim_start_matches([' ', '\t']);
    let field = |rest: &str| PATTERNS.member.is_match(rest);
    let next = end.strip_prefix([',', ';']).is_some_and(field);
    word && (end.is_empty() || end.starts_with(['\n', '\r']) || end.starts_with("\\n") || next)
        && !listed(PROSE, value)
        && !listed(STEMS, value)
        && !is_harmless(value, false)
}

/// Behind `Bearer`: digits or symbols, or more letters than a word has.
pub(super) fn is_bearer(token: &str, named: bool) -> bool {
    let word = token.split('=').next().unwrap_or_default();
    if word.len() < 6 || is_harmless(word, true) {
        return false;
    }
    let stem = word.trim_end_matches(|c: char| c.is_ascii_digit());
    let letters = stem.bytes().all(|b| b.is_ascii_lowercase());
    // `bearer capacity2`: a word with its number.
    if letters && word.len() - stem.len() <= 2 && !named {
        return word.len() >= 16 && stem.len() >= 16;
    }
    looks_random(word)
        || (word.len() >= 16
            && word.bytes().all(|b| b.is_ascii_alphabetic())
            && !listed(PROSE, word))
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

/// Types, states and names that stand where a value would.
#[rustfmt::skip]
const HARMLESS: &[&str] = &[
    "none", "null", "nil", "undefined", "true", "false", "yes", "no", "on", "off", "self", "this",
    "string", "str", "text", "bytes", "char", "varchar", "int", "integer", "bool", "boolean", "number",
    "any", "object", "uuid", "hex", "u8", "u16", "u32", "u64", "u128", "i32", "i64", "f64", "int32", "int64",
    "password", "passwd", "passphrase", "pwd", "pass", "pw", "secret", "token", "key", "api_key", "apikey",
    "value", "input", "prompt", "required", "optional", "hidden", "masked", "redacted", "[redacted]", "omitted",
    "base64", "utf8", "utf-8", "md5", "sha1", "sha256", "sha512", "argon2", "argon2id", "pbkdf2", "oauth2", "rfc6750",
    "passwords", "secrets", "tokens", "keys", "bearer", "basic", "credential", "credentials", "vault", "header",
    "authorization", "authentication", "private", "public", "unset", "unknown", "missing", "invalid", "expired",
    "encrypted", "hashed", "plaintext", "unchanged", "changed", "rotated", "rotate", "reset", "default", "example",
    "changeme", "placeholder", "dummy",
];

/// Words that follow `password:` in a sentence or a table and end its line.
#[rustfmt::skip]
const PROSE: &[&str] = &[
    "please", "login", "begin", "slack", "field", "fields", "santa", "users", "admin", "nothing", "nobody", "everyone", "never", "always",
    "below", "above", "later", "again", "first", "second", "empty", "blank", "failed", "fails", "failure", "wrong",
    "incorrect", "correct", "valid", "match", "matches", "mismatch", "rejected", "refused", "accepted", "allowed",
    "denied", "forbidden", "deleted", "removed", "updated", "created", "generated", "provided", "given", "stored",
    "saved", "shared", "protected", "disabled", "enabled", "supported", "unsupported", "deprecated", "obsolete", "needed",
    "environment", "keyring", "keychain", "manager", "policy", "internationalization", "service", "session", "weak",
    "strong", "short", "exists", "leaked", "found", "confirmed", "pending", "write", "store", "mandatory", "config",
    "entered", "supplied", "typed", "current", "candidate", "plain", "cleartext", "getpass", "entropy", "buffer", "column",
    "charfield", "argument", "source", "target", "settings", "options", "credentials", "result", "response", "request",
    "payload", "previous", "original", "length", "confirm", "forgotten", "visible", "readonly", "nullable", "sensitive",
    "confidential", "secure", "insecure", "upper", "lower", "ditto", "same", "varies", "unlimited", "undecided",
    "inherited", "inherit", "account", "enter", "manual", "automatic", "system", "external", "internal", "local", "remote",
    "temporary", "permanent", "random", "unique", "group", "owner", "email", "phone", "username", "administrator",
];

/// Stems of numbered names in code and prose.
#[rustfmt::skip]
const STEMS: &[&str] = &[
    "field", "hash", "reset", "input", "test", "step", "version", "part", "rule", "policy", "page", "form", "box", "label",
    "column", "type", "check", "manager", "prompt", "entry", "item", "option", "case", "level", "param", "arg", "value",
    "var", "name", "user", "line", "row", "section", "chapter", "phase", "stage", "sprint", "ticket", "issue", "node",
    "host", "server", "worker", "task", "capacity", "build",
];

/// The first of every list of stolen passwords, as far as they are no plain words.
#[rustfmt::skip]
const COMMON: &[&str] = &[
    "letmein", "qwerty", "qwertz", "azerty", "qwertyuiop", "asdfgh", "asdfghjkl", "zxcvbnm", "iloveyou", "swordfish",
    "trustno1", "opensesame", "passw0rd", "p@ssw0rd", "p@ssword", "password1", "password123", "admin123", "abc123",
    "123456", "12345678", "123456789", "hunter2", "correcthorsebatterystaple", "superman", "batman", "sunshine", "princess",
    "ilovegod", "welcome1", "toor", "letmein123", "dragon", "monkey", "football", "baseball", "starwars", "trustnoone", "tigger",
    "bigdog", "cowboys", "yankees", "corvette", "mustang", "whatever1", "qazwsx", "qwe123", "1q2w3e4r", "zaq12wsx", "passwort",
    "passwort1", "geheim", "hallo123", "schatz", "motdepasse", "azertyuiop", "contrasena", "foobar123", "s3cr3t", "secret123",
];

/// Words of captions: `Mot de passe`, `Your password`, `Forgot the password`.
#[rustfmt::skip]
const CAPTION: &[&str] = &[
    "the", "a", "an", "your", "my", "new", "old", "current", "confirm", "repeat", "again", "forgot", "forgotten", "lost", "show", "hide",
    "reset", "change", "is", "was", "not", "no", "wrong", "of", "for", "to", "and", "or", "with", "password", "passwords", "secret", "token",
    "de", "du", "la", "le", "passe", "oublié", "contraseña", "nueva", "olvidada", "passwort", "vergessen", "neues", "bestätigen",
    "wachtwoord", "senha", "nova", "hasło", "пароль", "parola", "lösenord", "salasana", "adgangskode", "nuova", "key", "api",
];

/// Words that join sentences; no passphrase is made of them.
#[rustfmt::skip]
const LINKS: &[&str] = &[
    "this", "that", "these", "those", "there", "here", "it's", "they", "you", "who", "which", "when", "where", "what", "how", "see",
    "are", "were", "been", "has", "have", "had", "will", "would", "may", "might", "can", "does", "did", "only", "use", "used", "using",
    "from", "into", "inside", "without", "within", "between", "than", "then", "but", "because", "before", "after", "until", "while",
    "vault", "words", "word", "phrase", "passphrase", "stored", "kept", "known", "written", "random", "generated", "ask", "read",
];

/// Words of rules: `must be >= 8`.
#[rustfmt::skip]
const RULE: &[&str] = &[
    "must", "should", "cannot", "can't", "required", "requires", "invalid", "incorrect", "least", "most", "characters",
    "minimum", "maximum", "please", "enter", "choose", "mismatch", "match", "forgotten", "digits", "letters", "blank",
];
