//! The stage and the processes on it: a scratch store, credentials,
//! configurations, worker daemons, agents.

use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::Context;
use jiff::SignedDuration;
use rusqlite::{Connection, OpenFlags};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::actors::{ROLE, Told};
use super::mail::{self, Stored};
use crate::bridge::{Bridge, Found, Purpose};
use crate::clock;
use crate::credentials::Credentials;
use crate::leash::Leash;
use crate::model::rate::RateLimits;
use crate::model::token::{Token, TokenStorage};
use crate::model::{ConversationId, SessionKey, Side};
use crate::store::locate::{Location, Origin};
use crate::store::{Caller, NewConversation};

/// Workers, each with a daemon and an agent of its own.
pub(super) const WORKERS: usize = 4;
/// Tasks that one of them may have at once.
const CAPACITY: usize = 4;
/// How long a heartbeat counts.
pub(super) const TTL: Duration = Duration::from_secs(4);

/// How long a process may take to start before the demo gives up.
const PATIENCE: Duration = Duration::from_secs(30);

/// The scratch directory and the store in it.
pub(super) struct Stage {
    pub(super) directory: PathBuf,
    pub(super) bridge: Bridge,
    pub(super) database: PathBuf,
    /// The workers' sessions.
    pub(super) sessions: Vec<SessionKey>,
    told: mpsc::UnboundedSender<Told>,
    leash: Leash,
    /// For what no call of the store tells: kept as long as the stage.
    raw: Connection,
}

impl Stage {
    pub(super) async fn build(told: mpsc::UnboundedSender<Told>) -> anyhow::Result<Self> {
        let directory = tempfile::Builder::new()
            .prefix("mcp-bridge-demo.")
            .tempdir()
            .context("no scratch directory")?
            .keep();
        let database = directory.join("bridge.db");
        let location = Location {
            name: database.as_path().into(),
            origin: Origin::Flag,
        };
        let bridge = Bridge::open(&Found::file(location), Purpose::Make, |_| {}).await?;
        bridge.set_rate_limits(RateLimits::NONE).await?;
        let raw = Connection::open_with_flags(&database, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        let mut stage = Self {
            directory,
            bridge,
            database,
            sessions: Vec::new(),
            told,
            leash: Leash::new()?,
            raw,
        };
        let mut orchestrator = Vec::new();
        for number in 1..=WORKERS {
            orchestrator.push(stage.conversation(number).await?);
        }
        stage.credentials("orchestrator", orchestrator)?;
        std::fs::write(stage.config("orchestrator"), stage.orchestrator_config())?;
        Ok(stage)
    }

    async fn conversation(&mut self, number: usize) -> anyhow::Result<Caller> {
        let mut random = [0_u8; 40];
        getrandom::fill(&mut random).context("no randomness")?;
        let (mut name, mut key) = ([0; 8], [0; 32]);
        name.copy_from_slice(&random[..8]);
        key.copy_from_slice(&random[8..]);
        let id = ConversationId::from_random(name);
        let caller = |side| {
            let session = SessionKey::new(id.clone(), side);
            Caller {
                token: Token::generate(&session, &key),
                session,
            }
        };
        let (a, b) = (caller(Side::A), caller(Side::B));
        let now = clock::now();
        let new = NewConversation {
            label: format!("worker-{number}").parse().ok(),
            role_a: "orchestrator".into(),
            role_b: ROLE.into(),
            token_a: a.token.clone(),
            token_b: b.token.clone(),
            expires_at: now + SignedDuration::from_hours(3),
            id,
        };
        self.bridge.create_conversations(&[new]).await?;
        self.sessions.push(b.session.clone());
        self.credentials(&format!("agent-{number}"), vec![b])?;
        let inbox = self.inbox(number);
        make_pipe(&inbox)?;
        std::fs::write(
            self.config(&format!("worker-{number}")),
            self.worker_config(number),
        )?;
        Ok(a)
    }

    fn credentials(&self, name: &str, callers: Vec<Caller>) -> anyhow::Result<()> {
        let credentials = Credentials {
            store: Some(self.database.display().to_string()),
            label: name.parse().ok(),
            callers,
            source: None,
        };
        Ok(credentials.write(&self.file(&format!("{name}.toml")), TokenStorage::Hashed)?)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    fn inbox(&self, number: usize) -> PathBuf {
        self.file(&format!("agent-{number}.inbox"))
    }

    fn config(&self, name: &str) -> PathBuf {
        // Beside the credentials, whose names end so, too.
        self.file(&format!("{name}.conf.toml"))
    }

    fn log(&self, name: &str) -> PathBuf {
        self.file(&format!("{name}.log"))
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
            "{}\n[heartbeat]\ninterval = \"1s\"\nttl = \"{}s\"\n\n[wake]\n{wake}\n\n\
             [[session]]\ncredentials = \"agent-{number}.toml\"\nproof = {{ pid_file = {} }}\n",
            self.common("worker", &format!("worker-{number}")),
            TTL.as_secs(),
            quoted(&self.file(&format!("agent-{number}.pid"))),
        )
    }

    /// The timers of a play, not of a fleet: minutes become seconds.
    fn orchestrator_config(&self) -> String {
        format!(
            "{}\n[watchdog]\ncheck_interval = \"500ms\"\nidle_after = \"2s\"\nstalled_after = \"2s\"\n\
             revoke_after = \"1s\"\n\n[reassignment]\ncapacity = {CAPACITY}\n\
             # A task that loses three owners in this play is no poison.\nmax_losses = 10\n",
            self.common("orchestrator", "orchestrator"),
        )
    }

    fn common(&self, role: &str, name: &str) -> String {
        format!(
            "role = \"{role}\"\n\n[store]\nurl = {}\n\n[service]\nstate_file = {}\n",
            quoted(&self.database),
            quoted(&self.file(&format!("{name}.state.json"))),
        )
    }

    /// Starts a daemon and waits until it says READY, as a service manager
    /// would. Returns how long that took.
    pub(super) async fn daemon(&self, name: &str) -> anyhow::Result<(Child, Duration)> {
        let socket = self.file(&format!("{name}.notify"));
        // One of an earlier life of this daemon.
        let _ = std::fs::remove_file(&socket);
        let manager = UnixDatagram::bind(&socket)?;
        manager.set_nonblocking(true)?;
        let manager = tokio::net::UnixDatagram::from_std(manager)?;
        let started = clock::since_boot();
        // Cargo builds only the program that it runs; this one is both.
        let mut command = Command::new(std::env::current_exe()?);
        // What somebody set for his own daemon is not meant for these.
        for (name, _) in std::env::vars_os() {
            if name.as_encoded_bytes().starts_with(b"MCP_BRIDGE_") {
                command.env_remove(name);
            }
        }
        self.leash.put_on(&mut command)?;
        let child = command
            .arg0("mcp-bridged")
            .arg("--config")
            .arg(self.config(name))
            .env("NOTIFY_SOCKET", &socket)
            .env_remove("WATCHDOG_USEC")
            .stdout(Stdio::null())
            .stderr(append(&self.log(name))?)
            .spawn()
            .context("mcp-bridged cannot be started")?;
        let ready = async {
            let mut datagram = [0_u8; 4096];
            loop {
                let length = manager.recv(&mut datagram).await?;
                let text = String::from_utf8_lossy(&datagram[..length]);
                if text.lines().any(|line| line == "READY=1") {
                    return anyhow::Ok(clock::since_boot().saturating_sub(started));
                }
            }
        };
        let took = timeout(PATIENCE, ready)
            .await
            .with_context(|| self.last_words(name))??;
        Ok((child, took))
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
                self.file(&format!("{name}.toml")).as_os_str(),
                "--inbox".as_ref(),
                self.inbox(number).as_os_str(),
            ],
        )?;
        let pid = child.id().context("the agent ended at once")?;
        // Replaced as a whole, so that nobody reads half of a number.
        let (new, file) = (
            self.file(&format!("{name}.pid.new")),
            self.file(&format!("{name}.pid")),
        );
        std::fs::write(&new, pid.to_string())?;
        std::fs::rename(new, file)?;
        Ok(child)
    }

    pub(super) fn orchestrator(&self, tasks: u32) -> anyhow::Result<Child> {
        self.actor(
            "orchestrator",
            &[
                "orchestrator".as_ref(),
                "--credentials".as_ref(),
                self.file("orchestrator.toml").as_os_str(),
                "--tasks".as_ref(),
                tasks.to_string().as_ref(),
            ],
        )
    }

    fn actor(&self, name: &str, arguments: &[&std::ffi::OsStr]) -> anyhow::Result<Child> {
        let mut command = Command::new(std::env::current_exe()?);
        self.leash.put_on(&mut command)?;
        let mut child = command
            .arg("demo")
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(append(&self.log(name))?)
            .spawn()
            .with_context(|| format!("{name} cannot be started"))?;
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
        let mut text = String::new();
        let path = self.log(name);
        // Without a log there is nothing to quote.
        let _ = std::fs::File::open(&path).and_then(|mut log| log.read_to_string(&mut text));
        let last: Vec<&str> = text.lines().rev().take(3).collect();
        format!(
            "{name} did not do its part; its log {} ends: {}",
            path.display(),
            last.into_iter().rev().collect::<Vec<_>>().join(" / ")
        )
    }
}

fn quoted(path: &Path) -> String {
    serde_json::json!(path).to_string()
}

fn append(path: &Path) -> std::io::Result<std::fs::File> {
    std::fs::OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .open(path)
}

/// By mkfifo(1): macOS has no safe call for it.
fn make_pipe(path: &Path) -> anyhow::Result<()> {
    let made = std::process::Command::new("mkfifo")
        .args(["-m", "600"])
        .arg(path)
        .status();
    anyhow::ensure!(
        made.is_ok_and(|status| status.success()),
        "pipe {} cannot be made: mkfifo failed",
        path.display()
    );
    Ok(())
}
