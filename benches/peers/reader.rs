//! The process that reads: this program again. It says when it had which message.

use std::io::{BufRead, BufReader, Write as _};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use anyhow::Context as _;
use mcp_bridge::clock::monotonic_nanos;
use serde::{Deserialize, Serialize};

use crate::{ours, postgres, redis};

/// The argument that makes this program a reader.
pub(crate) const READ: &str = "read";

/// What it says when nothing that is sent from now on escapes it.
const READY: &str = "ready";

/// Longer than any message takes.
const PATIENCE: Duration = Duration::from_secs(30);

/// What to read. It comes on standard input: an argument would show the token.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Job {
    /// A session of a store.
    Embedded {
        store: PathBuf,
        conversation: String,
        token: String,
    },
    /// The same, by its daemon.
    Door {
        socket: PathBuf,
        conversation: String,
        token: String,
    },
    /// A stream behind a socket.
    Redis(PathBuf),
    /// A table behind a socket.
    Postgres(PathBuf),
}

/// Runs as a reader until it is killed.
pub(crate) fn run() -> anyhow::Result<()> {
    let job: Job = serde_json::from_reader(std::io::stdin())?;
    match job {
        Job::Embedded {
            store,
            conversation,
            token,
        } => ours::read(&store, &conversation, &token),
        Job::Door {
            socket,
            conversation,
            token,
        } => ours::read_through(&socket, &conversation, &token),
        Job::Redis(socket) => redis::read(&socket),
        Job::Postgres(socket) => postgres::read(&socket),
    }
}

/// Says that the reader hears everything from now on.
pub(crate) fn ready() -> std::io::Result<()> {
    say(READY)
}

/// Says that the reader has this message now.
pub(crate) fn has(text: &str) -> std::io::Result<()> {
    let at = monotonic_nanos();
    let number = text.split(' ').next().unwrap_or_default();
    say(&format!("{number} {at}"))
}

fn say(line: &str) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}")?;
    out.flush()
}

/// A reader that runs; killed with this.
pub(crate) struct Reader {
    child: Child,
    lines: Receiver<String>,
}

impl Drop for Reader {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Reader {
    /// Starts one, and waits until it hears everything.
    pub(crate) fn start(job: &Job) -> anyhow::Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .arg(READ)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let input = child.stdin.take().context("a pipe")?;
        serde_json::to_writer(input, job)?;
        let output = child.stdout.take().context("a pipe")?;
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        let reader = Self { child, lines };
        let first = reader.line()?;
        anyhow::ensure!(first == READY, "the reader says `{first}`");
        Ok(reader)
    }

    /// When it had this message.
    pub(crate) fn has(&self, number: u64) -> anyhow::Result<u64> {
        let line = self.line()?;
        let (read, at) = line.split_once(' ').context("half a line")?;
        anyhow::ensure!(
            read == number.to_string(),
            "message {number} was sent, and {read} came"
        );
        Ok(at.parse()?)
    }

    fn line(&self) -> anyhow::Result<String> {
        let line = self.lines.recv_timeout(PATIENCE);
        line.context("the reader says nothing")
    }
}
