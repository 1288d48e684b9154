//! A worker daemon in a scratch directory: the real binary, a real store, and
//! conditions to wait for.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use mcp_bridge::clock;
use mcp_bridge::credentials::Credentials;
use mcp_bridge::model::message::Draft;
use mcp_bridge::model::token::Token;
use mcp_bridge::model::{ConversationId, SessionKey, Side};
use mcp_bridge::store::sqlite::{Create, SqliteStore};
use mcp_bridge::store::{Caller, Conversations, Messages, NewConversation, Reports, StoreError};
use mcp_bridge::supervisor::StateFile;

/// How long a condition may take before the test gives up; never how long
/// anything should take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Waits until `condition` returns something.
#[track_caller]
pub(crate) fn wait_for<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(Instant::now() < end, "waited in vain for {what}");
        std::thread::park_timeout(Duration::from_millis(5));
    }
}

/// A scratch directory with a store.
pub(crate) struct Rig {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) store: SqliteStore,
    runtime: tokio::runtime::Runtime,
}

/// Both ends of a conversation.
pub(crate) struct Pair {
    pub(crate) id: ConversationId,
    pub(crate) a: Caller,
    pub(crate) b: Caller,
}

impl Rig {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let store = runtime
            .block_on(SqliteStore::open(
                &dir.path().join("bridge.db"),
                Create::Yes,
            ))
            .expect("a store");
        Self {
            dir,
            store,
            runtime,
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn block_on<T>(&self, call: impl Future<Output = T>) -> T {
        self.runtime.block_on(call)
    }

    /// Makes a conversation and writes `NAME.toml`, the credentials of side b.
    pub(crate) fn pair(&self, name: &str) -> Pair {
        let id = ConversationId::from_random(fastrand::u64(..).to_be_bytes());
        let caller = |side| {
            let session = SessionKey::new(id.clone(), side);
            let token = Token::generate(&session, &[fastrand::u8(..); 32]);
            Caller { session, token }
        };
        let (a, b) = (caller(Side::A), caller(Side::B));
        let now = clock::now();
        let new = NewConversation {
            id: id.clone(),
            label: name.parse().ok(),
            role_a: "orchestrator".into(),
            role_b: "backend".into(),
            token_a: a.token.clone(),
            token_b: b.token.clone(),
            expires_at: now + jiff::SignedDuration::from_hours(3),
        };
        self.block_on(self.store.create_conversations(&[new], now))
            .expect("made");
        let credentials = Credentials {
            store: None,
            label: None,
            callers: vec![b.clone()],
            source: None,
        };
        credentials
            .write(&self.path(&format!("{name}.toml")))
            .expect("written");
        Pair { id, a, b }
    }

    pub(crate) fn send(&self, from: &Caller, text: &str) -> i64 {
        let draft = Draft::text(text.parse().expect("a body"));
        self.block_on(self.store.send(from, &[draft], clock::now()))
            .expect("sent")[0]
            .id
            .0
    }

    /// Fetches and confirms; returns the texts.
    pub(crate) fn fetch(&self, caller: &Caller) -> Vec<String> {
        self.block_on(async {
            let fetched = self.store.fetch(caller, 1000, clock::now()).await?;
            if let Some(id) = &fetched.id {
                self.store.fetch_written(id, clock::now()).await?;
            }
            Ok::<_, StoreError>(fetched.messages.into_iter().map(|m| m.message).collect())
        })
        .expect("fetched")
    }

    pub(crate) fn view(&self, session: &SessionKey) -> mcp_bridge::model::session::SessionView {
        self.block_on(self.store.sessions(clock::now()))
            .expect("listed")
            .into_iter()
            .find(|view| view.key == *session)
            .expect("the session")
    }

    /// Writes `NAME.conf.toml` with the store's address before `text`.
    pub(crate) fn config(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(&format!("{name}.conf.toml"));
        let store = self.path("bridge.db");
        let all = format!(
            "role = \"worker\"\n[store]\nurl = \"{}\"\n[service]\nstate_file = \"{}\"\n{text}",
            store.display(),
            self.path(&format!("{name}.state.json")).display(),
        );
        std::fs::write(&path, all).expect("written");
        path
    }

    pub(crate) fn daemon(&self, config: &Path) -> Daemon {
        Daemon::start(
            Command::new(env!("CARGO_BIN_EXE_mcp-bridged"))
                .arg("--config")
                .arg(config),
            config,
        )
    }
}

/// A running daemon; killed, and waited for, when it is dropped.
pub(crate) struct Daemon {
    pub(crate) child: Child,
    state: PathBuf,
    lines: Receiver<String>,
    pub(crate) log: Vec<String>,
}

impl Daemon {
    pub(crate) fn start(command: &mut Command, config: &Path) -> Self {
        let mut child = command
            .env("NO_COLOR", "1")
            .env_remove("NOTIFY_SOCKET")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("mcp-bridged");
        let stderr = child.stderr.take().expect("piped");
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        let name = config.file_name().and_then(|n| n.to_str()).expect("a name");
        let state = name.replace(".conf.toml", ".state.json");
        Self {
            child,
            state: config.with_file_name(state),
            lines,
            log: Vec::new(),
        }
    }

    pub(crate) fn state(&self) -> Option<StateFile> {
        serde_json::from_slice(&std::fs::read(&self.state).ok()?).ok()
    }

    /// Waits until the log has a line that contains `text`, and returns it.
    #[track_caller]
    pub(crate) fn says(&mut self, text: &str) -> String {
        let end = Instant::now() + PATIENCE;
        loop {
            if let Some(line) = self.log.iter().find(|line| line.contains(text)) {
                return line.clone();
            }
            match self
                .lines
                .recv_timeout(end.saturating_duration_since(Instant::now()))
            {
                Ok(line) => self.log.push(line),
                Err(_) => panic!("the log never said `{text}`:\n{}", self.log.join("\n")),
            }
        }
    }

    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, signal).expect("signalled");
    }

    /// Ends it as a service manager would, and returns its exit code.
    pub(crate) fn stop(mut self) -> Option<i32> {
        self.signal(rustix::process::Signal::TERM);
        self.child.wait().expect("waited").code()
    }

    /// Waits for its own end.
    pub(crate) fn wait(&mut self) -> Option<i32> {
        self.child.wait().expect("waited").code()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // Ended already is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
