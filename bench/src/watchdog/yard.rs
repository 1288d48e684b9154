//! Real daemons and agents: one orchestrator, worker daemons that each have a
//! host name of their own where that can be had, agents that are processes.

use std::process::Stdio;
use std::time::Duration;

use anyhow::Context;
use rusqlite::Connection;
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::Command;
use tokio::time::{Instant, sleep, timeout};

use crate::child::{Child, Job, await_end};
use crate::scratch::{Login, Scratch, make_store};
use mcp_bridge::clock;
use mcp_bridge::stage::Stage;
use mcp_bridge::store::sqlite::{Create, SqliteStore};
use mcp_bridge::store::{Caller, NewTask, Store};

/// How long anything may take that has no timer of its own. Generous: a loaded
/// machine is no failure.
const PATIENCE: Duration = Duration::from_secs(60);
const ORCHESTRATOR: &str = "orchestrator";
/// What the sessions' role is called.
const ROLE: &str = "reader";

/// The times that the daemons are configured with.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub(super) struct Timers {
    #[serde(rename = "interval_seconds", serialize_with = "seconds")]
    pub(super) interval: Duration,
    #[serde(rename = "ttl_seconds", serialize_with = "seconds")]
    pub(super) ttl: Duration,
    #[serde(rename = "check_interval_seconds", serialize_with = "seconds")]
    pub(super) check: Duration,
    #[serde(rename = "stalled_after_seconds", serialize_with = "seconds")]
    pub(super) stalled_after: Duration,
}

fn seconds<S: serde::Serializer>(time: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(time.as_secs_f64())
}

impl Timers {
    /// As the product has them by default.
    pub(super) const DEFAULT: Self = Self {
        interval: Duration::from_secs(5),
        ttl: Duration::from_secs(20),
        check: Duration::from_secs(1),
        stalled_after: Duration::from_secs(120),
    };
    /// The same at a tenth, for a run that a user waits for.
    pub(super) const QUICK: Self = Self {
        interval: Duration::from_millis(500),
        ttl: Duration::from_secs(2),
        check: Duration::from_millis(100),
        stalled_after: Duration::from_secs(3),
    };
}

/// A session and the process that is its agent.
pub(super) struct Session {
    pub(super) caller: Caller,
    pub(super) agent: Option<Child>,
    /// How often the agent was ended on purpose.
    pub(super) ended: u32,
}

/// A daemon; ended when dropped.
pub(super) struct Daemon {
    process: tokio::process::Child,
    /// Not `process` where a program stands before it.
    pid: Pid,
}

impl Daemon {
    pub(super) fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        Ok(kill_process(self.pid, signal)?)
    }

    pub(super) async fn kill(mut self) -> anyhow::Result<()> {
        self.signal(Signal::KILL)?;
        self.process.wait().await?;
        Ok(())
    }

    pub(super) async fn stop(mut self) -> anyhow::Result<()> {
        self.signal(Signal::TERM)?;
        timeout(PATIENCE, self.process.wait())
            .await
            .context("a daemon does not end")??;
        Ok(())
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // One that has ended leaves its number to others.
        if matches!(self.process.try_wait(), Ok(None)) {
            // One that was stopped would not die of a program before it.
            let _ = self.signal(Signal::KILL);
            await_end(&mut self.process);
        }
    }
}

/// The whole of it.
pub(super) struct Yard {
    stage: Stage,
    pub(super) raw: Connection,
    pub(super) store: Store,
    pub(super) timers: Timers,
    pub(super) sessions: Vec<Session>,
    /// Worker daemons, by host.
    pub(super) daemons: Vec<Option<Daemon>>,
    pub(super) orchestrator: Option<Daemon>,
    /// Whether the daemons have hosts of their own: the orchestrator cannot
    /// look at their processes.
    pub(super) isolated: bool,
}

impl Yard {
    pub(super) async fn open(
        scratch: &Scratch,
        name: &str,
        (sessions, hosts): (usize, usize),
        timers: Timers,
    ) -> anyhow::Result<Self> {
        let directory = scratch.path().join(name);
        std::fs::create_dir(&directory)?;
        let stage = Stage::new(directory)?;
        let path = stage.database();
        let pairs = make_store(&path, u32::try_from(sessions)?).await?;
        // This program is the daemon under the daemon's name.
        std::os::unix::fs::symlink(std::env::current_exe()?, stage.file("mcp-bridged"))?;
        let raw = Connection::open(&path)?;
        raw.busy_timeout(PATIENCE)?;
        let mut yard = Self {
            raw,
            store: SqliteStore::open(&path, Create::No).await?,
            timers,
            sessions: Vec::new(),
            daemons: (0..hosts).map(|_| None).collect(),
            orchestrator: None,
            isolated: can_isolate().await,
            stage,
        };
        for (n, pair) in pairs.iter().enumerate() {
            yard.add_session(n, &pair.reader)?;
        }
        for session in 0..yard.sessions.len() {
            yard.begin_agent(session).await?;
        }
        yard.configure(Duration::from_secs(24 * 3600))?;
        yard.begin_orchestrator().await?;
        for host in 0..hosts {
            yard.begin_daemon(host).await?;
        }
        yard.until("every session to be kept", async |yard| {
            let kept = "SELECT count(*) FROM bridge_heartbeat WHERE daemon_id IS NOT NULL";
            Ok((yard.count(kept)? as usize == yard.sessions.len()).then_some(()))
        })
        .await?;
        Ok(yard)
    }

    fn add_session(&mut self, n: usize, login: &Login) -> anyhow::Result<()> {
        let caller = login.caller()?;
        let name = format!("agent-{n}");
        self.stage.write_credentials(&name, vec![caller.clone()])?;
        self.sessions.push(Session {
            caller,
            agent: None,
            ended: 0,
        });
        Ok(())
    }

    pub(super) async fn begin_agent(&mut self, n: usize) -> anyhow::Result<()> {
        let agent = Child::start(&Job::Idle).await?;
        self.stage.write_pid(&format!("agent-{n}"), agent.id()?)?;
        self.sessions[n].agent = Some(agent);
        Ok(())
    }

    pub(super) async fn end_agent(&mut self, n: usize) -> anyhow::Result<()> {
        if let Some(mut agent) = self.sessions[n].agent.take() {
            agent.kill().await?;
        }
        self.sessions[n].ended += 1;
        Ok(())
    }

    /// The sessions of a host.
    pub(super) fn on(&self, host: usize) -> Vec<usize> {
        (host..self.sessions.len())
            .step_by(self.daemons.len())
            .collect()
    }

    /// Writes all configurations; with a stall after that time.
    pub(super) fn configure(&self, stalled_after: Duration) -> anyhow::Result<()> {
        let text = |time: Duration| humantime::format_duration(time).to_string();
        let Timers {
            interval,
            ttl,
            check,
            ..
        } = self.timers;
        let (check, lease) = (text(check), text((check * 3).max(Duration::from_secs(1))));
        let idle = text(stalled_after.min(Duration::from_secs(60)));
        let orchestrator = format!(
            "[watchdog]\ncheck_interval = \"{check}\"\nleader_ttl = \"{lease}\"\n\
             idle_after = \"{idle}\"\nstalled_after = \"{}\"\nstarting_for = \"24h\"\n\
             # What is killed here is killed again and again, and must find room.\n\
             [reassignment]\ncapacity = 3\nmax_losses = 100\n",
            text(stalled_after)
        );
        let stage = &self.stage;
        stage.write_config(ORCHESTRATOR, "orchestrator", &orchestrator)?;
        for host in 0..self.daemons.len() {
            let mut worker = format!(
                "[heartbeat]\ninterval = \"{}\"\nttl = \"{}\"\n",
                text(interval),
                text(ttl)
            );
            for n in self.on(host) {
                worker.push_str(&stage.session(&format!("agent-{n}")));
            }
            stage.write_config(&format!("worker-{host}"), "worker", &worker)?;
        }
        Ok(())
    }

    pub(super) async fn begin_daemon(&mut self, host: usize) -> anyhow::Result<()> {
        let daemon = self.start(&format!("worker-{host}")).await?;
        self.daemons[host] = Some(daemon);
        Ok(())
    }

    pub(super) async fn begin_orchestrator(&mut self) -> anyhow::Result<()> {
        self.orchestrator = Some(self.start(ORCHESTRATOR).await?);
        Ok(())
    }

    /// Starts a daemon and waits until it says READY.
    async fn start(&self, name: &str) -> anyhow::Result<Daemon> {
        let (process, _) = self.stage.daemon(name, self.command(name)).await?;
        let mut pid = process.id().context("a daemon ended at once")?;
        if self.isolated && name == ORCHESTRATOR {
            pid = only_child(pid).context("the orchestrator's process cannot be found")?;
        }
        let pid = Pid::from_raw(i32::try_from(pid)?).context("a process without a number")?;
        Ok(Daemon { process, pid })
    }

    /// On a host of its own: another name and, for the orchestrator, a process
    /// namespace of its own, so that it cannot look at the agents.
    fn command(&self, name: &str) -> Command {
        let program = self.stage.file("mcp-bridged");
        if !self.isolated {
            return Command::new(program);
        }
        // The daemon's parent is `unshare` where that stays, so that has to end
        // with this process as well, also if the daemon is stopped.
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "--", "unshare"]);
        command.args(["--user", "--map-root-user", "--uts"]);
        if name == ORCHESTRATOR {
            command.args(["--pid", "--fork", "--kill-child"]);
        }
        command
            .args(["--", "sh", "-c"])
            .args([r#"hostname "$0" && exec "$@""#, name])
            .arg(program);
        command
    }

    /// Gives every session one task.
    pub(super) async fn give_tasks(&self) -> anyhow::Result<()> {
        let mut new = Vec::new();
        for n in 0..self.sessions.len() {
            new.push(NewTask {
                role: ROLE.into(),
                title: format!("Piece {n}").parse()?,
                body: "As it says.".parse()?,
                files: Vec::new(),
                client_id: None,
            });
        }
        self.store.add_tasks(None, &new, clock::now()).await?;
        self.until("every task to be given", async |yard| {
            let given = "SELECT count(*) FROM bridge_task WHERE state = 'leased'";
            Ok((yard.count(given)? as usize == new.len()).then_some(()))
        })
        .await
    }

    pub(super) fn count(&self, query: &str) -> anyhow::Result<u32> {
        Ok(self.raw.query_row(query, [], |row| row.get(0))?)
    }

    /// What the orchestrator found of a session.
    pub(super) fn standing(&self, n: usize) -> anyhow::Result<String> {
        let session = &self.sessions[n].caller.session;
        let mut query = self.raw.prepare_cached(
            "SELECT coalesce(max(standing), 'well') FROM bridge_session
             WHERE conversation_id = ?1 AND session_id = ?2",
        )?;
        let key = (session.conversation.as_str(), session.side.as_str());
        Ok(query.query_row(key, |row| row.get(0))?)
    }

    /// Heartbeats that were written for a session.
    pub(super) fn beats(&self, n: usize) -> anyhow::Result<i64> {
        let session = &self.sessions[n].caller.session;
        let mut query = self.raw.prepare_cached(
            "SELECT coalesce(max(seq), 0) FROM bridge_heartbeat
             WHERE conversation_id = ?1 AND session_id = ?2",
        )?;
        let key = (session.conversation.as_str(), session.side.as_str());
        Ok(query.query_row(key, |row| row.get(0))?)
    }

    /// The tasks of a session, with their fences.
    pub(super) fn tasks_of(&self, n: usize) -> anyhow::Result<Vec<(i64, i64)>> {
        let session = &self.sessions[n].caller.session;
        let mut query = self.raw.prepare_cached(
            "SELECT task_id, fence FROM bridge_task WHERE state = 'leased'
             AND owner_conversation = ?1 AND owner_session = ?2",
        )?;
        let key = (session.conversation.as_str(), session.side.as_str());
        let rows = query.query_map(key, |row| Ok((row.get(0)?, row.get(1)?)))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Whether an agent has the task with a newer fence.
    pub(super) fn moved(&self, task: i64, fence: i64) -> anyhow::Result<bool> {
        let mut query = self.raw.prepare_cached(
            "SELECT count(*) FROM bridge_task
             WHERE task_id = ?1 AND fence > ?2 AND state = 'leased'",
        )?;
        Ok(query.query_row((task, fence), |row| row.get::<_, u32>(0))? == 1)
    }

    /// Asks again and again.
    pub(super) async fn until<T>(
        &self,
        what: &str,
        mut condition: impl AsyncFnMut(&Self) -> anyhow::Result<Option<T>>,
    ) -> anyhow::Result<T> {
        let patience = PATIENCE + self.timers.ttl * 3 + self.timers.stalled_after * 2;
        let end = Instant::now() + patience;
        loop {
            if let Some(value) = condition(self).await? {
                return Ok(value);
            }
            anyhow::ensure!(
                Instant::now() < end,
                "{what} did not happen in time; logs are in {} (with --keep)",
                self.stage.directory().display()
            );
            sleep(Duration::from_millis(1)).await;
        }
    }

    /// Sessions that were given up more often than their agents were ended.
    pub(super) fn false_lost(&self) -> anyhow::Result<u64> {
        let mut wrong = 0;
        for session in &self.sessions {
            let key = &session.caller.session;
            let said: u32 = self.raw.query_row(
                "SELECT count(*) FROM bridge_alert WHERE kind IN ('lost', 'exited')
                 AND conversation_id = ?1 AND session_id = ?2",
                (key.conversation.as_str(), key.side.as_str()),
                |row| row.get(0),
            )?;
            wrong += u64::from(said.saturating_sub(session.ended));
        }
        Ok(wrong)
    }

    /// Ends everything as a service manager would.
    pub(super) async fn close(mut self) -> anyhow::Result<()> {
        for daemon in self.daemons.iter_mut().filter_map(Option::take) {
            daemon.stop().await?;
        }
        if let Some(orchestrator) = self.orchestrator.take() {
            orchestrator.stop().await?;
        }
        self.store.close().await;
        Ok(())
    }
}

fn only_child(pid: u32) -> Option<u32> {
    let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).ok()?;
    children.split_whitespace().next()?.parse().ok()
}

/// Whether this user may make hosts with names of their own.
async fn can_isolate() -> bool {
    let probe = Command::new("setpriv")
        .args(["--pdeathsig", "KILL", "--", "unshare"])
        .args(["--user", "--map-root-user", "--uts", "--pid", "--fork"])
        .args(["--", "hostname", "probe"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    probe.await.is_ok_and(|status| status.success())
}
