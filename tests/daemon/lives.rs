//! Lives of agents as an operator's machine sees them: the real daemons, agents
//! that die and come back, and what becomes of their work.

#![allow(
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a test that cannot make its files has nothing to say; what it skips, it prints"
)]

use crate::common::daemon::{Agent, Daemon, QUICK, Rig, is_alive, session, wait_for};
use mcp_bridge::clock;
use mcp_bridge::model::alert::AlertKind;
use mcp_bridge::model::task::TaskState;
use mcp_bridge::model::{Fence, SessionKey, TaskId};
use mcp_bridge::store::{AuditFilter, NewTask, Outcome, Task};

/// An orchestrator that looks often, and one worker's part of its settings.
fn orchestrator(rig: &Rig, more: &str) -> Daemon {
    let config = rig.config_of(
        "orchestrator",
        "boss",
        &format!("[watchdog]\ncheck_interval = \"100ms\"\n{more}"),
    );
    let mut daemon = rig.daemon(&config);
    daemon.ready();
    daemon
}

fn add(rig: &Rig, title: &str) -> TaskId {
    let task = NewTask {
        role: "backend".into(),
        title: title.parse().expect("a title"),
        body: "what is to be done".parse().expect("a body"),
        files: Vec::new(),
        client_id: None,
    };
    let tasks = [task];
    let added = rig.store.add_tasks(None, &tasks, clock::now());
    rig.block_on(added).expect("added")[0].id
}

fn task(rig: &Rig, id: TaskId) -> Task {
    rig.block_on(rig.store.task(id)).expect("there").0
}

fn events(rig: &Rig, id: TaskId) -> Vec<String> {
    let (_, events) = rig.block_on(rig.store.task(id)).expect("there");
    events.into_iter().map(|event| event.event).collect()
}

#[track_caller]
fn with(rig: &Rig, id: TaskId, owner: &SessionKey, fence: i64) {
    wait_for(
        &format!("task {id} with {owner} under fence {fence}"),
        || {
            let task = task(rig, id);
            (task.state == TaskState::Leased
                && task.owner.as_ref() == Some(owner)
                && task.fence == Fence(fence))
            .then_some(())
        },
    );
}

/// A daemon and its agent die together, and both return at once.
#[test]
fn daemon_and_agent_that_return_at_once_begin_anew() {
    let rig = Rig::new();
    let pair = rig.pair("one");
    let proof = format!("{{ pid_file = \"{}\" }}", rig.path("pid").display());
    // A ttl beyond the test: nothing here may rest on silence.
    let quick = QUICK.replace("5s", "60s");
    let config = rig.config("worker", &format!("{quick}{}", session("one", &proof)));
    let _boss = orchestrator(&rig, "");
    let mut first = Agent::with_file(&rig, "pid");
    let mut worker = rig.daemon(&config);
    worker.ready();
    let id = add(&rig, "both die");
    with(&rig, id, &pair.b.session, 1);
    assert_eq!(
        rig.fetch(&pair.b).len(),
        1,
        "the first agent reads its task"
    );

    worker.kill();
    first.end();
    let _second = Agent::with_file(&rig, "pid");
    let mut worker = rig.daemon(&config);
    worker.ready();
    with(&rig, id, &pair.b.session, 2);
    let mail = rig.fetch(&pair.b);
    assert_eq!(mail.len(), 1, "{mail:?}");
    assert!(mail[0].contains("what is to be done") && mail[0].contains("fence is 2"));
    assert_eq!(events(&rig, id), ["added", "given", "exited", "given"]);
    let exits = AuditFilter {
        action: Some("session_exited".into()),
        limit: 10,
        ..AuditFilter::default()
    };
    let exits = rig.block_on(rig.store.audit(&exits)).expect("listed");
    assert_eq!(exits.len(), 1);
}

/// A container with daemon and agent: its agent has the same low number in every
/// life.
#[test]
fn container_that_starts_again_begins_anew() {
    starts_again(false);
}

/// The kernel may give the next container's namespace the number of the last one's.
#[test]
fn container_with_the_number_of_the_last_begins_anew() {
    starts_again(true);
}

fn starts_again(recycled: bool) {
    let script = "sleep 1000 & echo $! > pid; until [ -e go ]; do sleep 0.02; done; exec \"$@\"";
    let apart = [
        "unshare",
        "--pid",
        "--fork",
        "--kill-child",
        "--mount-proc",
        "sh",
        "-c",
        script,
        "sh",
    ];
    let mut probe = std::process::Command::new(apart[0]);
    probe
        .args(&apart[1..5])
        .arg("true")
        .stderr(std::process::Stdio::null());
    if !probe.status().is_ok_and(|status| status.success()) {
        println!("skipped: processes of its own want root, and unshare");
        return;
    }
    let rig = Rig::new();
    let pair = rig.pair("one");
    let proof = format!("{{ pid_file = \"{}\" }}", rig.path("pid").display());
    let quick = QUICK.replace("5s", "60s");
    let config = rig.config("worker", &format!("{quick}{}", session("one", &proof)));
    let _boss = orchestrator(&rig, "");
    let start = || {
        let mut command = rig.command_behind(&apart, &config);
        let mut worker = Daemon::start(command.current_dir(rig.dir.path()), &config);
        let of = worker.child.id();
        let inside = wait_for("the container", || {
            let children = std::fs::read_to_string(format!("/proc/{of}/task/{of}/children"));
            children.ok().filter(|children| !children.trim().is_empty())
        });
        if recycled {
            let link = std::fs::read_link(format!("/proc/{}/ns/pid", inside.trim()));
            let link = link.expect("readable").display().to_string();
            let number: i64 = link
                .trim_matches(|c: char| !c.is_ascii_digit())
                .parse()
                .expect("a number");
            let raw = rig.foreign();
            raw.execute("UPDATE bridge_heartbeat SET pid_ns = ?1", [number])
                .expect("written");
        }
        std::fs::write(rig.path("go"), "").expect("written");
        worker.ready();
        (worker, inside)
    };
    let (mut worker, mut inside) = start();
    let id = add(&rig, "the container dies");
    for fence in [1, 2] {
        with(&rig, id, &pair.b.session, fence);
        let mail = rig.fetch(&pair.b);
        assert_eq!(mail.len(), 1, "{mail:?}");
        assert!(mail[0].contains(&format!("fence is {fence}")), "{mail:?}");
        if fence == 1 {
            worker.kill();
            wait_for("the container's end", || (!is_alive(&inside)).then_some(()));
            std::fs::remove_file(rig.path("go")).expect("removed");
            (worker, inside) = start();
        }
    }
}

/// Another program keeps the write lock for longer than any session's ttl: no agent
/// can write a heartbeat, so no session is lost, and the owner keeps its task.
#[test]
fn foreign_lock_loses_no_session() {
    let rig = Rig::new();
    let pairs = [rig.pair("one"), rig.pair("two")];
    // No process that an orchestrator of the same host could look at.
    let proof = "{ exec = [\"/bin/true\"] }";
    let text = format!("{QUICK}{}{}", session("one", proof), session("two", proof));
    let mut boss = orchestrator(&rig, "");
    let _worker = rig.worker(&text);
    let id = add(&rig, "the store is locked");
    let owner = wait_for("an owner", || task(&rig, id).owner);
    with(&rig, id, &owner, 1);
    let foreign = rig.foreign();
    foreign.execute_batch("BEGIN IMMEDIATE").expect("locked");
    let silent = || {
        let shortest = pairs.iter().map(|pair| rig.silent_for(&pair.b.session));
        shortest.min().expect("two")
    };
    boss.says("the store could not be written for");
    let shown = boss.shows("why no session is lost", |state| {
        state.status.contains("the store could not be written for")
    });
    assert!(
        shown.status.contains("no session is declared lost"),
        "{}",
        shown.status
    );
    // Twice the ttl, and an end at a moment when a verdict would be due.
    wait_for("a long silence", || {
        (silent().as_secs() >= 10).then_some(())
    });
    foreign.execute_batch("ROLLBACK").expect("let go");
    for pair in &pairs {
        rig.goes_on(&pair.b.session);
    }
    boss.says("the store can be written again, after");
    // A whole ttl later still.
    let caller = pairs
        .iter()
        .find(|pair| pair.b.session == owner)
        .expect("one");
    for pair in &pairs {
        let before = rig.beats(&pair.b.session);
        wait_for("heartbeats of a whole ttl", || {
            (rig.beats(&pair.b.session) > before + 50).then_some(())
        });
    }
    let result = Outcome::Done("it is".parse().expect("a result"));
    let done = rig
        .store
        .end_task(&caller.b, id, Fence(1), &result, clock::now());
    rig.block_on(done).expect("still its owner's");
    assert_eq!(events(&rig, id), ["added", "given", "done"]);
    let (_, said) = boss.finish();
    said.never("session-lost");
}

/// An agent that ends as soon as it was given a task, again and again.
#[test]
fn crashing_agent_costs_no_task_and_is_named() {
    let rig = Rig::new();
    let pair = rig.pair("one");
    let proof = format!("{{ pid_file = \"{}\" }}", rig.path("pid").display());
    let _boss = orchestrator(&rig, "");
    let mut agent = Agent::with_file(&rig, "pid");
    let _worker = rig.worker(&format!("{QUICK}{}", session("one", &proof)));
    let tasks: Vec<TaskId> = ["first", "second"].map(|title| add(&rig, title)).into();
    let crashing = || {
        let alerts = rig.block_on(rig.store.open_alerts()).expect("listed");
        alerts
            .into_iter()
            .find(|alert| alert.kind == AlertKind::Crashing)
    };
    let mut lives = 0;
    let alert = wait_for("an alert about the session", || {
        let held = tasks.iter().any(|id| task(&rig, *id).owner.is_some());
        if held && lives < 10 {
            lives += 1;
            agent.end();
            agent = Agent::with_file(&rig, "pid");
            // This life is seen before it ends, too.
            rig.goes_on(&pair.b.session);
        }
        crashing()
    });
    assert_eq!(alert.session.as_ref(), Some(&pair.b.session));
    assert!(
        alert.text.contains("after a pause of 10 seconds"),
        "{}",
        alert.text
    );
    assert_eq!(lives, 2, "the third life waits");
    for id in &tasks {
        let task = task(&rig, *id);
        assert_eq!(task.state, TaskState::Queued, "{task:?}");
    }
    // The pause is over; the agent works, and all is forgiven.
    for id in tasks {
        let fence = wait_for("a task", || {
            let task = task(&rig, id);
            (task.owner.as_ref() == Some(&pair.b.session)).then_some(task.fence)
        });
        let result = Outcome::Done("it is".parse().expect("a result"));
        let done = rig
            .store
            .end_task(&pair.b, id, fence, &result, clock::now());
        rig.block_on(done).expect("done");
    }
    wait_for("the end of the alert", || {
        crashing().is_none().then_some(())
    });
}
