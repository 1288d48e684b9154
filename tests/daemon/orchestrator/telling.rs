//! Every edge reaches the operator: also past a store that takes no note of it,
//! an adapter that fails, and the end of a mute.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use mcp_bridge::store::sqlite::{Create, SqliteStore};
use mcp_bridge::store::{ControlKind, StoreError};
use serde_json::Value;

use super::fleet::{Fleet, QUICK_WATCHDOG};
use super::orders::{alerts, noted_as_told, say, take_back, teller, with_alerts};
use crate::common::daemon::{Daemon, wait_for};
use crate::common::http::{Answer, Server};

fn edges(told: &Path) -> Vec<String> {
    let edge = |alert: &Value| alert["edge"].as_str().unwrap_or_default().to_owned();
    alerts(told).iter().map(edge).collect()
}

fn wait_for_edges(told: &Path, wanted: &[&str]) {
    wait_for(&format!("{wanted:?}"), || {
        (edges(told) == wanted).then_some(())
    });
}

/// What keeps the duty from its work, as the state file has it.
fn trouble_of(daemon: &Daemon, what: &str, is_it: impl Fn(Option<&str>) -> bool) {
    daemon.shows(what, |state| {
        let duty = state.duties.iter().find(|duty| duty.name == "alerts");
        duty.is_some_and(|duty| is_it(duty.trouble.as_deref()))
    });
}

/// An orchestrator's settings with a command that fails while a file is there.
fn with_a_fault(fleet: &Fleet) -> (String, PathBuf, PathBuf) {
    let (told, fault) = (fleet.rig.path("alerts.jsonl"), fleet.rig.path("fault"));
    std::fs::write(&fault, "").expect("written");
    let script = format!(
        "test -e {1} && exit 3; cat >> {0}; echo >> {0}",
        told.display(),
        fault.display()
    );
    let script = fleet.rig.script("alert", &script);
    let text = format!(
        "{QUICK_WATCHDOG}[alert]\norder = [\"exec\"]\n[alert.exec]\ncommand = [\"{}\"]\n",
        script.display()
    );
    (text, told, fault)
}

#[test]
fn unrecorded_alert_is_sent_once_for_each_edge() {
    const REFUSE: &str = "CREATE TRIGGER refuse BEFORE UPDATE OF told ON bridge_alert
         BEGIN SELECT RAISE(ABORT, 'not now'); END";
    let mut fleet = Fleet::new(1);
    fleet.workers_ready();
    fleet.stop_daemon(0);
    // Both daemons learn that an operator accepts this trigger.
    fleet.sql(REFUSE);
    let path = fleet.rig.path("bridge.db");
    let opened = fleet.rig.block_on(SqliteStore::open(&path, Create::No));
    let Err(StoreError::UnknownDefinitions { hash, .. }) = opened else {
        panic!("{opened:?}");
    };
    fleet.sql("DROP TRIGGER refuse");
    for name in ["worker-0", "orchestrator"] {
        let drop_ins = fleet.rig.path(&format!("{name}.conf.d"));
        std::fs::create_dir(&drop_ins).expect("made");
        let text = format!("[store]\naccepted_schema = {hash:?}\n");
        std::fs::write(drop_ins.join("accepted.toml"), text).expect("written");
    }
    fleet.begin_daemon(0);
    let (text, told) = with_alerts(&fleet, "");
    let orchestrator = fleet.orchestrator(&text);
    fleet.workers_ready();
    fleet.sql(REFUSE);
    fleet.workers[0].agent.end();
    wait_for_edges(&told, &["raised"]);
    trouble_of(&orchestrator, "the trouble", |trouble| {
        trouble.is_some_and(|why| why.contains("not now"))
    });
    fleet.sql("DROP TRIGGER refuse");
    noted_as_told(&fleet, "exited", 1);
    trouble_of(&orchestrator, "the end of it", |trouble| trouble.is_none());
    fleet.workers[0].begin_agent(&fleet.rig);
    wait_for_edges(&told, &["raised", "recovered"]);
    noted_as_told(&fleet, "exited", 2);
    assert_eq!(edges(&told), ["raised", "recovered"]);
}

#[test]
fn only_the_failed_adapter_gets_the_alert_again() {
    let mut fleet = Fleet::new(1);
    let server = Server::start(vec![Answer::Status(500), Answer::Status(200)]);
    let (text, told) = with_alerts(&fleet, "");
    let text = format!(
        "{}[alert.webhook]\nurl = \"http://127.0.0.1:{}/hook\"\ntries = 1\n",
        text.replace("[\"exec\"]", "[\"exec\", \"webhook\"]"),
        server.port()
    );
    let mut orchestrator = fleet.orchestrator(&text);
    fleet.workers_ready();
    fleet.workers[0].agent.end();
    let failed = |trouble: Option<&str>| {
        trouble.is_some_and(|why| why.contains("not sent by webhook: 127.0.0.1 answered 500"))
    };
    trouble_of(&orchestrator, "the trouble", failed);
    orchestrator.shows("the trouble in its status", |state| {
        state.status.contains("1 open alert, an alert was not sent")
    });
    // It goes on being one: another's success does not hide it.
    fleet.rig.fetch(&fleet.workers[0].pair.b);
    noted_as_told(&fleet, "exited", 0);
    // The operator who mended the hook reloads the daemon.
    orchestrator.reload();
    noted_as_told(&fleet, "exited", 1);
    trouble_of(&orchestrator, "the end of it", |trouble| trouble.is_none());
    orchestrator.says_times("alert-not-told", 1);
    let requests = server.requests();
    let ids: Vec<Value> = requests
        .iter()
        .map(|request| {
            let body: Value = serde_json::from_slice(&request.body).expect("JSON");
            assert_eq!(body["edge"], "raised");
            body["id"].clone()
        })
        .collect();
    assert_eq!(ids.len(), 2);
    assert_eq!(ids[0], ids[1]);
    assert_eq!(edges(&told), ["raised"], "the other has it");
}

#[test]
fn alert_that_gets_through_brings_the_others_along() {
    let mut fleet = Fleet::new(2);
    let (text, told, fault) = with_a_fault(&fleet);
    let mut orchestrator = fleet.orchestrator(&text);
    fleet.workers_ready();
    fleet.workers[0].agent.end();
    orchestrator.says("alert-not-told");
    std::fs::remove_file(&fault).expect("mended");
    fleet.workers[1].agent.end();
    wait_for("both", || (alerts(&told).len() == 2).then_some(()));
    let mut subjects: Vec<Value> = alerts(&told)
        .iter()
        .map(|alert| alert["subject"].clone())
        .collect();
    subjects.sort_by_key(ToString::to_string);
    assert_eq!(subjects, ["worker-0/b", "worker-1/b"]);
    noted_as_told(&fleet, "exited", 1);
    trouble_of(&orchestrator, "no trouble", |trouble| trouble.is_none());
}

#[test]
fn adapter_that_missed_the_beginning_gets_the_end() {
    let mut fleet = Fleet::new(1);
    let (text, told, fault) = with_a_fault(&fleet);
    let mut orchestrator = fleet.orchestrator(&text);
    fleet.workers_ready();
    fleet.workers[0].agent.end();
    orchestrator.says("alert-not-told");
    std::fs::remove_file(&fault).expect("mended");
    fleet.workers[0].begin_agent(&fleet.rig);
    wait_for_edges(&told, &["recovered"]);
    noted_as_told(&fleet, "exited", 2);
    trouble_of(&orchestrator, "no trouble", |trouble| trouble.is_none());
    assert_eq!(edges(&told), ["recovered"]);
}

#[test]
fn muted_alert_is_sent_when_the_mute_ends() {
    let mut fleet = Fleet::new(1);
    let (text, told) = with_alerts(&fleet, "");
    let mut orchestrator = fleet.orchestrator(&text);
    fleet.workers_ready();
    say(&fleet, ControlKind::Mute, "exited");
    fleet.workers[0].agent.end();
    orchestrator.says("muted: exited: worker-0/b");
    noted_as_told(&fleet, "exited", 0);
    take_back(&fleet, ControlKind::Mute, "exited");
    wait_for_edges(&told, &["raised"]);
    noted_as_told(&fleet, "exited", 1);
    fleet.workers[0].begin_agent(&fleet.rig);
    wait_for_edges(&told, &["raised", "recovered"]);
}

#[test]
fn alert_within_a_mute_is_not_sent() {
    let mut fleet = Fleet::new(1);
    let (text, told) = with_alerts(&fleet, "");
    let mut orchestrator = fleet.orchestrator(&text);
    fleet.workers_ready();
    say(&fleet, ControlKind::Mute, "exited");
    fleet.workers[0].agent.end();
    orchestrator.says("muted: exited: worker-0/b");
    fleet.workers[0].begin_agent(&fleet.rig);
    noted_as_told(&fleet, "exited", 2);
    take_back(&fleet, ControlKind::Mute, "exited");
    // The next one is announced, so that the other would have been before.
    fleet.workers[0].agent.end();
    wait_for("an alert", || (!alerts(&told).is_empty()).then_some(()));
    assert_eq!(edges(&told), ["raised"]);
}

#[test]
fn one_worker_reports_a_missing_leader() {
    let mut fleet = Fleet::new(1);
    let orchestrator = fleet.orchestrator(QUICK_WATCHDOG);
    fleet.workers_ready();
    let (script, told) = teller(&fleet);
    let watchers: Vec<Daemon> = (0..3)
        .map(|n| {
            let text = format!(
                "[alert]\norder = [\"exec\"]\nno_leader_after = \"1s\"\n[alert.exec]\ncommand = [\"{}\"]\n",
                script.display()
            );
            let mut worker = fleet.rig.daemon(&fleet.rig.config(&format!("watcher-{n}"), &text));
            worker.ready();
            worker
        })
        .collect();
    orchestrator.kill();
    wait_for_edges(&told, &["raised"]);
    // Each of them looks within this time.
    let until = Instant::now() + Duration::from_secs(7);
    wait_for("all to have looked", || {
        (Instant::now() > until).then_some(())
    });
    assert_eq!(edges(&told), ["raised"]);
    let _again = fleet.orchestrator(QUICK_WATCHDOG);
    wait_for_edges(&told, &["raised", "recovered"]);
    let until = Instant::now() + Duration::from_secs(7);
    wait_for("all to have looked", || {
        (Instant::now() > until).then_some(())
    });
    assert_eq!(edges(&told), ["raised", "recovered"]);
    drop(watchers);
}
