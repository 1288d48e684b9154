//! The way into opencode against a stand-in for its server, which runs in this process.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::prompt::likeliest;
use super::server::{Server, Session};
use super::{Work, work_at};
use crate::liveness;
use crate::model::process::ProcessId;

/// Longer than an answer takes, and not long to wait where there is none.
const SOON: Duration = Duration::from_secs(3);

/// What was asked of it: the path, what stood for a password, and the body.
type Asked = Arc<Mutex<Vec<(String, String, Value)>>>;

struct Opencode {
    at: SocketAddr,
    asked: Asked,
}

impl Opencode {
    async fn that_answers(answer: impl Fn(&str) -> (u16, Value) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
        let at = listener.local_addr().expect("an address");
        let asked = Asked::default();
        let (all, answer) = (asked.clone(), Arc::new(answer));
        tokio::spawn(async move {
            let (stream, _) = listener.accept().await.expect("a client");
            let serve = service_fn(move |request: Request<Incoming>| {
                let (all, answer) = (all.clone(), answer.clone());
                async move {
                    let path = request.uri().to_string();
                    let secret = request.headers().get("authorization");
                    let secret = secret.map_or("", |secret| secret.to_str().expect("text"));
                    let secret = secret.to_owned();
                    let body = request.into_body().collect().await.expect("a body");
                    let body = serde_json::from_slice(&body.to_bytes()).unwrap_or_default();
                    all.lock()
                        .expect("a list")
                        .push((path.clone(), secret, body));
                    let (status, said) = match path.as_str() {
                        "/global/health" => match answer(&path) {
                            (200, Value::Null) => (200, json!({ "healthy": true, "version": "1" })),
                            other => other,
                        },
                        path => answer(path),
                    };
                    let mut response = Response::new(Full::new(Bytes::from(said.to_string())));
                    *response.status_mut() = StatusCode::from_u16(status).expect("a status");
                    Ok::<_, Infallible>(response)
                }
            });
            let _ = http1::Builder::new()
                .serve_connection(TokioIo::new(stream), serve)
                .await;
        });
        Self { at, asked }
    }

    async fn open(&self) -> Result<Server, String> {
        Server::at(self.at, own(), "/home/me/a b", None, SOON).await
    }

    async fn refusal(&self) -> String {
        self.open().await.err().expect("no server")
    }

    fn asked(&self) -> Vec<(String, String, Value)> {
        self.asked.lock().expect("a list").clone()
    }
}

fn own() -> ProcessId {
    liveness::own().expect("a process")
}

fn session(id: &str, updated: i64) -> Value {
    json!({ "id": id, "time": { "created": 1, "updated": updated }, "title": "t" })
}

fn read(sessions: Value) -> Vec<Session> {
    serde_json::from_value(sessions).expect("sessions")
}

fn well(_: &str) -> (u16, Value) {
    (200, Value::Null)
}

#[tokio::test]
async fn text_begins_a_turn_in_the_chosen_mode() {
    let opencode = Opencode::that_answers(well).await;
    let mut server = opencode.open().await.expect("a server");
    let chosen = json!([{ "id": "ses_1", "agent": "plan",
        "model": { "id": "large", "providerID": "vendor", "variant": "high" },
        "time": { "updated": 7 }, "unheard of": 1 }]);
    server
        .prompt(&read(chosen)[0], "2 unread messages")
        .await
        .expect("taken");
    let (path, _, body) = opencode.asked().pop().expect("a question");
    assert_eq!(
        path,
        "/session/ses_1/prompt_async?directory=%2Fhome%2Fme%2Fa%20b"
    );
    assert_eq!(
        body,
        json!({ "agent": "plan", "variant": "high",
            "model": { "modelID": "large", "providerID": "vendor" },
            "parts": [{ "type": "text", "text": "2 unread messages" }] })
    );
}

#[tokio::test]
async fn a_session_is_no_part_of_a_path() {
    let opencode = Opencode::that_answers(well).await;
    let mut server = opencode.open().await.expect("a server");
    for odd in ["../../config", "ses_1?x=", "ses 1", "", &"a".repeat(65)] {
        let odd = read(json!([session(odd, 1)]));
        let why = server.prompt(&odd[0], "text").await.expect_err("refused");
        assert!(why.contains("invalid session id"), "{why}");
    }
    assert_eq!(opencode.asked().len(), 1, "it was greeted alone");
}

#[tokio::test]
async fn server_reports_which_sessions_work() {
    let opencode = Opencode::that_answers(|path| match path {
        "/session/status?directory=%2Fhome%2Fme%2Fa%20b" => {
            let status = json!({ "ses_busy": { "type": "busy" }, "ses_idle": { "type": "idle" },
                "ses_retry": { "type": "retry", "attempt": 2 } });
            (200, status)
        }
        _ => well(path),
    })
    .await;
    let mut server = opencode.open().await.expect("a server");
    let busy = server.busy().await.expect("its sessions");
    assert_eq!(busy, ["ses_busy", "ses_retry"].map(str::to_owned).into());
}

#[tokio::test]
async fn server_reports_whether_it_asks_its_user() {
    for (permissions, questions, asks) in [
        (json!([]), json!([]), false),
        (
            json!([{ "id": "per_1", "sessionID": "ses_1" }]),
            json!([]),
            true,
        ),
        (json!([]), json!([{ "id": "que_1", "unheard of": 1 }]), true),
    ] {
        let opencode = Opencode::that_answers(move |path| match path {
            "/permission?directory=%2Fhome%2Fme%2Fa%20b" => (200, permissions.clone()),
            "/question?directory=%2Fhome%2Fme%2Fa%20b" => (200, questions.clone()),
            "/session/status?directory=%2Fhome%2Fme%2Fa%20b" => {
                (200, json!({ "ses_1": { "type": "busy" } }))
            }
            _ => well(path),
        })
        .await;
        let mut server = opencode.open().await.expect("a server");
        assert_eq!(server.asks().await, Ok(asks));
        let work = match asks {
            true => Work::Asking,
            false => Work::Working,
        };
        assert_eq!(work_at(&mut server).await, Ok(work));
    }
    // An older one has no such questions, and works all the same.
    let opencode = Opencode::that_answers(|path| match path {
        "/session/status?directory=%2Fhome%2Fme%2Fa%20b" => {
            (200, json!({ "ses_1": { "type": "busy" } }))
        }
        "/global/health" => well(path),
        _ => (404, Value::Null),
    })
    .await;
    let mut server = opencode.open().await.expect("a server");
    assert!(server.asks().await.is_err());
    assert_eq!(work_at(&mut server).await, Ok(Work::Working));
}

#[test]
fn the_session_that_was_used_last_is_woken() {
    let mut helper = session("ses_helper", 90);
    helper["parentID"] = "ses_old".into();
    let mut away = session("ses_away", 80);
    away["time"]["archived"] = 85.into();
    let all = || {
        let each = [
            session("ses_old", 10),
            session("ses_new", 30),
            session("ses_one", 20),
        ];
        let each = each.into_iter().chain([helper.clone(), away.clone()]);
        read(each.collect())
    };
    let woken = |threads: &[&str], since| {
        let threads: Vec<_> = threads.iter().map(|&one| one.to_owned()).collect();
        likeliest(all(), &threads, since).map(|session| session.id)
    };
    assert_eq!(woken(&[], 0).as_deref(), Some("ses_new"));
    assert_eq!(
        woken(&["ses_gone", "ses_one"], 0).as_deref(),
        Some("ses_one")
    );
    assert_eq!(woken(&["ses_helper"], 0).as_deref(), Some("ses_new"));
    // An earlier client's.
    assert_eq!(woken(&["ses_old"], 20).as_deref(), Some("ses_new"));
    assert_eq!(woken(&[], 31), None);
}

#[tokio::test]
async fn password_is_sent_and_another_one_is_named() {
    let opencode = Opencode::that_answers(well).await;
    let secret = HeaderValue::from_static("Basic b3BlbmNvZGU6c2VjcmV0");
    let server = Server::at(opencode.at, own(), "/", Some(secret), SOON).await;
    let _ = server.expect("a server").busy().await;
    let sent: Vec<_> = opencode.asked().into_iter().map(|asked| asked.1).collect();
    // Not to the first that answers.
    assert_eq!(sent, ["", "Basic b3BlbmNvZGU6c2VjcmV0"]);
    let opencode = Opencode::that_answers(|_| (401, Value::Null)).await;
    let mut server = opencode.open().await.expect("a server");
    let why = server.busy().await.expect_err("refused");
    assert!(why.contains("OPENCODE_SERVER_PASSWORD"), "{why}");
}

#[tokio::test]
async fn refusal_and_garbled_answer_are_reported() {
    let opencode = Opencode::that_answers(|path| match path {
        "/global/health" => well(path),
        path if path.starts_with("/session?") => (500, json!({ "message": "secret" })),
        _ => (200, json!([1])),
    })
    .await;
    let mut server = opencode.open().await.expect("a server");
    let why = server.sessions().await.expect_err("refused");
    assert_eq!(why, "opencode refuses /session: 500");
    let why = server.busy().await.expect_err("garbage");
    assert!(why.contains("unknown format"), "{why}");
    // Another program of the client's process, at another port.
    let other = Opencode::that_answers(|_| (200, json!({ "hello": 1 }))).await;
    let why = other.refusal().await;
    assert!(why.contains("unknown format"), "{why}");
    let endless = Opencode::that_answers(|_| (200, "x".repeat(5 << 20).into())).await;
    let why = endless.refusal().await;
    assert!(why.contains("length limit exceeded"), "{why}");
}

#[tokio::test]
async fn another_process_at_the_port_gets_nothing() {
    let opencode = Opencode::that_answers(well).await;
    let mut child = tokio::process::Command::new("sleep")
        .arg("60")
        .kill_on_drop(true)
        .spawn()
        .expect("a process");
    let pid = child.id().and_then(|pid| i32::try_from(pid).ok());
    let client = liveness::of(pid.expect("a number")).expect("a process");
    let secret = Some(HeaderValue::from_static("Basic secret"));
    let found = Server::at(opencode.at, client, "/home/me", secret, SOON).await;
    let why = found.err().expect("a stranger");
    assert!(why.contains("another process answers"), "{why}");
    let heard = ("/global/health".into(), String::new(), Value::Null);
    assert_eq!(opencode.asked(), [heard]);
    // Nor is a port looked for that the client does not listen at.
    let why = Server::of(client, "/", SOON).await.err().expect("none");
    assert!(why.contains("opencode --port"), "{why}");
    child.kill().await.expect("ended");
}

#[tokio::test]
async fn stale_or_silent_port_holds_nothing_up() {
    let why = async |at| {
        Server::at(at, own(), "/", None, SOON)
            .await
            .err()
            .expect("none")
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let at = listener.local_addr().expect("an address");
    // It accepts nothing, and then does, and never reads.
    assert!(why(at).await.contains("in time"));
    let keeps = tokio::spawn(async move {
        let mut all = Vec::new();
        for _ in 0..2 {
            all.push(listener.accept().await.expect("a connection"));
        }
        (listener, all)
    });
    assert!(why(at).await.contains("in time"));
    drop(keeps.await.expect("connections"));
    assert!(why(at).await.contains("cannot be reached"));
}

#[tokio::test]
async fn only_a_server_of_this_machine_is_asked() {
    for at in ["192.0.2.1:4096", "[2001:db8::1]:4096", "169.254.1.1:4096"] {
        let at = at.parse().expect("an address");
        let why = Server::at(at, own(), "/", None, SOON)
            .await
            .err()
            .expect("none");
        assert!(why.contains("not only on this machine"), "{why}");
    }
}
