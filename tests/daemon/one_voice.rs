//! `status`, `health` and `doctor` say what the running daemon says, also where
//! they would see it otherwise.

#![expect(
    clippy::expect_used,
    reason = "a test that cannot make its files has nothing to say"
)]

use crate::common::daemon as rig;
use std::path::Path;
use std::process::Command;

use crate::common::daemon::{Daemon, QUICK, Rig};

struct Said {
    code: Option<i32>,
    text: String,
}

/// `mcp-bridge` where it finds the daemon of `rig`; `MARK` is set for it.
fn bridge(rig: &Rig, args: &[&str]) -> Said {
    let output = Command::new(env!("CARGO_BIN_EXE_mcp-bridge"))
        .args(args)
        .arg("--store")
        .arg(rig.path("bridge.db"))
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("HOME", rig.dir.path())
        .env("XDG_RUNTIME_DIR", rig.dir.path())
        .env("MARK", "1")
        .output()
        .expect("run");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Said {
        code: output.status.code(),
        text: text(&output.stdout) + &text(&output.stderr),
    }
}

/// A worker whose state file is where commands look for it.
fn worker(rig: &Rig, text: &str) -> (Daemon, String) {
    std::fs::create_dir(rig.path("mcp-bridge")).expect("made");
    let config = rig.path("mcp-bridge/worker.conf.toml");
    let all = format!(
        "role = \"worker\"\n[store]\nurl = \"{}\"\n[service]\nstate_file = \"{}\"\n{QUICK}{text}",
        rig.path("bridge.db").display(),
        rig.path("mcp-bridge/worker.state.json").display(),
    );
    std::fs::write(&config, all).expect("written");
    let mut daemon = rig.daemon(&config);
    daemon.ready();
    (daemon, path(&config))
}

fn path(path: &Path) -> String {
    path.to_str().expect("text").to_owned()
}

#[test]
fn life_that_only_the_command_sees_is_a_fail() {
    let rig = Rig::new();
    let pair = rig.pair("one");
    let probe = rig.script("probe", "test -n \"$MARK\"");
    let text = format!(
        "[[session]]\ncredentials = \"{}\"\nproof = {{ exec = [\"{}\"] }}\n",
        rig.path("one.toml").display(),
        probe.display()
    );
    let (daemon, config) = worker(&rig, &text);
    let session = pair.b.session.to_string();
    let state = daemon.shows("the trouble", |state| {
        let said = state.sessions.iter().find(|said| said.session == session);
        said.is_some_and(|said| said.life.is_some())
    });
    assert_eq!(state.sessions[0].name, "one/b");
    let doctor = bridge(&rig, &["doctor", "--config", &config]);
    assert_eq!(doctor.code, Some(1), "{}", doctor.text);
    let line = doctor
        .text
        .lines()
        .find(|line| line.starts_with("fail") && line.contains("liveness"));
    let line = line.unwrap_or_else(|| panic!("{}", doctor.text));
    assert!(line.contains("one/b: its daemon says:"), "{line}");
    let status = bridge(&rig, &["status"]);
    assert!(
        status.text.contains("reports about one/b: its life:"),
        "{}",
        status.text
    );
    assert_eq!(daemon.stop(), Some(0));
}

#[test]
fn session_that_no_way_wakes_is_a_fail() {
    let rig = Rig::new();
    let pair = rig.pair("one");
    let wake = rig.script("wake", "exit 3");
    let text = format!(
        "[[session]]\ncredentials = \"{}\"\nproof = \"none\"\n\
         [session.wake]\norder = [\"exec\"]\n[session.wake.exec]\ncommand = [\"{}\"]\n",
        rig.path("one.toml").display(),
        wake.display()
    );
    let (mut daemon, config) = worker(&rig, &text);
    rig.send(&pair.a, "hi");
    daemon.shows("the trouble", |state| {
        state.sessions.iter().any(|said| said.wake.is_some())
    });
    let doctor = bridge(&rig, &["doctor", "--config", &config]);
    assert_eq!(doctor.code, Some(1), "{}", doctor.text);
    let fails = |line: &&str| line.starts_with("fail") && line.contains("one/b: ");
    assert!(
        doctor.text.lines().any(|line| fails(&line)),
        "{}",
        doctor.text
    );
    let status = bridge(&rig, &["status"]);
    assert!(
        status.text.contains("reports about one/b: its wake:"),
        "{}",
        status.text
    );
    // One name, in the alert as well.
    let alert = daemon.says("event=\"alert-raised\"");
    assert!(alert.contains("wake-list-spent: one/b"), "{alert}");
    let woken = daemon.says("event=\"session-woken\"");
    assert!(
        woken.contains("waking one/b") && woken.contains("label=\"one/b\""),
        "{woken}"
    );
    rig.fetch(&pair.b);
    daemon.shows("the recovery", |state| state.sessions.is_empty());
    assert_eq!(daemon.stop(), Some(0));
}

#[test]
fn store_that_the_daemon_cannot_use_is_a_fail() {
    let rig = Rig::new();
    let (daemon, config) = worker(&rig, "");
    let health = bridge(&rig, &["health", "--config", &config]);
    assert_eq!(health.code, Some(0), "{}", health.text);
    let writer = rig.foreign();
    writer.execute_batch("BEGIN IMMEDIATE").expect("locked");
    daemon.shows("the trouble", |state| {
        state
            .store
            .as_ref()
            .is_some_and(|store| store.trouble.is_some())
    });
    for (command, code) in [("status", 69), ("health", 69), ("doctor", 1)] {
        let mut args = vec![command];
        if command != "status" {
            args.extend(["--config", &config]);
        }
        let said = bridge(&rig, &args);
        assert_eq!(said.code, Some(code), "{command}: {}", said.text);
        assert!(said.text.contains("lock"), "{command}: {}", said.text);
    }
    writer.execute_batch("ROLLBACK").expect("let go");
    daemon.shows("the recovery", |state| {
        state
            .store
            .as_ref()
            .is_some_and(|store| store.trouble.is_none())
    });
    assert_eq!(bridge(&rig, &["status"]).code, Some(0));
    assert_eq!(daemon.stop(), Some(0));
}

/// Two containers with one host name and one configuration file, for instance.
#[test]
fn two_daemons_of_one_name_raise_an_alert() {
    let rig = Rig::new();
    let (mut daemon, _) = worker(&rig, "mirror_interval = \"1s\"\n");
    let foreign = rig.foreign();
    let registered =
        || foreign.execute("UPDATE bridge_daemon SET epoch = epoch + 1, pid = 4711", []);
    rig::wait_for("a row", || {
        (registered().expect("written") == 1).then_some(())
    });
    let alert = daemon.says("event=\"alert-raised\"");
    assert!(
        alert.contains("name-taken: ") && alert.contains("process 4711 on host"),
        "{alert}"
    );
    foreign
        .execute("UPDATE bridge_daemon SET stopped_ms = 1", [])
        .expect("written");
    daemon.says("event=\"alert-recovered\"");
    assert_eq!(daemon.stop(), Some(0));
}
