//! A daemon in the role `orchestrator`.

#![allow(
    clippy::expect_used,
    reason = "a test that cannot make its files has nothing to say"
)]

use std::collections::BTreeSet;

use crate::common::daemon::{QUICK, Rig, session, wait_for};
use mcp_bridge::model::session::Life;
use mcp_bridge::supervisor::StateFile;

const OWN: &str = "[watchdog]\nidle_after = \"30s\"\n[alert]\nremind_after = \"10m\"\n";

#[test]
fn worker_keeps_and_wakes_its_agent() {
    let rig = Rig::new();
    let pair = rig.pair("boss");
    let inbox = rig.path("inbox");
    let text = format!(
        "{QUICK}{OWN}{}[session.wake]\norder = [\"file\"]\n[session.wake.file]\npath = \"{}\"\n",
        session("boss", "\"none\""),
        inbox.display()
    );
    let config = rig.config("boss", &text);
    let write = |from: &str, to: &str| {
        let text = std::fs::read_to_string(&config).expect("written before");
        assert!(text.contains(from), "{text}");
        std::fs::write(&config, text.replace(from, to)).expect("written");
    };
    write("role = \"worker\"", "role = \"orchestrator\"");
    let mut daemon = rig.daemon(&config);
    daemon.says("ready: orchestrator: ");
    rig.becomes(&pair.b.session, Life::Alive);
    rig.send(&pair.a, "an answer");
    wait_for("the wake", || inbox.exists().then_some(()));

    let reload = || {
        let last = daemon.reload().last_reload.expect("a reload");
        (last.error, last.needs_restart)
    };
    write("idle_after = \"30s\"", "idle_after = \"40s\"");
    assert_eq!(reload(), (None, Vec::new()));
    write("idle_after = \"40s\"", "idle_after = \"40h\"");
    let (error, _) = reload();
    assert!(error.is_some_and(|why| why.contains("watchdog.idle_after")));
    write("idle_after = \"40h\"", "idle_after = \"30s\"");
    write(OWN, "");
    write("role = \"orchestrator\"", "role = \"worker\"");
    assert_eq!(reload(), (None, vec!["role".to_owned()]));
    assert_eq!(daemon.stop(), Some(0));
}

/// The value of a figure, if the state file has it.
fn figure(state: &StateFile, duty: &str, name: &str) -> Option<u64> {
    let mut figures = state.figures.iter();
    let found = figures.find(|figure| (figure.duty.as_str(), figure.name.as_str()) == (duty, name));
    found.map(|figure| figure.value)
}

/// The rows of the table of figures in the page on the daemon.
fn figures_of_the_page() -> BTreeSet<[String; 4]> {
    let page = include_str!("../../docs/daemon.md");
    let (_, after) = page.split_once("\n## Figures\n").expect("a section");
    let (section, _) = after.split_once("\n## ").expect("another one after it");
    let rows = section.lines().filter(|line| line.starts_with("| "));
    let rows = rows.skip(1).map(|row| {
        let mut cells = row.trim_matches('|').split('|').map(str::trim);
        std::array::from_fn(|_| cells.next().expect("a cell").trim_matches('`').to_owned())
    });
    rows.collect()
}

#[test]
fn figures_move_and_are_those_of_the_page() {
    let rig = Rig::new();
    let pair = rig.pair("boss");
    let text = format!(
        "{QUICK}{}[session.wake]\norder = [\"file\"]\nverify_within = \"10m\"\n\
         [session.wake.file]\npath = \"{}\"\n",
        session("boss", "\"none\""),
        rig.path("inbox").display()
    );
    let config = rig.config("boss", &text);
    let text = std::fs::read_to_string(&config).expect("written before");
    let text = text.replace("role = \"worker\"", "role = \"orchestrator\"");
    std::fs::write(&config, text).expect("written");
    let daemon = rig.daemon(&config);
    let is =
        |state: &StateFile, duty: &str, name: &str, value| figure(state, duty, name) == Some(value);

    let before = daemon.shows("figures of all duties", |state| {
        is(state, "leadership", "acts", 1)
            && is(state, "heartbeat", "sessions_alive", 1)
            && figure(state, "reassignment", "tasks_waiting").is_some()
            && figure(state, "watchdog", "sessions_alive").is_some()
            && figure(state, "store", "log_size").is_some_and(|bytes| bytes > 0)
    });
    let shown: BTreeSet<[String; 4]> = before
        .figures
        .iter()
        .map(|figure| {
            let word = |value: serde_json::Value| value.as_str().expect("a word").to_owned();
            let kind = word(serde_json::to_value(figure.kind).expect("JSON"));
            let unit = word(serde_json::to_value(figure.unit).expect("JSON"));
            [figure.duty.clone(), figure.name.clone(), kind, unit]
        })
        .collect();
    assert_eq!(shown, figures_of_the_page());

    rig.send(&pair.a, "hello");
    daemon.shows("the wake", |state| {
        is(state, "message-watch", "wakes_fired", 1)
            && is(state, "message-watch", "messages_unread", 1)
            && is(state, "message-watch", "sessions_woken", 1)
    });
    assert_eq!(rig.fetch(&pair.b), ["hello"]);
    let after = daemon.shows("the look", |state| {
        is(state, "message-watch", "wakes_verified", 1)
            && is(state, "message-watch", "messages_unread", 0)
            && is(state, "message-watch", "sessions_woken", 0)
    });
    assert!(is(&after, "message-watch", "wakes_fired", 1), "it stays");
    assert!(is(&after, "message-watch", "wakes_unverified", 0));
    let beats = |state: &StateFile| figure(state, "heartbeat", "heartbeats_written");
    daemon.shows("more heartbeats", |state| beats(state) > beats(&before));
    assert_eq!(daemon.stop(), Some(0));
}
