//! opencode's server: an HTTP interface for programs, in the process that its sessions
//! run in, where its user started it with one. It says which sessions there are and
//! whether they work, and takes a text into one. The shapes are those of 1.18.33, and a
//! client with other ones is one that cannot be asked.
//!
//! It is found by the sockets of the client's process. Before the kernel says that this
//! very process holds the other end of the connection, it is only asked for its state,
//! and gets nothing.

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use http::{HeaderValue, Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_util::task::AbortOnDropHandle;

use super::sockets;
use crate::model::process::ProcessId;

/// How long one question may take, where there is time: it was seen to answer nothing for
/// many seconds, at the first prompt after its start.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

/// The same where a wake was claimed, which is not to be held for long.
pub(super) const IMPATIENCE: Duration = Duration::from_secs(5);

/// Bytes of one answer at most.
const MOST: usize = 4 << 20;

/// Addresses of one process that are tried at most: it may listen for other reasons.
const MOST_ADDRESSES: usize = 16;

/// Sessions that are looked at, the last used first.
const MOST_SESSIONS: usize = 50;

/// In which opencode itself looks for what its server asks of programs. It hands its
/// environment on to the servers that it starts.
const PASSWORD: &str = "OPENCODE_SERVER_PASSWORD";
const USER: &str = "OPENCODE_SERVER_USERNAME";

/// A connection to the server that a client is.
pub(in crate::clients) struct Server {
    sender: SendRequest<Full<Bytes>>,
    #[expect(dead_code, reason = "held for its drop")]
    connection: AbortOnDropHandle<()>,
    host: HeaderValue,
    secret: Option<HeaderValue>,
    /// The directory whose sessions are meant, as it stands in a query.
    directory: String,
    /// How long one question may take.
    patience: Duration,
}

/// A conversation of the client with its user.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Session {
    pub(super) id: String,
    /// That of which it is a helper.
    #[serde(default, rename = "parentID")]
    parent: Option<String>,
    /// How its user made it work last.
    #[serde(default)]
    agent: Option<String>,
    #[serde(default)]
    model: Option<Model>,
    time: Times,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Model {
    id: String,
    #[serde(rename = "providerID")]
    provider: String,
    #[serde(default)]
    variant: Option<String>,
}

/// In milliseconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
struct Times {
    updated: i64,
    #[serde(default)]
    archived: Option<i64>,
}

impl Session {
    /// Whether its user has it, and used it since then.
    pub(super) fn is_used_since(&self, millis: i64) -> bool {
        self.parent.is_none() && self.time.archived.is_none() && self.time.updated >= millis
    }

    /// When it was used last.
    pub(super) fn used(&self) -> i64 {
        self.time.updated
    }
}

impl Server {
    /// That of the client with this process, for sessions in this directory.
    ///
    /// # Errors
    /// Why there is none, in plain words.
    pub(super) async fn of(
        client: ProcessId,
        directory: &str,
        patience: Duration,
    ) -> Result<Self, String> {
        let listening = sockets::listening(client)?;
        if listening.is_empty() {
            return Err(
                "this opencode has no server: start it with `opencode --port 0`, \
                 and a password in OPENCODE_SERVER_PASSWORD"
                    .into(),
            );
        }
        let secret = secret(std::env::var(PASSWORD).ok(), std::env::var(USER).ok())?;
        let mut why = String::new();
        for at in listening.into_iter().take(MOST_ADDRESSES) {
            match Self::at(at, client, directory, secret.clone(), patience).await {
                Ok(server) => return Ok(server),
                Err(other) => why = other,
            }
        }
        Err(why)
    }

    /// The same, for the directory in which the client started this program.
    ///
    /// # Errors
    /// Why there is none, in plain words.
    pub(super) async fn here(client: ProcessId, patience: Duration) -> Result<Self, String> {
        let directory = std::env::current_dir().map_err(|error| error.to_string())?;
        let directory = directory
            .to_str()
            .ok_or("the directory's name is not UTF-8")?;
        Self::of(client, directory, patience).await
    }

    pub(super) async fn at(
        at: SocketAddr,
        client: ProcessId,
        directory: &str,
        secret: Option<HeaderValue>,
        patience: Duration,
    ) -> Result<Self, String> {
        let at = reachable(at).ok_or_else(|| {
            format!("opencode's server listens at {at}, not only on this machine")
        })?;
        let made = async {
            let reach = |error| format!("opencode's server at {at} cannot be reached: {error}");
            let stream = TcpStream::connect(at).await.map_err(reach)?;
            let ours = stream.local_addr().map_err(reach)?;
            let made = http1::handshake(TokioIo::new(stream)).await;
            let (sender, connection) = made.map_err(|error| gone(&error))?;
            let connection = AbortOnDropHandle::new(tokio::spawn(async move {
                // How it ends its requests tell.
                let _ = connection.await;
            }));
            let host = HeaderValue::try_from(at.to_string()).map_err(|error| error.to_string())?;
            let directory = encoded(directory);
            let mut server = Self {
                sender,
                connection,
                host,
                secret: None,
                directory,
                patience,
            };
            // The kernel was seen to give it no connection before something is said there.
            server.greet().await?;
            if !sockets::holds(client, ours, at) {
                return Err(format!("another process answers at {at}"));
            }
            server.secret = secret;
            Ok(server)
        };
        in_time(patience, made).await
    }

    /// Sends only what every process may read: no password, no directory, no text.
    async fn greet(&mut self) -> Result<(), String> {
        #[derive(Deserialize)]
        struct Answer {
            healthy: bool,
        }
        let path = "/global/health";
        match self.send(Method::GET, path, None).await? {
            // With a password, the next question says whether it is opencode's.
            (StatusCode::UNAUTHORIZED, _) => Ok(()),
            (status, answer) => match read(path, status, &answer)? {
                Answer { healthy: true } => Ok(()),
                Answer { healthy: false } => {
                    Err("opencode's server reports that it does not work".into())
                }
            },
        }
    }

    /// The sessions of the directory, the last used first.
    ///
    /// # Errors
    /// Why it does not say, in plain words.
    pub(super) async fn sessions(&mut self) -> Result<Vec<Session>, String> {
        let path = format!(
            "/session?directory={}&roots=true&limit={MOST_SESSIONS}",
            self.directory
        );
        in_time(self.patience, self.ask(&path)).await
    }

    /// The sessions of the directory that work, or wait for their user within their work;
    /// helpers of theirs, too.
    ///
    /// # Errors
    /// Why it does not say, in plain words.
    pub(super) async fn busy(&mut self) -> Result<HashSet<String>, String> {
        #[derive(Deserialize)]
        struct Status {
            r#type: String,
        }
        let path = format!("/session/status?directory={}", self.directory);
        // One that does nothing is not mentioned.
        let all: HashMap<String, Status> = in_time(self.patience, self.ask(&path)).await?;
        let busy = all
            .into_iter()
            .filter(|(_, status)| status.r#type != "idle");
        Ok(busy.map(|(session, _)| session).collect())
    }

    /// Whether a session of the directory waits for its user's permission or answer; helpers
    /// of sessions, too.
    ///
    /// # Errors
    /// Why it does not say, in plain words.
    pub(super) async fn asks(&mut self) -> Result<bool, String> {
        for kind in ["permission", "question"] {
            let path = format!("/{kind}?directory={}", self.directory);
            let open: Vec<IgnoredAny> = in_time(self.patience, self.ask(&path)).await?;
            if !open.is_empty() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Begins a turn of a session with a text, by the model and in the mode that its user
    /// chose last: opencode would take its default ones otherwise. A server that does not
    /// answer may have taken it.
    ///
    /// # Errors
    /// Why not, in plain words.
    pub(super) async fn prompt(&mut self, session: &Session, text: &str) -> Result<(), String> {
        if !is_plain(&session.id) {
            return Err("opencode reports an invalid session id".into());
        }
        let mut body = json!({ "parts": [{ "type": "text", "text": text }] });
        if let Some(agent) = &session.agent {
            body["agent"] = agent.as_str().into();
        }
        if let Some(model) = &session.model {
            body["model"] = json!({ "providerID": model.provider, "modelID": model.id });
            let variant = model.variant.as_deref();
            if let Some(variant) = variant.filter(|variant| *variant != "default") {
                body["variant"] = variant.into();
            }
        }
        let path = format!(
            "/session/{}/prompt_async?directory={}",
            session.id, self.directory
        );
        let sent = self.send(Method::POST, &path, Some(&body));
        match tokio::time::timeout(IMPATIENCE, sent).await {
            Ok(answered) => {
                let (status, _) = answered?;
                accepted(&path, status)
            }
            Err(_) => Ok(()),
        }
    }

    async fn ask<T: DeserializeOwned>(&mut self, path: &str) -> Result<T, String> {
        let (status, answer) = self.send(Method::GET, path, None).await?;
        read(path, status, &answer)
    }

    async fn send(
        &mut self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<(StatusCode, Bytes), String> {
        let mut request = Request::builder().method(method).uri(path);
        if let Some(headers) = request.headers_mut() {
            headers.insert(HOST, self.host.clone());
            if body.is_some() {
                headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            }
            if let Some(secret) = &self.secret {
                headers.insert(AUTHORIZATION, secret.clone());
            }
        }
        let body = body.map_or_else(Bytes::new, |body| body.to_string().into());
        let request = request.body(Full::new(body));
        let request = request.map_err(|error| format!("opencode cannot be asked: {error}"))?;
        let answer = self.sender.send_request(request).await;
        let answer = answer.map_err(|error| gone(&error))?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), MOST).collect().await;
        let body = body.map_err(|error| format!("opencode's server: {error}"))?;
        Ok((status, body.to_bytes()))
    }
}

fn read<T: DeserializeOwned>(path: &str, status: StatusCode, answer: &[u8]) -> Result<T, String> {
    accepted(path, status)?;
    serde_json::from_slice(answer).map_err(|_| {
        format!(
            "the answer of opencode to {} has an unknown format",
            name(path)
        )
    })
}

fn accepted(path: &str, status: StatusCode) -> Result<(), String> {
    match status {
        status if status.is_success() => Ok(()),
        StatusCode::UNAUTHORIZED => Err(format!(
            "opencode's server expects another password than {PASSWORD} in the environment that opencode gave this program"
        )),
        status => Err(format!(
            "opencode refuses {}: {}",
            name(path),
            status.as_u16()
        )),
    }
}

fn gone(error: &hyper::Error) -> String {
    format!("opencode's server does not answer: {error}")
}

/// How a server that listens there is reached without leaving this machine.
fn reachable(at: SocketAddr) -> Option<SocketAddr> {
    let ip = match at.ip() {
        ip if ip.is_loopback() => ip,
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        _ => return None,
    };
    Some(SocketAddr::new(ip, at.port()))
}

/// The header that its server requires, if any.
fn secret(password: Option<String>, user: Option<String>) -> Result<Option<HeaderValue>, String> {
    let Some(password) = password.filter(|password| !password.is_empty()) else {
        return Ok(None);
    };
    let user = user.unwrap_or_else(|| "opencode".into());
    let pair = STANDARD.encode(format!("{user}:{password}"));
    let value = HeaderValue::try_from(format!("Basic {pair}"));
    let mut value = value.map_err(|_| format!("{PASSWORD} cannot be sent"))?;
    value.set_sensitive(true);
    Ok(Some(value))
}

/// A question without what it is about, for words.
fn name(path: &str) -> &str {
    path.split('?').next().unwrap_or(path)
}

/// Whether this can stand in a path as it is.
fn is_plain(id: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
    (4..=64).contains(&id.len()) && id.chars().all(plain)
}

/// A text as it stands in a query.
fn encoded(text: &str) -> String {
    let each = text.bytes().map(|byte| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
            char::from(byte).to_string()
        }
        byte => format!("%{byte:02X}"),
    });
    each.collect()
}

async fn in_time<T>(
    patience: Duration,
    work: impl Future<Output = Result<T, String>>,
) -> Result<T, String> {
    match tokio::time::timeout(patience, work).await {
        Ok(done) => done,
        Err(_) => Err("opencode's server does not answer in time".into()),
    }
}
