//! A URL that is never shown: most services put the key to it into its path.

use std::fmt;
use std::str::FromStr;

use http::Uri;
use secrecy::{ExposeSecret, SecretString};

/// An `http` or `https` URL. `Debug` shows its host alone.
#[derive(Clone)]
pub struct WebhookUrl {
    url: SecretString,
    host: String,
    https: bool,
}

/// Why a text is no URL for a webhook. Holds no part of the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidWebhookUrl {
    /// Nothing, or only spaces.
    #[error("is empty; write https://host/path")]
    Empty,
    /// Not the syntax of a URL.
    #[error("is not a URL; write https://host/path, with %20 for a space")]
    Syntax,
    /// `ftp:`, or nothing before the host.
    #[error("must begin with https:// or http://")]
    Scheme,
    /// No host after the scheme.
    #[error("names no host; write https://host/path")]
    Host,
}

impl WebhookUrl {
    /// The host, without its port: all that may be shown of the URL.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Whether it is spoken to under TLS.
    #[must_use]
    pub fn is_https(&self) -> bool {
        self.https
    }

    /// The URL, for the request alone.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.url.expose_secret()
    }
}

impl FromStr for WebhookUrl {
    type Err = InvalidWebhookUrl;

    fn from_str(text: &str) -> Result<Self, InvalidWebhookUrl> {
        let text = text.trim();
        if text.is_empty() {
            return Err(InvalidWebhookUrl::Empty);
        }
        let uri: Uri = text.parse().map_err(|_| InvalidWebhookUrl::Syntax)?;
        if !matches!(uri.scheme_str(), Some("http" | "https")) {
            return Err(InvalidWebhookUrl::Scheme);
        }
        let host = uri.host().unwrap_or_default();
        if host.is_empty() {
            return Err(InvalidWebhookUrl::Host);
        }
        Ok(Self {
            host: host.to_owned(),
            https: uri.scheme_str() == Some("https"),
            url: SecretString::from(text),
        })
    }
}

impl fmt::Debug for WebhookUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WebhookUrl(of {})", self.host)
    }
}

impl PartialEq for WebhookUrl {
    fn eq(&self, other: &Self) -> bool {
        // Two values of our own configuration: no attacker measures the time.
        self.expose() == other.expose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_shows_only_the_host() {
        let url: WebhookUrl = " https://me:hunter2@hooks.example.com:8443/T0/secret?key=1\n"
            .parse()
            .expect("a URL");
        assert_eq!(url.host(), "hooks.example.com");
        assert!(url.expose().ends_with("/T0/secret?key=1"));
        assert_eq!(format!("{url:?}"), "WebhookUrl(of hooks.example.com)");
    }

    #[test]
    fn refused_url_is_not_shown() {
        use InvalidWebhookUrl as Why;
        for (text, why) in [
            (" ", Why::Empty),
            ("https://host/a b", Why::Syntax),
            ("hooks.example.com/x", Why::Syntax),
            ("ftp://secret/x", Why::Scheme),
            ("/secret", Why::Scheme),
            ("https:///secret", Why::Syntax),
            ("https://:80/secret", Why::Host),
        ] {
            let refused = text.parse::<WebhookUrl>().expect_err(text);
            assert_eq!(refused, why, "{text}");
            assert!(!refused.to_string().contains("secret"), "{text}");
        }
    }
}
