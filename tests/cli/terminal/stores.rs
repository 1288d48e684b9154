//! Stores that are not what they should be, and those that are.

use std::os::unix::fs::PermissionsExt;

use insta::assert_snapshot;

use crate::common::scratch::{Scratch, can_run, is_root, not_tried};

#[test]
fn init_changes_only_what_its_options_name() {
    let scratch = Scratch::new();
    let shown = |args: &[&str]| {
        let shown = scratch.run(args).ok().shows();
        let version = shown.find("sqlite ").map(|at| &shown[at..at + 13]);
        shown.replace(version.unwrap_or("?"), "sqlite V")
    };
    assert_snapshot!(shown(&["store", "init"]), @r"
    created store <dir>/bridge.db
      sqlite V · schema 10 · tokens hashed · 100/minute 500/hour 2000/day messages
    ");
    assert_snapshot!(shown(&["store", "init", "--token-storage", "plain", "--per-hour", "0"]), @r"
    store <dir>/bridge.db exists already
      sqlite V · schema 10 · tokens plain · 100/minute 2000/day messages
    ");
    let again = scratch.run(&["store", "init", "--json"]).ok().json();
    assert_eq!(again["result"], "existing");
    assert_eq!(again["token_storage"], "plain");
    assert_eq!(again["limits"]["per_hour"], 0);
    let check = scratch.run(&["store", "check"]).ok();
    assert!(check.out.ends_with("ok: no problem found\n"), "{check:?}");
    let check = scratch.run(&["store", "check", "--json"]).ok().json();
    assert_eq!(
        check["problems"].as_array().map(Vec::len),
        Some(0),
        "{check}"
    );
}

#[test]
fn init_adopts_the_python_bridge_s_database() {
    let scratch = Scratch::new();
    std::fs::write(scratch.store(), "").expect("written");
    scratch.sql("CREATE TABLE conversations (id TEXT PRIMARY KEY, session_a_role TEXT NOT NULL, session_b_role TEXT NOT NULL, session_a_token TEXT NOT NULL, session_b_token TEXT NOT NULL, created_at TEXT NOT NULL, expires_at TEXT NOT NULL)");
    scratch.sql("CREATE TABLE messages (id INTEGER PRIMARY KEY AUTOINCREMENT, conversation_id TEXT NOT NULL, from_session TEXT NOT NULL, to_session TEXT NOT NULL, message TEXT NOT NULL, metadata TEXT, timestamp TEXT NOT NULL, read INTEGER DEFAULT 0)");
    let adopted = scratch.run(&["store", "init"]).ok();
    assert!(adopted.out.starts_with("adopted store "), "{adopted:?}");
    assert!(adopted.out.contains("tokens plain"), "{adopted:?}");
    let hashed = scratch
        .run(&["store", "init", "--token-storage", "hashed"])
        .ok();
    assert!(
        hashed.err.contains("cannot verify hashed tokens"),
        "{hashed:?}"
    );
}

#[test]
fn one_that_is_missing() {
    let scratch = Scratch::new();
    assert_snapshot!(scratch.run(&["status"]).says(), @r"
    69: error: store <dir>/bridge.db (from MCP_BRIDGE_STORE): there is no such file
      create one: mcp-bridge conversation new
    ");
    assert_snapshot!(scratch.run(&["status", "--store", "./x.db"]).says(), @r"
    69: error: store <dir>/x.db: there is no such file
      create it: mcp-bridge store init --store <dir>/x.db
    ");
    assert!(!scratch.store().exists());
}

#[test]
fn advice_keeps_to_the_store_that_was_named() {
    let scratch = Scratch::with_conversation();
    let other = scratch.path("other.db");
    let other = other.to_str().expect("text");
    let refused = scratch.run(&["--store", other, "store", "init"]).ok();
    assert!(refused.out.contains("created store"), "{refused:?}");
    assert_snapshot!(scratch.run(&["--store", other, "conversation", "show", "conv_0123456789abcdef"]).says(), @r"
    65: error: conversation conv_ID does not exist in store <dir>/other.db
      `mcp-bridge --store <dir>/other.db conversation list` shows the existing ones
    ");
}

/// A plain command would create the conversation in another store.
#[test]
fn advice_to_make_a_conversation_names_the_store() {
    let scratch = Scratch::with_conversation();
    let other = scratch.path("other.db");
    let other = other.to_str().expect("text");
    scratch.run(&["--store", other, "store", "init"]).ok();
    let wanted = format!("mcp-bridge --store {other} conversation new");
    for command in ["status", "conversation list"] {
        let mut args = vec!["--store", other];
        args.extend(command.split(' '));
        let ran = scratch.run(&args).ok();
        let said = ran.out + &ran.err;
        assert!(said.contains(&wanted), "{command}: {said}");
        // A plain command finds that store by itself.
        let mut plain = scratch.bridge(&args[2..]);
        plain.env("MCP_BRIDGE_STORE", other);
        let ran = scratch.outcome(plain).ok();
        let said = ran.out + &ran.err;
        assert!(
            said.contains("mcp-bridge conversation new"),
            "{command}: {said}"
        );
    }
}

/// These credentials lead to a store that a command without them does not find.
#[test]
fn advice_names_the_store_of_the_credentials() {
    let scratch = Scratch::with_conversation();
    let run = |args: &[&str]| {
        let mut command = scratch.bridge_as("work.b", args);
        command.env_remove("MCP_BRIDGE_STORE");
        let ran = scratch.outcome(command);
        assert_eq!(ran.code, Some(65), "{}{}", ran.out, ran.err);
        ran.err
    };
    let said = run(&["task", "show", "4711"]);
    let wanted = format!("mcp-bridge --store {} task list", scratch.store().display());
    assert!(said.contains(&wanted), "{said}");
    // A command that needs the credentials has the store of them.
    let said = run(&["ack", "4711"]);
    assert!(said.contains("`mcp-bridge check`"), "{said}");
}

#[test]
fn one_that_was_deleted_is_no_new_installation() {
    let scratch = Scratch::with_conversation();
    scratch
        .run(&["store", "backup", "bridge-20261125T151641Z.backup.db"])
        .ok();
    for suffix in ["", "-wal", "-shm", "-bell"] {
        let _ = std::fs::remove_file(scratch.path(&format!("bridge.db{suffix}")));
    }
    let remedy = format!(
        "store restore {}/bridge-20261125T151641Z.backup.db --store {}/bridge.db",
        scratch.dir().display(),
        scratch.dir().display()
    );
    let commands: [&[&str]; 6] = [
        &["status"],
        &["conversation", "new", "--label", "other"],
        &["conversation", "list"],
        &["audit"],
        &["store", "check"],
        &["store", "backup", "other.db"],
    ];
    for command in commands {
        let ran = scratch.run(command);
        let said = format!("{command:?}: {}{}", ran.out, ran.err);
        assert_eq!(ran.code, Some(69), "{said}");
        assert!(said.contains(&remedy), "{said}");
        assert!(!scratch.store().exists(), "{said}");
    }
    let doctor = scratch.run(&["doctor"]);
    assert_eq!(doctor.code, Some(1), "{}", doctor.out);
    assert!(doctor.out.contains(&remedy), "{}", doctor.out);
    // The command that the remedy names brings it back.
    let mut words: Vec<&str> = remedy.split(' ').collect();
    words.push("--yes");
    scratch.run(&words).ok();
    scratch.run(&["status"]).ok();
}

#[test]
fn one_that_credentials_are_for_was_there() {
    let scratch = Scratch::new();
    if is_root() && !can_run("setpriv", &["--version"]) {
        return not_tried("a user's own store", "this is root, and setpriv is missing");
    }
    let run = |args: &[&str]| {
        let mut command = match is_root() {
            true => scratch.as_other_user(args),
            false => scratch.bridge(args),
        };
        command.env_remove("MCP_BRIDGE_STORE");
        scratch.outcome(command)
    };
    run(&["conversation", "new", "--label", "one"]).ok();
    let place = scratch.path(".local/state/mcp-bridge");
    for suffix in ["", "-wal", "-shm", "-bell"] {
        let _ = std::fs::remove_file(place.join(format!("bridge.db{suffix}")));
    }
    let ran = run(&["status"]);
    assert_eq!(ran.code, Some(69), "{}{}", ran.out, ran.err);
    assert!(ran.err.contains("credentials"), "{}", ran.err);
}

#[test]
fn a_new_user_s_first_screen() {
    let scratch = Scratch::new();
    let mut first = if is_root() {
        if !can_run("setpriv", &["--version"]) {
            return not_tried("the first screen", "this is root, and setpriv is missing");
        }
        scratch.as_other_user(&["status"])
    } else {
        scratch.bridge(&["status"])
    };
    first.env_remove("MCP_BRIDGE_STORE");
    let shown = scratch.outcome(first).ok().out;
    assert!(shown.starts_with("no store yet: "), "{shown}");
    assert!(!scratch.path(".local").exists(), "looking makes nothing");
}

#[test]
fn files_that_are_no_stores() {
    let scratch = Scratch::with_conversation();
    std::fs::write(
        scratch.path("text.db"),
        "not a database, but long enough for one. ".repeat(40),
    )
    .expect("written");
    std::fs::write(scratch.path("empty.db"), "").expect("written");
    let with = |store: &str| scratch.run_as("work.a", &["send", "hi", "--store", store]);
    assert_snapshot!(with("credentials").says(), @r"
    78: error: store <dir>/credentials: this is a directory, not a database file
      name the file itself, for example <dir>/credentials/bridge.db
    ");
    assert_snapshot!(with("text.db").says(), @r"
    78: error: store <dir>/text.db: this is not an SQLite database
      name another file, or move this one away
    ");
    assert_snapshot!(with("empty.db").says(), @r"
    69: error: store <dir>/empty.db: the file is empty
      to create a store in it: mcp-bridge store init --store <dir>/empty.db
    ");
    assert_snapshot!(with("postgres://me:secret@host/db").says(), @"65: error: store `postgres://...`: only SQLite is supported: write sqlite:/path/to/bridge.db, or just the path");
    scratch.sql("UPDATE bridge_schema SET version = 99, min_compatible = 99");
    assert_snapshot!(with("bridge.db").says(), @r"
    78: error: store <dir>/bridge.db: it has schema version 99, and this program reads versions up to 10
      install a newer mcp-bridge
    ");
}

#[test]
fn a_damaged_one_is_a_problem() {
    let scratch = Scratch::with_conversation();
    let batch = format!("{}\n", "x".repeat(4_000)).repeat(40);
    let command = scratch.bridge_as("work.a", &["send", "--batch"]);
    scratch.outcome_with_input(command, batch.as_bytes()).ok();
    scratch.sql("PRAGMA user_version = 1");
    let mut bytes = std::fs::read(scratch.store()).expect("there");
    let middle = bytes.len() / 2;
    bytes[middle..middle + 8_192].fill(0xa5);
    std::fs::write(scratch.store(), bytes).expect("written");
    let check = scratch.run(&["store", "check"]);
    assert_eq!(check.code, Some(78), "{check:?}");
}

#[test]
fn one_that_this_user_may_not_write() {
    let scratch = Scratch::with_conversation();
    let command = if is_root() {
        if !can_run("setpriv", &["--version"]) {
            return not_tried("a read-only store", "this is root, and setpriv is missing");
        }
        scratch.as_other_user(&["send", "hi", "-c", "credentials/work.a.toml"])
    } else {
        scratch.bridge(&["send", "hi", "-c", "credentials/work.a.toml"])
    };
    let set = |name: &str, mode| {
        let mode = std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(scratch.path(name), mode).expect("set");
    };
    set("bridge.db", 0o444);
    set(".", 0o555);
    let refused = scratch.outcome(command);
    set(".", 0o755);
    assert_snapshot!(refused.says(), @r"
    69: error: store <dir>/bridge.db: it is read-only
      give this user write permission for the file and its directory, or mount the file system read-write
    ");
}

#[test]
fn full_disk_loses_nothing() {
    if !is_root() || !can_run("unshare", &["--mount", "true"]) {
        return not_tried(
            "a full disk",
            "only root may mount a small file system for it",
        );
    }
    let scratch = Scratch::new();
    let script = r#"
        set -e
        mkdir small
        mount -t tmpfs -o size=1m tmpfs small
        export MCP_BRIDGE_STORE=$PWD/small/bridge.db MCP_BRIDGE_CREDENTIALS=$PWD/out/work.a.toml
        "$0" conversation new --label work --out out >/dev/null
        "$0" send before
        dd if=/dev/zero of=small/filler bs=1k count=2048 2>/dev/null || true
        code=0; head -c 40000 /dev/zero | tr '\0' x | "$0" send || code=$?
        echo "full: $code"
        rm small/filler
        "$0" send after
        "$0" store verify | tail -1
    "#;
    let mut command = scratch.program("unshare");
    command.args([
        "--mount",
        "sh",
        "-c",
        script,
        env!("CARGO_BIN_EXE_mcp-bridge"),
    ]);
    let ran = scratch.outcome(command);
    assert_snapshot!(ran.shows(), @r"
    sent message 1 to work/b
    full: 69
    sent message 2 to work/b
    ok: no problem found
    ");
    assert_snapshot!(ran.says(), @r"
    0: error: store <dir>/small/bridge.db: the disk is full; nothing was stored
      free some space and try again
    ");
}
