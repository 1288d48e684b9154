//! A database that this program did not make: who may change it, and what must
//! not stand in it. The commands are the real ones.

#![expect(
    clippy::expect_used,
    reason = "a test that cannot set up its case has nothing to say"
)]

pub(crate) mod site;

use std::path::Path;

use crate::common::store::{Scratch, draft, pair};
use mcp_bridge::clock;
use mcp_bridge::store::StoreError;
use rusqlite::Connection;
use site::{ID, Site};

fn count(path: &Path, question: &str) -> i64 {
    let raw = Connection::open(path).expect("opened");
    raw.query_row(question, [], |row| row.get(0))
        .expect("counted")
}

const OURS: &str = "SELECT count(*) FROM sqlite_schema WHERE name LIKE 'bridge\\_%' ESCAPE '\\'";

#[test]
fn commands_that_only_look_change_nothing() {
    let wal = Site::adoptable();
    wal.raw()
        .pragma_update(None, "journal_mode", "wal")
        .expect("set");
    for site in [Site::adoptable(), wal] {
        let before = site.files();
        for arguments in [
            &["status"] as &[&str],
            &["status", "--json"],
            &["conversation", "list"],
            &["conversation", "show", ID],
            &["audit"],
            &["task", "list"],
            &["alert", "list"],
            &["store", "check"],
            &["store", "limits"],
        ] {
            let (code, said) = site.run(arguments);
            assert_eq!(code, Some(69), "{arguments:?}: {said}");
            assert!(
                said.contains("mcp-bridge store init"),
                "{arguments:?}: {said}"
            );
            assert!(site.files() == before, "{arguments:?} changed something");
        }
        for arguments in [&["check", "--peek"] as &[&str], &["watch"]] {
            let (code, said) = site.run_as("b", arguments);
            assert_eq!(code, Some(69), "{arguments:?}: {said}");
            assert!(site.files() == before, "{arguments:?} changed something");
        }
        let (_, said) = site.run(&["doctor"]);
        assert!(said.contains("bridge.db"), "{said}");
        assert!(site.files() == before, "doctor changed something");
    }
}

#[test]
fn a_command_that_writes_adopts_and_says_so() {
    let site = Site::adoptable();
    let (code, said) = site.run_as("b", &["send", "an answer"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(
        said.contains("adopted the Python bridge's database"),
        "{said}"
    );
    let copy = site.store.directory().join(format!(
        "bridge.db.before-schema-{}",
        mcp_bridge::store::sqlite::SCHEMA_VERSION
    ));
    assert!(said.contains(copy.to_str().expect("text")), "{said}");
    assert_eq!(count(&copy, OURS), 0, "the copy is as it was");
    assert_eq!(count(&copy, "SELECT count(*) FROM messages"), 1);
    let (_, said) = site.run_as("b", &["send", "another"]);
    assert!(!said.contains("adopted"), "once: {said}");
    assert_eq!(site.run(&["status"]).0, Some(0));
}

const THIEF: &str = "CREATE TRIGGER thief AFTER INSERT ON messages
    BEGIN UPDATE messages SET to_session = 'a' WHERE id = new.id; END";

#[test]
fn trigger_stops_the_adoption_until_it_is_accepted() {
    let site = Site::adoptable();
    site.raw().execute_batch(THIEF).expect("made");
    let before = site.files();
    for arguments in [
        &["store", "init"] as &[&str],
        &["store", "check"],
        &["status"],
    ] {
        let (code, said) = site.run(arguments);
        // `status` says with 69 that it could not read the store.
        let expected = if arguments[0] == "status" { 69 } else { 78 };
        assert_eq!(code, Some(expected), "{arguments:?}: {said}");
        assert!(said.contains("trigger `thief` on `messages`"), "{said}");
        assert!(site.files() == before, "{arguments:?} changed something");
    }
    let (code, said) = site.run_as("b", &["send", "an answer"]);
    assert_eq!(code, Some(78), "{said}");
    assert_eq!(count(&site.store.path(), OURS), 0, "nothing was adopted");
    let (_, said) = site.run(&["doctor"]);
    assert!(said.contains("trigger `thief` on `messages`"), "{said}");

    let (code, said) = site.run(&["store", "init", "--accept-schema"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("accepted"), "{said}");
    assert_eq!(site.run_as("b", &["send", "an answer"]).0, Some(0));
    // What was accepted is this trigger, and no other.
    site.raw()
        .execute_batch(
            "DROP TRIGGER thief; CREATE TRIGGER thief AFTER INSERT ON messages BEGIN SELECT 1; END",
        )
        .expect("changed");
    let (code, said) = site.run_as("b", &["send", "an answer"]);
    assert_eq!(code, Some(78), "{said}");
    site.raw()
        .execute_batch("DROP TRIGGER thief")
        .expect("dropped");
    assert_eq!(site.run_as("b", &["send", "an answer"]).0, Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn open_store_writes_nothing_past_a_new_trigger() {
    let scratch = Scratch::new();
    let store = scratch.make().await;
    let pair = pair(&store, clock::now()).await;
    let send = async || store.send(&pair.a, &[draft("hello")], clock::now()).await;
    send().await.expect("sent");
    for definition in [
        "CREATE TRIGGER gone BEFORE INSERT ON messages BEGIN SELECT raise(ignore); END",
        "CREATE TRIGGER gone AFTER INSERT ON bridge_session BEGIN DELETE FROM messages; END",
        "CREATE UNIQUE INDEX gone ON messages (conversation_id, from_session)",
    ] {
        let raw = scratch.raw();
        raw.execute_batch("DELETE FROM messages").expect("emptied");
        raw.execute_batch(definition).expect("made");
        let error = send().await.expect_err("sent past it");
        assert!(
            matches!(&error, StoreError::UnknownDefinitions { what, .. } if what[0].contains("`gone`")),
            "{definition}: {error}"
        );
        let kind = if definition.contains("TRIGGER") {
            "TRIGGER"
        } else {
            "INDEX"
        };
        raw.execute_batch(&format!("DROP {kind} gone"))
            .expect("dropped");
        let sent = send().await.expect("sent again");
        assert!(sent[0].id.0 > 0);
    }
}

#[test]
fn view_in_place_of_a_table_is_refused() {
    let site = Site::new();
    assert_eq!(site.run(&["store", "init"]).0, Some(0));
    let known = "b".repeat(64);
    site.raw()
        .execute_batch(&format!(
            "ALTER TABLE conversations RENAME TO real_ones;
             CREATE VIEW conversations AS
                 WITH RECURSIVE endless(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM endless)
                 SELECT '{ID}' AS id, 'x' AS session_a_role, 'y' AS session_b_role,
                        '{known}' AS session_a_token, '{known}' AS session_b_token,
                        '2025-11-13T02:13:20' AS created_at, '2999-11-13T05:13:20' AS expires_at
                 FROM endless;"
        ))
        .expect("made");
    for arguments in [
        &["status"] as &[&str],
        &["store", "check"],
        &["conversation", "list"],
    ] {
        let (code, said) = site.run(arguments);
        // `status` says with 69 that it could not read the store.
        let expected = if arguments[0] == "status" { 69 } else { 78 };
        assert_eq!(code, Some(expected), "{arguments:?}: {said}");
        assert!(said.contains("view `conversations`"), "{said}");
    }
    assert_eq!(site.run_as("b", &["check"]).0, Some(78));
}

#[test]
fn a_backup_that_runs_something_is_not_restored() {
    let site = Site::new();
    assert_eq!(site.run(&["store", "init"]).0, Some(0));
    let backup = site.home.path().join("backup.db");
    let name = backup.to_str().expect("text");
    assert_eq!(site.run(&["store", "backup", name]).0, Some(0));
    Connection::open(&backup)
        .and_then(|raw| {
            raw.execute_batch(
                "CREATE TRIGGER gone AFTER UPDATE ON bridge_task BEGIN DELETE FROM messages; END",
            )
        })
        .expect("made");
    let (code, said) = site.run(&["store", "restore", name, "--yes"]);
    assert_eq!(code, Some(78), "{said}");
    assert!(said.contains("trigger `gone` on `bridge_task`"), "{said}");
    assert_eq!(site.run(&["store", "check"]).0, Some(0));
}

#[test]
fn a_check_tells_what_was_accepted() {
    let site = Site::adoptable();
    site.raw().execute_batch(THIEF).expect("made");
    let (code, said) = site.run(&["store", "init", "--accept-schema"]);
    assert_eq!(code, Some(0), "{said}");
    let (code, said) = site.run(&["store", "check"]);
    assert_eq!(code, Some(0), "{said}");
    let file = site.home.path().join("config/mcp-bridge/accepted-schema");
    let expected = format!(
        "accepted, as {} says:\n  trigger `thief` on `messages`\n",
        file.display()
    );
    assert!(said.contains(&expected), "{said}");
    let (_, said) = site.run(&["store", "check", "--json"]);
    let json: serde_json::Value = serde_json::from_str(&said).expect("an object");
    assert_eq!(
        json["accepted"]["definitions"][0],
        "trigger `thief` on `messages`"
    );
    // Its copy has the trigger, too, which is meant to be there.
    let copy = site.home.path().join("copy.db");
    let copy = copy.to_str().expect("text");
    assert_eq!(site.run(&["store", "backup", copy]).0, Some(0));
    let (code, said) = site.run(&["store", "restore", copy, "--yes"]);
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(site.run(&["status"]).0, Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_believes_no_view_that_came_later() {
    let scratch = Scratch::new();
    let store = scratch.make().await;
    let pair = pair(&store, clock::now()).await;
    let look = async || store.peek(&pair.b, None, 9, clock::now()).await;
    look().await.expect("looked");
    let raw = scratch.raw();
    // A table of that name would answer for the count of changes.
    raw.execute_batch("CREATE TABLE pragma_schema_version (schema_version)")
        .expect("made");
    let version: i64 = raw
        .query_row("PRAGMA main.schema_version", [], |row| row.get(0))
        .expect("read");
    raw.execute("INSERT INTO pragma_schema_version VALUES (?1)", [version])
        .expect("filled");
    look().await.expect("looked");
    raw.execute_batch(
        "ALTER TABLE conversations RENAME TO real_ones;
         CREATE VIEW conversations AS SELECT * FROM real_ones;",
    )
    .expect("made");
    let verified = store.verify(std::slice::from_ref(&pair.b), clock::now());
    for error in [
        look().await.expect_err("believed"),
        verified.await.expect_err("believed"),
        store
            .send(&pair.a, &[draft("x")], clock::now())
            .await
            .expect_err("sent"),
    ] {
        assert!(
            matches!(&error, StoreError::UnknownDefinitions { .. }),
            "{error}"
        );
    }
}
