//! Programs and daemons of different versions: an older or newer daemon is played by a
//! script on a socket.

#![expect(
    clippy::expect_used,
    reason = "a test that cannot set up its case has nothing to say"
)]

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use crate::common::client::Client;
use crate::common::scratch::{Ran, Scratch, wait_until};
use serde_json::{Value, json};

/// What a daemon answers at a path, to a body: a status and a body.
type Answers = Arc<dyn Fn(&str, &Value) -> (u16, Value) + Send + Sync>;

/// A daemon that gives prepared answers, at both its sockets, until the test is over.
struct Played {
    scratch: Scratch,
    socket: PathBuf,
}

impl Played {
    fn new(answer: impl Fn(&str) -> (u16, Value) + Send + Sync + 'static) -> Self {
        Self::reading(move |path, _| answer(path))
    }

    /// One whose answers depend on what it is asked.
    fn reading(answer: impl Fn(&str, &Value) -> (u16, Value) + Send + Sync + 'static) -> Self {
        let scratch = Scratch::new();
        let directory = scratch.path("daemon");
        std::fs::create_dir(&directory).expect("made");
        let private = std::fs::Permissions::from_mode(0o700);
        std::fs::set_permissions(&directory, private).expect("private");
        let answers: Answers = Arc::new(answer);
        for name in ["api.sock", "admin.sock"] {
            let listener = UnixListener::bind(directory.join(name)).expect("bound");
            let answers = Arc::clone(&answers);
            // It ends with this process.
            std::thread::spawn(move || {
                for stream in listener.incoming().flatten() {
                    let answers = Arc::clone(&answers);
                    std::thread::spawn(move || serve(stream, &answers));
                }
            });
        }
        let socket = directory.join("api.sock");
        Self { scratch, socket }
    }

    fn run(&self, args: &[&str]) -> Ran {
        let mut command = self.scratch.bridge(args);
        command.env(
            "MCP_BRIDGE_STORE",
            format!("unix:{}", self.socket.display()),
        );
        self.scratch.outcome(command)
    }
}

fn serve(mut stream: UnixStream, answers: &Answers) {
    let mut reader = BufReader::new(stream.try_clone().expect("the same"));
    loop {
        let (mut path, mut length) = (String::new(), 0);
        loop {
            let mut line = String::new();
            if !reader.read_line(&mut line).is_ok_and(|read| read > 0) {
                return;
            }
            let line = line.trim_end().to_lowercase();
            if path.is_empty() {
                line.split(' ')
                    .nth(1)
                    .unwrap_or_default()
                    .clone_into(&mut path);
            } else if let Some(given) = line.strip_prefix("content-length: ") {
                length = given.parse().expect("a number");
            } else if line.is_empty() {
                break;
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).expect("a body");
        let asked = serde_json::from_slice(&body).unwrap_or_default();
        let (status, answer) = answers(&path, &asked);
        let text = answer.to_string();
        let head = format!(
            "HTTP/1.1 {status} So\r\ncontent-length: {}\r\n\r\n",
            text.len()
        );
        // A client that has gone is the test's to notice.
        let _ = stream.write_all(format!("{head}{text}").as_bytes());
    }
}

/// The answer for what a daemon does not know.
fn no_operation(path: &str) -> (u16, Value) {
    let title = format!("there is no operation GET {path}");
    let problem = json!({
        "type": "urn:mcp-bridge:problem:no-operation", "title": title, "status": 404,
        "detail": title, "class": "input", "error": { "door": { "no-operation": path } },
    });
    (404, problem)
}

fn problem(class: &str, detail: &str, error: &Value) -> (u16, Value) {
    let problem = json!({
        "type": "urn:mcp-bridge:problem:of-tomorrow", "title": "no", "status": 409,
        "detail": detail, "class": class, "error": error,
    });
    (409, problem)
}

/// Who answers, as the first version says it.
fn health(version: &str) -> Value {
    json!({ "version": version, "store": "/srv/bridge.db", "pid": 1 })
}

#[test]
fn daemon_without_an_operation_is_said_to_be_older() {
    let daemon = Played::new(|path| match path {
        "/v1/health" => (200, health("0.0.9")),
        _ => no_operation(path),
    });
    for (args, what) in [
        (&["status"][..], "status"),
        (&["events"], "events"),
        (&["events", "--follow"], "events/follow"),
        (&["task", "list"], "tasks"),
    ] {
        let ran = daemon.run(args);
        // On any fault, there is no status.
        let code = if what == "status" { 69 } else { 78 };
        assert_eq!(ran.code, Some(code), "{args:?}: {ran:?}");
        let said = format!("does not know `{what}`");
        assert!(
            ran.err.contains("has version 0.0.9") && ran.err.contains(&said),
            "{args:?}: {ran:?}"
        );
        assert!(ran.err.contains("restart"), "{args:?}: {ran:?}");
    }
}

#[test]
fn refusal_of_a_new_member_names_the_version() {
    let daemon = Played::new(|path| match path {
        "/v1/health" => (200, health("0.0.9")),
        "/v1/conversations" => (200, json!([])),
        _ => problem(
            "input",
            "the request is malformed: unknown field `since`",
            &json!({ "door": { "malformed": "unknown field `since`" } }),
        ),
    });
    let ran = daemon.run(&["events"]);
    assert_eq!(ran.code, Some(78), "{ran:?}");
    assert!(
        ran.err.contains("0.0.9") && ran.err.contains("`since`"),
        "{ran:?}"
    );
}

#[test]
fn another_version_of_the_api_is_refused_in_words() {
    let only_second = Played::new(|path| match path {
        "/v2/health" => (200, json!({})),
        _ => (404, json!({})),
    });
    let beyond = Played::new(|path| match path {
        "/v1/health" => {
            let mut health = health("3.1.0");
            health["api"] = json!({ "from": 2, "to": 3 });
            (200, health)
        }
        _ => no_operation(path),
    });
    for (daemon, words) in [
        (only_second, "404"),
        (beyond, "is version 3.1.0 and supports 2 to 3"),
    ] {
        for args in [&["status"][..], &["health"], &["events"]] {
            let ran = daemon.run(args);
            let said = format!("{}{}", ran.out, ran.err);
            assert!(
                said.contains("does not support version 1 of the API"),
                "{args:?}: {ran:?}"
            );
            assert!(said.contains(words), "{args:?}: {ran:?}");
            assert!(ran.code != Some(0), "{args:?}: {ran:?}");
        }
    }
}

#[test]
fn unknown_error_is_shown_with_its_detail_and_code() {
    for (class, code) in [("retry", 75), ("denied", 77), ("of-tomorrow", 1)] {
        let daemon = Played::new(move |path| match path {
            "/v1/health" => (200, health("9.9.9")),
            _ => problem(
                class,
                "the moon is in the way\n  wait for it",
                &json!({ "moon": { "phase": [1, 2] } }),
            ),
        });
        let ran = daemon.run(&["events"]);
        assert_eq!(ran.code, Some(code), "{ran:?}");
        assert!(ran.err.contains("error: the moon is in the way"), "{ran:?}");
        assert!(ran.err.contains("wait for it"), "{ran:?}");
    }
}

#[test]
fn unknown_words_do_not_hide_the_rest() {
    let session = |word: &str| {
        json!({
            "conversation": "conv_0123456789abcdef", "session": "b", "label": "work",
            "role": "worker", "unread": 1, "tasks": 0, "turn": word, "standing": word,
            "heartbeat": {
                "seq": 1, "at": "2026-01-31T12:00:00Z", "ttl_seconds": 5, "proof": word,
                "released": false,
            },
        })
    };
    let alert = |word: &str| {
        json!({
            "id": 1, "kind": word, "subject": "the moon", "text": "full", "raised_by": "x",
            "raised_at": "2026-01-31T12:00:00Z", "reminders": 0, "told": word,
        })
    };
    let task = |id: i64, state: &str| {
        json!({
            "id": id, "role": "worker", "title": "paint", "body": "", "files": [],
            "state": state, "fence": 1, "attempts": 1, "failures": 0,
            "created_at": "2026-01-31T12:00:00Z", "changed_at": "2026-01-31T12:00:00Z",
        })
    };
    let daemon = Played::new(move |path| match path {
        "/v1/health" => (200, health("9.9.9")),
        "/v1/status" => {
            let status = json!({
                "answering": health("9.9.9"), "at": "2026-01-31T12:00:00Z",
                "sessions": [session("levitating"), session("inside")], "daemons": [],
                "lease": null, "tasks": { "floating": 2, "queued": 1 },
                "orders": [{
                    "kind": "levitate", "subject": "fleet",
                    "since": "2026-01-31T12:00:00Z", "until": "2026-01-31T13:00:00Z",
                }],
                "alerts": {
                    "in_24h": 1, "open": 1, "overdue": 0, "leaderless": false,
                    "last": alert("full-moon"),
                },
            });
            (200, status)
        }
        "/v1/alerts/open" | "/v1/alerts" => (200, json!([alert("full-moon"), alert("lost")])),
        "/v1/tasks" => (200, json!([task(1, "floating"), task(2, "queued")])),
        "/v1/tasks/counts" => (200, json!({ "floating": 1, "queued": 1 })),
        "/v1/conversations" => (200, json!([])),
        _ => no_operation(path),
    });
    let page = daemon.run(&["status"]).ok().out;
    assert!(
        page.contains("1 queued") && page.contains("the moon"),
        "{page}"
    );
    assert!(page.contains("an order of an unknown kind"), "{page}");
    let status = daemon.run(&["status", "--json"]).ok().json();
    assert_eq!(
        status["sessions"].as_array().map(Vec::len),
        Some(2),
        "{status}"
    );
    assert_eq!(status["sessions"][0]["turn"], "unknown");
    assert_eq!(status["controls"][0]["kind"], "unknown");
    let tasks = daemon.run(&["task", "list", "--json", "--all"]).ok().json();
    let states: Vec<_> = tasks
        .as_array()
        .expect("a list")
        .iter()
        .map(|t| &t["state"])
        .collect();
    assert_eq!(states, ["unknown", "queued"]);
    let alerts = daemon.run(&["alert", "list"]).ok().out;
    assert!(
        alerts.contains("unknown") && alerts.contains("lost"),
        "{alerts}"
    );
}

const THREAD: &str = "01a2267a-8e3e-7301-ad4e-fe56114537d8";

/// Codex's app server, played by this process, at `socket`: one idle thread is loaded.
fn play_codex(socket: &std::path::Path) {
    use tokio_tungstenite::tungstenite::{Message, accept};

    std::fs::create_dir_all(socket.parent().expect("a directory")).expect("made");
    let listener = UnixListener::bind(socket).expect("bound");
    // It ends with this process.
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let Ok(mut stream) = accept(stream) else {
                continue;
            };
            while let Ok(Message::Text(text)) = stream.read() {
                let asked: Value = serde_json::from_str(&text).expect("JSON");
                let result = match asked["method"].as_str().expect("a method") {
                    "thread/loaded/list" => json!({ "data": [THREAD] }),
                    "thread/read" => json!({ "thread": { "status": { "type": "idle" } } }),
                    _ => json!({}),
                };
                let answer = json!({ "id": asked["id"], "result": result });
                // It hears no more than it wanted to.
                let _ = stream.send(Message::text(answer.to_string()));
            }
        }
    });
}

/// Lets a Codex be woken, of which this process is the app server and a script the command,
/// through a daemon that knows these ways alone. Returns the ways that were claimed.
fn woken_through(version: &'static str, known: &'static [&'static str]) -> Vec<String> {
    let claims = Arc::new(Mutex::new(Vec::new()));
    let all = Arc::clone(&claims);
    let daemon = Played::reading(move |path, asked| match path {
        "/v1/health" => (200, health(version)),
        "/v1/unread" => {
            let mail = json!({ "oldest_unread": 1, "newest_unread": 1, "unread": 1,
                               "acted_at": null, "in_turn": false });
            (200, json!([mail]))
        }
        "/v1/agent/register" => (200, json!({ "pid": null })),
        "/v1/wake/claim" => {
            let way = asked["way"].as_str().expect("a way").to_owned();
            let is_known = known.contains(&way.as_str());
            all.lock().expect("a list").push(way.clone());
            if is_known {
                return (200, json!({ "id": 1, "claim": 1 }));
            }
            let why = format!("unknown variant `{way}`, expected one of `hook`, `claude-inbox`");
            problem("input", &why, &json!({ "door": { "malformed": why } }))
        }
        "/v1/wake/end" => (200, json!(true)),
        _ => no_operation(path),
    });
    let scratch = &daemon.scratch;
    let credentials = scratch.path("work.b.toml");
    let session = format!(
        "[[session]]\nconversation = \"conv_0123456789abcdef\"\nsession = \"b\"\ntoken = \"{}\"\n",
        "0".repeat(64)
    );
    std::fs::write(&credentials, session).expect("written");
    let private = std::fs::Permissions::from_mode(0o600);
    std::fs::set_permissions(&credentials, private).expect("private");
    let script = scratch.path("bin/codex");
    std::fs::create_dir(scratch.path("bin")).expect("made");
    let woken = scratch.path("woken");
    let text = format!("#!/bin/sh\necho \"$@\" > {}\n", woken.display());
    std::fs::write(&script, text).expect("written");
    let program = std::fs::Permissions::from_mode(0o700);
    std::fs::set_permissions(&script, program).expect("executable");
    play_codex(&scratch.path(".codex/app-server-control/app-server-control.sock"));

    let mut command = scratch.bridge(&["mcp"]);
    command
        .env(
            "MCP_BRIDGE_STORE",
            format!("unix:{}", daemon.socket.display()),
        )
        .env("MCP_BRIDGE_CREDENTIALS", &credentials)
        .env(
            "PATH",
            format!("{}:/usr/bin:/bin", scratch.path("bin").display()),
        );
    let mut codex = Client::start(command);
    codex.greet("2025-11-25", "codex-mcp-client");
    let call = json!({ "name": "my_status", "arguments": {}, "_meta": { "sessionId": THREAD } });
    codex.ask("tools/call", call);
    wait_until("the client is woken", || woken.exists());
    claims.lock().expect("a list").clone()
}

#[test]
fn unknown_way_is_passed_over() {
    // Of another version, and a build of this one.
    for version in ["0.0.9", env!("CARGO_PKG_VERSION")] {
        let claimed = woken_through(version, &["hook", "codex-queue"]);
        assert_eq!(claimed, ["codex-app-server", "codex-queue"], "{version}");
    }
}

#[test]
fn agent_with_only_unknown_ways_is_woken() {
    let claimed = woken_through(env!("CARGO_PKG_VERSION"), &["hook"]);
    assert_eq!(claimed, ["codex-app-server", "codex-queue"]);
}
