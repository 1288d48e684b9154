//! What tests of the store need: conversations, callers, times, a store in a
//! directory of its own, and waiting for a condition.

#![allow(dead_code, reason = "each test program uses its own part of this")]
#![expect(
    clippy::expect_used,
    reason = "a test that cannot set up its case has nothing to say"
)]

use std::future::Future;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use mcp_bridge::clock;
use mcp_bridge::model::message::Draft;
use mcp_bridge::model::rate::RateLimits;
use mcp_bridge::model::token::Token;
use mcp_bridge::model::{ConversationId, SessionKey, Side};
use mcp_bridge::store::locate::{self, Hints};
use mcp_bridge::store::sqlite::Create;
use mcp_bridge::store::{Boot, Caller, NewConversation, SharedStore, Store};

/// How long anything may take before a test gives up: far longer than it does.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// The time at which most tests begin.
pub(crate) fn start() -> Timestamp {
    Timestamp::from_second(1_763_000_000).expect("in range")
}

/// This number of seconds after [`start`].
pub(crate) fn at(second: i64) -> Timestamp {
    start() + SignedDuration::from_secs(second)
}

/// Both ends of a conversation.
#[derive(Debug, Clone)]
pub(crate) struct Pair {
    pub(crate) id: ConversationId,
    pub(crate) a: Caller,
    pub(crate) b: Caller,
}

impl Pair {
    pub(crate) fn random() -> Self {
        let id = ConversationId::from_random(fastrand::u64(..).to_be_bytes());
        let caller = |side| {
            let session = SessionKey::new(id.clone(), side);
            let key = std::array::from_fn(|_| fastrand::u8(..));
            Caller {
                token: Token::generate(&session, &key),
                session,
            }
        };
        Self {
            a: caller(Side::A),
            b: caller(Side::B),
            id,
        }
    }

    /// What the store is asked to make.
    pub(crate) fn wanted(&self, expires_at: Timestamp) -> NewConversation {
        NewConversation {
            id: self.id.clone(),
            label: None,
            role_a: "orchestrator".into(),
            role_b: "worker".into(),
            token_a: self.a.token.clone(),
            token_b: self.b.token.clone(),
            expires_at,
        }
    }

    pub(crate) fn labelled(&self, label: &str, expires_at: Timestamp) -> NewConversation {
        NewConversation {
            label: Some(label.parse().expect("a label")),
            ..self.wanted(expires_at)
        }
    }

    pub(crate) fn side(&self, side: Side) -> &Caller {
        match side {
            Side::A => &self.a,
            Side::B => &self.b,
        }
    }
}

/// A conversation made at `now` that lives three hours.
pub(crate) async fn pair(store: &Store, now: Timestamp) -> Pair {
    pairs(store, 1, now).await.remove(0)
}

/// Several, in one transaction.
pub(crate) async fn pairs(store: &Store, count: usize, now: Timestamp) -> Vec<Pair> {
    let pairs: Vec<Pair> = (0..count).map(|_| Pair::random()).collect();
    let end = now + SignedDuration::from_hours(3);
    let wanted: Vec<_> = pairs.iter().map(|pair| pair.wanted(end)).collect();
    store
        .create_conversations(&wanted, now)
        .await
        .expect("conversations");
    pairs
}

/// A plain message.
pub(crate) fn draft(text: &str) -> Draft {
    Draft::text(text.parse().expect("a message"))
}

/// One with the sender's own id.
pub(crate) fn named(text: &str, client_id: &str) -> Draft {
    Draft {
        client_id: Some(client_id.parse().expect("a client id")),
        ..draft(text)
    }
}

/// Sends one message for `from`.
pub(crate) async fn say(store: &Store, from: &Caller, text: &str, now: Timestamp) -> i64 {
    store
        .send(from, &[draft(text)], now)
        .await
        .expect("sent")
        .first()
        .expect("one")
        .id
        .0
}

/// The texts that a fetch hands out; its reply is lost unless it is confirmed.
pub(crate) async fn texts(store: &Store, caller: &Caller, now: Timestamp) -> Vec<String> {
    let fetched = store.fetch(caller, 1_000, now).await.expect("fetched");
    fetched.messages.into_iter().map(|m| m.message).collect()
}

/// Fetches and confirms: the whole of an agent's `check`.
pub(crate) async fn receive(store: &Store, caller: &Caller, now: Timestamp) -> Vec<String> {
    let fetched = store.fetch(caller, 1_000, now).await.expect("fetched");
    if let Some(id) = &fetched.id {
        let by = &caller.session;
        store.fetch_written(by, id, now).await.expect("confirmed");
    }
    fetched.messages.into_iter().map(|m| m.message).collect()
}

/// A boot of this machine, this number of seconds in.
pub(crate) fn boot(name: &str, seconds: u64) -> Boot {
    Boot {
        id: name.into(),
        pid_ns: 4_026_531_836,
        now: Duration::from_secs(seconds),
    }
}

/// A directory for one store.
#[derive(Debug)]
pub(crate) struct Scratch {
    directory: tempfile::TempDir,
}

impl Scratch {
    pub(crate) fn new() -> Self {
        Self {
            directory: tempfile::tempdir().expect("a directory"),
        }
    }

    /// In memory, where that can be had: for tests that make thousands of commits and
    /// do not need a disk.
    pub(crate) fn fast() -> Self {
        Self {
            directory: tempfile::tempdir_in("/dev/shm")
                .or_else(|_| tempfile::tempdir())
                .expect("a directory"),
        }
    }

    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.directory.path().join("bridge.db")
    }

    /// `bridge.db<suffix>`.
    pub(crate) fn beside(&self, suffix: &str) -> PathBuf {
        self.directory.path().join(format!("bridge.db{suffix}"))
    }

    /// Makes the store if it is not there.
    pub(crate) async fn make(&self) -> SharedStore {
        open(&self.path(), Create::Yes).await
    }

    /// Opens the store as a daemon does.
    pub(crate) async fn open(&self) -> SharedStore {
        open(&self.path(), Create::No).await
    }

    /// A connection as another program would have it.
    pub(crate) fn raw(&self) -> rusqlite::Connection {
        let raw = rusqlite::Connection::open(self.path()).expect("a connection");
        raw.busy_timeout(PATIENCE).expect("set");
        raw
    }
}

/// Opens or makes the store at `path`.
pub(crate) async fn open(path: &Path, create: Create) -> SharedStore {
    try_open(path, create).await.expect("a store")
}

/// The same, with its error.
pub(crate) async fn try_open(
    path: &Path,
    create: Create,
) -> mcp_bridge::store::Result<SharedStore> {
    let hints = Hints {
        flag: path.to_str(),
        ..Hints::default()
    };
    locate::open(&locate::locate(&hints)?, create).await
}

/// The variable that makes long forms of tests.
pub(crate) fn full() -> bool {
    std::env::var_os("MCP_BRIDGE_TEST_FULL").is_some_and(|value| value == "1")
}

/// The conversations and their mail, as the Python bridge makes their tables.
macro_rules! mail_tables {
    () => {
        "
    CREATE TABLE conversations (
        id TEXT PRIMARY KEY, session_a_role TEXT NOT NULL, session_b_role TEXT NOT NULL,
        session_a_token TEXT NOT NULL, session_b_token TEXT NOT NULL,
        created_at TEXT NOT NULL, expires_at TEXT NOT NULL);
    CREATE TABLE messages (
        id INTEGER PRIMARY KEY AUTOINCREMENT, conversation_id TEXT NOT NULL,
        from_session TEXT NOT NULL, to_session TEXT NOT NULL, message TEXT NOT NULL,
        metadata TEXT, timestamp TEXT NOT NULL, read INTEGER DEFAULT 0,
        FOREIGN KEY (conversation_id) REFERENCES conversations(id));
"
    };
}

/// The four shared tables, as the Python bridge makes them.
pub(crate) const BRIDGE: &str = concat!(
    mail_tables!(),
    "    CREATE TABLE session_status (
        conversation_id TEXT NOT NULL, session_id TEXT NOT NULL, status TEXT NOT NULL,
        last_heartbeat TEXT NOT NULL, PRIMARY KEY (conversation_id, session_id));
    CREATE TABLE audit_log (
        id INTEGER PRIMARY KEY AUTOINCREMENT, conversation_id TEXT, session_id TEXT,
        action TEXT NOT NULL, details TEXT, timestamp TEXT NOT NULL);
"
);

/// Takes away from a store what is ours: the Python bridge's database is left.
pub(crate) fn unadopt(raw: &rusqlite::Connection) {
    let ours = "SELECT 'DROP ' || type || ' ' || name || ';' FROM sqlite_schema
        WHERE name LIKE 'bridge\\_%' ESCAPE '\\' OR name = '_sqlx_migrations'
        ORDER BY type, name LIKE 'bridge\\_task' ESCAPE '\\'";
    let mut statement = raw.prepare(ours).expect("good SQL");
    let rows = statement.query_map([], |row| row.get::<_, String>(0));
    let drops: Vec<String> = rows.and_then(Iterator::collect).expect("a list");
    raw.execute_batch(&drops.concat()).expect("dropped");
}

/// Those of an older one, without a log and with one row a conversation.
pub(crate) const OLD_BRIDGE: &str = concat!(
    mail_tables!(),
    "CREATE TABLE session_status (
        conversation_id TEXT PRIMARY KEY, session_id TEXT NOT NULL,
        last_heartbeat TEXT NOT NULL, status TEXT DEFAULT 'active');"
);

/// Says why a case was not tried here.
#[expect(
    clippy::print_stderr,
    reason = "a skipped case must not look like a passed one"
)]
pub(crate) fn skipped(why: &str) {
    eprintln!("skipped: {why}");
}

/// No limits: for tests that send more than any agent should.
pub(crate) async fn unlimited(store: &Store) {
    store
        .set_rate_limits(RateLimits::NONE)
        .await
        .expect("limits off");
}

/// Asks until the answer is something; fails after [`PATIENCE`].
pub(crate) async fn until<T, F, Fut>(what: &str, mut question: F) -> T
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Option<T>>,
{
    let deadline = clock::since_boot() + PATIENCE;
    loop {
        if let Some(answer) = question().await {
            return answer;
        }
        assert!(clock::since_boot() < deadline, "waited in vain: {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}
