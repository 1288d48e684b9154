//! Every obstacle under every name, for every command.

use mcp_bridge::store::sqlite::SCHEMA_VERSION;

use crate::common::store::unadopt;

use super::ground::{As, Ground, Obstacle, possible};

/// What stands beside a store, or is made there by one of the commands; each
/// group is attacked at once.
const NAMES: [&[&str]; 3] = [
    &[
        "bridge.db-bell",
        "bridge.db.restoring",
        "bridge.db.restoring-wal",
        "run",
        "race-1.a.toml",
        "race-2.b.toml",
        "race.orchestrator.toml",
        "copy.db.partial",
    ],
    &["copy.db.partial-wal", "copy.db.partial-journal"],
    &["copy.db"],
];

/// What is made when a database of the Python bridge is opened by a command that
/// writes.
fn of_a_new_schema() -> [String; 2] {
    let copy = format!("bridge.db.before-schema-{SCHEMA_VERSION}");
    [format!("{copy}.partial"), copy]
}

/// The names that SQLite itself opens: judged before it sees them. What the
/// confinement of the store's threads closes is added here.
fn of_sqlite() -> Vec<&'static str> {
    vec!["bridge.db-journal", "bridge.db-wal", "bridge.db-shm"]
}

/// The commands, over the store in the shared directory. `STORE/` stands for it.
const COMMANDS: [&[&str]; 12] = [
    &["send", "hello"],
    &["check"],
    &["status"],
    &["doctor"],
    &["conversation", "list"],
    &[
        "conversation",
        "new",
        "--label",
        "race",
        "--count",
        "1",
        "--out",
        "STORE/",
    ],
    &["store", "check"],
    &["store", "backup", "STORE/copy.db"],
    &["store", "backup", "--force", "STORE/copy.db"],
    &["task", "add", "--role", "worker", "--title", "a task"],
    &["hold", "on"],
    &["hold", "off"],
];

/// Runs every command over one obstacle under all these names.
fn all(ground: &mut Ground, names: &[&str], obstacle: Obstacle, user: As) {
    let shared = ground.path("store").display().to_string();
    for command in COMMANDS {
        let words: Vec<String> = command
            .iter()
            .map(|word| word.replace("STORE/", &format!("{shared}/")))
            .collect();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        for name in names {
            ground.put(obstacle, name, user);
        }
        ground.note();
        let when = format!("{obstacle:?} at {names:?}, {user:?} runs {command:?}");
        let ended = ground.run(user, &words);
        assert!(ended.code.is_some(), "{when}: it was killed: {ended:?}");
        assert!(
            !ended.said.contains("the victim's own"),
            "{when}: {ended:?}"
        );
        ground.assert_untouched(&when);
    }
    for name in names {
        ground.clear(name);
    }
}

fn everything(user: As) {
    let mut ground = Ground::new();
    for names in NAMES {
        for obstacle in Obstacle::ALL {
            all(&mut ground, names, obstacle, user);
        }
    }
    let sent = ground.run(user, &["send", "it works as before"]);
    assert_eq!(sent.code, Some(0), "{sent:?}");
}

#[test]
fn roots_commands_reach_nothing_outside() {
    if possible("an attack on root's commands") {
        everything(As::Root);
    }
}

#[test]
fn another_users_commands_reach_nothing_outside() {
    if possible("an attack on another user's commands") {
        everything(As::Agent);
    }
}

/// Obstacles under the names that SQLite opens. A file of the attacker's in the
/// place of the log costs the store: each has one of its own.
#[test]
fn names_that_sqlite_opens_lead_nowhere() {
    if !possible("an attack by way of SQLite's own files") {
        return;
    }
    let mut ground = Ground::new();
    for name in of_sqlite() {
        for obstacle in Obstacle::ALL {
            if obstacle != Obstacle::File {
                all(&mut ground, &[name], obstacle, As::Root);
            }
        }
        for user in [As::Root, As::Agent] {
            all(&mut Ground::new(), &[name], Obstacle::File, user);
        }
    }
}

#[test]
fn copy_before_a_new_schema_reaches_nothing_outside() {
    if !possible("an attack on the copy before a new schema") {
        return;
    }
    let mut ground = Ground::new();
    for name in of_a_new_schema() {
        for obstacle in Obstacle::ALL {
            let store = rusqlite::Connection::open(ground.shared("bridge.db")).expect("opened");
            unadopt(&store);
            drop(store);
            ground.put(obstacle, &name, As::Root);
            ground.note();
            let when = format!("{obstacle:?} at {name}");
            let ended = ground.run(As::Root, &["send", "hello"]);
            assert!(ended.code.is_some(), "{when}: it was killed: {ended:?}");
            ground.assert_untouched(&when);
            ground.clear(&name);
            let ended = ground.run(As::Root, &["send", "hello"]);
            assert_eq!(ended.code, Some(0), "{when}, taken away: {ended:?}");
        }
    }
}

/// The store itself is a link of the attacker's to another database of the one
/// who runs the command: it stays that one's own, byte for byte.
#[test]
fn a_linked_store_leads_to_no_other_database() {
    if !possible("an attack by a linked store") {
        return;
    }
    for user in [As::Root, As::Agent] {
        let mut ground = Ground::new();
        let victim = ground.victim(user);
        let other = rusqlite::Connection::open(ground.path("other.db")).expect("made");
        other.execute_batch("CREATE TABLE mine (x)").expect("made");
        drop(other);
        std::fs::copy(ground.path("other.db"), &victim).expect("copied");
        ground.put(Obstacle::Link, "bridge.db", user);
        ground.note();
        for command in COMMANDS {
            if command.iter().any(|word| word.contains("STORE/")) {
                continue;
            }
            let ended = ground.run(user, command);
            let when = format!("{user:?} runs {command:?}");
            assert_ne!(ended.code, Some(0), "{when}: {ended:?}");
            ground.assert_untouched(&when);
        }
    }
}

#[test]
fn a_restore_reaches_nothing_outside() {
    if !possible("an attack on a restore") {
        return;
    }
    let mut ground = Ground::new();
    let copy = ground.home(As::Root).join("kept.db").display().to_string();
    let made = ground.run(As::Root, &["store", "backup", &copy]);
    assert_eq!(made.code, Some(0), "{made:?}");
    for name in [
        "bridge.db.restoring",
        "bridge.db.restoring-wal",
        "bridge.db.restoring-journal",
    ] {
        for obstacle in Obstacle::ALL {
            ground.put(obstacle, name, As::Root);
            ground.note();
            let when = format!("{obstacle:?} at {name}");
            let ended = ground.run(As::Root, &["store", "restore", "--yes", &copy]);
            assert!(ended.code.is_some(), "{when}: it was killed: {ended:?}");
            ground.assert_untouched(&when);
            ground.clear(name);
        }
    }
    let restored = ground.run(As::Root, &["store", "restore", "--yes", &copy]);
    assert_eq!(restored.code, Some(0), "{restored:?}");
}

#[test]
fn directory_of_roots_that_others_write_is_refused() {
    if !possible("a shared directory of root's") {
        return;
    }
    let ground = Ground::new();
    std::os::unix::fs::chown(ground.path("store"), Some(0), None).expect("root may");
    let refused = ground.run(As::Root, &["send", "hello"]);
    assert_eq!(refused.code, Some(78), "{refused:?}");
    assert!(
        refused.said.contains("other users may write it"),
        "{refused:?}"
    );
}
