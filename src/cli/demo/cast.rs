//! The stage of the demo and the processes on it: a scratch store, worker daemons,
//! agents.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::Context;
use jiff::SignedDuration;
use rusqlite::{Connection, OpenFlags};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::mpsc;

use super::actors::{DemoEvent, ROLE};
use super::mail::{self, Stored};
use crate::bridge::{Bridge, Found, Purpose};
use crate::clock;
use crate::model::rate::RateLimits;
use crate::model::{SessionKey, Side};
use crate::session::made::{caller, planned};
use crate::stage::{self, quoted};
use crate::store::Caller;
use crate::store::locate::{Location, Origin};

/// Workers, each with a daemon and an agent of its own.
pub(super) const WORKERS: usize = 4;
/// Tasks that one of them may have at once.
const CAPACITY: usize = 4;
/// How long a heartbeat counts.
pub(super) const TTL: Duration = Duration::from_secs(4);

/// The scratch directory and the store in it.
pub(super) struct Stage {
    files: stage::Stage,
    pub(super) bridge: Bridge,
    pub(super) database: PathBuf,
    /// The workers' sessions.
    pub(super) sessions: Vec<SessionKey>,
    told: mpsc::UnboundedSender<DemoEvent>,
    /// For what no call of the store tells: kept as long as the stage.
    raw: Connection,
}

impl Stage {
    pub(super) async fn build(told: mpsc::UnboundedSender<DemoEvent>) -> anyhow::Result<Self> {
        let directory = tempfile::Builder::new()
            .prefix("mcp-bridge-demo.")
            .tempdir()
            .context("no scratch directory")?
            .keep();
        let files = stage::Stage::new(directory)?;
        let database = files.database();
        let location = Location {
            name: database.as_path().into(),
            origin: Origin::Flag,
        };
        let bridge = Bridge::open(&Found::file(location), Purpose::Make, |_| {}).await?;
        bridge.set_rate_limits(RateLimits::NONE).await?;
        let raw = Connection::open_with_flags(&database, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        let mut stage = Self {
            files,
            bridge,
            database,
            sessions: Vec::new(),
            told,
            raw,
        };
        let mut orchestrator = Vec::new();
        for number in 1..=WORKERS {
            orchestrator.push(stage.conversation(number).await?);
        }
        let files = &stage.files;
        files.write_credentials("orchestrator", orchestrator)?;
        files.write_config("orchestrator", "orchestrator", &orchestrator_config())?;
        Ok(stage)
    }

    async fn conversation(&mut self, number: usize) -> anyhow::Result<Caller> {
        let ends = clock::now() + SignedDuration::from_hours(3);
        let label = format!("worker-{number}").parse().ok();
        let new = planned(label, ["orchestrator", ROLE], ends)?;
        let (a, b) = (caller(&new, Side::A), caller(&new, Side::B));
        self.bridge.create_conversations(&[new]).await?;
        self.sessions.push(b.session.clone());
        let files = &self.files;
        files.write_credentials(&format!("agent-{number}"), vec![b])?;
        make_pipe(&self.inbox(number))?;
        let worker = format!("worker-{number}");
        files.write_config(&worker, "worker", &self.worker_config(number))?;
        Ok(a)
    }

    fn inbox(&self, number: usize) -> PathBuf {
        self.files.file(&format!("agent-{number}.inbox"))
    }

    /// One worker wakes its agent by a command, the others by a file; both
    /// end in the pipe on which the agent waits.
    fn worker_config(&self, number: usize) -> String {
        let inbox = quoted(&self.inbox(number));
        let wake = if number == 1 {
            format!("order = [\"exec\"]\nexec.command = [\"tee\", \"-a\", {inbox}]")
        } else {
            format!("order = [\"file\"]\nfile.path = {inbox}")
        };
        format!(
            "[heartbeat]\ninterval = \"1s\"\nttl = \"{}s\"\n\n[wake]\n{wake}\n\n{}",
            TTL.as_secs(),
            self.files.session(&format!("agent-{number}")),
        )
    }

    /// Starts a daemon, and returns how long it took until it was ready.
    pub(super) async fn daemon(&self, name: &str) -> anyhow::Result<(Child, Duration)> {
        self.files.daemon(name, stage::own_daemon()?).await
    }

    /// Starts an agent and writes down its process id, by which its daemon
    /// proves its life.
    pub(super) fn agent(&self, number: usize) -> anyhow::Result<Child> {
        let name = format!("agent-{number}");
        let child = self.actor(
            &name,
            &[
                "agent".as_ref(),
                "--credentials".as_ref(),
                self.files.credentials(&name).as_os_str(),
                "--inbox".as_ref(),
                self.inbox(number).as_os_str(),
            ],
        )?;
        let pid = child.id().context("the agent ended at once")?;
        self.files.write_pid(&name, pid)?;
        Ok(child)
    }

    pub(super) fn orchestrator(&self, tasks: u32) -> anyhow::Result<Child> {
        self.actor(
            "orchestrator",
            &[
                "orchestrator".as_ref(),
                "--credentials".as_ref(),
                self.files.credentials("orchestrator").as_os_str(),
                "--tasks".as_ref(),
                tasks.to_string().as_ref(),
            ],
        )
    }

    fn actor(&self, name: &str, arguments: &[&OsStr]) -> anyhow::Result<Child> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("demo").args(arguments).stdout(Stdio::piped());
        let mut child = self.files.start(name, &mut command)?;
        let stdout = child.stdout.take().context("no stdout")?;
        let told = self.told.clone();
        tokio::spawn(async move {
            let mut lines = BufReader::new(stdout).lines();
            while let Ok(Some(line)) = lines.next_line().await {
                // A line that was cut by a kill is no word.
                if let Ok(word) = serde_json::from_str(&line)
                    && told.send(word).is_err()
                {
                    return;
                }
            }
        });
        Ok(child)
    }

    /// All messages that were ever stored.
    pub(super) fn messages(&self) -> anyhow::Result<Vec<Stored>> {
        let mut all = self
            .raw
            .prepare_cached("SELECT id, metadata FROM messages")?;
        let rows = all.query_map([], |row| {
            let metadata: Option<String> = row.get(1)?;
            let metadata: Option<serde_json::Value> =
                metadata.and_then(|text| serde_json::from_str(&text).ok());
            Ok(Stored {
                id: row.get(0)?,
                claim: metadata.as_ref().and_then(mail::claim),
                reminder: metadata.is_some_and(|metadata| metadata["event"] == "reminder"),
            })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// What a process that failed had to say.
    pub(super) fn last_words(&self, name: &str) -> String {
        self.files.last_words(name)
    }
}

/// The timers of a play, not of a fleet: minutes become seconds.
fn orchestrator_config() -> String {
    format!(
        "[watchdog]\ncheck_interval = \"500ms\"\nidle_after = \"2s\"\nstalled_after = \"2s\"\n\
         revoke_after = \"1s\"\n\n[reassignment]\ncapacity = {CAPACITY}\n\
         # A task that loses three owners in this play is no poison.\nmax_losses = 10\n",
    )
}

/// By mkfifo(1): macOS has no safe call for it.
fn make_pipe(path: &Path) -> anyhow::Result<()> {
    let made = std::process::Command::new("mkfifo")
        .args(["-m", "600"])
        .arg(path)
        .status();
    anyhow::ensure!(
        made.is_ok_and(|status| status.success()),
        "pipe {} cannot be created: mkfifo failed",
        path.display()
    );
    Ok(())
}
