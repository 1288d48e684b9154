//! The ways into Codex against a stand-in for its app server, which runs in this process.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::net::UnixListener;
use tokio_tungstenite::tungstenite::Message;

use super::live_queue::hand;
use super::*;
use crate::clients::Text;
use crate::liveness;

const THREAD: &str = "01a2267a-8e3e-7301-ad4e-fe56114537d8";

/// What was asked of it, and what it answers: a result, or a refusal.
type Asked = Arc<Mutex<Vec<String>>>;
type Answer = Box<dyn FnMut(&str, &Value) -> Result<Value, String> + Send>;

struct Codex {
    directory: tempfile::TempDir,
    asked: Asked,
}

impl Codex {
    fn that_answers(
        mut answer: impl FnMut(&str, &Value) -> Result<Value, String> + Send + 'static,
    ) -> Self {
        Self::run(Box::new(move |method, question| match method {
            "initialize" => Ok(json!({ "userAgent": "codex", "unheard of": 1 })),
            "thread/loaded/list" => Ok(json!({ "data": ["other", THREAD], "nextCursor": null })),
            method => answer(method, question),
        }))
    }

    fn run(mut answer: Answer) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let listener = UnixListener::bind(directory.path().join("socket")).expect("bound");
        let asked = Asked::default();
        let all = asked.clone();
        tokio::spawn(async move {
            let (stream, _) = listener.accept().await.expect("a client");
            let mut stream = tokio_tungstenite::accept_async(stream).await.expect("it");
            while let Some(Ok(Message::Text(text))) = stream.next().await {
                let said: Value = serde_json::from_str(&text).expect("JSON");
                let method = said["method"].as_str().expect("a method").to_owned();
                all.lock().expect("a list").push(method.clone());
                if said["id"].is_null() {
                    continue;
                }
                // It speaks of other things in between.
                let other = json!({ "method": "thread/closed", "params": { "threadId": "x" } });
                let answer = match answer(&method, &said["params"]) {
                    Ok(result) => json!({ "id": said["id"], "result": result }),
                    Err(why) => {
                        json!({ "id": said["id"], "error": { "code": 1, "message": why } })
                    }
                };
                for line in [other, answer] {
                    stream
                        .send(Message::text(line.to_string()))
                        .await
                        .expect("it");
                }
            }
        });
        Self { directory, asked }
    }

    fn socket(&self) -> PathBuf {
        self.directory.path().join("socket")
    }

    async fn open(&self) -> AppServer {
        let server = AppServer::at(&self.socket(), own()).await;
        server.expect("an app server")
    }

    fn count(&self, method: &str) -> usize {
        let asked = self.asked.lock().expect("a list");
        asked.iter().filter(|one| *one == method).count()
    }
}

fn own() -> ProcessId {
    liveness::own().expect("a process")
}

fn status(status: &Value) -> Value {
    json!({ "thread": { "id": THREAD, "status": status, "preview": "hello" } })
}

fn idle() -> Value {
    status(&json!({ "type": "idle" }))
}

fn text() -> Text {
    let words = "2 unread messages".into();
    let wake = "mcp-bridge-wake-7-1".into();
    Text { wake, words }
}

#[test]
fn a_thread_is_no_option_of_a_command() {
    for odd in ["", "-", "--message=x", "x", "a b c d e f", &"a".repeat(65)] {
        assert!(!is_thread(odd), "{odd}");
    }
    assert!(is_thread(THREAD));
}

#[tokio::test]
async fn a_text_that_codex_takes_is_handed_over() {
    let codex = Codex::that_answers(|method, question| {
        Ok(match method {
            "thread/queue/add" => {
                assert_eq!(question["threadId"], THREAD);
                assert_eq!(question["clientUserMessageId"], "mcp-bridge-wake-7-1");
                assert_eq!(question["input"][0]["text"], "2 unread messages");
                json!({ "queuedSubmission": { "id": "q-1" } })
            }
            "thread/queue/list" => json!({ "data": [], "nextCursor": null }),
            other => panic!("{other}"),
        })
    });
    let fired = hand(&mut codex.open().await, THREAD, &text()).await;
    assert_eq!(fired, Ok(Fired::Done));
    assert_eq!(codex.count("thread/queue/delete"), 0);
}

#[tokio::test]
async fn a_text_behind_a_turn_is_withdrawn() {
    let codex = Codex::that_answers(|method, question| {
        Ok(match method {
            "thread/queue/add" => json!({ "queuedSubmission": { "id": "q-1" } }),
            "thread/queue/list" => json!({ "data": [{ "id": "q-0" }, { "id": "q-1" }] }),
            "thread/read" => status(&json!({ "type": "active", "activeFlags": [] })),
            "thread/queue/delete" => {
                assert_eq!(question["queuedSubmissionId"], "q-1");
                json!({ "deleted": true })
            }
            other => panic!("{other}"),
        })
    });
    let fired = hand(&mut codex.open().await, THREAD, &text()).await;
    assert_eq!(fired, Ok(Fired::Busy));
}

#[tokio::test]
async fn a_text_that_codex_holds_is_withdrawn() {
    let codex = Codex::that_answers(|method, _| {
        Ok(match method {
            "thread/queue/add" => json!({ "queuedSubmission": { "id": "q-1" } }),
            "thread/queue/list" => json!({ "data": [{ "id": "q-1" }] }),
            "thread/read" => idle(),
            "thread/queue/delete" => json!({ "deleted": true }),
            other => panic!("{other}"),
        })
    });
    let fired = hand(&mut codex.open().await, THREAD, &text()).await;
    let Ok(Fired::Held(why)) = fired else {
        panic!("{fired:?}");
    };
    assert!(why.contains("interrupted"), "{why}");
}

#[tokio::test]
async fn text_taken_during_its_withdrawal_counts() {
    let mut looks = 0;
    let codex = Codex::that_answers(move |method, _| {
        Ok(match method {
            "thread/queue/add" => json!({ "queuedSubmission": { "id": "q-1" } }),
            "thread/queue/list" => {
                looks += 1;
                json!({ "data": if looks == 1 { json!([{ "id": "q-1" }]) } else { json!([]) } })
            }
            "thread/read" => status(&json!({ "type": "active", "activeFlags": [] })),
            "thread/queue/delete" => json!({ "deleted": false }),
            other => panic!("{other}"),
        })
    });
    let fired = hand(&mut codex.open().await, THREAD, &text()).await;
    assert_eq!(fired, Ok(Fired::Done));
    assert_eq!(codex.count("thread/queue/add"), 1);
}

#[tokio::test]
async fn server_reports_the_state_of_a_thread() {
    for (said, meant) in [
        (json!({ "type": "idle" }), Some(Thread::Idle)),
        (
            json!({ "type": "active", "activeFlags": [] }),
            Some(Thread::Active { waits: false }),
        ),
        (
            json!({ "type": "active", "activeFlags": ["waitingOnApproval"] }),
            Some(Thread::Active { waits: true }),
        ),
        (json!({ "type": "systemError" }), Some(Thread::Broken)),
        (json!({ "type": "notLoaded" }), None),
    ] {
        let answer = said.clone();
        let codex = Codex::that_answers(move |_, _| Ok(status(&answer)));
        let thread = codex.open().await.thread(THREAD).await;
        assert_eq!(thread, Ok(meant), "{said}");
    }
}

#[tokio::test]
async fn unloaded_thread_is_not_asked_for() {
    let codex = Codex::that_answers(|method, _| panic!("{method}"));
    let thread = codex.open().await.thread("01a2267a-0000-0000").await;
    assert_eq!(thread, Ok(None));
}

#[tokio::test]
async fn refusal_and_garbled_answer_are_reported() {
    let codex = Codex::that_answers(|_, _| Err(format!("unknown variant {}", "x".repeat(900))));
    let why = codex
        .open()
        .await
        .thread(THREAD)
        .await
        .expect_err("refused");
    assert!(
        why.contains("refuses thread/read: unknown variant"),
        "{why}"
    );
    assert!(why.len() < 300, "{why}");
    for garbage in [
        json!({ "thread": { "status": { "type": "new" } } }),
        json!(7),
    ] {
        let codex = Codex::that_answers(move |_, _| Ok(garbage.clone()));
        let why = codex
            .open()
            .await
            .thread(THREAD)
            .await
            .expect_err("garbage");
        assert!(why.contains("another form"), "{why}");
    }
}

#[tokio::test]
async fn another_process_at_the_socket_gets_nothing() {
    let codex = Codex::that_answers(|method, _| panic!("{method}"));
    let mut client = own();
    client.pid = 1;
    let Err(why) = AppServer::at(&codex.socket(), client).await else {
        panic!("it spoke with a stranger");
    };
    assert!(why.contains("no app server that answers"), "{why}");
    assert_eq!(codex.count("initialize"), 0);
}

#[tokio::test]
async fn stale_or_silent_socket_holds_nothing_up() {
    let directory = tempfile::tempdir().expect("a directory");
    let socket = directory.path().join("socket");
    let why = |found: Result<AppServer, String>| found.err().expect("none");
    let gone = AppServer::at(&socket, own()).await;
    assert!(why(gone).contains("cannot be reached"));
    let listener = std::os::unix::net::UnixListener::bind(&socket).expect("bound");
    let silent = AppServer::at(&socket, own()).await;
    assert!(why(silent).contains("in time"));
    drop(listener);
    let stale = AppServer::at(&socket, own()).await;
    assert!(why(stale).contains("cannot be reached"));
}

#[tokio::test]
async fn the_only_thread_of_a_directory_is_found() {
    let directory = tempfile::tempdir().expect("a directory");
    let tree = directory.path().canonicalize().expect("a path");
    let thread = |id: &str, more: Value| {
        let mut about = json!({ "id": id, "status": { "type": "idle" }, "cwd": tree,
                                "ephemeral": false, "parentThreadId": null });
        let members = more.as_object().cloned().unwrap_or_default();
        about.as_object_mut().expect("an object").extend(members);
        about
    };
    let others = [
        thread("elsewhere", json!({ "cwd": "/" })),
        thread("helper", json!({ "parentThreadId": "mine" })),
        thread("title", json!({ "ephemeral": true })),
        thread("gone", json!({ "status": { "type": "notLoaded" } })),
        json!({ "id": "odd" }),
    ];
    let active = json!({ "status": { "type": "active", "activeFlags": [] } });
    for (mine, found) in [
        (vec![], None),
        (vec![thread("mine", json!({}))], Some(Thread::Idle)),
        (
            vec![thread("mine", active)],
            Some(Thread::Active { waits: false }),
        ),
        (
            vec![thread("mine", json!({})), thread("second", json!({}))],
            None,
        ),
    ] {
        let all: Vec<Value> = others.iter().cloned().chain(mine).collect();
        let codex = Codex::run(Box::new(move |method, question| {
            let id = |one: &Value| one["id"].clone();
            Ok(match method {
                "initialize" => json!({}),
                "thread/loaded/list" => json!({ "data": all.iter().map(id).collect::<Vec<_>>() }),
                "thread/read" => {
                    let mut all = all.iter();
                    json!({ "thread": all.find(|one| id(one) == question["threadId"]) })
                }
                other => panic!("{other}"),
            })
        }));
        let only = codex.open().await.only_in(&tree).await.expect("an answer");
        assert_eq!(only, found.map(|state| ("mine".to_owned(), state)));
    }
}
