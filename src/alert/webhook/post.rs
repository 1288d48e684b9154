//! Posting.
//!
//! The URL is a secret as a rule, so nothing but its host is ever shown. The client
//! blocks, on a thread of its own.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use hmac::{Hmac, KeyInit, Mac};
use humantime::format_duration;
use secrecy::{ExposeSecret, SecretSlice};
use sha2::Sha256;
use tokio::time::{sleep, timeout};
use ureq::Agent;
use ureq::tls::{Certificate, RootCerts, TlsConfig};

use crate::clock;
use crate::model::alert::Alert;
use crate::setting::secret_file;

use super::{InvalidWebhookUrl, WebhookAddress, WebhookSettings, WebhookUrl};
use crate::alert::body;

/// `sha256=` and the HMAC of the body, in lower-case hexadecimal digits.
const SIGNATURE: &str = "X-Mcp-Bridge-Signature";
/// No pause grows beyond this, unless the first one is longer.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// How much later than its time limit a try is given up from outside: a file
/// that cannot be read in time is not the client's to notice.
const GRACE: Duration = Duration::from_secs(1);

/// Why a try failed.
#[derive(Debug)]
enum Refused {
    /// The next one may do better.
    ForNow(String),
    /// No try will.
    ForGood(String),
}

pub(super) async fn run(settings: &WebhookSettings, alert: &Alert) -> Result<String, String> {
    let mut tries = 0;
    loop {
        tries += 1;
        let why = match try_once(settings, alert).await {
            Ok(answer) => return Ok(answer),
            Err(Refused::ForGood(why)) => return Err(why),
            Err(Refused::ForNow(why)) => why,
        };
        if tries >= settings.tries {
            return Err(match tries {
                1 => why,
                _ => format!("{why} ({tries} tries)"),
            });
        }
        sleep(pause(tries, settings.backoff, fastrand::f64())).await;
    }
}

/// The pause after this number of tries; `dice` is from 0 to below 1. A quarter of
/// jitter, so that many daemons do not knock in step.
fn pause(tries: u32, backoff: Duration, dice: f64) -> Duration {
    backoff
        .saturating_mul(2_u32.saturating_pow(tries - 1))
        .min(LONGEST_PAUSE.max(backoff))
        .mul_f64(0.75 + dice / 2.0)
}

async fn try_once(settings: &WebhookSettings, alert: &Alert) -> Result<String, Refused> {
    let body = body(alert, clock::now()).map_err(Refused::ForGood)?;
    let limit = settings.timeout;
    let settings = settings.clone();
    let request = tokio::task::spawn_blocking(move || post(&settings, &body));
    match timeout(limit + GRACE, request).await {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(died)) => Err(Refused::ForNow(died.to_string())),
        Err(_) => Err(Refused::ForNow(format!(
            "no result within {}",
            format_duration(limit)
        ))),
    }
}

fn post(settings: &WebhookSettings, body: &[u8]) -> Result<String, Refused> {
    let url = match &settings.address {
        WebhookAddress::Url(url) => url.clone(),
        WebhookAddress::File(path) => url_in(path).map_err(Refused::ForGood)?,
    };
    let host = url.host();
    let agent = agent(&url, settings.timeout).map_err(Refused::ForNow)?;
    let mut request = agent
        .post(url.expose())
        .header("Content-Type", "application/json");
    if let Some(path) = &settings.secret_file {
        let key = key_in(path).map_err(Refused::ForGood)?;
        request = request.header(SIGNATURE, signature(&key, body));
    }
    let status = match request.send(body) {
        Ok(response) => response.status(),
        Err(error) => return Err(failed(host, &error, settings.timeout)),
    };
    let answer = format!("{host} answered {}", status.as_u16());
    match status.as_u16() {
        200..=299 => Ok(answer),
        300..=399 => Err(Refused::ForNow(format!(
            "{answer}, a redirect; redirects are not followed"
        ))),
        // Too slow, too early, too much: a matter of time.
        408 | 425 | 429 => Err(Refused::ForNow(answer)),
        400..=499 => Err(Refused::ForGood(answer)),
        _ => Err(Refused::ForNow(answer)),
    }
}

/// The text for an error: without anything that a client may have taken from the URL.
fn failed(host: &str, error: &ureq::Error, limit: Duration) -> Refused {
    use ureq::Error;
    let why = match error {
        Error::Timeout(_) => format!("no answer within {}", format_duration(limit)),
        Error::HostNotFound => "its host name is unknown".to_owned(),
        // Of the network or of TLS, neither of which sees more than the host.
        Error::Io(error) => error.to_string(),
        Error::Rustls(error) => error.to_string(),
        Error::Tls(why) => (*why).to_owned(),
        Error::ConnectionFailed => "it cannot be reached".to_owned(),
        Error::Protocol(_) | Error::LargeResponseHeader(..) => {
            "its answer is not valid HTTP".to_owned()
        }
        Error::InvalidProxyUrl | Error::ConnectProxyFailed(_) => {
            "the proxy of the environment refuses it".to_owned()
        }
        Error::BadUri(_) | Error::Http(_) => {
            return Refused::ForGood(format!("{host}: its URL cannot be used for a request"));
        }
        _ => "the request failed".to_owned(),
    };
    Refused::ForNow(format!("{host}: {why}"))
}

/// A client for one try: no connection outlives it, so that a retry does not
/// meet the same broken one.
fn agent(url: &WebhookUrl, limit: Duration) -> Result<Agent, String> {
    let mut config = Agent::config_builder()
        .timeout_global(Some(limit))
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .max_idle_connections(0)
        .user_agent(concat!("mcp-bridge/", env!("CARGO_PKG_VERSION")));
    if is_loopback(url.host()) {
        // The environment's proxy would look for it on its own machine.
        config = config.proxy(None);
    }
    if url.is_https() {
        config = config.tls_config(tls(url.host())?);
    }
    Ok(config.build().into())
}

fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let address: Result<std::net::IpAddr, _> = bare.parse();
    address.map_or(bare.eq_ignore_ascii_case("localhost"), |a| a.is_loopback())
}

/// The authorities that this machine trusts, read anew: they change while a
/// daemon runs.
fn tls(host: &str) -> Result<TlsConfig, String> {
    let found = rustls_native_certs::load_native_certs();
    if found.certs.is_empty() {
        return Err(format!(
            "{host}: this machine has no CA certificates; install ca-certificates"
        ));
    }
    let roots = found
        .certs
        .iter()
        .map(|certificate| Certificate::from_der(certificate).to_owned())
        .collect();
    let provider = rustls::crypto::ring::default_provider();
    Ok(TlsConfig::builder()
        .root_certs(RootCerts::Specific(Arc::new(roots)))
        .unversioned_rustls_crypto_provider(Arc::new(provider))
        .build())
}

fn signature(key: &SecretSlice<u8>, body: &[u8]) -> String {
    #[expect(clippy::expect_used, reason = "HMAC takes keys of any length")]
    let mut mac = Hmac::<Sha256>::new_from_slice(key.expose_secret()).expect("any length is a key");
    mac.update(body);
    format!("sha256={}", hex::encode(mac.finalize().into_bytes()))
}

fn url_in(path: &Path) -> Result<WebhookUrl, String> {
    let text = secret_file::text(path)?;
    text.parse()
        .map_err(|why: InvalidWebhookUrl| secret_file::named(path, &why.to_string()))
}

/// The key without the line's end that an editor leaves behind it.
fn key_in(path: &Path) -> Result<SecretSlice<u8>, String> {
    let mut key = secret_file::bytes(path)?;
    while matches!(key.last(), Some(b'\n' | b'\r')) {
        key.pop();
    }
    if key.is_empty() {
        return Err(secret_file::named(path, "is empty; write a key into it"));
    }
    Ok(SecretSlice::from(key))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_minute_with_jitter() {
        let seconds =
            |tries, backoff, dice| pause(tries, Duration::from_secs(backoff), dice).as_secs_f64();
        let grown: Vec<f64> = (1..=7).map(|tries| seconds(tries, 2, 0.5)).collect();
        assert_eq!(grown, [2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0]);
        assert_eq!(seconds(20, 300, 0.5), 300.0);
        assert_eq!((seconds(1, 4, 0.0), seconds(1, 4, 1.0)), (3.0, 5.0));
        assert_eq!(seconds(u32::MAX, 2, 0.5), 60.0);
    }

    #[test]
    fn only_loopback_is_spared_the_proxy() {
        for here in ["127.0.0.1", "127.8.8.8", "[::1]", "localhost", "LocalHost"] {
            assert!(is_loopback(here), "{here}");
        }
        for there in ["10.0.0.1", "[::2]", "localhost.example.com", "hooks"] {
            assert!(!is_loopback(there), "{there}");
        }
    }

    #[test]
    fn key_ends_at_the_end_of_its_line() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("key");
        // RFC 4231, test case 2.
        std::fs::write(&path, "Jefe\r\n").expect("written");
        let key = key_in(&path).expect("a key");
        assert_eq!(
            signature(&key, b"what do ya want for nothing?"),
            "sha256=5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        );
        std::fs::write(&path, "\n").expect("written");
        let refused = key_in(&path).expect_err("no key");
        assert!(refused.ends_with("key: is empty; write a key into it"));
        std::fs::write(&path, vec![b'x'; 70_000]).expect("written");
        assert!(key_in(&path).is_err());
    }
}
