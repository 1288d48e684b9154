//! The configurations that are installed, held against the program that is
//! installed with them.

#![expect(
    clippy::expect_used,
    reason = "a test that cannot make its files has nothing to say"
)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use mcp_bridge::duties;
use tempfile::TempDir;

fn shipped(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("config")
        .join(name)
}

/// Exit code, stdout and stderr of `mcp-bridged --check`.
fn check(config: &Path) -> (Option<i32>, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_mcp-bridged"))
        .arg("--config")
        .arg(config)
        .arg("--check")
        .env_clear()
        .output()
        .expect("mcp-bridged");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (
        output.status.code(),
        text(&output.stdout),
        text(&output.stderr),
    )
}

#[test]
fn both_are_valid_and_describe_the_daemon() {
    for (role, does) in [
        (
            "worker",
            "; keeps the heartbeats of its agents; accepts 4096 connections, 1024 of one user; alerts go to the journal\n",
        ),
        (
            "orchestrator",
            "; keeps the heartbeats of its own agents, watches every session, moves tasks of lost sessions to other sessions of the same role; accepts 4096 connections, 1024 of one user; alerts go to the journal\n",
        ),
    ] {
        let path = shipped(&format!("{role}.toml"));
        let (code, out, err) = check(&path);
        assert_eq!((code, err.as_str()), (Some(0), ""), "{out}");
        let begins = format!(
            "ok: {}: role {role}, 0 sessions, store /var/lib/mcp-bridge/bridge.db",
            path.display()
        );
        assert!(out.starts_with(&begins) && out.ends_with(does), "{out}");
    }
}

/// A reader takes the comment signs away: what comes out has to be valid, too,
/// and, where nothing else is said, mean the same.
#[test]
fn commented_keys_are_valid_and_the_default() {
    for role in ["worker", "orchestrator"] {
        let text = fs::read_to_string(shipped(&format!("{role}.toml"))).expect("shipped");
        let mut keys = 0;
        let uncommented: String = text
            .lines()
            .map(|line| {
                let Some(bare) = line.strip_prefix("# ") else {
                    return line.to_owned();
                };
                let is_key = bare.starts_with('[')
                    || bare.split_once(" = ").is_some_and(|(key, _)| {
                        key.chars().all(|c| c.is_ascii_lowercase() || c == '_')
                    });
                keys += usize::from(is_key);
                match (is_key, bare.split_once("# such as ")) {
                    (false, _) => line.to_owned(),
                    (true, None) => bare.to_owned(),
                    (true, Some((key, example))) => {
                        let (key, _) = key.split_once(" = ").expect("a key");
                        let value = example.split_once(", a ").map_or(example, |(v, _)| v);
                        let value = value.split_once(": ").map_or(value, |(v, _)| v);
                        format!("{key} = {value}")
                    }
                }
            })
            .map(|line| line + "\n")
            .collect();
        assert!(keys > 10, "{keys} keys found in {role}.toml");

        let dir = TempDir::new().expect("a directory");
        let path = dir.path().join(format!("{role}.toml"));
        let load = |text: &str| {
            fs::write(&path, text).expect("written");
            mcp_bridge::config::load(&path, []).expect(text)
        };
        let (shipped, full) = (load(&text), load(&uncommented));
        assert_eq!(full.agents.sessions.len(), 1, "{uncommented}");
        assert!(!full.alert.adapters.is_empty(), "{uncommented}");
        assert_eq!(shipped.role, full.role);
        assert_eq!(shipped.agents.heartbeat, full.agents.heartbeat);
        assert_eq!(shipped.api, full.api);
        assert_eq!(shipped.alert.remind_max, full.alert.remind_max);
        assert_eq!(shipped.alert.no_leader_after, full.alert.no_leader_after);
    }
}

#[test]
fn a_credentials_file_that_is_missing_is_named() {
    let dir = TempDir::new().expect("a directory");
    let path = dir.path().join("worker.toml");
    let text = "role = \"worker\"\n[store]\nurl = \"/srv/b.db\"\n\
        [[session]]\ncredentials = \"/nowhere/work.b.toml\"\nproof = \"none\"\n";
    fs::write(&path, text).expect("written");
    let (code, out, err) = check(&path);
    // It may come later.
    assert_eq!(code, Some(0), "{err}");
    assert!(
        err.starts_with("warning: /nowhere/work.b.toml: there is no such file"),
        "{err}"
    );
    assert!(
        out.contains("wakes none of them (wake.order is empty)"),
        "{out}"
    );
}

#[test]
fn line_names_who_is_alerted_and_never_the_url() {
    let dir = TempDir::new().expect("a directory");
    let path = dir.path().join("boss.toml");
    let text = "role = \"orchestrator\"\n[store]\nurl = \"/srv/b.db\"\n[reassignment]\nmatch_role = \"any\"\n\
        [alert]\norder = [\"exec\", \"webhook\"]\n[alert.exec]\ncommand = [\"page\"]\n\
        [alert.webhook]\nurl = \"https://hooks.example.com/hunter2\"\n";
    fs::write(&path, text).expect("written");
    let (code, out, err) = check(&path);
    assert_eq!((code, err.as_str()), (Some(0), ""), "{out}");
    assert!(out.contains("role orchestrator, 0 sessions, "), "{out}");
    assert!(
        out.ends_with("to any other session; accepts 4096 connections, 1024 of one user; alerts go to the journal, exec and webhook\n"),
        "{out}"
    );
    assert!(!out.contains("hunter2"), "{out}");
}

/// A key of a unit, as a duration.
fn of_unit(unit: &str, key: &str) -> Duration {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(unit);
    let text = fs::read_to_string(path).expect("shipped");
    let value = text
        .lines()
        .find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
    humantime::parse_duration(value.expect(key)).expect(key)
}

/// A daemon that hangs, or one of its duties, is back before its sessions count
/// as lost.
#[test]
fn watchdog_restart_is_shorter_than_a_ttl() {
    // What a start takes on a machine that is slow.
    const START: Duration = Duration::from_secs(1);
    for unit in [
        "systemd/mcp-bridged@.service",
        "systemd/user/mcp-bridged@.service",
    ] {
        for role in ["worker", "orchestrator"] {
            let path = shipped(&format!("{role}.toml"));
            let settings = mcp_bridge::config::load(&path, []).expect("settings");
            let heartbeat = settings.agents.heartbeat;
            let back = of_unit(unit, "WatchdogSec") + of_unit(unit, "RestartSec") + START;
            let duty = duties::DEADLINE + back;
            assert!(duty < heartbeat.ttl, "{unit}: a duty that hangs: {duty:?}");
            // The last heartbeat may be an interval old, with its jitter.
            let all = heartbeat.interval.mul_f64(1.1) + back;
            assert!(
                all < heartbeat.ttl,
                "{unit}: one that stands still: {all:?}"
            );
        }
    }
}

/// Each package that is linked in stands in the file of licence texts;
/// packaging/README.md says how that is made anew.
#[test]
fn licences_name_every_linked_package() {
    let root = env!("CARGO_MANIFEST_DIR");
    let tree = std::process::Command::new(env!("CARGO"))
        .args([
            "tree",
            "--offline",
            "--locked",
            "--edges=normal",
            "--prefix=none",
            "--package=mcp-bridge",
        ])
        .args(["--format={p}", "--target=x86_64-unknown-linux-gnu"])
        .current_dir(root)
        .output()
        .expect("cargo");
    let text = std::fs::read_to_string(format!("{root}/packaging/deb/licences.txt"));
    let text = text.expect("the licences");
    let tree = String::from_utf8(tree.stdout).expect("text");
    let missing: std::collections::BTreeSet<String> = tree
        .lines()
        .filter_map(|line| {
            let mut words = line.split(' ');
            let (name, version) = (words.next()?, words.next()?.strip_prefix('v')?);
            Some(format!("{name} {version}"))
        })
        .filter(|package| !text.lines().any(|line| line.trim() == package))
        .collect();
    assert!(tree.lines().count() > 100, "{tree}");
    assert!(missing.is_empty(), "{missing:?}");
}
