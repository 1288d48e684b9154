//! Adapter `webhook`: the alert as JSON, posted to a URL, signed if there is a
//! key.

mod post;
mod url;

use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;

use super::AlertAdapter;
use crate::model::alert::Alert;
use crate::setting::Value::{self, Number, Text};
use crate::setting::{
    AdapterTable, Findings, Key, Limits, Needs, Range, RawDuration, Section, key,
};
use crate::setting::{limits, millis, mins, range, secs};
pub use url::{InvalidWebhookUrl, WebhookUrl};

const TIMEOUT: Limits = limits(secs(10), millis(100), secs(60));
const TRIES: Range = range(5, 1, 20);
const BACKOFF: Limits = limits(secs(2), millis(100), mins(10));

/// `[alert.webhook]`.
#[derive(Debug, Clone, PartialEq)]
pub struct WebhookSettings {
    /// Where to.
    pub address: WebhookAddress,
    /// The file with the key that signs, an absolute path, read at each alert;
    /// `None` signs nothing.
    pub secret_file: Option<PathBuf>,
    /// Those of its files that the service manager, which hands over such, has
    /// not handed over.
    pub not_handed_over: Vec<PathBuf>,
    /// After which one try has failed, from the look-up of the name to the
    /// answer, 100 ms to 60 s.
    pub timeout: Duration,
    /// How often it is tried in all, 1 to 20.
    pub tries: u32,
    /// Before the second try, 100 ms to 10 min; doubles, with jitter.
    pub backoff: Duration,
}

/// Where a webhook's URL stands.
#[derive(Debug, Clone, PartialEq)]
pub enum WebhookAddress {
    /// In the configuration.
    Url(WebhookUrl),
    /// In this file, an absolute path, read at each alert.
    File(PathBuf),
}

/// `[alert.webhook]` as it stands.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct RawWebhook {
    url: Option<String>,
    url_file: Option<String>,
    secret_file: Option<String>,
    timeout: Option<RawDuration>,
    tries: Option<i64>,
    backoff: Option<RawDuration>,
}

impl AdapterTable for RawWebhook {
    type Settings = WebhookSettings;

    const KEYS: &'static [Key] = &[
            key(
                "alert.webhook.url",
                Text(""),
                "URL that gets the alerts: `https://` or `http://`; logs show only its host",
            )
            .such_as(r#""https://hooks.example.com/T0/B0""#),
            key(
                "alert.webhook.url_file",
                Text(""),
                "a file with the URL, instead of `url`; a relative path works as for `session.credentials`",
            )
            .such_as(r#""webhook.url""#),
            key(
                "alert.webhook.secret_file",
                Text(""),
                "a file with the key that signs what is sent; a relative path works as for `session.credentials`",
            )
            .or("no signature")
            .such_as(r#""webhook.key""#),
            key(
                "alert.webhook.timeout",
                Value::Duration(TIMEOUT),
                "time limit of one attempt, from name lookup to answer",
            ),
            key(
                "alert.webhook.tries",
                Number(TRIES),
                "number of attempts",
            ),
            key(
                "alert.webhook.backoff",
                Value::Duration(BACKOFF),
                "pause before the second attempt; doubles up to a minute, with a quarter of jitter",
            ),
        ];

    const REMEDY: &'static str =
        r#"add [alert.webhook] with url_file = "webhook.url" or url = "https://host/path""#;

    fn read(table: &Section<'_, Self>, found: &mut Findings) -> Option<WebhookSettings> {
        let timeout = table.duration(found, "timeout", TIMEOUT, |raw| raw.timeout);
        let tries = table.number(found, "tries", TRIES, |raw| raw.tries);
        let backoff = table.duration(found, "backoff", BACKOFF, |raw| raw.backoff);
        let mut not_handed_over = Vec::new();
        let mut file = |key: &str, get: fn(&RawWebhook) -> Option<&str>| {
            let (name, at) = table.pick(key, get);
            let name = name?;
            if name.is_empty() {
                found.invalid(at, "is empty; name a file, or remove the key");
                return None;
            }
            let path = table.dirs().resolve(name);
            if table.dirs().not_handed_over(name, &path) {
                not_handed_over.push(path.clone());
            }
            Some(path)
        };
        let secret_file = file("secret_file", |raw| raw.secret_file.as_deref());
        let url_file = file("url_file", |raw| raw.url_file.as_deref());
        let (url, at) = table.pick("url", |raw| raw.url.as_deref());
        let address = match (url, url_file) {
            (None, None) => return None,
            (Some(_), Some(_)) => {
                found.invalid(at, "both `url` and `url_file` are set; keep one of them");
                return None;
            }
            (None, Some(path)) => WebhookAddress::File(path),
            // What is wrong with it is said without it: it may hold a key.
            (Some(url), None) => match url.parse::<WebhookUrl>() {
                Ok(url) => WebhookAddress::Url(url),
                Err(why) => {
                    found.invalid(at, why.to_string());
                    return None;
                }
            },
        };
        Some(WebhookSettings {
            address,
            secret_file,
            not_handed_over,
            timeout,
            tries,
            backoff,
        })
    }
}

#[async_trait]
impl AlertAdapter for WebhookSettings {
    async fn run(&self, alert: &Alert) -> Result<String, String> {
        post::run(self, alert).await
    }

    fn not_handed_over(&self) -> &[PathBuf] {
        &self.not_handed_over
    }

    /// Its files and its host are looked at by name.
    fn needs(&self) -> Needs<'_> {
        Needs::Nothing
    }
}
