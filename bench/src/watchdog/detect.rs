//! How soon real deaths are noticed, and tasks go on: agents that are killed,
//! daemons that are killed with their agents, agents that owe and do nothing.

use std::time::Duration;

use serde::Serialize;
use tokio::time::{Instant, sleep};

use super::yard::{Timers, Yard};
use crate::scratch::Scratch;
use crate::stats::{Histogram, Micros};
use mcp_bridge::clock;
use mcp_bridge::model::TaskId;
use mcp_bridge::model::task::Fence;
use mcp_bridge::store::{Outcome, StoreError, TaskError};

/// Between two agents that do their last thing.
const STAGGER: Duration = Duration::from_millis(70);

/// What was measured.
#[derive(Debug, Serialize)]
pub(super) struct Detection {
    pub(super) sessions: usize,
    pub(super) hosts: usize,
    /// Whether each daemon had a host of its own.
    pub(super) isolated: bool,
    pub(super) timers: Timers,
    pub(super) rows: Vec<Row>,
    pub(super) false_lost: u64,
    pub(super) double_fences: u64,
    pub(super) lost_tasks: u64,
}

/// One delay.
#[derive(Debug, Serialize)]
pub(super) struct Row {
    pub(super) what: &'static str,
    #[serde(skip)]
    pub(super) title: &'static str,
    pub(super) times: u64,
    pub(super) us: Option<Micros>,
    pub(super) goal_us: f64,
    /// Whether the p99 is within the goal.
    pub(super) met: Option<bool>,
    /// What the scripts that this replaces claim.
    pub(super) scripts: &'static str,
}

/// A lease that is over: the session that had it, and its fence.
struct OldLease {
    session: usize,
    task: i64,
    fence: i64,
}

struct Run {
    yard: Yard,
    old: Vec<OldLease>,
    exited: Histogram,
    exited_moved: Histogram,
    lost: Histogram,
    lost_moved: Histogram,
    stalled: Histogram,
}

pub(super) async fn measure(
    scratch: &Scratch,
    (sessions, hosts): (usize, usize),
    kills: usize,
    timers: Timers,
) -> anyhow::Result<Detection> {
    super::say(&format!("{sessions} sessions on {hosts} hosts begin"))?;
    let yard = Yard::open(scratch, "yard", (sessions, hosts), timers).await?;
    yard.give_tasks().await?;
    let [exited, exited_moved, lost, lost_moved, stalled] = [(); 5].map(|()| Histogram::new());
    let mut run = Run {
        yard,
        old: Vec::new(),
        exited,
        exited_moved,
        lost,
        lost_moved,
        stalled,
    };
    for n in 1..=kills {
        super::say(&format!("agent {n} of {kills} is killed"))?;
        run.kill_an_agent().await?;
    }
    for n in 1..=kills {
        super::say(&format!("host {n} of {kills} falls silent"))?;
        run.silence_a_host().await?;
    }
    // Before the last act: a session that calls shows life.
    let false_lost = run.yard.false_lost()?;
    super::say(&format!("{} agents do nothing", kills.min(sessions)))?;
    run.stall(kills).await?;
    let false_lost = run.yard.false_lost()?.max(false_lost);
    let double_fences = run.try_old_leases().await?;
    let lost_tasks = run.end_all().await?;
    let rows = run.rows();
    let isolated = run.yard.isolated;
    run.yard.close().await?;
    Ok(Detection {
        sessions,
        hosts,
        isolated,
        timers,
        rows,
        false_lost,
        double_fences,
        lost_tasks,
    })
}

impl Run {
    /// One with a task.
    fn some_owner(&self) -> anyhow::Result<usize> {
        let all = self.yard.sessions.len();
        let begin = fastrand::usize(..all);
        for n in (begin..all).chain(0..begin) {
            if !self.yard.tasks_of(n)?.is_empty() {
                return Ok(n);
            }
        }
        anyhow::bail!("no session has a task")
    }

    fn note_leases(&mut self, n: usize) -> anyhow::Result<Vec<(i64, i64)>> {
        let tasks = self.yard.tasks_of(n)?;
        self.old.extend(tasks.iter().map(|&(task, fence)| OldLease {
            session: n,
            task,
            fence,
        }));
        Ok(tasks)
    }

    async fn kill_an_agent(&mut self) -> anyhow::Result<()> {
        let victim = self.some_owner()?;
        let tasks = self.note_leases(victim)?;
        let begun = clock::monotonic_nanos();
        self.yard.end_agent(victim).await?;
        let (noticed, moved) = follow(&self.yard, &[(victim, tasks)], "exited", begun).await?;
        noticed
            .into_iter()
            .for_each(|took| self.exited.record(took));
        moved
            .into_iter()
            .for_each(|took| self.exited_moved.record(took));
        self.yard.begin_agent(victim).await?;
        self.well(&[victim]).await
    }

    async fn silence_a_host(&mut self) -> anyhow::Result<()> {
        let host = fastrand::usize(..self.yard.daemons.len());
        let there = self.yard.on(host);
        let mut watched = Vec::new();
        for &n in &there {
            watched.push((n, self.note_leases(n)?));
        }
        let begun = clock::monotonic_nanos();
        // The daemon first, so that it cannot tell of its agents.
        if let Some(daemon) = self.yard.daemons[host].take() {
            daemon.kill().await?;
        }
        for &n in &there {
            self.yard.end_agent(n).await?;
        }
        let (noticed, moved) = follow(&self.yard, &watched, "lost", begun).await?;
        noticed.into_iter().for_each(|took| self.lost.record(took));
        moved
            .into_iter()
            .for_each(|took| self.lost_moved.record(took));
        for &n in &there {
            self.yard.begin_agent(n).await?;
        }
        self.yard.begin_daemon(host).await?;
        self.well(&there).await
    }

    async fn well(&self, sessions: &[usize]) -> anyhow::Result<()> {
        self.yard
            .until("the sessions to be back", async |yard| {
                for &n in sessions {
                    if yard.standing(n)? != "well" {
                        return Ok(None);
                    }
                }
                Ok(Some(()))
            })
            .await
    }

    /// Every agent owes a task and none does anything; some do one last thing.
    async fn stall(&mut self, count: usize) -> anyhow::Result<()> {
        let yard = &mut self.yard;
        yard.configure(yard.timers.stalled_after)?;
        if let Some(orchestrator) = yard.orchestrator.take() {
            orchestrator.stop().await?;
        }
        yard.begin_orchestrator().await?;
        let mut owing = Vec::new();
        for n in 0..yard.sessions.len() {
            if !yard.tasks_of(n)?.is_empty() && owing.len() < count {
                owing.push(n);
            }
        }
        yard.until("the first stall", async |yard| {
            let mut stalled = 0;
            for &n in &owing {
                stalled += usize::from(yard.standing(n)? == "stalled");
            }
            Ok((stalled == owing.len()).then_some(()))
        })
        .await?;
        // (session, when it moved last, whether that was seen)
        let mut moving = Vec::new();
        // The first to move must not have stalled again before it is looked at.
        let most = u32::try_from(owing.len().max(1)).unwrap_or(u32::MAX);
        let stagger = STAGGER.min(yard.timers.stalled_after / 2 / most);
        for n in owing {
            sleep(stagger).await;
            let caller = &yard.sessions[n].caller;
            let fetched = yard.store.fetch(caller, 10, clock::now()).await?;
            let at = clock::monotonic_nanos();
            if let Some(id) = &fetched.id {
                let by = &caller.session;
                yard.store.fetch_written(by, id, clock::now()).await?;
            }
            moving.push((n, at, false));
        }
        let stalled = &mut self.stalled;
        yard.until("the second stall", async |yard| {
            let mut still = Vec::new();
            for (n, at, seen) in moving.drain(..) {
                match (yard.standing(n)?.as_str(), seen) {
                    ("stalled", true) => stalled.record(clock::monotonic_nanos() - at),
                    ("stalled", false) => still.push((n, at, false)),
                    _ => still.push((n, at, true)),
                }
            }
            moving = still;
            Ok(moving.is_empty().then_some(()))
        })
        .await
    }

    /// Each session that lost a task writes once more.
    async fn try_old_leases(&self) -> anyhow::Result<u64> {
        let mut accepted = 0;
        for lease in &self.old {
            let written = self
                .yard
                .store
                .task_progress(
                    &self.yard.sessions[lease.session].caller,
                    TaskId(lease.task),
                    Fence(lease.fence),
                    &"still at it".parse()?,
                    None,
                    clock::now(),
                )
                .await;
            match written {
                Err(StoreError::Task(TaskError::StaleLease { .. })) => {}
                Ok(()) => accepted += 1,
                Err(other) => return Err(other.into()),
            }
        }
        Ok(accepted)
    }

    /// Each owner of a task ends it; returns how many could not be ended.
    async fn end_all(&self) -> anyhow::Result<u64> {
        let end = Instant::now() + Duration::from_secs(30);
        let all = "SELECT count(*) FROM bridge_task WHERE state <> 'done'";
        while self.yard.count(all)? > 0 && Instant::now() < end {
            for (n, session) in self.yard.sessions.iter().enumerate() {
                for (task, fence) in self.yard.tasks_of(n)? {
                    let outcome = Outcome::Done("done".parse()?);
                    let ended = self
                        .yard
                        .store
                        .end_task(
                            &session.caller,
                            TaskId(task),
                            Fence(fence),
                            &outcome,
                            clock::now(),
                        )
                        .await;
                    match ended {
                        Ok(_) | Err(StoreError::Task(TaskError::StaleLease { .. })) => {}
                        Err(other) => return Err(other.into()),
                    }
                }
            }
            sleep(Duration::from_millis(10)).await;
        }
        Ok(self.yard.count(all)?.into())
    }

    fn rows(&self) -> Vec<Row> {
        let Timers {
            ttl, stalled_after, ..
        } = self.yard.timers;
        let second = Duration::from_secs(1);
        let row = |what, title, histogram: &Histogram, goal: Duration, scripts| {
            let us = histogram.micros();
            let goal_us = goal.as_secs_f64() * 1e6;
            Row {
                what,
                title,
                times: histogram.len(),
                us,
                goal_us,
                met: us.map(|us| us.p99 <= goal_us),
                scripts,
            }
        };
        vec![
            row(
                "exit-noticed",
                "agent killed: found exited",
                &self.exited,
                second,
                "2-5 min",
            ),
            row(
                "exit-moved",
                "agent killed: its task with a new owner",
                &self.exited_moved,
                second * 2,
                "45-60 s",
            ),
            row(
                "silence-noticed",
                "daemon and agents killed: found lost",
                &self.lost,
                ttl + second,
                "5-6 min",
            ),
            row(
                "silence-moved",
                "daemon and agents killed: tasks with new owners",
                &self.lost_moved,
                ttl + second * 2,
                "45-60 s more",
            ),
            row(
                "stall-noticed",
                "owes and does nothing: alert",
                &self.stalled,
                stalled_after + second,
                "never",
            ),
        ]
    }
}

/// Waits until each of these sessions is found so and its tasks are with
/// others; how long each of both took.
async fn follow(
    yard: &Yard,
    watched: &[(usize, Vec<(i64, i64)>)],
    standing: &str,
    begun: u64,
) -> anyhow::Result<(Vec<u64>, Vec<u64>)> {
    let mut sessions: Vec<usize> = watched.iter().map(|(n, _)| *n).collect();
    let mut tasks: Vec<(i64, i64)> = watched
        .iter()
        .flat_map(|(_, tasks)| tasks.clone())
        .collect();
    let (mut noticed, mut moved) = (Vec::new(), Vec::new());
    yard.until(standing, async |yard| {
        let took = || clock::monotonic_nanos() - begun;
        let mut still = Vec::new();
        for n in sessions.drain(..) {
            if yard.standing(n)? == standing {
                noticed.push(took());
            } else {
                still.push(n);
            }
        }
        sessions = still;
        let mut still = Vec::new();
        for (task, fence) in tasks.drain(..) {
            if yard.moved(task, fence)? {
                moved.push(took());
            } else {
                still.push((task, fence));
            }
        }
        tasks = still;
        Ok((sessions.is_empty() && tasks.is_empty()).then_some(()))
    })
    .await?;
    Ok((noticed, moved))
}
