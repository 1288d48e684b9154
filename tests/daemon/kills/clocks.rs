//! A wall clock that is wrong by an hour, on the worker or on the orchestrator: no
//! session is declared lost for it, and deaths are found in time. Only the wall clock
//! is set wrong; the boot clock is what decisions go by.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use mcp_bridge::clock;
use mcp_bridge::model::TaskId;
use mcp_bridge::store::NewTask;

use crate::common::daemon::{Agent, Daemon, PATIENCE, Pair, Rig, session, wait_for};

const TTL: Duration = Duration::from_millis(1_500);
const WORKER: &str = "[heartbeat]\ninterval = \"100ms\"\nttl = \"1500ms\"\n";
const ORCHESTRATOR: &str = "[watchdog]\ncheck_interval = \"100ms\"\nleader_ttl = \"1s\"\n";
/// A hundred thousandth of an hour more or less is no matter.
const HOUR: i64 = 3_600_000;

/// Debian's libfaketime, if it is there.
pub(crate) fn library() -> Option<PathBuf> {
    let found = std::fs::read_dir("/usr/lib").ok()?.flatten();
    found
        .map(|place| place.path().join("faketime/libfaketime.so.1"))
        .find(|path| path.exists())
}

struct Fleet {
    daemons: Vec<Option<Daemon>>,
    agents: Vec<Agent>,
    pairs: Vec<Pair>,
    orchestrator: Daemon,
    rig: Rig,
}

/// Two workers; `worker` and `orchestrator` say how wrong their clocks are.
fn fleet(library: &PathBuf, worker: Option<&str>, orchestrator: Option<&str>) -> Fleet {
    let rig = Rig::new();
    let start = |config: &PathBuf, wrong: Option<&str>| {
        let mut command = rig.command(config);
        if let Some(wrong) = wrong {
            command
                .env("LD_PRELOAD", library)
                .env("FAKETIME", wrong)
                .env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
        }
        let mut daemon = Daemon::start(&mut command, config);
        daemon.ready();
        daemon
    };
    let (mut daemons, mut agents, mut pairs) = (Vec::new(), Vec::new(), Vec::new());
    for n in 0..2 {
        let name = format!("worker-{n}");
        pairs.push(rig.pair(&name));
        agents.push(Agent::with_file(&rig, &format!("{name}.pid")));
        let pid = rig.path(&format!("{name}.pid"));
        let proof = format!("{{ pid_file = \"{}\" }}", pid.display());
        let config = rig.config(&name, &format!("{WORKER}{}", session(&name, &proof)));
        daemons.push(Some(start(&config, worker)));
    }
    let config = rig.config_of("orchestrator", "orchestrator", ORCHESTRATOR);
    let mut orchestrator = start(&config, orchestrator);
    orchestrator.says("acting leader");
    Fleet {
        daemons,
        agents,
        pairs,
        orchestrator,
        rig,
    }
}

impl Fleet {
    fn number(&self, query: &str) -> i64 {
        let connection = self.rig.foreign();
        connection
            .query_row(query, [], |row| row.get(0))
            .expect("a number")
    }

    fn add(&self) -> TaskId {
        let new = [NewTask {
            role: "backend".into(),
            title: "A piece".parse().expect("a title"),
            body: "As it says.".parse().expect("a body"),
            files: Vec::new(),
            client_id: None,
        }];
        let added = self.rig.store.add_tasks(None, &new, clock::now());
        self.rig.block_on(added).expect("added")[0].id
    }

    #[track_caller]
    fn owner(&self, id: TaskId, fence: i64) -> usize {
        wait_for(&format!("task {id} with fence {fence}"), || {
            let task = self.rig.block_on(self.rig.store.task(id)).expect("there").0;
            let owner = task.owner.filter(|_| task.fence.0 == fence)?;
            self.pairs.iter().position(|pair| pair.b.session == owner)
        })
    }
}

fn wrong(worker: Option<&str>, orchestrator: Option<&str>) {
    let Some(library) = library() else {
        println!("skipped: libfaketime is not installed, a wrong clock cannot be had");
        return;
    };
    let now = clock::now().as_millisecond();
    let mut fleet = fleet(&library, worker, orchestrator);
    // It is really wrong.
    let stamp = if worker.is_some() {
        "SELECT max(beat_ms) FROM bridge_heartbeat"
    } else {
        "SELECT since_ms FROM bridge_leader"
    };
    let off = fleet.number(stamp) - now;
    assert!((off.abs() - HOUR).abs() < HOUR / 10, "{off} ms off");

    let task = fleet.add();
    let first = fleet.owner(task, 1);
    for pair in &fleet.pairs {
        let before = fleet.rig.beats(&pair.b.session);
        wait_for("many heartbeats, longer than a ttl", || {
            (fleet.rig.beats(&pair.b.session) >= before + 30).then_some(())
        });
    }
    let gone = "SELECT count(*) FROM bridge_alert WHERE kind IN ('lost', 'exited')";
    assert_eq!(fleet.number(gone), 0, "given up for a wrong clock");
    assert_eq!(fleet.owner(task, 1), first);

    // Both ends: silent with its daemon, and seen to exit.
    let begun = Instant::now();
    fleet.daemons[first].take().expect("a daemon").kill();
    fleet.agents[first].end();
    assert_eq!(fleet.owner(task, 2), 1 - first);
    let took = begun.elapsed();
    let silent = fleet.rig.silent_for(&fleet.pairs[first].b.session);
    assert!(silent >= TTL, "{silent:?}");
    assert!(took < PATIENCE / 2, "{took:?}");
    let begun = Instant::now();
    fleet.agents[1 - first].end();
    fleet.orchestrator.says("has exited");
    println!(
        "silent to new owner {took:?}, exited to said {:?}",
        begun.elapsed()
    );
    assert_eq!(fleet.number(gone), 2);
}

#[test]
fn a_worker_s_clock_is_an_hour_fast() {
    wrong(Some("+3600"), None);
}

#[test]
fn a_worker_s_clock_is_an_hour_slow() {
    wrong(Some("-3600"), None);
}

#[test]
fn an_orchestrator_s_clock_is_an_hour_fast() {
    wrong(None, Some("+3600"));
}

#[test]
fn an_orchestrator_s_clock_is_an_hour_slow() {
    wrong(None, Some("-3600"));
}
