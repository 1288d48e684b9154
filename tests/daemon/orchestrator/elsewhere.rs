//! Agents that work through the Python bridge alone, and operators that send from
//! a side which no agent uses: rows as that bridge and its scripts write them.

use std::time::{Duration, Instant};

use mcp_bridge::clock;
use mcp_bridge::model::timestamp;
use rusqlite::params;
use rustix::process::Signal;

use super::fleet::Fleet;
use super::orders::{alerts, with_alerts};
use crate::common::daemon::wait_for;

const WATCH: &str =
    "starting_for = \"1s\"\ndefault_ttl = \"3s\"\nidle_after = \"1s\"\nstalled_after = \"2s\"\n";

fn sends(raw: &rusqlite::Connection, id: &str, from: &str, to: &str) {
    raw.execute(
        "INSERT INTO messages (conversation_id, from_session, to_session, message, timestamp)
         VALUES (?1, ?2, ?3, 'x', ?4)",
        params![id, from, to, timestamp::to_text(clock::now())],
    )
    .expect("sent");
}

fn sets_status(raw: &rusqlite::Connection, id: &str, side: &str, status: &str) {
    raw.execute(
        "INSERT OR REPLACE INTO session_status (conversation_id, session_id, status, last_heartbeat)
         VALUES (?1, ?2, ?3, ?4)",
        params![id, side, status, timestamp::to_text(clock::now())],
    )
    .expect("set");
}

#[test]
fn silent_agents_of_the_other_bridge_are_lost() {
    let fleet = Fleet::new(0);
    let pairs: Vec<_> = (0..6)
        .map(|n| fleet.rig.pair(&format!("agent-{n}")))
        .collect();
    let (text, told) = with_alerts(&fleet, WATCH);
    let _orchestrator = fleet.orchestrator(&text);
    let raw = fleet.rig.foreign();
    let begun = Instant::now();
    let mut round = 0;
    // Three times as long as silence may last.
    while begun.elapsed() < Duration::from_secs(9) {
        for (n, pair) in pairs.iter().enumerate() {
            let id = pair.id.as_str();
            match n {
                0 | 1 => sets_status(&raw, id, ["b", "session_b"][n], "active"),
                2 => sets_status(&raw, id, "b", ["working", "complete"][round % 2]),
                3 | 4 => sends(&raw, id, ["b", "session_b"][n - 3], "a"),
                _ => {
                    sends(&raw, id, "a", "b");
                    let read = "UPDATE messages SET read = 1 WHERE conversation_id = ?1";
                    raw.execute(read, [id]).expect("read");
                }
            }
            // An operator sends to all of them.
            if round == 0 {
                fleet.rig.send(&pair.a, "hello");
            }
        }
        round += 1;
        std::thread::park_timeout(Duration::from_millis(200));
    }
    assert_eq!(of(&told, "lost"), [""; 0]);
    assert_eq!(of(&told, "never-started"), [""; 0]);
    wait_for("all of them to be lost", || {
        (of(&told, "lost").len() >= 6).then_some(())
    });
    let mut lost = of(&told, "lost");
    lost.sort();
    assert_eq!(
        lost,
        (0..6).map(|n| format!("agent-{n}/b")).collect::<Vec<_>>()
    );
    assert_eq!(of(&told, "never-started"), [""; 0]);
    let all = alerts(&told);
    let about = |side: &str| {
        all.iter()
            .any(|a| a["subject"].as_str().is_some_and(|s| s.ends_with(side)))
    };
    assert!(!about("/a"), "an operator is no agent: {all:?}");
}

/// The subjects of the alerts of a kind that were raised.
fn of(told: &std::path::Path, kind: &str) -> Vec<String> {
    let all = alerts(told).into_iter();
    all.filter(|alert| alert["kind"] == kind && alert["edge"] == "raised")
        .map(|alert| alert["subject"].as_str().expect("a subject").to_owned())
        .collect()
}

#[test]
fn answer_through_the_other_bridge_is_no_stall() {
    let mut fleet = Fleet::new(2);
    let (text, told) = with_alerts(&fleet, WATCH);
    let _orchestrator = fleet.orchestrator(&text);
    fleet.workers_ready();
    let raw = fleet.rig.foreign();
    for worker in &fleet.workers {
        fleet.rig.send(&worker.pair.a, "two of these");
        fleet.rig.send(&worker.pair.a, "and of these");
    }
    // One answers there, and has not read all; the other does nothing.
    wait_for("the idle one to be stalled, and more", || {
        sends(&raw, fleet.workers[0].pair.id.as_str(), "b", "a");
        std::thread::park_timeout(Duration::from_millis(300));
        let stalled = of(&told, "stalled");
        assert!(!stalled.contains(&"worker-0/b".to_owned()), "{stalled:?}");
        let long = fleet.rig.beats(&fleet.workers[0].pair.b.session) > 60;
        (long && stalled.contains(&"worker-1/b".to_owned())).then_some(())
    });
}

#[test]
fn agent_that_is_stopped_inside_a_turn_is_stalled() {
    let mut fleet = Fleet::new(1);
    let (text, told) = with_alerts(&fleet, WATCH);
    let _orchestrator = fleet.orchestrator(&text);
    fleet.workers_ready();
    fleet.turn(0, "inside");
    fleet.workers[0].agent.signal(Signal::STOP);
    wait_for("the stop to be told", || {
        let all = alerts(&told);
        let stalled = all.iter().find(|alert| alert["kind"] == "stalled")?;
        let words = stalled["text"].as_str().expect("words");
        assert!(words.contains("is stopped (Ctrl-Z or SIGSTOP)"), "{words}");
        Some(())
    });
    let status = std::process::Command::new(env!("CARGO_BIN_EXE_mcp-bridge"))
        .arg("--store")
        .arg(fleet.rig.path("bridge.db"))
        .args(["status", "--json"])
        .output()
        .expect("run");
    let shown = String::from_utf8_lossy(&status.stdout).into_owned();
    assert!(
        shown.contains("\"proof\": \"stopped\"") || shown.contains("\"proof\":\"stopped\""),
        "{shown}"
    );
    fleet.workers[0].agent.signal(Signal::CONT);
    wait_for("it to be well again", || {
        let all = alerts(&told);
        all.iter()
            .any(|alert| alert["edge"] == "recovered")
            .then_some(())
    });
}
