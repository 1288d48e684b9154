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

use serde_json::Value;

use self::assignment::{Name, is_literal_secret};
use self::rules::{COMPILED, RULES};

mod assignment;
mod rules;

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
