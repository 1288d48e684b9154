//! The sorts of secret, and the word that stands in the place of each.

use std::fmt;

/// What sort of secret was taken out; the declaration order is the report order.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    serde::Serialize,
    serde::Deserialize,
    schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum SecretKind {
    /// AWS access key id, its secret, or a Bedrock API key.
    AwsKey,
    /// PEM, OpenSSH, PGP or JWK private key, complete, cut off or in base64.
    PrivateKey,
    /// Credential after the word `Bearer`.
    BearerToken,
    /// Value of a password assignment, or the password inside a URL or a command.
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
    /// Google API key, OAuth token or client secret.
    GoogleKey,
    /// npm access token.
    NpmToken,
    /// GitLab token.
    GitlabToken,
    /// Key or signature of Azure, or of a smaller cloud.
    CloudKey,
    /// Key or token of another service, known by its format.
    ServiceToken,
    /// Address that lets anyone who has it post.
    WebhookUrl,
    /// Hash of a password, as in `/etc/shadow` or an `.htpasswd` file.
    PasswordHash,
    /// Cookies of a session.
    Cookie,
    /// Token of this bridge.
    BridgeToken,
}

impl SecretKind {
    /// Every kind, in report order.
    pub const ALL: [Self; 20] = [
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
        Self::CloudKey,
        Self::ServiceToken,
        Self::WebhookUrl,
        Self::PasswordHash,
        Self::Cookie,
        Self::BridgeToken,
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
            Self::CloudKey => ("cloud_key", "CLOUD_KEY_REDACTED"),
            Self::ServiceToken => ("service_token", "SERVICE_TOKEN_REDACTED"),
            Self::WebhookUrl => ("webhook_url", "WEBHOOK_URL_REDACTED"),
            Self::PasswordHash => ("password_hash", "PASSWORD_HASH_REDACTED"),
            Self::Cookie => ("cookie", "COOKIE_REDACTED"),
            Self::BridgeToken => ("bridge_token", "BRIDGE_TOKEN_REDACTED"),
        }
    }
}

impl fmt::Display for SecretKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
