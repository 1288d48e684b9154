//! What end-to-end tests share: a directory of their own, the real programs
//! run in it, and waiting for conditions.

#![allow(
    dead_code,
    unreachable_pub,
    clippy::expect_used,
    reason = "each test program uses its part; without its files a test has nothing to say"
)]

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// Longer than anything takes on the slowest machine; a test that waits so
/// long has failed.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A directory that is everything the programs see of this machine: home,
/// store and credentials.
pub struct Scratch(TempDir);

impl Scratch {
    pub fn new() -> Self {
        Self(tempfile::tempdir().expect("a temporary directory"))
    }

    pub fn dir(&self) -> &Path {
        self.0.path()
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir().join(name)
    }

    pub fn store(&self) -> PathBuf {
        self.path("bridge.db")
    }

    /// What `look` finds while the holder of the lead, wherever it is, renews it.
    pub fn while_the_lead_is_renewed<T>(&self, look: impl FnOnce() -> T) -> T {
        let (done, begun) = (AtomicBool::new(false), Instant::now());
        std::thread::scope(|threads| {
            threads.spawn(|| {
                // It ends by itself if `look` panics.
                while !done.load(Ordering::Relaxed) && begun.elapsed() < PATIENCE {
                    self.sql("UPDATE bridge_leader SET renew_seq = renew_seq + 1");
                }
            });
            let found = look();
            done.store(true, Ordering::Relaxed);
            found
        })
    }

    /// `credentials/NAME.toml`.
    pub fn credentials(&self, name: &str) -> PathBuf {
        self.path(&format!("credentials/{name}.toml"))
    }

    /// The program at `path`, without our own environment.
    pub fn program(&self, path: &str) -> Command {
        let mut command = Command::new(path);
        command
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.dir())
            .env("MCP_BRIDGE_STORE", self.store())
            .current_dir(self.dir())
            .stdin(Stdio::null());
        command
    }

    /// `mcp-bridge` with these arguments, on this directory's store.
    pub fn bridge(&self, args: &[&str]) -> Command {
        let mut command = self.program(env!("CARGO_BIN_EXE_mcp-bridge"));
        command.args(args);
        command
    }

    /// The same for a session.
    pub fn bridge_as(&self, name: &str, args: &[&str]) -> Command {
        let mut command = self.bridge(args);
        command.env("MCP_BRIDGE_CREDENTIALS", self.credentials(name));
        command
    }

    /// Runs `mcp-bridge`.
    pub fn run(&self, args: &[&str]) -> Ran {
        self.outcome(self.bridge(args))
    }

    /// Runs `mcp-bridge` for a session.
    pub fn run_as(&self, name: &str, args: &[&str]) -> Ran {
        self.outcome(self.bridge_as(name, args))
    }

    /// Runs a command to its end.
    pub fn outcome(&self, mut command: Command) -> Ran {
        let output = command.output().expect("the program starts");
        self.ran(&output)
    }

    /// Runs a command with this on its standard input.
    pub fn outcome_with_input(&self, mut command: Command, input: &[u8]) -> Ran {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let mut stdin = child.stdin.take().expect("a pipe");
        // It may end before it has read everything.
        let _ = stdin.write_all(input);
        drop(stdin);
        self.ran(&child.wait_with_output().expect("it ends"))
    }

    fn ran(&self, output: &Output) -> Ran {
        Ran {
            code: output.status.code(),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
            dir: self.dir().to_string_lossy().into_owned(),
        }
    }

    /// A store with a conversation `work`, and its two credentials files.
    pub fn with_conversation() -> Self {
        let scratch = Self::new();
        scratch.conversation(&["--label", "work"]);
        scratch
    }

    /// `conversation new` into this directory's credentials.
    pub fn conversation(&self, args: &[&str]) -> Ran {
        let mut all = vec!["conversation", "new", "--out", "credentials"];
        all.extend_from_slice(args);
        self.run(&all).ok()
    }

    /// `mcp-bridge` as another user, who owns this directory; for root only. The
    /// program is copied to where that user can reach it.
    pub fn as_other_user(&self, args: &[&str]) -> Command {
        const NOBODY: u32 = 65_534;
        let program = self.path("mcp-bridge");
        std::fs::copy(env!("CARGO_BIN_EXE_mcp-bridge"), &program).expect("copied");
        give(self.dir(), NOBODY);
        let mut command = self.program("setpriv");
        command
            .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
            .arg(program)
            .args(args);
        command
    }

    /// Ends all conversations, this number of seconds ago (ahead, if negative).
    pub fn expire_conversations(&self, seconds: i64) {
        self.sql(&format!(
            "UPDATE conversations SET expires_at =
                 strftime('%Y-%m-%dT%H:%M:%f000', 'now', '{:+} seconds')",
            -seconds
        ));
    }

    /// The store's file, for what the product offers no command for.
    pub fn sql(&self, statement: &str) -> usize {
        rusqlite::Connection::open(self.store())
            .and_then(|store| {
                store.busy_timeout(PATIENCE)?;
                store.execute(statement, [])
            })
            .expect("valid SQL")
    }

    /// The one number that a query gives.
    pub fn number(&self, query: &str) -> i64 {
        rusqlite::Connection::open(self.store())
            .and_then(|store| {
                store.busy_timeout(PATIENCE)?;
                store.query_row(query, [], |row| row.get(0))
            })
            .expect("valid SQL")
    }
}

/// How a program ended.
#[derive(Debug)]
pub struct Ran {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
    dir: String,
}

impl Ran {
    /// Asserts that it succeeded.
    pub fn ok(self) -> Self {
        assert_eq!(self.code, Some(0), "{self:#?}");
        self
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.out).expect("JSON on standard output")
    }

    /// Exit code and standard error, with what differs from run to run made
    /// the same: the directory, ids of conversations, seconds.
    pub fn says(&self) -> String {
        let code = self.code.map_or("a signal".into(), |code| code.to_string());
        self.steady(&format!("{code}: {}", self.err))
    }

    /// Standard output in the same way.
    pub fn shows(&self) -> String {
        self.steady(&self.out)
    }

    fn steady(&self, text: &str) -> String {
        let text = text.replace(&self.dir, "<dir>");
        let mut parts = text.split("conv_");
        let mut out = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            let digits = part.bytes().take_while(u8::is_ascii_hexdigit).count();
            out.push_str(if digits == 16 { "conv_ID" } else { "conv_" });
            out.push_str(if digits == 16 { &part[16..] } else { part });
        }
        young(out.trim_end())
    }
}

/// Ages of a few seconds are ages of none: `3s` is `0s` on a faster machine.
fn young(text: &str) -> String {
    let bytes = text.as_bytes();
    let is_word = |at: Option<&u8>| at.is_some_and(u8::is_ascii_alphanumeric);
    text.char_indices()
        .map(|(at, c)| {
            let alone = !is_word(at.checked_sub(1).and_then(|before| bytes.get(before)))
                && bytes.get(at + 1) == Some(&b's')
                && !is_word(bytes.get(at + 2));
            if c.is_ascii_digit() && alone { '0' } else { c }
        })
        .collect()
}

/// What all of them say, which must be one and the same.
pub fn all_say(ran: &[Ran]) -> String {
    let mut said: Vec<String> = ran.iter().map(Ran::says).collect();
    said.dedup();
    said.join("\n---\n")
}

/// A program that runs; killed when the test is over, however it ends.
pub struct Running {
    pub child: Child,
    lines: Option<Receiver<String>>,
}

impl Running {
    /// Starts it; its standard output is read line by line.
    pub fn lines(mut command: Command) -> Self {
        let mut running = Self::unread(command.stderr(Stdio::piped()));
        let output = running.child.stdout.take().expect("a pipe");
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        running.lines = Some(lines);
        running
    }

    /// Starts it; its standard output is not read.
    pub fn unread(command: &mut Command) -> Self {
        Self::start(command.stdout(Stdio::piped()))
    }

    /// Starts it as it is.
    pub fn start(command: &mut Command) -> Self {
        let child = command.spawn().expect("the program starts");
        Self { child, lines: None }
    }

    /// Its next line of standard output.
    pub fn line(&mut self) -> String {
        let lines = self.lines.as_ref().expect("lines are read");
        lines.recv_timeout(PATIENCE).expect("a line in time")
    }

    /// Its next line of standard output; nothing once it has ended.
    pub fn next(&self) -> Option<String> {
        let lines = self.lines.as_ref().expect("lines are read");
        match lines.recv_timeout(PATIENCE) {
            Err(RecvTimeoutError::Timeout) => panic!("no line in time"),
            line => line.ok(),
        }
    }

    /// Its next line of standard output, if it comes within a moment.
    pub fn try_line(&mut self) -> Option<String> {
        let lines = self.lines.as_ref().expect("lines are read");
        lines.recv_timeout(Duration::from_millis(500)).ok()
    }

    /// The line, as JSON.
    pub fn json(&mut self) -> serde_json::Value {
        serde_json::from_str(&self.line()).expect("a line of JSON")
    }

    /// The lines that are left after its end.
    pub fn rest(&self) -> Vec<String> {
        self.lines
            .as_ref()
            .expect("lines are read")
            .iter()
            .collect()
    }

    pub fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        kill_process(pid.expect("a process id"), signal).expect("it still runs");
    }

    /// Waits for its end; the exit code, if it was not a signal.
    pub fn end(&mut self) -> Option<i32> {
        let mut status = None;
        wait_until("the program ends", || {
            status = self.child.try_wait().expect("our child");
            status.is_some()
        });
        status.and_then(|status| status.code())
    }

    /// What it said on standard error, if that was kept; after its end.
    pub fn complaint(&mut self) -> String {
        let stderr = self.child.stderr.take().expect("a pipe");
        std::io::read_to_string(stderr).expect("UTF-8")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn give(path: &Path, owner: u32) {
    std::os::unix::fs::chown(path, Some(owner), Some(owner)).expect("root may");
    if path.is_dir() {
        for entry in std::fs::read_dir(path).expect("a directory") {
            give(&entry.expect("an entry").path(), owner);
        }
    }
}

/// Waits until a condition holds.
pub fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let started = Instant::now();
    while !holds() {
        assert!(started.elapsed() < PATIENCE, "waited in vain until {what}");
        std::thread::park_timeout(Duration::from_millis(2));
    }
}

/// Whether this test runs as root, which may open every file.
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Says plainly that something was not tried.
pub fn not_tried(what: &str, why: &str) {
    let _ = writeln!(std::io::stderr(), "skipped: {what}: {why}");
}

/// Whether a program can be started here.
pub fn can_run(program: &str, args: &[&str]) -> bool {
    Command::new(program)
        .args(args)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}
