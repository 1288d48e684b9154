//! What operators order, and what they see.

use std::path::Path;
use std::time::Instant;

use jiff::SignedDuration;
use mcp_bridge::clock;
use mcp_bridge::model::task::Fence;
use mcp_bridge::store::{Control, ControlKind};
use serde_json::Value;

use super::fleet::{Fleet, QUICK_WATCHDOG, TTL};
use crate::common::daemon::wait_for;

pub(crate) fn say(fleet: &Fleet, kind: ControlKind, subject: &str) {
    let now = clock::now();
    let control = Control {
        kind,
        subject: subject.into(),
        since: now,
        until: now + SignedDuration::from_hours(1),
    };
    fleet
        .rig
        .block_on(fleet.rig.store.set_control(&control))
        .expect("said");
}

pub(crate) fn alerts(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect()
}

/// Takes it back.
pub(crate) fn take_back(fleet: &Fleet, kind: ControlKind, subject: &str) {
    let cleared = fleet.rig.store.clear_control(kind, subject, clock::now());
    assert!(fleet.rig.block_on(cleared).expect("cleared"));
}

/// A command that appends each alert to a file, and that file.
pub(crate) fn teller(fleet: &Fleet) -> (std::path::PathBuf, std::path::PathBuf) {
    let told = fleet.rig.path("alerts.jsonl");
    let script = fleet
        .rig
        .script("alert", &format!("cat >> {0}; echo >> {0}", told.display()));
    (script, told)
}

/// An orchestrator's settings that append each alert to a file.
pub(crate) fn with_alerts(fleet: &Fleet, more: &str) -> (String, std::path::PathBuf) {
    let (script, told) = teller(fleet);
    let text = format!(
        "{QUICK_WATCHDOG}{more}[alert]\norder = [\"exec\"]\n[alert.exec]\ncommand = [\"{}\"]\n",
        script.display()
    );
    (text, told)
}

/// Until this number of edges of the first alert of a kind are noted as announced: the
/// successor of a leader that was killed before that announces them again.
pub(crate) fn noted_as_told(fleet: &Fleet, kind: &str, edges: i64) {
    wait_for("an alert noted as told", || {
        let told = fleet.rig.foreign().query_row(
            "SELECT told FROM bridge_alert WHERE kind = ?1 ORDER BY alert_id LIMIT 1",
            [kind],
            |row| row.get::<_, i64>(0),
        );
        (told == Ok(edges)).then_some(())
    });
}

#[test]
fn alert_is_sent_once_for_each_edge() {
    let mut fleet = Fleet::new(2);
    let (text, told) = with_alerts(&fleet, "");
    let orchestrator = fleet.orchestrator(&text);
    fleet.workers_ready();
    fleet.workers[0].agent.end();
    let first = wait_for("an alert", || alerts(&told).into_iter().next());
    assert_eq!(first["kind"], "exited");
    assert_eq!(first["edge"], "raised");
    assert_eq!(first["subject"], "worker-0/b");
    fleet.workers[0].begin_agent(&fleet.rig);
    wait_for("its end", || {
        let all = alerts(&told);
        all.iter()
            .any(|alert| alert["edge"] == "recovered")
            .then_some(())
    });
    noted_as_told(&fleet, "exited", 2);
    // Another orchestrator tells nothing again.
    drop(orchestrator);
    let mut again = fleet.orchestrator(&text);
    fleet.workers[1].agent.end();
    again.says("has exited");
    wait_for("the other alert", || {
        (alerts(&told).len() >= 3).then_some(())
    });
    let all = alerts(&told);
    assert_eq!(all.len(), 3, "{all:?}");
    assert_eq!(all[2]["subject"], "worker-1/b");
}

#[test]
fn alert_about_a_role_outlives_its_daemon() {
    let mut fleet = Fleet::new(1);
    let (text, told) = with_alerts(&fleet, "");
    let orchestrator = fleet.orchestrator(&text);
    fleet.workers_ready();
    fleet.workers[0].agent.end();
    fleet.add("Port the parser");
    let starving = || -> Vec<Value> {
        let all = alerts(&told).into_iter();
        all.filter(|alert| alert["kind"] == "no-healthy-worker")
            .collect()
    };
    wait_for("the alert", || (!starving().is_empty()).then_some(()));
    noted_as_told(&fleet, "no-healthy-worker", 1);
    drop(orchestrator);
    let mut again = fleet.orchestrator(&text);
    again.says("acting leader");
    fleet.workers[0].begin_agent(&fleet.rig);
    again.says("recovered (no-healthy-worker)");
    again.says("is with worker-0/b");
    wait_for("its end", || (starving().len() >= 2).then_some(()));
    let all = starving();
    let edges: Vec<&str> = all.iter().filter_map(|a| a["edge"].as_str()).collect();
    assert_eq!(edges, ["raised", "recovered"], "{all:?}");
    assert_eq!(all[0]["id"], all[1]["id"]);
}

#[test]
fn failing_alert_command_stops_nothing_else() {
    let mut fleet = Fleet::new(2);
    let script = fleet.rig.script("alert", "exit 3");
    let text = format!(
        "{QUICK_WATCHDOG}[alert]\norder = [\"exec\"]\n[alert.exec]\ncommand = [\"{}\"]\n",
        script.display()
    );
    let mut orchestrator = fleet.orchestrator(&text);
    fleet.workers_ready();
    let task = fleet.add("Port the parser");
    let owner = fleet.owner(task, 1);
    fleet.workers[owner].agent.end();
    assert_eq!(fleet.owner(task, 2), 1 - owner);
    orchestrator.says("alert-not-told");
    orchestrator.shows("the trouble", |state| {
        state.duties.iter().any(|duty| {
            duty.name == "alerts"
                && duty
                    .trouble
                    .as_ref()
                    .is_some_and(|why| why.contains("not sent by exec"))
        })
    });
    assert_eq!(orchestrator.stop(), Some(0));
}

#[test]
fn hold_spares_silent_sessions_and_no_ended_ones() {
    let mut fleet = Fleet::new(3);
    let orchestrator = fleet.orchestrator(QUICK_WATCHDOG);
    fleet.workers_ready();
    let task = fleet.add("Port the parser");
    let owner = fleet.owner(task, 1);
    say(&fleet, ControlKind::Hold, "");
    orchestrator.shows("the hold", |state| state.status.contains("on hold"));
    fleet.workers[owner].kill_all();
    let until = Instant::now() + TTL * 2;
    wait_for("the ttl to be over", || {
        (Instant::now() > until).then_some(())
    });
    assert_eq!(fleet.task(task).fence, Fence(1));
    // An end is no silence.
    let other = fleet.add("Test the parser");
    let ended = fleet.owner(other, 1);
    fleet.workers[ended].agent.end();
    let heir = fleet.owner(other, 2);
    assert!(heir != owner && heir != ended);
    take_back(&fleet, ControlKind::Hold, "");
    // The heir has its hands full: the first task waits for it.
    wait_for("the silent one to be given up", || {
        (fleet.task(task).fence == Fence(2)).then_some(())
    });
}

#[test]
fn end_of_a_drained_session_is_no_alert() {
    let mut fleet = Fleet::new(2);
    let (text, told) = with_alerts(&fleet, "");
    let mut orchestrator = fleet.orchestrator(&text);
    fleet.workers_ready();
    let drained = fleet.workers[0].pair.b.session.to_string();
    say(&fleet, ControlKind::Drain, &drained);
    let task = fleet.add("Port the parser");
    assert_eq!(fleet.owner(task, 1), 1);
    let waits = fleet.add("Test the parser");
    fleet.workers[0].agent.end();
    orchestrator.says("worker-0/b (backend) has exited");
    // An alert that is one, so that the other would have come before.
    fleet.workers[1].agent.end();
    wait_for("an alert", || (!alerts(&told).is_empty()).then_some(()));
    assert!(
        alerts(&told)
            .iter()
            .all(|alert| alert["subject"] == "worker-1/b")
    );
    assert_eq!(fleet.task(waits).fence, Fence(0));
}

#[test]
fn a_conversation_that_is_closed_is_no_loss() {
    let mut fleet = Fleet::new(2);
    let orchestrator = fleet.orchestrator(QUICK_WATCHDOG);
    fleet.workers_ready();
    // Both are known, and hold nothing.
    let tasks = ["Port the parser", "Test the parser"].map(|title| fleet.add(title));
    for task in tasks {
        let caller = fleet.workers[fleet.owner(task, 1)].pair.b.clone();
        fleet.done(&caller, task, 1).expect("done");
    }
    let id = fleet.workers[0].pair.b.session.conversation.clone();
    let closed = fleet.rig.store.close_conversation(&id, clock::now());
    fleet.rig.block_on(closed).expect("closed");
    // While it runs, it would be spared for that.
    fleet.workers[0].agent.end();
    let until = Instant::now() + TTL * 3;
    wait_for("the ttl to be over", || {
        (Instant::now() > until).then_some(())
    });
    let next = fleet.add("Document the parser");
    assert_eq!(fleet.owner(next, 1), 1);
    orchestrator.finish().1.never("worker-0/b (backend)");
}

#[test]
fn stall_during_a_drain_is_announced_at_its_end() {
    let mut fleet = Fleet::new(1);
    let (text, told) = with_alerts(&fleet, "idle_after = \"1s\"\nstalled_after = \"3s\"\n");
    let mut orchestrator = fleet.orchestrator(&text);
    fleet.workers_ready();
    let task = fleet.add("Port the parser");
    assert_eq!(fleet.owner(task, 1), 0);
    let drained = fleet.workers[0].pair.b.session.to_string();
    say(&fleet, ControlKind::Drain, &drained);
    orchestrator.says("worker-0/b (backend) is stalled");
    assert!(alerts(&told).is_empty(), "planned work is no incident");
    take_back(&fleet, ControlKind::Drain, &drained);
    let alert = wait_for("an alert", || alerts(&told).into_iter().next());
    assert_eq!(
        (&alert["kind"], &alert["edge"]),
        (&"stalled".into(), &"raised".into())
    );
    assert_eq!(fleet.owner(task, 1), 0);
}

#[test]
fn a_session_that_never_starts_is_reported() {
    let fleet = Fleet::new(1);
    let pair = fleet.rig.pair("late");
    let quick = QUICK_WATCHDOG.replace("[watchdog]\n", "[watchdog]\nstarting_for = \"1s\"\n");
    let mut orchestrator = fleet.orchestrator(&quick);
    orchestrator.says("late/b (backend) has not started");
    fleet.rig.fetch(&pair.b);
    orchestrator.says("late/b (backend) has started");
}

#[test]
fn workers_report_a_missing_leader() {
    let mut fleet = Fleet::new(1);
    let orchestrator = fleet.orchestrator(QUICK_WATCHDOG);
    fleet.workers_ready();
    let (script, told) = teller(&fleet);
    let config = fleet.rig.config(
        "watcher",
        &format!(
            "[alert]\norder = [\"exec\"]\nno_leader_after = \"1s\"\n[alert.exec]\ncommand = [\"{}\"]\n",
            script.display()
        ),
    );
    let mut worker = fleet.rig.daemon(&config);
    worker.ready();
    orchestrator.kill();
    let alert = wait_for("an alert", || alerts(&told).into_iter().next());
    assert_eq!(alert["kind"], "no-acting-leader");
    let _again = fleet.orchestrator(QUICK_WATCHDOG);
    wait_for("its end", || {
        alerts(&told)
            .iter()
            .any(|alert| alert["edge"] == "recovered")
            .then_some(())
    });
    // Not a word more than that.
    assert_eq!(alerts(&told).len(), 2);
}
