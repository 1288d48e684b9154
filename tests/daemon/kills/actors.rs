//! The processes that are killed: agents that do tasks, and one that adds them.
//! Each notes every step in a file of its own before it takes it, and what came
//! of it after, one write a line.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::Duration;

use mcp_bridge::clock;
use mcp_bridge::credentials::Credentials;
use mcp_bridge::model::TaskId;
use mcp_bridge::model::task::{Fence, TaskState};
use mcp_bridge::store::sqlite::{Create, SqliteStore};
use mcp_bridge::store::{Caller, NewTask, Outcome, Store, StoreError, TaskError, TaskFilter};
use serde::{Deserialize, Serialize};

use crate::common::again;
use crate::common::daemon::{Pair, Rig};

/// Names the job of an actor: no secret, only where its files are.
const JOB: &str = "MCP_BRIDGE_TEST_ACTOR";

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Role {
    Agent,
    Adder,
}

/// A line of a journal.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Step {
    /// Is about to add the task of this number.
    Add { n: u64 },
    /// The store has it.
    Added { n: u64, id: i64 },
    /// Found that it has a task.
    Holds { task: i64, fence: i64 },
    /// Is about to end it.
    Ends { task: i64, fence: i64 },
    /// The store says that it is done; `repeated` if it was so before.
    Ended {
        task: i64,
        fence: i64,
        repeated: bool,
    },
    /// Saw a newer fence, wrote with the old one, and was refused.
    Refused { task: i64, fence: i64 },
    /// The same, and was not.
    LateAccepted { task: i64, fence: i64 },
}

#[derive(Debug, Serialize, Deserialize)]
struct Job {
    role: Role,
    store: PathBuf,
    credentials: Option<PathBuf>,
    journal: PathBuf,
}

/// An actor as the test has it.
pub(crate) struct Actor {
    name: String,
    role: Role,
    has_session: bool,
    process: Child,
}

impl Actor {
    pub(crate) fn new(rig: &Rig, role: Role, name: &str, pair: Option<&Pair>) -> Self {
        let has_session = pair.is_some();
        Self {
            process: start(rig, role, name, has_session),
            name: name.into(),
            role,
            has_session,
        }
    }

    pub(crate) fn begin(&mut self, rig: &Rig) {
        self.process = start(rig, self.role, &self.name, self.has_session);
    }

    pub(crate) fn kill(&mut self) {
        self.process.kill().expect("killed");
        self.process.wait().expect("ended");
    }

    pub(crate) fn end(mut self) {
        self.kill();
    }
}

impl Drop for Actor {
    fn drop(&mut self) {
        // Ended already is as good.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn start(rig: &Rig, role: Role, name: &str, has_session: bool) -> Child {
    let job = Job {
        role,
        store: rig.path("bridge.db"),
        credentials: has_session.then(|| rig.path(&format!("{name}.toml"))),
        journal: rig.path(&format!("{name}.journal")),
    };
    let child = again::itself("daemon::kills", "actor")
        .env(JOB, serde_json::to_string(&job).expect("plain"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::inherit())
        .spawn()
        .expect("an actor");
    if has_session {
        // As a whole, so that no reader sees half of a number.
        let new = rig.path(&format!("{name}.pid.new"));
        std::fs::write(&new, format!("{}\n", child.id())).expect("written");
        std::fs::rename(new, rig.path(&format!("{name}.pid"))).expect("renamed");
    }
    child
}

struct Journal(File);

impl Journal {
    fn note(&mut self, step: &Step) {
        let mut line = serde_json::to_vec(step).expect("plain");
        line.push(b'\n');
        self.0.write_all(&line).expect("noted");
    }
}

/// All steps of a journal, but for a torn one.
pub(crate) fn steps(path: &Path) -> Vec<Step> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect()
}

/// The actor's side.
pub(crate) fn run() {
    let Ok(job) = std::env::var(JOB) else { return };
    #[cfg(target_os = "linux")]
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))
        .expect("set");
    let job: Job = serde_json::from_str(&job).expect("a job");
    let before = steps(&job.journal);
    let file = OpenOptions::new()
        .create(true)
        .append(true)
        .open(&job.journal);
    let mut journal = Journal(file.expect("a journal"));
    // A torn line ends here, and does not count.
    journal.0.write_all(b"\n").expect("noted");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let store = loop {
            // Another one may be recovering it.
            if let Ok(store) = SqliteStore::open(&job.store, Create::No).await {
                break store;
            }
            rest(10).await;
        };
        match job.role {
            Role::Adder => add(&store, &before, &mut journal).await,
            Role::Agent => {
                let file = job.credentials.expect("credentials");
                let credentials = Credentials::read(&file).expect("credentials");
                let me = credentials.callers.into_iter().next().expect("a session");
                work(&store, &me, &before, &mut journal).await;
            }
        }
    });
}

async fn rest(millis: u64) {
    tokio::time::sleep(Duration::from_millis(millis)).await;
}

/// Adds a task now and then, for ever.
async fn add(store: &Store, before: &[Step], journal: &mut Journal) {
    let mut next = 1;
    for step in before {
        match step {
            // In doubt: added again, under the same name.
            Step::Add { n } => next = *n,
            Step::Added { n, .. } => next = n + 1,
            _ => {}
        }
    }
    loop {
        let new = [NewTask {
            role: "backend".into(),
            title: format!("Piece {next}").parse().expect("a title"),
            body: "As it says.".parse().expect("a body"),
            files: Vec::new(),
            client_id: Some(format!("piece-{next}").parse().expect("a name")),
        }];
        journal.note(&Step::Add { n: next });
        if let Ok(added) = store.add_tasks(None, &new, clock::now()).await {
            let id = added[0].id.0;
            journal.note(&Step::Added { n: next, id });
            next += 1;
        }
        rest(fastrand::u64(40..160)).await;
    }
}

/// Does every task that it gets, for ever; and tries its old fences.
async fn work(store: &Store, me: &Caller, before: &[Step], journal: &mut Journal) {
    let mut held = HashMap::<i64, i64>::new();
    for step in before {
        match *step {
            Step::Holds { task, fence } => {
                held.insert(task, fence);
            }
            Step::Ended { task, .. } | Step::Refused { task, .. } => {
                held.remove(&task);
            }
            _ => {}
        }
    }
    let mine = TaskFilter {
        states: vec![TaskState::Leased],
        owner: Some(me.session.clone()),
        limit: 100,
        ..TaskFilter::default()
    };
    loop {
        try_what_is_over(store, me, &mut held, journal).await;
        if let Ok(fetched) = store.fetch(me, 100, clock::now()).await
            && let Some(id) = &fetched.id
        {
            // Unconfirmed, it comes again.
            let _ = store.fetch_written(&me.session, id, clock::now()).await;
        }
        if fastrand::u8(..) < 60 {
            // It finds it among its own below.
            let _ = store.claim_task(me, None, clock::now()).await;
        }
        for task in store.tasks(&mine).await.unwrap_or_default() {
            let (id, fence) = (task.id.0, task.fence.0);
            if held.insert(id, fence) != Some(fence) {
                journal.note(&Step::Holds { task: id, fence });
            }
            let note = "on it".parse().expect("a note");
            let _ = store
                .task_progress(me, task.id, task.fence, &note, None, clock::now())
                .await;
            rest(fastrand::u64(20..300)).await;
            journal.note(&Step::Ends { task: id, fence });
            let outcome = Outcome::Done("done".parse().expect("a result"));
            let ended = store.end_task(me, task.id, task.fence, &outcome, clock::now());
            if let Ok(ended) = ended.await {
                let repeated = ended.repeated;
                journal.note(&Step::Ended {
                    task: id,
                    fence,
                    repeated,
                });
                held.remove(&id);
            }
        }
        rest(15).await;
    }
}

/// An agent that sees a newer fence on a task must not be able to write with the one
/// that it had.
async fn try_what_is_over(
    store: &Store,
    me: &Caller,
    held: &mut HashMap<i64, i64>,
    journal: &mut Journal,
) {
    for (task, fence) in held.clone() {
        let Ok((now, _)) = store.task(TaskId(task)).await else {
            continue;
        };
        if now.fence.0 == fence {
            continue;
        }
        let outcome = Outcome::Done("too late".parse().expect("a result"));
        let written = if fastrand::bool() {
            let note = "still on it".parse().expect("a note");
            store
                .task_progress(me, TaskId(task), Fence(fence), &note, None, clock::now())
                .await
        } else {
            let ended = store.end_task(me, TaskId(task), Fence(fence), &outcome, clock::now());
            ended.await.map(|_| ())
        };
        match written {
            Ok(()) => journal.note(&Step::LateAccepted { task, fence }),
            Err(StoreError::Task(TaskError::StaleLease { .. })) => {
                journal.note(&Step::Refused { task, fence });
            }
            // Busy: tried again.
            Err(_) => continue,
        }
        held.remove(&task);
    }
}
