//! Two orchestrators on one store: one acts.

use std::time::{Duration, Instant};

use mcp_bridge::model::task::Fence;
use mcp_bridge::store::StoreError;
use rustix::process::Signal;

use super::fleet::{Fleet, QUICK_WATCHDOG};
use crate::common::daemon::wait_for;

#[test]
fn second_orchestrator_takes_over_from_the_first() {
    let mut fleet = Fleet::new(2);
    let first = fleet.orchestrator(QUICK_WATCHDOG);
    let mut second = fleet.standby("second", QUICK_WATCHDOG);
    fleet.workers_ready();
    second.shows("it to stand by", |state| {
        state.status.contains("standing by for")
    });
    let begun = Instant::now();
    first.kill();
    second.says("acting leader (epoch 2)");
    println!(
        "killed to taken over: {:?} (leader_ttl 1 s)",
        begun.elapsed()
    );
    // It knows the fleet already.
    let task = fleet.add("Port the parser");
    let owner = fleet.owner(task, 1);
    fleet.workers[owner].agent.end();
    fleet.owner(task, 2);
    let mut third = fleet.standby("third", QUICK_WATCHDOG);
    let begun = Instant::now();
    assert_eq!(second.stop(), Some(0));
    third.says("acting leader (epoch 3)");
    println!("stopped to taken over: {:?}", begun.elapsed());
}

#[test]
fn paused_leader_finds_out_and_writes_nothing() {
    let mut fleet = Fleet::new(2);
    let mut first = fleet.orchestrator(QUICK_WATCHDOG);
    let mut second = fleet.standby("second", QUICK_WATCHDOG);
    fleet.workers_ready();
    let old = fleet
        .rig
        .block_on(fleet.rig.store.lease())
        .expect("read")
        .expect("a lease");
    first.pause(&fleet.rig);
    second.says("acting leader (epoch 2)");
    // What the old one had in hand is refused.
    let leader = mcp_bridge::store::Leader {
        daemon: old.holder.expect("a holder"),
        epoch: old.epoch,
    };
    let renewed = fleet.rig.block_on(fleet.rig.store.renew_lead(&leader));
    assert!(
        matches!(renewed, Err(StoreError::NotLeading(2))),
        "{renewed:?}"
    );
    let task = fleet.add("Port the parser");
    let owner = fleet.owner(task, 1);
    first.signal(Signal::CONT);
    first.says("another orchestrator is active now (epoch 2)");
    first.shows("it to stand by", |state| {
        state.status.contains("standing by for")
    });
    fleet.workers[owner].agent.end();
    fleet.owner(task, 2);
    let until = Instant::now() + Duration::from_millis(500);
    wait_for("both to have had their chance", || {
        (Instant::now() > until).then_some(())
    });
    assert_eq!(fleet.task(task).fence, Fence(2), "moved once");
    let lease = fleet
        .rig
        .block_on(fleet.rig.store.lease())
        .expect("read")
        .expect("a lease");
    assert_eq!(lease.epoch, 2);
}

#[test]
fn leader_that_is_restarted_goes_on_at_once() {
    let fleet = Fleet::new(1);
    let first = fleet.orchestrator(QUICK_WATCHDOG);
    first.kill();
    let begun = Instant::now();
    let mut again = fleet.standby("orchestrator", QUICK_WATCHDOG);
    again.says("acting leader (epoch 2)");
    println!("started to acting: {:?}", begun.elapsed());
}

/// As a system unit and a user unit of the same name are.
#[test]
fn one_of_two_daemons_of_a_name_leads() {
    let fleet = Fleet::new(1);
    let mut first = fleet.orchestrator(QUICK_WATCHDOG);
    let directory = fleet.rig.path("user");
    std::fs::create_dir(&directory).expect("made");
    let config = fleet.rig.path("orchestrator.conf.toml");
    let text = std::fs::read_to_string(&config).expect("written before");
    let state = |path: std::path::PathBuf| format!("\"{}\"", path.display());
    let text = text.replace(
        &state(fleet.rig.path("orchestrator.state.json")),
        &state(directory.join("orchestrator.state.json")),
    );
    let config = directory.join("orchestrator.conf.toml");
    std::fs::write(&config, text).expect("written");
    let mut second = fleet.rig.daemon(&config);
    // It may be the first one after a restart, for all it can tell.
    second.says("acting leader (epoch 2)");
    first.says("has the same name");
    let shown = first.shows("it to stand by", |state| {
        state.status.contains("standing by for another")
    });
    let trouble = shown.duties.iter().find_map(|duty| duty.trouble.clone());
    assert!(trouble.is_some_and(|why| why.contains("rename one of the two files")));
    // Several renewals, and several looks of the other.
    let until = Instant::now() + Duration::from_secs(3);
    wait_for("both to have had their chance", || {
        (Instant::now() > until).then_some(())
    });
    let lease = fleet.rig.block_on(fleet.rig.store.lease());
    assert_eq!(lease.expect("read").expect("a lease").epoch, 2);
    assert_eq!(second.stop(), Some(0));
    first.says("acting leader (epoch 3)");
    first.shows("that it leads", |state| {
        state.status.contains("acting leader") && state.duties.iter().all(|d| d.trouble.is_none())
    });
}

#[test]
fn two_workers_of_one_name_are_reported() {
    let fleet = Fleet::new(0);
    let text = "[heartbeat]\nmirror_interval = \"1s\"\n";
    let config = fleet.rig.config("worker", text);
    let mut first = fleet.rig.daemon(&config);
    first.ready();
    let directory = fleet.rig.path("user");
    std::fs::create_dir(&directory).expect("made");
    let text = std::fs::read_to_string(&config).expect("written before");
    let state = |path: std::path::PathBuf| format!("\"{}\"", path.display());
    let text = text.replace(
        &state(fleet.rig.path("worker.state.json")),
        &state(directory.join("worker.state.json")),
    );
    let other = directory.join("worker.conf.toml");
    std::fs::write(&other, text).expect("written");
    let mut second = fleet.rig.daemon(&other);
    second.ready();
    first.shows("that there are two", |state| {
        let trouble = state.duties.iter().find_map(|duty| duty.trouble.clone());
        trouble.is_some_and(|why| {
            let both = [second.child.id(), first.child.id()];
            why.contains("has the same name")
                && both.iter().all(|pid| why.contains(&pid.to_string()))
        })
    });
    assert_eq!(second.stop(), Some(0));
    first.shows("that it is alone", |state| {
        state.duties.iter().all(|duty| duty.trouble.is_none())
    });
}
