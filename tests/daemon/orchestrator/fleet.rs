//! A fleet in a scratch directory: one orchestrator, workers with a daemon and
//! an agent each.

use std::time::Duration;

use mcp_bridge::clock;
use mcp_bridge::model::TaskId;
use mcp_bridge::model::task::{Fence, TaskState};
use mcp_bridge::store::{Caller, Ended, NewTask, Outcome, StoreError, Task};
use rustix::process::Signal;

use crate::common::daemon::{Agent, Daemon, Pair, Rig, session, wait_for};

/// How long a heartbeat counts here.
pub(crate) const TTL: Duration = Duration::from_millis(1_500);

const QUICK: &str = "[heartbeat]\ninterval = \"100ms\"\nttl = \"1500ms\"\n";

/// Looks often; nothing stalls for a while.
pub(crate) const QUICK_WATCHDOG: &str =
    "[watchdog]\ncheck_interval = \"100ms\"\nleader_ttl = \"1s\"\n";

/// The same, and sessions that owe stall soon.
pub(crate) const QUICK_STALL: &str = "[watchdog]\ncheck_interval = \"100ms\"\nleader_ttl = \"1s\"\n\
     idle_after = \"1s\"\nstalled_after = \"1s\"\nrevoke_after = \"1s\"\n";

pub(crate) struct Worker {
    name: String,
    pub(crate) pair: Pair,
    pub(crate) agent: Agent,
    daemon: Option<Daemon>,
}

impl Worker {
    /// A new agent in the place of one that ended.
    pub(crate) fn begin_agent(&mut self, rig: &Rig) {
        self.agent = Agent::with_file(rig, &format!("{}.pid", self.name));
    }

    pub(crate) fn signal(&self, signal: Signal) {
        self.daemon.as_ref().expect("a daemon").signal(signal);
    }

    pub(crate) fn pause(&self, rig: &Rig) {
        self.daemon.as_ref().expect("a daemon").pause(rig);
    }

    pub(crate) fn kill_daemon(&mut self) {
        self.daemon.take().expect("a daemon").kill();
    }

    /// The daemon first, so that it cannot tell of its agent.
    pub(crate) fn kill_all(&mut self) {
        self.kill_daemon();
        self.agent.end();
    }
}

pub(crate) struct Fleet {
    // Dropped before the directory they work in.
    pub(crate) workers: Vec<Worker>,
    pub(crate) rig: Rig,
}

impl Fleet {
    pub(crate) fn new(workers: usize) -> Self {
        let rig = Rig::new();
        let workers = (0..workers)
            .map(|n| {
                let name = format!("worker-{n}");
                Worker {
                    pair: rig.pair(&name),
                    agent: Agent::with_file(&rig, &format!("{name}.pid")),
                    daemon: None,
                    name,
                }
            })
            .collect();
        let mut fleet = Self { workers, rig };
        for worker in 0..fleet.workers.len() {
            fleet.begin_daemon(worker);
        }
        fleet
    }

    pub(crate) fn config_text(&self, worker: usize) -> String {
        let name = &self.workers[worker].name;
        let pid_file = self.rig.path(&format!("{name}.pid"));
        let proof = format!("{{ pid_file = \"{}\" }}", pid_file.display());
        format!("{QUICK}{}", session(name, &proof))
    }

    pub(crate) fn begin_daemon(&mut self, worker: usize) {
        let text = self.config_text(worker);
        let config = self.rig.config(&self.workers[worker].name, &text);
        self.workers[worker].daemon = Some(self.rig.daemon(&config));
    }

    pub(crate) fn stop_daemon(&mut self, worker: usize) {
        let daemon = self.workers[worker].daemon.take().expect("a daemon");
        assert_eq!(daemon.stop(), Some(0));
    }

    /// Waits until every worker is kept alive.
    pub(crate) fn workers_ready(&mut self) {
        for worker in &mut self.workers {
            worker.daemon.as_mut().expect("a daemon").ready();
            self.rig.goes_on(&worker.pair.b.session);
        }
    }

    pub(crate) fn orchestrator(&self, text: &str) -> Daemon {
        let mut daemon = self.standby("orchestrator", text);
        daemon.says("acting leader");
        daemon
    }

    /// An orchestrator on another machine, as it were: where it can look at the agents'
    /// processes, it spares sessions that silence would lose wrongly, and a test of
    /// silence could not fail. `None` where there can be none.
    pub(crate) fn orchestrator_apart(&self, text: &str) -> Option<Daemon> {
        let config = self.rig.config_of("orchestrator", "orchestrator", text);
        let mut daemon = Daemon::start_apart(&self.rig, &config)?;
        daemon.says("acting leader");
        Some(daemon)
    }

    /// How long ago the last heartbeat of a worker was written.
    pub(crate) fn silent_for(&self, worker: usize) -> Duration {
        let session = &self.workers[worker].pair.b.session;
        self.rig.silent_for(session)
    }

    /// An orchestrator that may have to wait.
    pub(crate) fn standby(&self, name: &str, text: &str) -> Daemon {
        let config = self.rig.config_of("orchestrator", name, text);
        let mut daemon = self.rig.daemon(&config);
        daemon.ready();
        daemon
    }

    pub(crate) fn add(&self, title: &str) -> TaskId {
        let new = [NewTask {
            role: "backend".into(),
            title: title.parse().expect("a title"),
            body: "As it says.".parse().expect("a body"),
            files: Vec::new(),
            client_id: None,
        }];
        let added = self.rig.store.add_tasks(None, &new, clock::now());
        self.rig.block_on(added).expect("added")[0].id
    }

    pub(crate) fn task(&self, id: TaskId) -> Task {
        self.rig.block_on(self.rig.store.task(id)).expect("there").0
    }

    pub(crate) fn state(&self, id: TaskId) -> TaskState {
        self.task(id).state
    }

    /// Waits until a worker has the task with this fence; returns which worker.
    #[track_caller]
    pub(crate) fn owner(&self, id: TaskId, fence: i64) -> usize {
        wait_for(&format!("task {id} with fence {fence}"), || {
            let task = self.task(id);
            let owner = task.owner.filter(|_| task.fence == Fence(fence))?;
            self.workers
                .iter()
                .position(|worker| worker.pair.b.session == owner)
        })
    }

    pub(crate) fn progress(
        &self,
        caller: &Caller,
        id: TaskId,
        fence: i64,
        note: &str,
    ) -> Result<(), StoreError> {
        let note = note.parse().expect("a note");
        let noted =
            self.rig
                .store
                .task_progress(caller, id, Fence(fence), &note, None, clock::now());
        self.rig.block_on(noted)
    }

    pub(crate) fn done(
        &self,
        caller: &Caller,
        id: TaskId,
        fence: i64,
    ) -> Result<Ended, StoreError> {
        let outcome = Outcome::Done("done".parse().expect("a result"));
        let ended = self
            .rig
            .store
            .end_task(caller, id, Fence(fence), &outcome, clock::now());
        self.rig.block_on(ended)
    }

    /// What the client of a worker reports of its turns.
    pub(crate) fn turn(&self, worker: usize, turn: &str) {
        let session = &self.workers[worker].pair.b.session;
        self.sql(&format!(
            "UPDATE bridge_session SET turn = '{turn}',
                 change = (SELECT max(change) + 1 FROM bridge_session)
             WHERE conversation_id = '{}' AND session_id = '{}'",
            session.conversation, session.side
        ));
    }

    pub(crate) fn sql(&self, statement: &str) {
        self.rig.foreign().execute(statement, []).expect("done");
    }
}
