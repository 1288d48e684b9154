//! One database with the Python bridge: its own sqlite3, its statements, its
//! tokens, its times (`tests/foreign/bridge.py`), while this store works in it.

#![expect(
    clippy::expect_used,
    reason = "a test that cannot set up its case has nothing to say"
)]

use crate::common::python;
use crate::common::store as common;
use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Lines, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::Timestamp;
use mcp_bridge::clock;
use mcp_bridge::doorbell::Mode;
use mcp_bridge::model::message::{ActionType, Sender};
use mcp_bridge::model::session::ProofKind;
use mcp_bridge::model::token::{Token, TokenStorage};
use mcp_bridge::model::{ConversationId, SessionKey, Side, timestamp};
use mcp_bridge::store::{Beat, BeatRound, Boot, Caller, DaemonInfo, Store, StoreError, Wanted};
use serde_json::{Value, json};

use crate::common::store::{Pair, Scratch, draft, receive, say, unlimited, until};

/// The other program. Ends when it is dropped.
struct Python {
    process: Child,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
}

impl Python {
    /// `None` where there is no Python with sqlite3, which it says.
    fn start(scratch: &Scratch) -> Option<Self> {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/foreign/bridge.py");
        if !python::has(Command::new("python3"), "sqlite3") {
            return None;
        }
        let mut process = Command::new("python3")
            .arg(script)
            .arg(scratch.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("python3 runs");
        Some(Self {
            input: process.stdin.take().expect("piped"),
            output: BufReader::new(process.stdout.take().expect("piped")).lines(),
            process,
        })
    }

    fn ask(&mut self, request: &Value) {
        writeln!(self.input, "{request}").expect("it listens");
    }

    fn answer(&mut self) -> Result<Value, String> {
        let line = self.output.next().expect("it lives").expect("a line");
        let answer: Value = serde_json::from_str(&line).expect("JSON");
        match answer.get("error") {
            Some(error) => Err(error.as_str().expect("words").to_owned()),
            None => Ok(answer["ok"].clone()),
        }
    }

    fn call(&mut self, request: &Value) -> Result<Value, String> {
        self.ask(request);
        self.answer()
    }

    fn must(&mut self, request: &Value) -> Value {
        let answer = self.call(request);
        answer.unwrap_or_else(|error| panic!("{request}: {error}"))
    }

    /// A conversation that it makes, as our callers.
    fn pair(&mut self) -> Pair {
        let made = self.must(&json!(["create"]));
        let text = |key: &str| made[key].as_str().expect("text");
        let id: ConversationId = text("id").parse().expect("an id");
        let caller = |side: Side| Caller {
            session: SessionKey::new(id.clone(), side),
            token: Token::parse(text(side.as_str())).expect("a token"),
        };
        Pair {
            a: caller(Side::A),
            b: caller(Side::B),
            id: id.clone(),
        }
    }
}

impl Drop for Python {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A call of one of its agents.
fn of(call: &str, caller: &Caller, more: &[Value]) -> Value {
    let mut request = vec![
        json!(call),
        json!(caller.session.conversation),
        json!(caller.session.side),
        json!(caller.token.expose()),
    ];
    request.extend_from_slice(more);
    request.into()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn its_database_is_adopted_and_its_agents_go_on() {
    let scratch = Scratch::new();
    let Some(mut python) = Python::start(&scratch) else {
        return;
    };
    python.must(&json!(["init"]));
    let pair = python.pair();
    let sent_at = python.must(&of("send", &pair.a, &[json!("hello from Python")]));
    python.must(&of("status", &pair.b, &[json!("working")]));

    let store = scratch.open().await;
    let check = store.check().await.expect("checked");
    assert!(check.adopted && check.problems.is_empty(), "{check:?}");
    assert_eq!(check.token_storage.as_str(), "plain");
    assert_eq!(
        (check.conversations, check.messages, check.unread),
        (1, 1, 1)
    );
    let callers = [pair.a.clone(), pair.b.clone()];
    let verified = store.verify(&callers, clock::now()).await.expect("asked");
    let roles: Vec<_> = verified
        .iter()
        .map(|answer| answer.as_ref().expect("its token").role.clone())
        .collect();
    assert_eq!(roles, ["planner", "builder"]);

    // Its message by us, with its time.
    let got = store
        .fetch(&pair.b, 9, clock::now())
        .await
        .expect("fetched");
    let message = &got.messages[0];
    assert_eq!(message.message, "hello from Python");
    assert_eq!(message.from, Sender::Session(Side::A));
    assert_eq!(message.metadata["action_type"], "info");
    let sent_at = timestamp::from_text(sent_at.as_str().expect("text"));
    assert!(sent_at.is_some() && message.sent_at == sent_at);
    assert_eq!(
        python.must(&of("read", &pair.b, &[])),
        json!([]),
        "read twice"
    );

    // Ours by it, with our time.
    let now = clock::now();
    let mut reply = draft("hello from Rust");
    reply.action_type = Some(ActionType::Complete);
    store.send(&pair.b, &[reply], now).await.expect("sent");
    let read = python.must(&of("read", &pair.a, &[]));
    assert_eq!(
        read,
        json!([{
            "from": "b",
            "message": "hello from Rust",
            "metadata": { "action_type": "complete" },
            "at": timestamp::to_text(now),
        }])
    );
    // What it read is read, and wakes no session.
    let mail = store
        .mail(std::slice::from_ref(&pair.a.session))
        .await
        .expect("looked");
    assert_eq!(mail[0].unread, 0);
    // Its audit rows and ours stand in one log.
    let filter = mcp_bridge::store::AuditFilter {
        conversation: Some(pair.id.clone()),
        limit: 100,
        ..Default::default()
    };
    let audit = store.audit(&filter).await.expect("read");
    assert!(audit.iter().all(|entry| entry.at.is_some()));
    assert_eq!(audit.len(), 6, "{audit:#?}");
    // A second open finds it as it is.
    let again = scratch.open().await;
    assert!(again.check().await.expect("checked").adopted);
}

/// What the schema may be made of besides names. An SQLite that cannot read a part of
/// it cannot read the database at all, and Python's is 3.26 on RHEL 8, 3.34 on RHEL 9
/// and Debian 11: a word belongs here only if 3.8.2 knew it already, which is where
/// WITHOUT ROWID came.
const OLD_WORDS: &str = "typeof AUTOINCREMENT BIGINT BLOB BOOLEAN CASCADE CASE CHECK CREATE
    CURRENT_TIMESTAMP DEFAULT DELETE ELSE END FOREIGN IN INDEX INTEGER IS KEY NOT NULL ON PRIMARY
    REFERENCES ROWID TABLE TEXT THEN TIMESTAMP UNIQUE WHEN WHERE WITHOUT";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn old_sqlite_can_read_the_schema_that_we_leave() {
    let scratch = Scratch::new();
    scratch.make().await.close().await;
    let raw = scratch.raw();
    let texts = |sql: &str| -> BTreeSet<String> {
        let mut statement = raw.prepare(sql).expect("good SQL");
        let rows = statement.query_map([], |row| row.get(0)).expect("read");
        rows.map(|text| text.expect("text")).collect()
    };
    let names = texts(
        "SELECT name FROM sqlite_schema
         UNION SELECT c.name FROM sqlite_schema t, pragma_table_info(t.name) c
         WHERE t.type = 'table'",
    );
    let statements = texts("SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL");
    assert!(statements.len() > 30, "{statements:#?}");
    let literal = regex::Regex::new("'[^']*'").expect("a pattern");
    let word = regex::Regex::new(r"[A-Za-z_]\w*").expect("a pattern");
    let old: BTreeSet<&str> = OLD_WORDS.split_whitespace().collect();
    for sql in &statements {
        let plain = literal.replace_all(sql, "");
        for word in word.find_iter(&plain).map(|found| found.as_str()) {
            assert!(old.contains(word) || names.contains(word), "{word}: {sql}");
        }
        let signs = word.replace_all(&plain, "");
        let new = signs.chars().find(|sign| {
            !sign.is_ascii_whitespace() && !sign.is_ascii_digit() && !"(),<=".contains(*sign)
        });
        assert_eq!(new, None, "{sql}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn python_agents_can_use_what_we_make_there() {
    let scratch = Scratch::new();
    let Some(mut python) = Python::start(&scratch) else {
        return;
    };
    python.must(&json!(["init"]));
    let store = scratch.open().await;
    let pair = common::pair(&store, clock::now()).await;
    python.must(&of("send", &pair.a, &[json!("in your conversation")]));
    let got = receive(&store, &pair.b, clock::now()).await;
    assert_eq!(got, ["in your conversation"]);
    say(&store, &pair.b, "and back", clock::now()).await;
    let read = python.must(&of("read", &pair.a, &[]));
    assert_eq!(read[0]["message"], "and back");
    // Neither side's token is good for the other side.
    let swapped = Caller {
        session: pair.a.session.clone(),
        token: pair.b.token.clone(),
    };
    let refused = python.call(&of("read", &swapped, &[])).expect_err("let in");
    assert!(refused.starts_with("PermissionError"), "{refused}");
    // A token that ends here ends there, and the new one is good for both.
    let new = Caller {
        session: pair.a.session.clone(),
        token: Token::generate(&pair.a.session, &[7; 32]),
    };
    let old = Some(&pair.a.token);
    let kept = store
        .rekey_session(&new.session, old, &new.token, clock::now())
        .await
        .expect("rekeyed");
    assert_eq!(kept, TokenStorage::Plain);
    let refused = python.call(&of("read", &pair.a, &[])).expect_err("let in");
    assert!(refused.starts_with("PermissionError"), "{refused}");
    python.must(&of("send", &new, &[json!("with the new token")]));
    let got = receive(&store, &pair.b, clock::now()).await;
    assert_eq!(got, ["with the new token"]);
    let pair = Pair {
        a: new,
        ..pair.clone()
    };
    // One that is closed here is closed there.
    store
        .close_conversation(&pair.id, clock::now())
        .await
        .expect("closed");
    let refused = python.call(&of("read", &pair.a, &[])).expect_err("open");
    assert!(refused.starts_with("PermissionError"), "{refused}");
    // Hashed tokens are for stores that it does not share.
    store
        .set_token_storage(TokenStorage::Hashed)
        .await
        .expect("set");
    let hashed = common::pair(&store, clock::now()).await;
    assert!(python.call(&of("read", &hashed.a, &[])).is_err());
    assert!(store.fetch(&hashed.a, 9, clock::now()).await.is_ok());
}

/// One round of heartbeats for these sessions, mirrored.
async fn mirror(
    store: &Store,
    sessions: &[&SessionKey],
    renew_until: Option<Timestamp>,
    now: Timestamp,
) {
    let info = DaemonInfo {
        id: "host:worker".into(),
        role: "worker",
        host: "host".into(),
        boot_id: "x".into(),
        pid: 1,
    };
    let daemon = store.register_daemon(&info, now).await.expect("known");
    let beats: Vec<Beat> = sessions
        .iter()
        .map(|&session| Beat {
            session: session.clone(),
            proof: ProofKind::Process,
            process: None,
            renew_until,
        })
        .collect();
    let boot = Boot {
        id: "x".into(),
        pid_ns: 1,
        now: clock::since_boot(),
    };
    let round = BeatRound {
        beats: &beats,
        daemon: &daemon,
        ttl: Duration::from_secs(20),
        mirror: true,
        boot: &boot,
        now,
        wall: now,
    };
    store.beat(&round).await.expect("beaten");
}

/// The mark that another program left of a session, as an orchestrator sees it.
async fn foreign_mark(store: &Store, session: &SessionKey) -> Option<String> {
    let fleet = store
        .fleet(Wanted::All, clock::now())
        .await
        .expect("looked");
    let mut found = fleet.sessions.into_iter();
    found
        .find(|seen| seen.key == *session)
        .expect("there")
        .foreign
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn its_older_status_table_stays_as_it_is() {
    let scratch = Scratch::new();
    let Some(mut python) = Python::start(&scratch) else {
        return;
    };
    python.must(&json!(["init", true]));
    let pairs: Vec<Pair> = (0..3).map(|_| python.pair()).collect();
    let raw = scratch.raw();
    raw.execute_batch(
        "CREATE INDEX by_heartbeat ON session_status (last_heartbeat);
         CREATE VIEW quiet AS SELECT conversation_id FROM session_status WHERE status = 'active';",
    )
    .expect("its users' own");
    let schema = || -> Vec<String> {
        let mut statement = raw
            .prepare(
                "SELECT type || ' ' || name || ' ' || coalesce(sql, '') FROM sqlite_schema
                 WHERE tbl_name IN ('session_status', 'conversations', 'messages', 'audit_log', 'quiet')
                   AND name NOT LIKE 'bridge\\_%' ESCAPE '\\' ORDER BY 1",
            )
            .expect("good SQL");
        let rows = statement.query_map([], |row| row.get(0)).expect("read");
        rows.map(|text| text.expect("text")).collect()
    };
    let rows = || -> Vec<String> {
        let mut statement = raw
            .prepare(
                "SELECT session_id || ' ' || last_heartbeat || ' ' || coalesce(status, '-')
                      FROM session_status ORDER BY rowid",
            )
            .expect("its columns");
        let rows = statement.query_map([], |row| row.get(0)).expect("read");
        rows.map(|text| text.expect("text")).collect()
    };
    // By position and by its default, as its scripts write.
    raw.execute(
        "INSERT INTO session_status VALUES (?1, 'session_b', '2025-11-13T16:02:45', 'working')",
        [pairs[0].id.as_str()],
    )
    .expect("by position");
    raw.execute(
        "INSERT INTO session_status (conversation_id, session_id, last_heartbeat)
         VALUES (?1, 'a', '2025-11-13T16:02:46')",
        [pairs[1].id.as_str()],
    )
    .expect("by its default");
    let (before, found) = (schema(), rows());

    let store = scratch.open().await;
    assert_eq!((schema(), rows()), (before.clone(), found), "the adoption");
    let marked = foreign_mark(&store, &pairs[0].b.session).await;
    assert!(marked.is_some(), "a script's word of `session_b` is of `b`");

    // Both sides of all of them: the row that means a session is touched, one is
    // put where the key has room for it, and none is replaced.
    let now = clock::now();
    let sessions: Vec<&SessionKey> = pairs
        .iter()
        .flat_map(|pair| [&pair.a.session, &pair.b.session])
        .collect();
    mirror(&store, &sessions, None, now).await;
    let at = timestamp::to_text(now);
    assert_eq!(
        rows(),
        [
            format!("session_b {at} working"),
            format!("a {at} active"),
            format!("b {at} active"),
        ]
    );
    for pair in &pairs {
        for session in [&pair.a.session, &pair.b.session] {
            assert_eq!(foreign_mark(&store, session).await, None, "our own mirror");
        }
    }

    // One that its other side took over is a change of that side.
    python.must(&of("status", &pairs[0].a, &[json!("waiting")]));
    assert!(foreign_mark(&store, &pairs[0].a.session).await.is_some());
    assert_eq!(foreign_mark(&store, &pairs[0].b.session).await, None);
    mirror(&store, &[&pairs[0].b.session], None, clock::now()).await;
    let taken = rows();
    assert!(
        taken
            .iter()
            .any(|row| row.starts_with("a ") && row.ends_with(" waiting")),
        "{taken:?}"
    );
    assert_eq!(taken.len(), 3, "{taken:?}");

    // Their statements go on working.
    let id = python_pair(&mut python);
    python.must(&json!(["old_status", id, "b", "2025-11-13T16:02:47", null]));
    let quiet: i64 = raw
        .query_row("SELECT count(*) FROM quiet", [], |row| row.get(0))
        .expect("a view of theirs");
    assert_eq!(quiet, 2);
    assert_eq!(schema(), before, "after the work");
}

/// The id of a conversation that it makes.
fn python_pair(python: &mut Python) -> Value {
    python.must(&json!(["create"]))["id"].clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn row_in_the_scripts_spelling_stays_single() {
    let scratch = Scratch::new();
    let Some(mut python) = Python::start(&scratch) else {
        return;
    };
    python.must(&json!(["init"]));
    let pair = python.pair();
    python.must(&json!([
        "old_status",
        pair.id,
        "session_b",
        "2025-11-13T16:02:45",
        "active"
    ]));
    let store = scratch.open().await;
    let first = foreign_mark(&store, &pair.b.session).await;
    assert!(first.is_some());
    mirror(
        &store,
        &[&pair.a.session, &pair.b.session],
        None,
        clock::now(),
    )
    .await;
    let raw = scratch.raw();
    let ids: String = raw
        .query_row(
            "SELECT group_concat(session_id) FROM
                 (SELECT session_id FROM session_status ORDER BY session_id)",
            [],
            |row| row.get(0),
        )
        .expect("read");
    assert_eq!(ids, "a,session_b", "no `b` beside `session_b`");
    assert_eq!(foreign_mark(&store, &pair.b.session).await, None);
    raw.execute(
        "UPDATE session_status SET last_heartbeat = '2025-11-13T16:03:15' WHERE session_id = 'session_b'",
        [],
    )
    .expect("a script beats");
    let second = foreign_mark(&store, &pair.b.session).await;
    assert!(second.is_some() && second != first);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_write_at_once_and_nothing_is_lost() {
    let count: usize = if common::full() { 5_000 } else { 1_000 };
    let scratch = Scratch::new();
    let (Some(mut writer), Some(mut reader)) = (Python::start(&scratch), Python::start(&scratch))
    else {
        return;
    };
    writer.must(&json!(["init"]));
    let pair = writer.pair();
    let store = scratch.open().await;
    unlimited(&store).await;
    let heard: Arc<Mutex<Vec<i64>>> = Arc::default();
    let sink = Arc::clone(&heard);
    let wanted = [pair.b.session.clone()].into();
    let _bell = store
        .doorbell(
            Mode::Events,
            Box::new(move |look| {
                let new = look.messages(&wanted).expect("a healthy store");
                let new = new.iter().map(|message| message.id.0);
                sink.lock().expect("whole").extend(new);
            }),
        )
        .expect("mounted");
    // Its writer sends to b and its reader reads for a; ours do the opposite.
    writer.ask(&of("burst", &pair.a, &[json!(count)]));
    reader.ask(&of("drain", &pair.a, &[json!(count)]));
    let sending = {
        let (store, caller) = (Arc::clone(&store), pair.b.clone());
        tokio::spawn(async move {
            for n in 0..count {
                say(&store, &caller, &format!("ours {n}"), clock::now()).await;
            }
        })
    };
    let mut got = Vec::new();
    while got.len() < count {
        // As an agent does: a fetch when there is mail. One that only asks and
        // asks would have the write lock most of the time.
        until("mail", async || {
            let mail = store.mail(std::slice::from_ref(&pair.b.session)).await;
            (mail.expect("looked")[0].unread > 0).then_some(())
        })
        .await;
        got.extend(receive(&store, &pair.b, clock::now()).await);
    }
    sending.await.expect("no error was shown to us");
    let theirs = tokio::task::spawn_blocking(move || {
        writer.answer().expect("no error was shown to its writer");
        reader.answer().expect("no error was shown to its reader")
    });
    let theirs = theirs.await.expect("no panic");
    let expected: Vec<String> = (0..count).map(|n| format!("foreign {n}")).collect();
    assert_eq!(got, expected, "its messages to us");
    let expected: Vec<String> = (0..count).map(|n| format!("ours {n}")).collect();
    assert_eq!(theirs, json!(expected), "our messages to it");
    until("every one of its messages to be pushed", async || {
        (heard.lock().expect("whole").len() >= count).then_some(())
    })
    .await;
    let heard = heard.lock().expect("whole").clone();
    assert!(heard.is_sorted() && heard.len() == count);
    let check = store.check().await.expect("checked");
    assert!(check.problems.is_empty() && check.unread == 0, "{check:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn its_message_is_pushed_without_waiting_for_the_next() {
    let scratch = Scratch::new();
    let Some(mut python) = Python::start(&scratch) else {
        return;
    };
    python.must(&json!(["init"]));
    let pair = python.pair();
    let store = scratch.open().await;
    let heard: Arc<Mutex<Vec<String>>> = Arc::default();
    let sink = Arc::clone(&heard);
    let wanted = [pair.b.session.clone()].into();
    let _bell = store
        .doorbell(
            Mode::Events,
            Box::new(move |look| {
                let new = look.messages(&wanted).expect("a healthy store");
                let new = new.into_iter().map(|message| message.message);
                sink.lock().expect("whole").extend(new);
            }),
        )
        .expect("mounted");
    for n in 0..40 {
        // Its default is synchronous=FULL, and its next write comes only after
        // this one was pushed: one commit alone must be enough. The audit row
        // that it writes behind a message is left out for that reason.
        let text = format!("alone {n}");
        let insert = json!([
            "run",
            "INSERT INTO messages (conversation_id, from_session, to_session, message, metadata,
                timestamp) VALUES (?, 'a', 'b', ?, '{}', '2025-11-13T16:02:45.123456')",
            [json!(pair.id), json!(text)],
        ]);
        python.must(&insert);
        until(&text, async || {
            heard.lock().expect("whole").contains(&text).then_some(())
        })
        .await;
    }
    assert_eq!(heard.lock().expect("whole").len(), 40, "one came twice");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn python_bridge_sees_our_sign_of_life() {
    let scratch = Scratch::new();
    let Some(mut python) = Python::start(&scratch) else {
        return;
    };
    python.must(&json!(["init"]));
    let pair = python.pair();
    let store = scratch.open().await;
    let partner = python.must(&of("partner", &pair.a, &[]));
    assert_eq!(partner, json!({ "status": "unknown", "alive": false }));
    python.must(&of("status", &pair.b, &[json!("blocked")]));
    let now = clock::now();
    let end = now + jiff::SignedDuration::from_hours(5);
    mirror(&store, &[&pair.b.session], Some(end), now).await;
    // The status is the agent's own word; only the time is ours.
    let partner = python.must(&of("partner", &pair.a, &[]));
    assert_eq!(
        partner,
        json!({ "status": "blocked", "at": timestamp::to_text(now), "alive": true })
    );
    // And it reads the end that we moved.
    python.must(&of("send", &pair.a, &[json!("still open")]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn orphans_of_its_cleanup_stop_no_session() {
    let scratch = Scratch::new();
    let Some(mut python) = Python::start(&scratch) else {
        return;
    };
    python.must(&json!(["init"]));
    let (gone, stays) = (python.pair(), python.pair());
    let store = scratch.open().await;
    for pair in [&gone, &stays] {
        python.must(&of("send", &pair.a, &[json!("hello")]));
        say(&store, &pair.a, "hello again", clock::now()).await;
    }
    python.must(&json!(["forget", gone.id]));
    let error = store.fetch(&gone.b, 9, clock::now()).await;
    assert!(matches!(error, Err(StoreError::NoConversation(..))));
    assert_eq!(receive(&store, &stays.b, clock::now()).await.len(), 2);
    let sessions = store.sessions(clock::now()).await.expect("listed");
    assert_eq!(sessions.len(), 2);
    let check = store.check().await.expect("checked");
    assert!(check.problems.is_empty(), "{:?}", check.problems);
}
