//! A worker daemon in a scratch directory: the real binary, a real store, and
//! conditions to wait for.

#![allow(
    dead_code,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "each test program uses its part; without its files a test has nothing to say"
)]

use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

pub(crate) use super::waiting::{PATIENCE, wait_for};
use mcp_bridge::clock;
use mcp_bridge::credentials::Credentials;
use mcp_bridge::model::message::Draft;
use mcp_bridge::model::session::{Life, SessionView};
use mcp_bridge::model::token::{Token, TokenStorage};
use mcp_bridge::model::{ConversationId, SessionKey, Side};
use mcp_bridge::store::sqlite::{Create, SqliteStore};
use mcp_bridge::store::{Caller, FetchId, NewConversation, Store, StoreError};
use mcp_bridge::supervisor::StateFile;
use rustix::process::{Pid, Signal, kill_process};

/// Rounds in quick succession, for tests that wait for the next one.
pub(crate) const QUICK: &str = "[heartbeat]\ninterval = \"100ms\"\nttl = \"5s\"\n";

/// Whether the long forms are wanted.
pub(crate) fn full() -> bool {
    std::env::var_os("MCP_BRIDGE_TEST_FULL").is_some()
}

/// A scratch directory with a store.
pub(crate) struct Rig {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) store: Store,
    runtime: tokio::runtime::Runtime,
}

/// Both ends of a conversation.
pub(crate) struct Pair {
    pub(crate) id: ConversationId,
    pub(crate) a: Caller,
    pub(crate) b: Caller,
    /// What people call side b.
    pub(crate) name: String,
}

/// A row of `bridge_wake`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct WakeRow {
    pub(crate) adapter: String,
    pub(crate) outcome: Option<String>,
    pub(crate) reason: String,
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

    /// The store, opened again.
    pub(crate) fn reopen(&self) -> Store {
        self.open(Create::No)
    }

    /// A new store where there is none.
    pub(crate) fn make_store(&self) -> Store {
        self.open(Create::Yes)
    }

    fn open(&self, create: Create) -> Store {
        let path = self.path("bridge.db");
        self.block_on(SqliteStore::open(&path, create))
            .expect("a store")
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn block_on<T>(&self, call: impl Future<Output = T>) -> T {
        self.runtime.block_on(call)
    }

    /// Makes a conversation and writes `NAME.toml`, the credentials of side b.
    pub(crate) fn pair(&self, name: &str) -> Pair {
        let pair = self.pair_without_file(name);
        self.write_credentials(name, &[&pair.b]);
        pair
    }

    pub(crate) fn pair_without_file(&self, name: &str) -> Pair {
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
        let name = format!("{name}/b");
        Pair { id, a, b, name }
    }

    /// Writes `NAME.toml`, whole at once, over an older one.
    pub(crate) fn write_credentials(&self, name: &str, callers: &[&Caller]) {
        let credentials = Credentials {
            store: None,
            label: None,
            callers: callers.iter().map(|caller| (*caller).clone()).collect(),
            source: None,
        };
        let new = self.path(&format!("{name}.new"));
        credentials
            .write(&new, TokenStorage::Hashed)
            .expect("written");
        std::fs::rename(new, self.path(&format!("{name}.toml"))).expect("renamed");
    }

    pub(crate) fn send(&self, from: &Caller, text: &str) -> i64 {
        let draft = Draft::text(text.parse().expect("a body"));
        self.block_on(self.store.send(from, &[draft], clock::now()))
            .expect("sent")[0]
            .id
            .0
    }

    /// Lets tests send more than an agent may.
    pub(crate) fn without_limits(&self) {
        let limits = mcp_bridge::model::rate::RateLimits {
            per_minute: 1_000_000,
            per_hour: 1_000_000,
            per_day: 1_000_000,
        };
        self.block_on(self.store.set_rate_limits(limits))
            .expect("set");
    }

    /// Fetches and confirms; returns the texts.
    pub(crate) fn fetch(&self, caller: &Caller) -> Vec<String> {
        self.block_on(async {
            let fetched = self.store.fetch(caller, 1000, clock::now()).await?;
            if let Some(id) = &fetched.id {
                let by = &caller.session;
                self.store.fetch_written(by, id, clock::now()).await?;
            }
            Ok::<_, StoreError>(fetched.messages.into_iter().map(|m| m.message).collect())
        })
        .expect("fetched")
    }

    pub(crate) fn view(&self, session: &SessionKey) -> SessionView {
        self.try_view(session).expect("the session")
    }

    fn try_view(&self, session: &SessionKey) -> Option<SessionView> {
        // Those that are open; a store that is away for a moment has none.
        let views = self.block_on(self.store.sessions(clock::now()));
        views.ok()?.into_iter().find(|view| view.key == *session)
    }

    /// Heartbeats that were written for a session.
    pub(crate) fn beats(&self, session: &SessionKey) -> i64 {
        let view = self.try_view(session);
        view.and_then(|view| view.heartbeat)
            .map_or(0, |heartbeat| heartbeat.seq)
    }

    /// How long ago the session's last heartbeat was written, on the boot clock.
    #[allow(dead_code, reason = "for tests of silence")]
    pub(crate) fn silent_for(&self, session: &SessionKey) -> Duration {
        let written: i64 = self
            .foreign()
            .query_row(
                "SELECT beat_boot_ms FROM bridge_heartbeat
                 WHERE conversation_id = ?1 AND session_id = ?2",
                [session.conversation.as_str(), session.side.as_str()],
                |row| row.get(0),
            )
            .expect("a heartbeat");
        clock::since_boot() - Duration::from_millis(u64::try_from(written).expect("a time"))
    }

    /// Waits until the session has been kept alive by rounds that began now.
    #[track_caller]
    pub(crate) fn goes_on(&self, session: &SessionKey) {
        let before = self.beats(session);
        // The first of them may have begun before.
        wait_for("more heartbeats", || {
            (self.beats(session) >= before + 2).then_some(())
        });
    }

    #[track_caller]
    pub(crate) fn becomes(&self, session: &SessionKey, life: Life) {
        wait_for(&format!("{session} to be {life:?}"), || {
            let view = self.try_view(session)?;
            (view.life(clock::now()) == life).then_some(())
        });
    }

    /// A connection of a program that does not know our doorbell.
    pub(crate) fn foreign(&self) -> rusqlite::Connection {
        let connection = rusqlite::Connection::open(self.path("bridge.db")).expect("opened");
        connection.busy_timeout(PATIENCE).expect("set");
        connection
    }

    pub(crate) fn wakes(&self, session: &SessionKey) -> Vec<WakeRow> {
        let connection = self.foreign();
        let mut statement = connection
            .prepare(
                "SELECT adapter, outcome, coalesce(reason, '') FROM bridge_wake
                 WHERE conversation_id = ?1 AND session_id = ?2 ORDER BY wake_id",
            )
            .expect("a query");
        let rows = statement.query_map(
            [session.conversation.as_str(), session.side.as_str()],
            |row| {
                Ok(WakeRow {
                    adapter: row.get(0)?,
                    outcome: row.get(1)?,
                    reason: row.get(2)?,
                })
            },
        );
        rows.expect("rows").map(|row| row.expect("a row")).collect()
    }

    /// Waits until the wakes of a session end with this outcome.
    #[track_caller]
    pub(crate) fn last_wake(&self, session: &SessionKey, outcome: &str) -> WakeRow {
        wait_for(&format!("a wake that is {outcome}"), || {
            let last = self.wakes(session).pop()?;
            (last.outcome.as_deref() == Some(outcome)).then_some(last)
        })
    }

    /// Writes `NAME.conf.toml` of a worker with the store's address before
    /// `text`.
    pub(crate) fn config(&self, name: &str, text: &str) -> PathBuf {
        self.config_of("worker", name, text)
    }

    /// The same for any role.
    pub(crate) fn config_of(&self, role: &str, name: &str, text: &str) -> PathBuf {
        let path = self.path(&format!("{name}.conf.toml"));
        let store = self.path("bridge.db");
        // What belongs to no table stands before the first one.
        let (local, text) = match text.strip_prefix(LOCAL) {
            Some(text) => (LOCAL, text),
            None => ("", text),
        };
        let all = format!(
            "role = \"{role}\"\n{local}[store]\nurl = \"{}\"\n[service]\nstate_file = \"{}\"\n{text}",
            store.display(),
            self.path(&format!("{name}.state.json")).display(),
        );
        std::fs::write(&path, all).expect("written");
        path
    }

    /// An executable script.
    pub(crate) fn script(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        // By rename: a script that is open for writing cannot be run.
        let new = self.path(&format!("{name}.new"));
        std::fs::write(&new, format!("#!/bin/sh\n{text}\n")).expect("written");
        std::fs::set_permissions(&new, std::fs::Permissions::from_mode(0o700)).expect("set");
        std::fs::rename(new, &path).expect("renamed");
        path
    }

    pub(crate) fn command(&self, config: &Path) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mcp-bridged"));
        command.arg("--config").arg(config);
        self.tidy(&mut command);
        command
    }

    /// The daemon behind another program (`unshare`, `setpriv`), which ends
    /// with `exec`.
    pub(crate) fn command_behind(&self, wrapper: &[&str], config: &Path) -> Command {
        let mut command = Command::new(wrapper[0]);
        command
            .args(&wrapper[1..])
            .arg(env!("CARGO_BIN_EXE_mcp-bridged"))
            .arg("--config")
            .arg(config);
        self.tidy(&mut command);
        command
    }

    fn tidy(&self, command: &mut Command) {
        command
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.dir.path())
            .env("NO_COLOR", "1");
    }

    pub(crate) fn daemon(&self, config: &Path) -> Daemon {
        Daemon::start(&mut self.command(config), config)
    }

    /// A daemon with this configuration whose duties run.
    pub(crate) fn worker(&self, text: &str) -> Daemon {
        let mut daemon = self.daemon(&self.config("worker", text));
        daemon.ready();
        daemon
    }
}

/// The sessions of clients that register on this machine are kept.
pub(crate) const LOCAL: &str = "sessions = \"local\"\n";

/// `[[session]]` with the credentials `NAME.toml`.
pub(crate) fn session(name: &str, proof: &str) -> String {
    format!("[[session]]\ncredentials = \"{name}.toml\"\nproof = {proof}\n")
}

/// A running daemon; killed, and waited for, when it is dropped.
pub(crate) struct Daemon {
    pub(crate) child: Child,
    /// The daemon itself, if the child is a program that waits for it.
    itself: Option<Pid>,
    state: PathBuf,
    lines: Receiver<String>,
    pub(crate) log: Vec<String>,
}

impl Daemon {
    pub(crate) fn start(command: &mut Command, config: &Path) -> Self {
        let mut child = command
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
        Self::of(child, config, lines)
    }

    /// Starts it with its log going to `log`, which the caller has.
    pub(crate) fn start_into(command: &mut Command, config: &Path, log: Stdio) -> Self {
        let command = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);
        let child = command.spawn().expect("mcp-bridged");
        Self::of(child, config, channel().1)
    }

    fn of(child: Child, config: &Path, lines: Receiver<String>) -> Self {
        let name = config.file_name().and_then(|n| n.to_str()).expect("a name");
        let state = name.replace(".conf.toml", ".state.json");
        Self {
            child,
            itself: None,
            state: config.with_file_name(state),
            lines,
            log: Vec::new(),
        }
    }

    /// Starts it among processes of its own, as on another machine: it cannot look at
    /// an agent. `None` where this user may not do that.
    #[allow(dead_code, reason = "not every binary has daemons that look at agents")]
    pub(crate) fn start_apart(rig: &Rig, config: &Path) -> Option<Self> {
        let apart = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"];
        let mut probe = Command::new(apart[0]);
        probe.args(&apart[1..]).arg("true").stderr(Stdio::null());
        if !rustix::process::geteuid().is_root() || !probe.status().is_ok_and(|s| s.success()) {
            println!("skipped: processes of its own want root, and unshare");
            return None;
        }
        let mut daemon = Self::start(&mut rig.command_behind(&apart, config), config);
        daemon.ready();
        let of = daemon.child.id();
        let children = std::fs::read_to_string(format!("/proc/{of}/task/{of}/children"));
        let child = children.expect("a list").trim().parse().expect("one child");
        daemon.itself = Pid::from_raw(child);
        Some(daemon)
    }

    pub(crate) fn ready(&mut self) {
        self.says("ready: ");
    }

    pub(crate) fn state(&self) -> Option<StateFile> {
        serde_json::from_slice(&std::fs::read(&self.state).ok()?).ok()
    }

    /// Waits until the state file is so.
    #[track_caller]
    pub(crate) fn shows(&self, what: &str, condition: impl Fn(&StateFile) -> bool) -> StateFile {
        wait_for(what, || self.state().filter(|state| condition(state)))
    }

    /// Waits until the log has a line that contains `text`, and returns it.
    #[track_caller]
    pub(crate) fn says(&mut self, text: &str) -> String {
        self.says_times(text, 1)
    }

    /// Waits until it has been said so often; returns the last of them.
    #[track_caller]
    pub(crate) fn says_times(&mut self, text: &str, times: usize) -> String {
        let end = Instant::now() + PATIENCE;
        loop {
            let mut said = self.log.iter().filter(|line| line.contains(text));
            if let Some(line) = said.nth(times - 1) {
                return line.clone();
            }
            match self
                .lines
                .recv_timeout(end.saturating_duration_since(Instant::now()))
            {
                Ok(line) => self.log.push(line),
                Err(_) => panic!(
                    "the log did not say `{text}` {times} times:\n{}",
                    self.log.join("\n")
                ),
            }
        }
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = self.itself.unwrap_or_else(|| Pid::from_child(&self.child));
        kill_process(pid, signal).expect("signalled");
    }

    /// Makes it stand still, where it does not keep the others from writing: stopped in
    /// the middle of a write, it would.
    #[track_caller]
    pub(crate) fn pause(&self, rig: &Rig) {
        wait_for("a pause outside of a write", || {
            self.signal(Signal::STOP);
            let free = rig.block_on(async {
                let none = ConversationId::from_random([0; 8]);
                let (none, fetch) = (SessionKey::new(none, Side::A), FetchId("none".into()));
                let write = rig.store.fetch_written(&none, &fetch, clock::now());
                tokio::time::timeout(Duration::from_millis(300), write).await
            });
            if !matches!(free, Ok(Ok(()))) {
                self.signal(Signal::CONT);
                return None;
            }
            Some(())
        });
    }

    /// Reloads and waits for what comes of it.
    #[track_caller]
    pub(crate) fn reload(&self) -> StateFile {
        let before = self.state().and_then(|state| state.last_reload);
        self.signal(Signal::HUP);
        self.shows("the reload", |state| state.last_reload != before)
    }

    /// Ends it as a service manager would; returns its exit code.
    pub(crate) fn stop(self) -> Option<i32> {
        self.finish().0
    }

    /// The same, with all that it ever said.
    pub(crate) fn finish(mut self) -> (Option<i32>, Said) {
        self.signal(Signal::TERM);
        let code = self.wait();
        (code, Said(std::mem::take(&mut self.log)))
    }

    /// Waits for its own end and reads the rest of its log.
    #[track_caller]
    pub(crate) fn wait(&mut self) -> Option<i32> {
        let code = wait_for("the end of the daemon", || {
            self.child.try_wait().expect("waited")
        })
        .code();
        loop {
            match self.lines.recv_timeout(PATIENCE) {
                Ok(line) => self.log.push(line),
                Err(RecvTimeoutError::Disconnected) => return code,
                Err(RecvTimeoutError::Timeout) => panic!("another process holds its stderr open"),
            }
        }
    }

    pub(crate) fn kill(mut self) {
        self.child.kill().expect("killed");
        self.child.wait().expect("ended");
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("asked").is_none()
    }

    /// A line of `/proc/PID/status`, in its unit.
    pub(crate) fn status(&self, key: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()));
        status
            .expect("a status")
            .lines()
            .find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))
            .and_then(|value| value.split_whitespace().next()?.parse().ok())
            .expect("a number")
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // Ended already is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            self.log.extend(self.lines.try_iter());
            #[expect(clippy::print_stdout, reason = "the test's own last words")]
            {
                println!("the daemon's log:\n{}", self.log.join("\n"));
            }
        }
    }
}

/// All that a daemon said.
pub(crate) struct Said(pub(crate) Vec<String>);

impl Said {
    pub(crate) fn count(&self, text: &str) -> usize {
        self.0.iter().filter(|line| line.contains(text)).count()
    }

    #[track_caller]
    pub(crate) fn only_once(&self, text: &str) {
        assert_eq!(self.count(text), 1, "`{text}` in:\n{}", self.0.join("\n"));
    }

    #[track_caller]
    pub(crate) fn never(&self, text: &str) {
        assert_eq!(self.count(text), 0, "`{text}` in:\n{}", self.0.join("\n"));
    }
}

/// A process that stands for an agent.
pub(crate) struct Agent(pub(crate) Child);

impl Agent {
    pub(crate) fn start() -> Self {
        let child = Command::new("sleep").arg("1000").spawn();
        Self(child.expect("an agent"))
    }

    /// One that has written its pid file.
    pub(crate) fn with_file(rig: &Rig, file: &str) -> Self {
        let agent = Self::start();
        agent.write_file(rig, file);
        agent
    }

    pub(crate) fn write_file(&self, rig: &Rig, file: &str) {
        std::fs::write(rig.path(file), format!("{}\n", self.0.id())).expect("written");
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.0), signal).expect("signalled");
    }

    pub(crate) fn end(&mut self) {
        self.0.kill().expect("killed");
        self.0.wait().expect("ended");
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        // Ended already is as good.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Whether a process runs; a zombie does not.
pub(crate) fn is_alive(pid: &str) -> bool {
    std::fs::read_to_string(format!("/proc/{}/stat", pid.trim()))
        .is_ok_and(|stat| !stat.contains(") Z "))
}
