//! `doctor` on machines that are in order, and on those that are not.

use std::os::unix::fs::PermissionsExt;

use serde_json::Value;

use crate::common::scratch::{Ran, Scratch, is_root};

/// A worker's configuration for the session `work.b`.
fn configured(scratch: &Scratch, more: &str) {
    let store = scratch.store();
    let text = format!(
        "role = \"worker\"\n[store]\nurl = \"{}\"\n[service]\nstate_file = \"{}\"\n{more}",
        store.display(),
        scratch.path("worker.json").display(),
    );
    std::fs::write(scratch.path("worker.toml"), text).expect("written");
}

fn doctor(scratch: &Scratch) -> Ran {
    scratch.run(&["doctor", "--config", "worker.toml", "--json"])
}

/// `level text: remedy` of every finding of a topic.
fn of(ran: &Ran, topic: &str) -> Vec<String> {
    let json = ran.json();
    let findings = json["findings"].as_array().expect("a list");
    findings
        .iter()
        .filter(|finding| finding["topic"] == topic)
        .map(|finding| {
            let part = |name: &str| finding[name].as_str().unwrap_or("-").to_owned();
            format!("{} {}: {}", part("level"), part("text"), part("remedy"))
        })
        .collect()
}

const SESSION: &str = "[[session]]\ncredentials = \"credentials/work.b.toml\"\n";

#[test]
fn sound_machine_ends_with_0() {
    let scratch = Scratch::with_conversation();
    let agent = std::process::id();
    configured(
        &scratch,
        &format!(
            "[wake]\norder = [\"exec\", \"file\"]\nexec.command = [\"true\"]\nfile.path = \"{}\"\n{SESSION}proof = {{ pid = {agent} }}\n",
            scratch.path("inbox").display()
        ),
    );
    let ran = doctor(&scratch).ok();
    assert_eq!(
        of(&ran, "liveness"),
        [format!("ok work/b: alive by process {agent}: -")]
    );
    assert_eq!(
        of(&ran, "credentials"),
        ["ok 1 session: readable by their user only, known to the store: -"]
    );
    assert_eq!(of(&ran, "wake").len(), 2);
    assert!(
        of(&ran, "wake").iter().all(|line| line.starts_with("ok ")),
        "{ran:?}"
    );
    assert!(
        of(&ran, "service")[0]
            .starts_with("warn worker: this daemon does not run: mcp-bridged --config"),
        "{ran:?}"
    );
    assert_eq!(ran.json()["counts"]["fail"], 0);
    let shown = scratch
        .run(&["doctor", "--config", "worker.toml"])
        .ok()
        .shows();
    assert!(shown.starts_with("ok    config       worker.toml: worker, 1 session\nok    way          <dir>/bridge.db (from MCP_BRIDGE_STORE), opened here\nok    store        <dir>/bridge.db: sqlite 3."), "{shown}");
    assert!(!shown.contains('\u{1b}'), "no colours in a pipe");
}

#[test]
fn fault_has_its_remedy_and_ends_with_1() {
    let scratch = Scratch::with_conversation();
    configured(
        &scratch,
        &format!(
            "[wake]\norder = [\"exec\"]\nexec.command = [\"no-such-command\", \"secret-argument\"]\n[alert]\norder = [\"webhook\"]\nwebhook.url_file = \"url\"\nwebhook.secret_file = \"key\"\n{SESSION}proof = {{ pid_file = \"{}\" }}\n",
            scratch.path("agent.pid").display()
        ),
    );
    std::fs::write(
        scratch.path("url"),
        "https://hooks.example.org/T0/secret-path\n",
    )
    .expect("written");
    let credentials = scratch.credentials("work.b");
    let open = std::fs::Permissions::from_mode(0o644);
    std::fs::set_permissions(&credentials, open).expect("set");
    let ran = doctor(&scratch);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert_eq!(ran.json()["result"], "fail");
    assert!(
        of(&ran, "credentials")[0].contains("other users may read this file (mode 644): chmod 600"),
        "{ran:?}"
    );
    assert!(
        of(&ran, "wake")[0].starts_with("fail work/b: exec: no-such-command: it is not in PATH: "),
        "{ran:?}"
    );
    assert!(
        of(&ran, "liveness")[0].starts_with("warn work/b: pid file "),
        "{ran:?}"
    );
    let alert = &of(&ran, "alert")[0];
    assert!(
        alert.starts_with("fail worker: webhook: ") && alert.contains("/key: "),
        "{ran:?}"
    );
    // Nothing that opens a door is shown.
    let token = std::fs::read_to_string(&credentials).expect("there");
    let token = token
        .split("token = \"")
        .nth(1)
        .and_then(|rest| rest.get(..64));
    for secret in ["secret-path", "secret-argument", token.expect("a token")] {
        assert!(
            !ran.out.contains(secret) && !ran.err.contains(secret),
            "{secret}"
        );
    }
}

#[test]
fn credentials_are_held_against_the_store() {
    let scratch = Scratch::with_conversation();
    configured(&scratch, &format!("{SESSION}proof = \"none\"\n"));
    assert!(of(&doctor(&scratch), "liveness")[0].starts_with("note "));
    scratch.expire_conversations(7_200);
    let ran = doctor(&scratch).ok();
    assert!(
        of(&ran, "credentials")[0]
            .contains("expired 2 hours ago: mcp-bridge conversation renew work"),
        "{ran:?}"
    );
    scratch.sql("UPDATE conversations SET session_b_token = 'another', expires_at = '2999-01-01T00:00:00.000000'");
    let ran = doctor(&scratch);
    assert_eq!(ran.code, Some(1));
    assert!(of(&ran, "credentials")[0].starts_with("fail "), "{ran:?}");
    scratch.sql("DELETE FROM conversations");
    assert!(of(&doctor(&scratch), "credentials")[0].contains("is not in the store"));
}

#[test]
fn faulty_stores_are_left_unchanged() {
    let scratch = Scratch::with_conversation();
    configured(&scratch, "");
    let store = |ran: &Ran| of(ran, "store")[0].clone();
    scratch.sql("UPDATE bridge_schema SET version = 1");
    let unreleased = store(&doctor(&scratch));
    assert!(
        unreleased.starts_with("fail ") && unreleased.contains("before the first release"),
        "{unreleased}"
    );
    assert_eq!(
        scratch.number("SELECT version FROM bridge_schema"),
        1,
        "it migrates nothing"
    );
    scratch.sql("UPDATE bridge_schema SET version = 99, min_compatible = 99");
    assert!(store(&doctor(&scratch)).contains("install a newer mcp-bridge"));
    std::fs::remove_file(scratch.store()).expect("removed");
    let ran = doctor(&scratch);
    assert!(
        store(&ran).contains("there is no such file, but there was"),
        "{ran:?}"
    );
    assert!(!scratch.store().exists(), "it makes nothing");
}

#[test]
fn wrong_configuration_is_a_fail_in_its_own_words() {
    let scratch = Scratch::with_conversation();
    configured(&scratch, "[heartbeat]\nintervall = \"5s\"\n");
    let ran = doctor(&scratch);
    assert_eq!(ran.code, Some(1));
    let config = of(&ran, "config");
    assert!(
        config[0].contains("heartbeat.intervall: unknown key; did you mean `interval`?"),
        "{config:?}"
    );
}

#[test]
fn a_daemon_that_runs_and_one_that_died() {
    let scratch = Scratch::with_conversation();
    configured(&scratch, "");
    let mut command = scratch.program(env!("CARGO_BIN_EXE_mcp-bridged"));
    command.args(["--config", "worker.toml"]);
    let mut daemon =
        crate::common::scratch::Running::unread(command.stderr(std::process::Stdio::null()));
    crate::common::scratch::wait_until("the daemon is ready", || {
        std::fs::read(scratch.path("worker.json"))
            .ok()
            .and_then(|bytes| serde_json::from_slice::<Value>(&bytes).ok())
            .is_some_and(|state| state["ready"] == true)
    });
    let pid = daemon.child.id();
    let ran = doctor(&scratch).ok();
    let runs = format!(
        "ok worker: runs, pid {pid}, {}: -",
        env!("CARGO_PKG_VERSION")
    );
    assert_eq!(of(&ran, "service"), [runs]);
    daemon.child.kill().expect("killed");
    daemon.end();
    let ran = doctor(&scratch).ok();
    assert!(
        of(&ran, "service")[0].starts_with("warn worker: died, and left "),
        "{ran:?}"
    );
}

#[test]
fn empty_machine_is_reported() {
    let scratch = Scratch::new();
    // Root's own store and configurations are the machine's.
    let mut command = match is_root() {
        true => scratch.as_other_user(&["doctor"]),
        false => scratch.bridge(&["doctor"]),
    };
    command.env_remove("MCP_BRIDGE_STORE");
    let ran = scratch.outcome(command).ok();
    assert!(ran.out.contains("no daemon serves this machine"), "{ran:?}");
}

/// Another operator's daemon on another store: worth a note, and no failure of
/// this user's commands.
#[test]
fn troubles_of_another_store_are_notes() {
    let scratch = Scratch::with_conversation();
    let other = scratch.path("other.db");
    let other = other.to_str().expect("text");
    scratch.run(&["--store", other, "store", "init"]).ok();
    let configs = scratch.path(".config/mcp-bridge");
    std::fs::create_dir_all(&configs).expect("made");
    let broken = format!(
        "role = \"worker\"\n[store]\nurl = \"{other}\"\n[service]\nstate_file = \"{}\"\n\
         [wake]\norder = [\"exec\"]\nexec.command = [\"no-such-command\"]\n\
         [[session]]\ncredentials = \"{}\"\nproof = \"none\"\n",
        scratch.path("elsewhere.json").display(),
        scratch.credentials("work.b").display(),
    );
    std::fs::write(configs.join("elsewhere.toml"), broken).expect("written");
    let ran = scratch.run(&["doctor", "--json"]);
    let wakes = of(&ran, "wake");
    let noted = format!("(of store {other}, which this command does not use)");
    assert!(
        wakes
            .iter()
            .any(|line| line.starts_with("note ") && line.contains(&noted)),
        "{ran:?}"
    );
    assert!(
        !ran.out.contains("\"level\":\"fail\",\"topic\":\"wake\""),
        "{ran:?}"
    );
    // The operator of that store hears it as what it is.
    let ran = scratch.run(&["--store", other, "doctor", "--json"]);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(of(&ran, "wake")[0].starts_with("fail "), "{ran:?}");
}

/// The trial's levels by topic, in order.
fn tried(ran: &Ran) -> Vec<String> {
    let json = ran.json();
    let findings = json["findings"].as_array().expect("a list");
    let part = |finding: &Value, name: &str| finding[name].as_str().unwrap_or("-").to_owned();
    let each = findings.iter();
    each.map(|one| format!("{} {}", part(one, "level"), part(one, "topic")))
        .collect()
}

#[test]
fn wake_is_tried_up_to_the_step_that_fails() {
    let scratch = Scratch::with_conversation();
    let trial = |more: &[&str]| {
        let words = ["--json", "doctor", "wake"];
        scratch.run_as("work.a", &[words.as_slice(), more].concat())
    };
    let none = trial(&[]);
    assert_eq!(
        (none.code, tried(&none)),
        (Some(1), vec!["fail session".into()])
    );
    assert!(
        none.out.contains("no agent has acted for it yet"),
        "{none:?}"
    );
    assert_eq!(none.json()["woken"], false);

    // An agent that looked once, and that nothing wakes.
    scratch.run_as("work.b", &["check"]).ok();
    let alone = trial(&["--for", "300ms"]);
    let expected = ["ok session", "ok sent", "fail wake"];
    assert_eq!(
        (alone.code, tried(&alone)),
        (Some(1), expected.map(Into::into).to_vec())
    );
    assert!(alone.out.contains("mcp-bridge setup"), "{alone:?}");

    // One that looks by itself.
    let mut agent = scratch.bridge_as("work.b", &["wait"]);
    scratch.run_as("work.b", &["check"]).ok();
    let reads = std::thread::scope(|threads| {
        let trial = threads.spawn(|| trial(&["work/b", "--for", "30s"]));
        let waited = agent.output().expect("it waits");
        assert!(waited.status.success(), "{waited:?}");
        scratch.run_as("work.b", &["check"]).ok();
        trial.join().expect("it ended")
    });
    let expected = ["ok session", "ok sent", "note wake", "ok turn", "ok read"];
    assert_eq!(tried(&reads), expected, "{reads:?}");
    assert_eq!(
        (reads.code, &reads.json()["woken"]),
        (Some(0), &Value::Bool(true))
    );

    let own = scratch.run_as("work.b", &["doctor", "wake", "work/b"]);
    assert_eq!(own.code, Some(77), "{own:?}");
    assert!(
        own.err.contains("the credentials of its partner"),
        "{own:?}"
    );
}
