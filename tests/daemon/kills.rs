//! Nothing that was acknowledged is lost and nothing is done twice, under kills of
//! every process at any time: daemons of both roles, agents, and the programs that add
//! tasks. Every agent notes what it is about to do and what came of it in a file of its
//! own; a checker compares those files with the store.

#![allow(
    clippy::expect_used,
    clippy::print_stdout,
    reason = "without its files a test has nothing to say; what it measured, it prints"
)]

use crate::common::daemon as rig;
mod actors;
mod ahead;
mod check;
mod clocks;
mod door;

use std::time::{Duration, Instant};

use crate::common::daemon::{Daemon, Pair, Rig, full, wait_for};
use actors::{Actor, Role};
use check::check;

const WORKERS: usize = 3;

const WORKER: &str = "[heartbeat]\ninterval = \"100ms\"\nttl = \"1500ms\"\n";
/// Agents are killed here again and again: that makes no task poison.
const ORCHESTRATOR: &str = "[watchdog]\ncheck_interval = \"100ms\"\nleader_ttl = \"1s\"\n\
     [reassignment]\ncapacity = 2\nmax_losses = 100\n";

/// What may be killed, and is started anew at once.
struct Fleet {
    // Dropped before the directory they work in.
    daemons: Vec<Option<Daemon>>,
    actors: Vec<Actor>,
    pairs: Vec<Pair>,
    /// How long each daemon took until it was ready again.
    ready: Vec<Duration>,
    rig: Rig,
}

impl Fleet {
    fn new() -> Self {
        let rig = Rig::new();
        rig.without_limits();
        let pairs: Vec<Pair> = (0..WORKERS)
            .map(|n| rig.pair(&format!("worker-{n}")))
            .collect();
        let mut actors: Vec<Actor> = pairs
            .iter()
            .enumerate()
            .map(|(n, pair)| Actor::new(&rig, Role::Agent, &format!("worker-{n}"), Some(pair)))
            .collect();
        actors.push(Actor::new(&rig, Role::Adder, "adder", None));
        let mut fleet = Self {
            daemons: (0..=WORKERS).map(|_| None).collect(),
            actors,
            pairs,
            ready: Vec::new(),
            rig,
        };
        for n in 0..fleet.daemons.len() {
            fleet.begin_daemon(n);
        }
        fleet.ready.clear();
        fleet
    }

    /// The last one is the orchestrator.
    fn begin_daemon(&mut self, n: usize) {
        let begun = Instant::now();
        let config = if n == WORKERS {
            self.rig
                .config_of("orchestrator", "orchestrator", ORCHESTRATOR)
        } else {
            let name = format!("worker-{n}");
            let pid = self.rig.path(&format!("{name}.pid"));
            let proof = format!("{{ pid_file = \"{}\" }}", pid.display());
            let text = format!("{WORKER}{}", rig::session(&name, &proof));
            self.rig.config(&name, &text)
        };
        let mut daemon = self.rig.daemon(&config);
        daemon.ready();
        self.ready.push(begun.elapsed());
        self.daemons[n] = Some(daemon);
    }

    fn kill_a_process(&mut self) {
        let victim = fastrand::usize(..self.daemons.len() + self.actors.len());
        if let Some(daemon) = self.daemons.get_mut(victim) {
            daemon.take().expect("a daemon").kill();
            self.begin_daemon(victim);
        } else {
            let actor = victim - self.daemons.len();
            self.actors[actor].kill();
            self.actors[actor].begin(&self.rig);
        }
    }

    fn count(&self, query: &str) -> i64 {
        self.rig
            .foreign()
            .query_row(query, [], |row| row.get(0))
            .expect("counted")
    }
}

#[test]
fn every_task_is_done_once_through_kills() {
    let long = Duration::from_secs(if full() { 600 } else { 20 });
    let mut fleet = Fleet::new();
    let (begun, mut kills) = (Instant::now(), 0);
    while begun.elapsed() < long {
        // The pace of the kills, not a wait for anything.
        std::thread::park_timeout(Duration::from_millis(fastrand::u64(50..500)));
        fleet.kill_a_process();
        kills += 1;
    }
    // The fences are tried for certain: an agent loses a task, and writes.
    wait_for("an agent that comes too late", || {
        fleet.actors[..WORKERS].iter_mut().for_each(Actor::kill);
        for actor in 0..WORKERS {
            fleet.actors[actor].begin(&fleet.rig);
        }
        std::thread::park_timeout(Duration::from_millis(500));
        (check(&fleet.rig).refused > 0).then_some(())
    });
    // No process is killed any more and nothing new comes: all that was promised ends.
    let adder = fleet.actors.pop().expect("the adder");
    adder.end();
    wait_for("every task to be done", || {
        let open =
            "SELECT count(*) FROM bridge_task WHERE state IN ('queued', 'leased', 'retry_wait')";
        (fleet.count(open) == 0).then_some(())
    });
    for actor in fleet.actors.drain(..) {
        actor.end();
    }
    let verdict = check(&fleet.rig);
    let integrity: String = fleet
        .rig
        .foreign()
        .query_row("PRAGMA integrity_check", [], |row| row.get(0))
        .expect("checked");
    let mut ready = std::mem::take(&mut fleet.ready);
    ready.sort_unstable();
    println!(
        "{kills} kills in {:.0?}: {verdict:?}; daemons ready again: p50 {:.0?}, p99 {:.0?}",
        begun.elapsed(),
        ready.get(ready.len() / 2),
        ready.get(ready.len() * 99 / 100),
    );
    assert_eq!(integrity, "ok");
    assert!(verdict.acknowledged > 0 && verdict.done > 0, "{verdict:?}");
    assert!(verdict.wrong.is_empty(), "{:#?}", verdict.wrong);
    assert_eq!(fleet.pairs.len(), WORKERS);
}

/// The processes of this test: this program again; a variable says what to do. Without
/// one there is nothing to do.
#[test]
#[ignore = "a process of the other tests"]
fn actor() {
    actors::run();
}
