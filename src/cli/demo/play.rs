//! The play itself, shown in lines with their times while it goes on.

use std::time::Duration;

use anyhow::Context;
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::Child;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};

use super::actors::DemoEvent;
use super::cast::{Stage, TTL, WORKERS};
use super::mail::Tally;
use super::record::Record;
use super::view::{View, words};
use crate::clock;
use crate::exit::Exit;
use crate::leash;
use crate::model::session::ProofKind;
use crate::model::standing::Standing;
use crate::model::task::TaskState;
use crate::model::{SessionKey, TaskId};
use crate::store::{Task, TaskFilter};
use crate::text;

/// How long the play waits for anything before it calls it lost.
const PATIENCE: Duration = Duration::from_secs(30);

pub(super) async fn run(tasks: u32, json: bool) -> anyhow::Result<Exit> {
    // Children die with their handles, and with this process if it cannot even
    // drop those.
    leash::until_told(play(tasks, json), "interrupted").await
}

struct Play {
    stage: Stage,
    view: View,
    told: mpsc::UnboundedReceiver<DemoEvent>,
    record: Record,
    /// The orchestrator's, then the workers'.
    daemons: Vec<Option<Child>>,
    agents: Vec<Option<Child>>,
}

async fn play(tasks: u32, json: bool) -> anyhow::Result<Exit> {
    let (telling, told) = mpsc::unbounded_channel();
    let stage = Stage::build(telling).await?;
    let view = View::new(tasks, json);
    view.title(&format!(
        "mcp-bridge demo · store {} · 1 orchestrator, {WORKERS} workers, {tasks} tasks",
        stage.database.display()
    ));
    let mut play = Play {
        stage,
        view,
        told,
        record: Record::default(),
        daemons: Vec::new(),
        agents: Vec::new(),
    };
    play.raise_the_curtain().await?;
    let mut orchestrator = play.stage.orchestrator(tasks)?;
    play.tasks_are_given_out().await?;
    play.until(|record| record.done() >= 1).await?;
    play.an_agent_is_killed(2).await?;
    let orphans = play.a_host_falls_silent(3).await?;
    let late = play.an_agent_stalls(&orphans).await?;
    let all = play
        .until(|record| record.ends_heard() >= tasks as usize)
        .await;
    if let Err(error) = &all {
        play.view.line("demo", &format!("{error:#}"));
    }
    if let Some(late) = late {
        play.signal_agent(late, Signal::CONT)?;
    }
    let mail = play.all_mail_arrives().await;
    play.curtain(&mut orchestrator).await?;
    let summary = play.record.summary(&play.tasks().await?, mail?);
    play.view.summary(&summary, &play.stage);
    let clean = summary.is_clean() && all.is_ok();
    Ok(if clean { Exit::Success } else { Exit::Failure })
}

impl Play {
    async fn raise_the_curtain(&mut self) -> anyhow::Result<()> {
        let (daemon, took) = self.stage.daemon("orchestrator").await?;
        self.daemons.push(Some(daemon));
        self.view
            .line("orchestrator", &format!("ready in {}", words(took)));
        let mut slowest = Duration::ZERO;
        for number in 1..=WORKERS {
            let (daemon, took) = self.stage.daemon(&format!("worker-{number}")).await?;
            self.daemons.push(Some(daemon));
            slowest = slowest.max(took);
        }
        for number in 1..=WORKERS {
            self.agents.push(Some(self.stage.agent(number)?));
        }
        for number in 1..=WORKERS {
            self.is_proven(number).await?;
        }
        self.view.line(
            &format!("worker-1..{WORKERS}"),
            &format!(
                "ready in {}, {WORKERS} sessions, each proven alive by its process, heartbeat every 1 s (ttl {} s)",
                words(slowest),
                TTL.as_secs()
            ),
        );
        Ok(())
    }

    async fn tasks_are_given_out(&mut self) -> anyhow::Result<()> {
        self.until(|record| !record.taken.is_empty()).await?;
        let given = self.leased().await?.len();
        let first = self.record.taken.values().min().copied().unwrap_or(0);
        let took = Duration::from_nanos(first.saturating_sub(self.record.added_at));
        self.view.line(
            &text::count(self.record.added.len() as u64, "task"),
            &format!(
                "{given} given out; the first woken agent had its task after {}",
                words(took)
            ),
        );
        Ok(())
    }

    /// An agent's death is noticed at once, and its tasks go on elsewhere.
    async fn an_agent_is_killed(&mut self, number: usize) -> anyhow::Result<()> {
        let orphans = self.tasks_of(number).await?;
        let killed = clock::monotonic_nanos();
        self.kill_agent(number).await?;
        self.standing(number, Standing::Exited).await?;
        let noticed = clock::monotonic_nanos() - killed;
        self.record.noticed.push(noticed);
        let who = format!("agent-{number}");
        let noticed = format!(
            "exited, noticed after {}",
            words(Duration::from_nanos(noticed))
        );
        self.view.edge(&who, "killed (SIGKILL)", &noticed);
        for task in &orphans {
            let took = self.moved(task, killed).await?;
            self.record.exit_to_owner.push(took);
        }
        Ok(())
    }

    async fn a_new_agent(&mut self, number: usize) -> anyhow::Result<()> {
        self.agents[number - 1] = Some(self.stage.agent(number)?);
        self.standing(number, Standing::Well).await?;
        self.view.edge(
            &format!("agent-{number}"),
            "restarted",
            "warned about its moved tasks",
        );
        Ok(())
    }

    /// A daemon dies with its agent, so that no process is left to report it.
    async fn a_host_falls_silent(&mut self, number: usize) -> anyhow::Result<Vec<Task>> {
        let orphans = self.tasks_of(number).await?;
        let killed = clock::monotonic_nanos();
        if let Some(mut daemon) = self.daemons[number].take() {
            daemon.kill().await?;
        }
        self.kill_agent(number).await?;
        self.view.edge(
            &format!("worker-{number}"),
            "daemon and agent killed",
            &format!(
                "silent, with {}",
                text::count(orphans.len() as u64, "open task")
            ),
        );
        // Before its ttl is over, the other agent's successor comes.
        self.a_new_agent(2).await?;
        self.standing(number, Standing::Lost).await?;
        let silent = Duration::from_nanos(clock::monotonic_nanos() - killed);
        let lost = format!("lost after {}", words(silent));
        self.view
            .edge(&format!("worker-{number}"), "ttl reached", &lost);
        for task in &orphans {
            let took = self.moved(task, killed).await?;
            self.record.silence_to_owner.push(took);
        }
        Ok(orphans)
    }

    /// The next agent to take one of these tasks is stopped in the middle of it, and
    /// comes back when another agent has the task. Returns which agent is still
    /// stopped.
    async fn an_agent_stalls(&mut self, orphans: &[Task]) -> anyhow::Result<Option<usize>> {
        let Some((task, number)) = self.next_taker(orphans).await? else {
            return Ok(None);
        };
        self.signal_agent(number, Signal::STOP)?;
        let stopped = clock::monotonic_nanos();
        let who = format!("agent-{number}");
        self.view.edge(
            &who,
            &format!("stopped in task {}", task.id),
            "has work, no activity",
        );
        self.standing(number, Standing::Stalled).await?;
        let after = Duration::from_nanos(clock::monotonic_nanos() - stopped);
        self.view.edge(
            &who,
            "alive, but stalled",
            &format!("alerted after {}", words(after)),
        );
        self.moved(&task, stopped).await?;
        self.signal_agent(number, Signal::CONT)?;
        self.until(|record| record.refused >= 1).await?;
        Ok(None)
    }

    async fn next_taker(&mut self, orphans: &[Task]) -> anyhow::Result<Option<(Task, usize)>> {
        loop {
            let told = timeout(PATIENCE, self.told.recv()).await;
            let Ok(Some(told)) = told else {
                return Ok(None);
            };
            self.heard(&told);
            // Older words may still be under way, also from the session that lost it.
            if let DemoEvent::Taken {
                task, fence, who, ..
            } = &told
                && orphans
                    .iter()
                    .any(|orphan| orphan.id.0 == *task && *fence > orphan.fence.0)
                && let Some(number) = who.strip_prefix("agent-").and_then(|n| n.parse().ok())
            {
                let task = self.stage.bridge.task(TaskId(*task)).await?.0;
                return Ok(Some((task, number)));
            }
        }
    }

    /// Waits until a task has another owner than it had; says so.
    async fn moved(&mut self, before: &Task, since: u64) -> anyhow::Result<u64> {
        let end = Instant::now() + PATIENCE;
        loop {
            let now = self.stage.bridge.task(before.id).await?.0;
            let took = clock::monotonic_nanos() - since;
            if now.fence > before.fence && now.owner.is_some() {
                let took_words = words(Duration::from_nanos(took));
                self.view.edge(
                    &format!("task {}", before.id),
                    &format!("{} -> {}", before.owner_name(), now.owner_name()),
                    &format!("fence {}, {took_words} later", now.fence),
                );
                return Ok(took);
            }
            // Done before it could be taken away.
            if now.state == TaskState::Done {
                return Ok(took);
            }
            anyhow::ensure!(
                Instant::now() < end,
                "{}",
                self.stage.last_words("orchestrator")
            );
            sleep(Duration::from_millis(1)).await;
        }
    }

    /// The rest of the mail: the agents that live confirm all that is there.
    async fn all_mail_arrives(&mut self) -> anyhow::Result<Tally> {
        let end = Instant::now() + PATIENCE;
        loop {
            let mail = self.record.ledger.tally(&self.stage.messages()?);
            if mail.lost == 0 || Instant::now() > end {
                return Ok(mail);
            }
            self.listen_for(Duration::from_millis(50)).await?;
        }
    }

    /// Ends what still runs: daemons as a service manager would.
    async fn curtain(&mut self, orchestrator: &mut Child) -> anyhow::Result<()> {
        orchestrator.kill().await?;
        for agent in self.agents.iter_mut().flatten() {
            agent.kill().await?;
        }
        for (number, daemon) in self.daemons.iter_mut().enumerate() {
            let Some(daemon) = daemon else { continue };
            let name = match number {
                0 => "orchestrator".to_owned(),
                number => format!("worker-{number}"),
            };
            let pid = daemon.id().and_then(|id| i32::try_from(id).ok());
            if let Some(pid) = pid.and_then(Pid::from_raw) {
                kill_process(pid, Signal::TERM)?;
            }
            let status = timeout(PATIENCE, daemon.wait())
                .await
                .with_context(|| self.stage.last_words(&name))??;
            anyhow::ensure!(
                status.success(),
                "{name} ended with {status}: {}",
                self.stage.last_words(&name)
            );
        }
        Ok(())
    }

    async fn kill_agent(&mut self, number: usize) -> anyhow::Result<()> {
        if let Some(mut agent) = self.agents[number - 1].take() {
            agent
                .id()
                .into_iter()
                .for_each(|id| self.record.ledger.killed(id));
            agent.kill().await?;
        }
        Ok(())
    }

    fn signal_agent(&self, number: usize, signal: Signal) -> anyhow::Result<()> {
        let pid = self.agents[number - 1].as_ref().and_then(Child::id);
        if let Some(pid) = pid
            .and_then(|id| i32::try_from(id).ok())
            .and_then(Pid::from_raw)
        {
            kill_process(pid, signal)?;
        }
        Ok(())
    }

    /// Listens until the record holds enough.
    async fn until(&mut self, enough: impl Fn(&Record) -> bool) -> anyhow::Result<()> {
        while !enough(&self.record) {
            let told = timeout(PATIENCE, self.told.recv()).await.map_err(|_| {
                anyhow::anyhow!("no progress for {}", text::long_duration(PATIENCE))
            })?;
            self.heard(&told.context("all actors are gone")?);
        }
        Ok(())
    }

    async fn listen_for(&mut self, time: Duration) -> anyhow::Result<()> {
        let end = Instant::now() + time;
        while let Ok(told) = tokio::time::timeout_at(end, self.told.recv()).await {
            self.heard(&told.context("all actors are gone")?);
        }
        Ok(())
    }

    fn heard(&mut self, told: &DemoEvent) {
        self.record.hear(told);
        if let DemoEvent::Refused { task, who, why, .. } = told {
            self.view.edge(
                &format!("late {who}"),
                &format!("reports on task {task}"),
                &format!("refused: STALE_LEASE ({why})"),
            );
        }
        self.view.progress(self.record.done());
    }

    async fn tasks(&self) -> anyhow::Result<Vec<(Task, Vec<crate::store::TaskEvent>)>> {
        let mut tasks = Vec::new();
        for id in &self.record.added {
            tasks.push(self.stage.bridge.task(TaskId(*id)).await?);
        }
        Ok(tasks)
    }

    async fn leased(&self) -> anyhow::Result<Vec<Task>> {
        let filter = TaskFilter {
            states: vec![TaskState::Leased],
            limit: u32::MAX,
            ..TaskFilter::default()
        };
        Ok(self.stage.bridge.tasks(&filter).await?)
    }

    async fn tasks_of(&self, number: usize) -> anyhow::Result<Vec<Task>> {
        let session = &self.stage.sessions[number - 1];
        let leased = self.leased().await?.into_iter();
        Ok(leased
            .filter(|task| task.owner.as_ref() == Some(session))
            .collect())
    }

    /// Waits until the orchestrator has found so of a worker's session.
    async fn standing(&self, number: usize, wanted: Standing) -> anyhow::Result<()> {
        let session = self.stage.sessions[number - 1].clone();
        self.wait("orchestrator", async || {
            let sessions = self.stage.bridge.sessions(Duration::ZERO).await?;
            let mut of_it = sessions.iter().filter(|view| view.key == session);
            Ok(of_it.any(|view| view.standing == Some(wanted)))
        })
        .await
    }

    /// Waits until the daemon has seen the agent's process; that the agent called is
    /// not enough, as its end would not be noticed then.
    async fn is_proven(&self, number: usize) -> anyhow::Result<()> {
        let session: &SessionKey = &self.stage.sessions[number - 1];
        self.wait(&format!("worker-{number}"), async || {
            let sessions = self.stage.bridge.sessions(Duration::ZERO).await?;
            let own = sessions.iter().find(|view| view.key == *session);
            let heartbeat = own.and_then(|view| view.heartbeat.as_ref());
            Ok(heartbeat.is_some_and(|heartbeat| heartbeat.proof == ProofKind::Process))
        })
        .await
    }

    async fn wait(
        &self,
        whom: &str,
        condition: impl AsyncFn() -> anyhow::Result<bool>,
    ) -> anyhow::Result<()> {
        let end = Instant::now() + PATIENCE;
        while !condition().await? {
            anyhow::ensure!(Instant::now() < end, "{}", self.stage.last_words(whom));
            sleep(Duration::from_millis(1)).await;
        }
        Ok(())
    }
}
