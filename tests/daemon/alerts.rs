//! Whom an alert tells, and what comes of it when they do not listen: against
//! a real HTTP server of the test's own and real commands.

#![expect(
    clippy::expect_used,
    reason = "a test that cannot make its files has nothing to say"
)]

use std::path::Path;
use std::time::Duration;

use crate::common::again;
use crate::common::http::{Answer, PATIENCE, Server};
use hmac::{Hmac, KeyInit, Mac};
use jiff::Timestamp;
use mcp_bridge::alert::{Failure, deliver};
use mcp_bridge::config::{
    AlertAdapterSettings, AlertSettings, ExecSettings, WebhookAddress, WebhookSettings,
};
use mcp_bridge::model::alert::{Alert, AlertKind, Edge};
use serde_json::Value;
use tempfile::TempDir;
use tokio::time::timeout;

/// Stands in the path of every URL here.
const SECRET: &str = "hunter2hunter2";

fn alert() -> Alert {
    Alert {
        id: "0123456789abcdef".into(),
        kind: AlertKind::Lost,
        edge: Edge::Raised,
        subject: "backend-1/b".into(),
        session: Some("conv_0123456789abcdef/b".parse().expect("a session")),
        task: Some(17),
        text: "silent for 20 seconds".into(),
        since: Timestamp::UNIX_EPOCH,
        at: Timestamp::UNIX_EPOCH,
        reminders: 0,
        daemon: "host-1:orchestrator".into(),
    }
}

fn to(adapters: Vec<AlertAdapterSettings>) -> AlertSettings {
    AlertSettings {
        adapters,
        remind_after: Duration::from_hours(1),
        remind_max: Duration::from_hours(24),
        no_leader_after: Duration::from_secs(60),
    }
}

/// A hook that gives up only when this machine is beyond help.
fn hook(server: &Server) -> WebhookSettings {
    let url = format!("http://127.0.0.1:{}/{SECRET}", server.port());
    WebhookSettings {
        address: WebhookAddress::Url(url.parse().expect("a URL")),
        secret_file: None,
        not_handed_over: Vec::new(),
        timeout: PATIENCE,
        tries: 3,
        backoff: Duration::from_millis(1),
    }
}

fn sh(script: &str) -> ExecSettings {
    ExecSettings {
        command: ["sh", "-c", script].map(String::from).to_vec(),
        timeout: PATIENCE,
        output_limit: 4096,
    }
}

async fn post(settings: &WebhookSettings) -> Result<(), String> {
    only(AlertAdapterSettings::Webhook(settings.clone())).await
}

async fn run(settings: &ExecSettings) -> Result<(), String> {
    only(AlertAdapterSettings::Exec(settings.clone())).await
}

/// Tells one adapter; returns why it failed.
async fn only(adapter: AlertAdapterSettings) -> Result<(), String> {
    let name = adapter.name();
    let settings = to(vec![adapter]);
    let told = timeout(PATIENCE * 2, deliver(&settings, &alert())).await;
    told.expect("an end").map_err(|failures| {
        let [Failure { adapter, why }] = failures.as_slice() else {
            panic!("one failure, not {failures:?}");
        };
        assert_eq!(*adapter, name);
        assert!(!why.contains(SECRET) && !why.contains('\n'), "{why}");
        why.clone()
    })
}

#[tokio::test]
async fn a_webhook_gets_the_alert_signed() {
    let dir = TempDir::new().expect("a directory");
    let key = dir.path().join("key");
    std::fs::write(&key, "a key\n").expect("written");
    let server = Server::start(vec![Answer::Status(204)]);
    let signed = WebhookSettings {
        secret_file: Some(key),
        ..hook(&server)
    };
    post(&signed).await.expect("told");

    let [request] = &server.requests()[..] else {
        panic!("one request");
    };
    assert_eq!(request.line, format!("POST /{SECRET} HTTP/1.1"));
    assert_eq!(request.header("content-type"), Some("application/json"));
    let body: Value = serde_json::from_slice(&request.body).expect("JSON");
    for (name, value) in [
        ("event", "alert"),
        ("id", "0123456789abcdef"),
        ("kind", "lost"),
        ("edge", "raised"),
        ("severity", "error"),
        ("subject", "backend-1/b"),
        ("conversation", "conv_0123456789abcdef"),
        ("session", "b"),
        ("text", "silent for 20 seconds"),
    ] {
        assert_eq!(body[name], value, "{name}");
    }
    assert_eq!(body["task"], 17);
    let sent_at = body["sent_at"].as_str().expect("in what is signed");
    sent_at.parse::<Timestamp>().expect("a time");

    let verify = |body: &[u8], key: &str| {
        let given = request.header("x-mcp-bridge-signature").expect("signed");
        let digits = given.strip_prefix("sha256=").expect("its kind");
        let mut mac = Hmac::<sha2::Sha256>::new_from_slice(key.as_bytes()).expect("a key");
        mac.update(body);
        mac.verify_slice(&hex::decode(digits).expect("hexadecimal"))
    };
    verify(&request.body, "a key").expect("the signature of the body");
    verify(&request.body, "another key").expect_err("another key");
    let later = String::from_utf8_lossy(&request.body).replace(sent_at, "2099-01-01T00:00:00Z");
    verify(later.as_bytes(), "a key").expect_err("another time");
}

#[tokio::test]
async fn missing_key_means_no_signature() {
    let dir = TempDir::new().expect("a directory");
    let file = dir.path().join("webhook.url");
    let server = Server::start(vec![Answer::Status(200)]);
    let settings = WebhookSettings {
        address: WebhookAddress::File(file.clone()),
        ..hook(&server)
    };
    let why = post(&settings).await.expect_err("no file yet");
    assert!(why.starts_with(&file.display().to_string()), "{why}");
    std::fs::write(&file, format!("ftp://{SECRET}\n")).expect("written");
    let why = post(&settings).await.expect_err("no URL of ours");
    assert!(
        why.ends_with("must begin with https:// or http://"),
        "{why}"
    );
    assert!(server.requests().is_empty());

    let url = format!("http://127.0.0.1:{}/{SECRET}\n", server.port());
    std::fs::write(&file, url).expect("written");
    post(&settings).await.expect("told");
    let requests = server.requests();
    assert_eq!(requests[0].header("x-mcp-bridge-signature"), None);
}

#[tokio::test]
async fn server_that_recovers_gets_the_alert() {
    let server = Server::start(vec![
        Answer::Status(500),
        Answer::Status(429),
        Answer::Status(200),
    ]);
    post(&hook(&server)).await.expect("told at the third try");
    let requests = server.requests();
    assert_eq!(requests.len(), 3);
    let id = |n: usize| -> Value {
        serde_json::from_slice::<Value>(&requests[n].body).expect("JSON")["id"].clone()
    };
    assert_eq!(id(0), id(2), "the same alert");
}

#[tokio::test]
async fn server_that_stays_down_is_given_up_by_name() {
    let server = Server::start(vec![Answer::Status(500); 9]);
    let why = post(&hook(&server)).await.expect_err("never told");
    assert_eq!(why, "127.0.0.1 answered 500 (3 tries)");
    assert_eq!(server.requests().len(), 3);
}

#[tokio::test]
async fn a_refusal_is_not_repeated() {
    for (status, tries) in [(400, 1), (404, 1), (410, 1), (408, 2), (425, 2), (503, 2)] {
        let server = Server::start(vec![Answer::Status(status); 9]);
        let settings = WebhookSettings {
            tries: 2,
            ..hook(&server)
        };
        let why = post(&settings).await.expect_err("never told");
        let said = format!("127.0.0.1 answered {status}");
        assert!(why.starts_with(&said), "{why}");
        assert_eq!(server.requests().len(), tries, "{status}");
    }
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let elsewhere = Server::start(vec![Answer::Status(200); 9]);
    for status in [301, 302, 307, 308] {
        let location = format!("http://127.0.0.1:{}/{SECRET}", elsewhere.port());
        let server = Server::start(vec![Answer::Redirect(status, location)]);
        let settings = WebhookSettings {
            tries: 1,
            ..hook(&server)
        };
        let why = post(&settings).await.expect_err("not told");
        assert_eq!(
            why,
            format!("127.0.0.1 answered {status}, a redirect; redirects are not followed")
        );
        assert_eq!(server.requests().len(), 1);
    }
    assert!(elsewhere.requests().is_empty());
}

/// Silence, and an answer that comes byte by byte for ever.
#[tokio::test]
async fn server_that_hangs_is_left_at_the_time_limit() {
    for answer in [Answer::Silence, Answer::Drip] {
        let server = Server::start(vec![answer.clone(), answer]);
        let settings = WebhookSettings {
            timeout: Duration::from_millis(300),
            tries: 2,
            ..hook(&server)
        };
        let why = post(&settings).await.expect_err("no answer");
        assert_eq!(why, "127.0.0.1: no answer within 300ms (2 tries)");
        assert_eq!(server.requests().len(), 2);
    }
}

#[tokio::test]
async fn unreachable_server_is_reported_in_words() {
    let server = Server::start(Vec::new());
    let settings = hook(&server);
    drop(server);
    let why = post(&settings).await.expect_err("no server");
    assert!(
        why.starts_with("127.0.0.1: ") && why.ends_with("(3 tries)"),
        "{why}"
    );

    // Not TLS at the other end.
    let server = Server::start(vec![Answer::Status(200)]);
    let url = format!("https://localhost:{}/{SECRET}", server.port());
    let settings = WebhookSettings {
        address: WebhookAddress::Url(url.parse().expect("a URL")),
        tries: 1,
        ..hook(&server)
    };
    let why = post(&settings).await.expect_err("no TLS there");
    assert!(why.starts_with("localhost: "), "{why}");
    assert!(server.requests().is_empty(), "in the clear");
}

#[tokio::test]
async fn command_gets_the_alert_on_its_input() {
    let dir = TempDir::new().expect("a directory");
    let path = |name: &str| dir.path().join(name).display().to_string();
    let script = format!(
        "cat > {}; env > {}; echo \"$0 $@\" > {}",
        path("in"),
        path("env"),
        path("args")
    );
    run(&sh(&script)).await.expect("told");
    let read = |name: &str| std::fs::read_to_string(path(name)).expect("written");
    let input = read("in");
    assert!(input.ends_with("}\n") && input.lines().count() == 1);
    let json: Value = serde_json::from_str(&input).expect("JSON");
    assert_eq!(json["kind"], "lost");
    assert_eq!(json["text"], "silent for 20 seconds");
    let environment = read("env");
    for line in [
        "MCP_BRIDGE_ALERT_ID=0123456789abcdef",
        "MCP_BRIDGE_ALERT_KIND=lost",
        "MCP_BRIDGE_ALERT_EDGE=raised",
        "MCP_BRIDGE_ALERT_SEVERITY=error",
        "MCP_BRIDGE_ALERT_SUBJECT=backend-1/b",
        "MCP_BRIDGE_ALERT_CONVERSATION=conv_0123456789abcdef",
        "MCP_BRIDGE_ALERT_SESSION=b",
        "MCP_BRIDGE_ALERT_TASK=17",
    ] {
        assert!(environment.lines().any(|one| one == line), "{line}");
    }
    assert!(!environment.contains("silent for"), "{environment}");
    assert_eq!(read("args"), "sh \n", "nothing in its arguments");
}

#[tokio::test]
async fn failing_command_is_reported_in_words() {
    let why = run(&sh("echo no pager >&2; exit 3")).await;
    assert_eq!(
        why.expect_err("status 3"),
        "the command failed: exit status: 3; it said: no pager"
    );

    let why = run(&sh("yes | head -c 3000000; exit 3")).await;
    let why = why.expect_err("status 3");
    assert!(why.len() < 700, "{} bytes", why.len());

    // A flood alone is no failure.
    run(&sh("yes | head -c 3000000")).await.expect("told");

    let hangs = ExecSettings {
        timeout: Duration::from_millis(300),
        ..sh("sleep 1000")
    };
    assert_eq!(
        run(&hangs).await.expect_err("a hang"),
        "the command did not end within 300ms and was killed"
    );

    let absent = ExecSettings {
        command: vec!["/nowhere/page-me".into()],
        ..sh("")
    };
    assert_eq!(
        run(&absent).await.expect_err("no command"),
        "the command could not be started: `/nowhere/page-me` was not found"
    );
}

#[tokio::test]
async fn hanging_adapter_holds_up_no_other() {
    let dir = TempDir::new().expect("a directory");
    let told = dir.path().join("told");
    let server = Server::start(vec![Answer::Silence]);
    let webhook = WebhookSettings {
        tries: 1,
        ..hook(&server)
    };
    let settings = to(vec![
        AlertAdapterSettings::Webhook(webhook),
        AlertAdapterSettings::Exec(sh(&format!(
            "cat > {}.new; mv {0}.new {0}; exit 7",
            told.display()
        ))),
    ]);
    let delivery = tokio::spawn(async move { deliver(&settings, &alert()).await });
    wait_for(&told).await;
    assert!(!delivery.is_finished(), "the webhook still hangs");

    // It lets go: both have failed, each for its own reason.
    drop(server);
    let failures = timeout(PATIENCE * 2, delivery).await.expect("an end");
    let failures = failures.expect("no panic").expect_err("two failures");
    let names: Vec<&str> = failures.iter().map(|failure| failure.adapter).collect();
    assert_eq!(names, ["webhook", "exec"]);
    assert!(failures[0].why.starts_with("127.0.0.1: "), "{failures:?}");
    assert!(failures[1].why.contains("exit status: 7"), "{failures:?}");
}

async fn wait_for(path: &Path) {
    let exists = async {
        while !path.exists() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, exists).await.expect("told in time");
}

#[tokio::test]
async fn journal_gets_the_alert_without_any_adapter() {
    deliver(&to(Vec::new()), &alert()).await.expect("told");
}

/// The log of a process that delivers with everything switched on: the client
/// would write the URL into it.
#[test]
fn no_log_level_shows_a_url_or_key() {
    const CHILD: &str = "MCP_BRIDGE_TEST_ALERT_LOG";
    if let Some(port) = std::env::var_os(CHILD) {
        deliver_with_everything_logged(&port.to_string_lossy());
        return;
    }
    let server = Server::start(vec![Answer::Status(400)]);
    let output = again::itself(module_path!(), "no_log_level_shows_a_url_or_key")
        .env(CHILD, server.port().to_string())
        .env_remove("JOURNAL_STREAM")
        .output()
        .expect("this program again");
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{log}");
    assert_eq!(server.requests().len(), 1, "{log}");
    assert!(
        log.contains("lost: backend-1/b: silent for 20 seconds; "),
        "{log}"
    );
    assert!(log.contains("event=\"alert-raised\""), "{log}");
    assert!(log.contains("session=conv_0123456789abcdef/b"), "{log}");
    assert!(log.contains("a record of the other kind"), "{log}");
    assert!(!log.contains(SECRET), "{log}");
    assert!(!log.contains("a key of the test"), "{log}");
}

fn deliver_with_everything_logged(port: &str) {
    let _logging = mcp_bridge::logging::start("trace", "worker").expect("a log");
    // The client's records come the way of the crate `log`, as this one does.
    log::trace!(target: "other", "a record of the other kind");
    let dir = TempDir::new().expect("a directory");
    let key = dir.path().join("key");
    std::fs::write(&key, "a key of the test").expect("written");
    let url = format!("http://127.0.0.1:{port}/{SECRET}");
    let settings = to(vec![AlertAdapterSettings::Webhook(WebhookSettings {
        address: WebhookAddress::Url(url.parse().expect("a URL")),
        secret_file: Some(key),
        not_handed_over: Vec::new(),
        timeout: PATIENCE,
        tries: 1,
        backoff: Duration::from_millis(1),
    })]);
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let failures = runtime.block_on(deliver(&settings, &alert()));
    assert_eq!(failures.expect_err("400").len(), 1);
}
