//! The orchestrator, end to end: real daemons, agents that are processes, and
//! tasks that must not be lost.

#![allow(
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a test that cannot make its files has nothing to say; what it measured, it prints"
)]

mod elsewhere;
mod fleet;
mod leading;
mod orders;
mod telling;

use std::time::{Duration, Instant};

use crate::common::daemon::{PATIENCE, wait_for};
use fleet::{Fleet, QUICK_WATCHDOG};
use mcp_bridge::clock;
use mcp_bridge::model::task::{Fence, TaskState};
use mcp_bridge::store::{Outcome, StoreError, TaskError};
use rustix::process::Signal;

#[test]
fn task_is_given_and_mailed_at_once() {
    let mut fleet = Fleet::new(2);
    let orchestrator = fleet.orchestrator(QUICK_WATCHDOG);
    fleet.workers_ready();
    let begun = Instant::now();
    let task = fleet.add("Port the parser");
    let owner = fleet.owner(task, 1);
    println!("added to given: {:?}", begun.elapsed());
    let mail = fleet.rig.fetch(&fleet.workers[owner].pair.b);
    assert_eq!(mail.len(), 1, "{mail:?}");
    assert!(
        mail[0].contains("Port the parser") && mail[0].contains("--fence 1"),
        "{mail:?}"
    );
    // The other one has room, and gets the next.
    let other = fleet.add("Test the parser");
    assert_eq!(fleet.owner(other, 1), 1 - owner);
    // Both are full: the third waits until one is done.
    let third = fleet.add("Document the parser");
    let caller = fleet.workers[owner].pair.b.clone();
    fleet.done(&caller, task, 1).expect("done");
    assert_eq!(fleet.owner(third, 1), owner);
    assert_eq!(fleet.state(task), TaskState::Done);
    drop(orchestrator);
}

#[test]
fn task_of_an_ended_agent_moves_at_once() {
    let mut fleet = Fleet::new(2);
    let mut orchestrator = fleet.orchestrator(QUICK_WATCHDOG);
    fleet.workers_ready();
    let task = fleet.add("Port the parser");
    let first = fleet.owner(task, 1);
    let (dead, heir) = (fleet.workers[first].pair.b.clone(), 1 - first);
    fleet
        .progress(&dead, task, 1, "half of it is done")
        .expect("mine");
    let begun = Instant::now();
    fleet.workers[first].agent.end();
    assert_eq!(fleet.owner(task, 2), heir);
    let took = begun.elapsed();
    println!("agent killed to new owner: {took:?}");
    assert!(took < Duration::from_secs(2), "{took:?}");
    let mail = fleet.rig.fetch(&fleet.workers[heir].pair.b);
    assert!(
        mail.iter()
            .any(|text| text.contains("half of it is done") && text.contains("--fence 2")),
        "{mail:?}"
    );
    let notices = fleet.rig.fetch(&fleet.workers[first].pair.a);
    assert!(
        notices.iter().any(|text| text.contains("has exited")),
        "{notices:?}"
    );
    assert!(
        notices
            .iter()
            .any(|text| text.contains(&format!("Task {task}")) && text.contains("is now with")),
        "{notices:?}"
    );
    orchestrator.says("has exited");
    // The dead one's last words come too late.
    match fleet.done(&dead, task, 1) {
        Err(StoreError::Task(TaskError::StaleLease {
            fence, now_with, ..
        })) => {
            assert_eq!(fence, Fence(2));
            assert!(now_with.contains(&format!("worker-{heir}/b")), "{now_with}");
        }
        other => panic!("{other:?}"),
    }
    // A new agent takes its place, and hears what is not its any more.
    fleet.workers[first].begin_agent(&fleet.rig);
    let told = wait_for("the word to one that returned", || {
        let mail = fleet.rig.fetch(&dead);
        mail.into_iter()
            .find(|text| text.contains("marked as lost"))
    });
    assert!(
        told.contains(&format!("Task {task} is now with worker-{heir}/b")),
        "{told}"
    );
    orchestrator.says("is back");
    // And it may work again.
    let next = fleet.add("Something else");
    assert_eq!(fleet.owner(next, 1), first);
}

#[test]
fn silent_host_is_lost_after_its_ttl() {
    let mut fleet = Fleet::new(2);
    let mut orchestrator = fleet.orchestrator(QUICK_WATCHDOG);
    fleet.workers_ready();
    let task = fleet.add("Port the parser");
    let first = fleet.owner(task, 1);
    let begun = Instant::now();
    // The agent dies with its daemon, so that no process reports it.
    fleet.workers[first].kill_all();
    assert_eq!(fleet.owner(task, 2), 1 - first);
    let took = begun.elapsed();
    let silent = fleet.silent_for(first);
    println!(
        "daemon and agent killed to new owner: {took:?}, silent for {silent:?}, ttl {:?}",
        fleet::TTL
    );
    assert!(silent >= fleet::TTL, "{silent:?}");
    assert!(took < PATIENCE / 2, "{took:?}");
    orchestrator.says("is lost: silent for");
}

#[test]
fn daemon_that_dies_alone_loses_no_session() {
    let mut fleet = Fleet::new(2);
    let mut orchestrator = fleet.orchestrator(QUICK_WATCHDOG);
    fleet.workers_ready();
    let task = fleet.add("Port the parser");
    let first = fleet.owner(task, 1);
    let session = fleet.workers[first].pair.b.session.clone();
    fleet.workers[first].kill_daemon();
    // The orchestrator sits on the same host and sees that the agent runs.
    orchestrator.says_times("its agent runs", 2);
    assert_eq!(fleet.task(task).owner.as_ref(), Some(&session));
    assert_eq!(fleet.task(task).fence, Fence(1));
    fleet.begin_daemon(first);
    fleet.rig.goes_on(&session);
    orchestrator.finish().1.never("is lost");
}

#[test]
fn restarted_daemon_loses_no_session() {
    let mut fleet = Fleet::new(3);
    let Some(orchestrator) = fleet.orchestrator_apart(QUICK_WATCHDOG) else {
        return;
    };
    fleet.workers_ready();
    let tasks: Vec<_> = (0..3).map(|n| fleet.add(&format!("Task {n}"))).collect();
    for task in &tasks {
        fleet.owner(*task, 1);
    }
    for _ in 0..3 {
        for worker in 0..3 {
            fleet.stop_daemon(worker);
        }
        // Longer than the ttl, which is of no meaning now.
        let until = Instant::now() + fleet::TTL * 2;
        wait_for("the ttl to be over", || {
            (Instant::now() > until).then_some(())
        });
        for worker in 0..3 {
            fleet.begin_daemon(worker);
            let session = fleet.workers[worker].pair.b.session.clone();
            fleet.rig.goes_on(&session);
        }
    }
    for task in tasks {
        assert_eq!(fleet.task(task).fence, Fence(1));
    }
    let said = orchestrator.finish().1;
    said.never("is lost");
    said.never("has exited");
}

#[test]
fn stalled_session_is_alerted_and_keeps_its_task() {
    let mut fleet = Fleet::new(2);
    let mut orchestrator = fleet.orchestrator(fleet::QUICK_STALL);
    fleet.workers_ready();
    let task = fleet.add("Port the parser");
    let owner = fleet.owner(task, 1);
    orchestrator.says("is stalled: has pending work (1 task, 1 unread message), no activity");
    // Long enough for a task to be moved, if it were to be.
    let until = Instant::now() + Duration::from_secs(3);
    wait_for("revoke_after to be over", || {
        (Instant::now() > until).then_some(())
    });
    assert_eq!(fleet.task(task).fence, Fence(1));
    let caller = fleet.workers[owner].pair.b.clone();
    fleet.rig.fetch(&caller);
    orchestrator.says("is active again");
    fleet.done(&caller, task, 1).expect("mine");
    let said = orchestrator.finish().1;
    said.only_once("is stalled: has pending work");
}

#[test]
fn idle_owner_of_a_task_is_reminded() {
    let mut fleet = Fleet::new(1);
    let mut orchestrator = fleet.orchestrator(fleet::QUICK_STALL);
    fleet.workers_ready();
    let task = fleet.add("Port the parser");
    fleet.owner(task, 1);
    let caller = fleet.workers[0].pair.b.clone();
    assert_eq!(fleet.rig.fetch(&caller).len(), 1);
    // What wakes it is mail: the rest is the wake's.
    wait_for("a reminder", || {
        (fleet.rig.view(&caller.session).unread == 1).then_some(())
    });
    fleet
        .progress(&caller, task, 1, "still at it")
        .expect("mine");
    orchestrator.says("is active again");
    wait_for("its end", || {
        (fleet.rig.view(&caller.session).unread == 0).then_some(())
    });
    assert_eq!(fleet.task(task).fence, Fence(1));
}

#[test]
fn stalled_session_whose_client_reports_turns_loses_its_task() {
    let mut fleet = Fleet::new(2);
    let mut orchestrator = fleet.orchestrator(fleet::QUICK_STALL);
    fleet.workers_ready();
    let task = fleet.add("Port the parser");
    let owner = fleet.owner(task, 1);
    fleet.turn(owner, "outside");
    orchestrator.says("no activity for");
    assert_eq!(fleet.owner(task, 2), 1 - owner);
    // It gets nothing new before it moves.
    let caller = fleet.workers[owner].pair.b.clone();
    fleet.rig.fetch(&caller);
    // Inside a turn it may take as long as it likes.
    let other = fleet.add("A long build");
    let busy = fleet.owner(other, 1);
    fleet.turn(busy, "inside");
    let until = Instant::now() + Duration::from_secs(4);
    wait_for("all timers to be over", || {
        (Instant::now() > until).then_some(())
    });
    assert_eq!(fleet.task(other).fence, Fence(1));
}

#[test]
fn worker_is_lost_only_by_a_long_pause() {
    let mut fleet = Fleet::new(2);
    let Some(mut orchestrator) = fleet.orchestrator_apart(QUICK_WATCHDOG) else {
        return;
    };
    fleet.workers_ready();
    let task = fleet.add("Port the parser");
    let first = fleet.owner(task, 1);
    let session = fleet.workers[first].pair.b.session.clone();
    for _ in 0..3 {
        fleet.workers[first].pause(&fleet.rig);
        let until = Instant::now() + fleet::TTL.mul_f64(0.5);
        wait_for("the pause", || (Instant::now() > until).then_some(()));
        fleet.workers[first].signal(Signal::CONT);
        fleet.rig.goes_on(&session);
    }
    assert_eq!(fleet.task(task).fence, Fence(1));
    // Its agent goes away during a pause, and no process can report it.
    fleet.workers[first].pause(&fleet.rig);
    fleet.workers[first].agent.end();
    assert_eq!(fleet.owner(task, 2), 1 - first);
    fleet.workers[first].begin_agent(&fleet.rig);
    fleet.workers[first].signal(Signal::CONT);
    orchestrator.says("is back");
    let caller = fleet.workers[first].pair.b.clone();
    assert!(matches!(
        fleet.done(&caller, task, 1),
        Err(StoreError::Task(TaskError::StaleLease { .. }))
    ));
    orchestrator.finish().1.only_once("event=\"session-lost\"");
}

#[test]
fn paused_orchestrator_loses_no_session_at_once() {
    let mut fleet = Fleet::new(2);
    let Some(orchestrator) = fleet.orchestrator_apart(QUICK_WATCHDOG) else {
        return;
    };
    fleet.workers_ready();
    let task = fleet.add("Port the parser");
    let owner = fleet.owner(task, 1);
    orchestrator.pause(&fleet.rig);
    let until = Instant::now() + fleet::TTL + Duration::from_secs(4);
    wait_for("a long pause", || (Instant::now() > until).then_some(()));
    orchestrator.signal(Signal::CONT);
    let session = fleet.workers[owner].pair.b.session.clone();
    fleet.rig.goes_on(&session);
    assert_eq!(fleet.task(task).fence, Fence(1));
    let said = orchestrator.finish().1;
    said.never("is lost");
    assert!(said.count("no session is declared lost before") >= 1);
}

#[test]
fn task_waits_for_a_healthy_agent() {
    let mut fleet = Fleet::new(1);
    let mut orchestrator = fleet.orchestrator(QUICK_WATCHDOG);
    fleet.workers_ready();
    let task = fleet.add("Port the parser");
    fleet.owner(task, 1);
    fleet.workers[0].agent.end();
    wait_for("the task to wait", || {
        (fleet.state(task) == TaskState::Queued).then_some(())
    });
    assert_eq!(fleet.task(task).fence, Fence(2));
    orchestrator.says("no healthy session has this role");
    fleet.workers[0].begin_agent(&fleet.rig);
    assert_eq!(fleet.owner(task, 3), 0);
    orchestrator.says("recovered (no-healthy-worker)");
}

#[test]
fn task_assigned_to_a_gone_agent_goes_on() {
    let mut fleet = Fleet::new(1);
    let caller = fleet.rig.pair("caller");
    let ttl = Duration::from_secs(1);
    let short = QUICK_WATCHDOG.replace("[watchdog]\n", "[watchdog]\ndefault_ttl = \"1s\"\n");
    let mut orchestrator = fleet.orchestrator(&short);
    fleet.workers_ready();
    // It called once, and no daemon keeps it: it holds nothing, and is not missed.
    fleet.rig.fetch(&caller.b);
    let until = Instant::now() + ttl * 3;
    wait_for("its time to be over", || {
        (Instant::now() > until).then_some(())
    });
    let other = fleet.add("Test the parser");
    assert_eq!(fleet.owner(other, 1), 0);
    let task = fleet.add("Port the parser");
    let given = fleet
        .rig
        .store
        .reassign_task(task, Some(&caller.b.session), clock::now());
    assert_eq!(fleet.rig.block_on(given).expect("given").fence, Fence(1));
    orchestrator.says("caller/b (backend) is lost");
    wait_for("the task to wait", || {
        (fleet.state(task) == TaskState::Queued).then_some(())
    });
    let worker = fleet.workers[0].pair.b.clone();
    fleet.done(&worker, other, 1).expect("done");
    assert_eq!(fleet.owner(task, 3), 0);
}

#[test]
fn task_that_kills_its_owners_is_given_up() {
    let mut fleet = Fleet::new(3);
    let mut orchestrator = fleet.orchestrator(QUICK_WATCHDOG);
    fleet.workers_ready();
    let task = fleet.add("Poison");
    for fence in 1..=3 {
        let owner = fleet.owner(task, fence);
        // One that never read it would not count.
        fleet.rig.fetch(&fleet.workers[owner].pair.b);
        fleet.workers[owner].agent.end();
    }
    wait_for("the end of it", || {
        (fleet.state(task) == TaskState::Dead).then_some(())
    });
    orchestrator.says("task-dead");
    let reason = fleet.task(task).reason.expect("a reason");
    assert!(reason.contains("3 owners"), "{reason}");
}

#[test]
fn a_failed_task_is_tried_again_later() {
    let mut fleet = Fleet::new(1);
    let _orchestrator = fleet.orchestrator(QUICK_WATCHDOG);
    fleet.workers_ready();
    let task = fleet.add("Port the parser");
    fleet.owner(task, 1);
    let caller = fleet.workers[0].pair.b.clone();
    let failed = Outcome::Failed {
        reason: "the compiler is not there".parse().expect("short"),
        random: 0.5,
    };
    let ended = fleet
        .rig
        .block_on(
            fleet
                .rig
                .store
                .end_task(&caller, task, Fence(1), &failed, clock::now()),
        )
        .expect("mine");
    assert_eq!(ended.state, TaskState::RetryWait);
    let waits = fleet.task(task).retry_at.expect("a time");
    assert!(waits > clock::now());
    // Its time comes.
    fleet.sql("UPDATE bridge_task SET retry_ms = 1");
    fleet.owner(task, 2);
}
