//! A store that an earlier version made: it opens, keeps every row, and works;
//! also when two processes open it at once.

#![expect(
    clippy::expect_used,
    reason = "a test that cannot set up its case has nothing to say"
)]

#[path = "common/store.rs"]
mod common;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;

use mcp_bridge::model::task::Fence;
use mcp_bridge::store::sqlite::{Create, SCHEMA_VERSION};
use mcp_bridge::store::{NewTask, Wanted};
use rusqlite::types::Value;
use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::{Connection as _, SqlSafeStr as _};

use common::{Pair, Scratch, at, child, open, receive, report, reported, say, told};

/// As version 1 made it, and as it noted that it did.
const FIRST: &str = include_str!("../migrations/sqlite/0001_bridge.sql");

/// A store of schema 1 in which somebody lived.
async fn old(scratch: &Scratch) -> Pair {
    let url = format!("sqlite:{}?mode=rwc", scratch.path().display());
    let mut connection = sqlx::SqliteConnection::connect(&url).await.expect("made");
    let kind = MigrationType::Simple;
    let step = Migration::new(1, "bridge".into(), kind, FIRST.into_sql_str(), false);
    let steps = Migrator::with_migrations(vec![step]);
    steps
        .run_direct(None, &mut connection, false)
        .await
        .expect("schema 1");
    connection.close().await.expect("closed");
    let raw = scratch.raw();
    raw.pragma_update(None, "journal_mode", "wal").expect("set");
    let pair = Pair::random();
    let (id, a, b) = (&pair.id, pair.a.token.expose(), pair.b.token.expose());
    raw.execute_batch(&format!(
        "INSERT INTO bridge_schema VALUES (1, 1, 1);
         INSERT INTO bridge_setting VALUES ('token_storage', 'hashed'), ('origin', 'own');
         INSERT INTO conversations VALUES ('{id}', 'orchestrator', 'worker', '{a}', '{b}',
             '2025-11-13T02:13:20.000000', '2025-11-13T05:13:20.000000');
         INSERT INTO bridge_conversation VALUES ('{id}', 'api', NULL);
         INSERT INTO messages (conversation_id, from_session, to_session, message, metadata,
                               timestamp, read)
         VALUES ('{id}', 'a', 'b', 'read', '{{}}', '2025-11-13T02:13:21.000000', 1),
                ('{id}', 'a', 'b', 'unread', NULL, '2025-11-13T02:13:22.000000', 0);
         INSERT INTO bridge_receipt VALUES (1, '{id}', 'b', 'f', 1, 2, 3);
         INSERT INTO bridge_client_message VALUES ('{id}', 'a', 'mine', 1);
         INSERT INTO session_status VALUES ('{id}', 'b', 'working', '2025-11-13T02:13:30.000000');
         INSERT INTO bridge_session VALUES ('{id}', 'b', NULL, 4, 1763000001000, NULL);
         INSERT INTO bridge_daemon VALUES ('host:worker', 2, 'worker', 'host', 'x', 42, '0.1.0', 1, NULL);
         INSERT INTO bridge_heartbeat VALUES
             ('{id}', 'b', 7, 'x', 1, 5000, 1763000002000, 20000, 'process', 'host:worker', 2, 0, NULL);
         INSERT INTO bridge_wake (conversation_id, session_id, mark, claimant, boot_id,
                                  lease_boot_ms, created_ms)
         VALUES ('{id}', 'b', 2, 'host:worker', 'x', 9000, 1);
         INSERT INTO audit_log (conversation_id, session_id, action, details, timestamp)
         VALUES ('{id}', 'a', 'send_message', '{{}}', '2025-11-13T02:13:21.000000');"
    ))
    .expect("filled");
    pair
}

/// Every row of every table that is named, by its columns of now or of then.
fn rows(scratch: &Scratch, columns: &BTreeMap<String, Vec<String>>) -> Vec<String> {
    let raw = scratch.raw();
    let mut all = Vec::new();
    for (table, columns) in columns {
        let sql = format!("SELECT {} FROM {table}", columns.join(", "));
        let mut statement = raw.prepare(&sql).expect("its columns are there");
        let mut rows = statement.query([]).expect("it runs");
        while let Some(row) = rows.next().expect("a row") {
            let values: Vec<Value> = (0..columns.len())
                .map(|n| row.get(n).expect("a value"))
                .collect();
            all.push(format!("{table} {values:?}"));
        }
    }
    all.sort();
    all
}

/// The columns of every table, but for the versions themselves.
fn columns(scratch: &Scratch) -> BTreeMap<String, Vec<String>> {
    let raw = scratch.raw();
    let mut statement = raw
        .prepare(
            "SELECT t.name, c.name FROM sqlite_schema t, pragma_table_info(t.name) c
             WHERE t.type = 'table' AND t.name NOT LIKE 'sqlite_%'
               AND t.name NOT IN ('bridge_schema', '_sqlx_migrations')",
        )
        .expect("good SQL");
    let mut columns: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut rows = statement.query([]).expect("it runs");
    while let Some(row) = rows.next().expect("a row") {
        let (table, column) = (row.get(0).expect("text"), row.get(1).expect("text"));
        columns.entry(table).or_default().push(column);
    }
    columns
}

fn versions(scratch: &Scratch) -> (i64, i64) {
    let question = "SELECT version, min_compatible FROM bridge_schema";
    let raw = scratch.raw();
    let answer = raw.query_row(question, [], |row| Ok((row.get(0)?, row.get(1)?)));
    answer.expect("a row")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_older_store_keeps_every_row_and_works() {
    let scratch = Scratch::new();
    let pair = old(&scratch).await;
    let columns = columns(&scratch);
    let before = rows(&scratch, &columns);
    assert_eq!(before.len(), 14, "{before:#?}");
    let store = scratch.open().await;
    assert_eq!(rows(&scratch, &columns), before);
    assert_eq!(
        versions(&scratch),
        (SCHEMA_VERSION, 1),
        "an older program may go on"
    );
    let check = store.check().await.expect("checked");
    assert_eq!((check.problems.len(), check.schema), (0, SCHEMA_VERSION));
    // What was there is still what it was ...
    let shown = store.sessions(at(0)).await.expect("listed");
    let beat = shown[1].heartbeat.clone().expect("it has one");
    assert_eq!((beat.seq, shown[1].unread), (7, 1));
    let fleet = store.fleet(Wanted::All, at(20)).await.expect("looked");
    let seen = fleet
        .sessions
        .iter()
        .find(|seen| seen.key == pair.b.session);
    let seen = seen.expect("it is watched");
    assert_eq!((seen.activity, seen.host.as_deref()), (4, Some("host")));
    assert_eq!(
        seen.beat.as_ref().map(|beat| (beat.seq, beat.kept)),
        Some((7, true))
    );
    assert_eq!(receive(&*store, &pair.b, at(21)).await, ["unread"]);
    // ... and what is new works with it.
    say(&*store, &pair.b, "hello", at(22)).await;
    let new = NewTask {
        role: "worker".into(),
        title: "one".parse().expect("a title"),
        body: "".parse().expect("a body"),
        files: Vec::new(),
        client_id: None,
    };
    let added = store.add_tasks(Some(&pair.a), &[new], at(23)).await;
    let claimed = store.claim_task(&pair.b, None, at(24)).await;
    let claimed = claimed.expect("claimed").expect("one waits");
    assert_eq!(
        (claimed.id, claimed.fence),
        (added.expect("added")[0].id, Fence(1))
    );
    let changed = store.fleet(Wanted::Since(fleet.cursor), at(25)).await;
    let changed = changed.expect("looked").sessions;
    assert!(
        changed
            .iter()
            .any(|seen| seen.key == pair.b.session && seen.open_tasks == 1)
    );
    store.close().await;
    // Opened once more, there is nothing left to do.
    let again = scratch.open().await;
    assert_eq!(
        again.task_counts().await.expect("counted").get("leased"),
        Some(&1)
    );
}

/// A child: opens the store that it is told of when its parent says so.
#[tokio::test]
async fn child_that_opens() {
    let Some(path) = told() else { return };
    report("ready");
    let mut line = String::new();
    std::io::stdin()
        .read_line(&mut line)
        .expect("the parent speaks");
    let store = open(path.as_ref(), Create::No).await;
    let conversations = store.conversations().await.expect("listed");
    report(&format!("opened {}", conversations.len()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_processes_that_migrate_at_once_both_succeed() {
    for round in 0..5 {
        let scratch = Scratch::new();
        old(&scratch).await;
        let path = scratch.path().display().to_string();
        let mut children: Vec<_> = (0..2)
            .map(|_| {
                let mut process = child(&[], "child_that_opens", &path)
                    .stdin(Stdio::piped())
                    .stdout(Stdio::piped())
                    .spawn()
                    .expect("started");
                let out = BufReader::new(process.stdout.take().expect("piped")).lines();
                (process, out)
            })
            .collect();
        let mut next = |of: usize| {
            let lines = children[of].1.by_ref().map_while(Result::ok);
            let mut said = lines.filter_map(|line| reported(&line).map(str::to_owned));
            said.next()
        };
        assert_eq!(
            [next(0), next(1)],
            [(); 2].map(|()| Some("ready".to_owned()))
        );
        for (process, _) in &mut children {
            let mut stdin = process.stdin.take().expect("piped");
            stdin.write_all(b"go\n").expect("it listens");
        }
        for (mut process, out) in children {
            let said: Vec<String> = out
                .map_while(Result::ok)
                .filter_map(|line| reported(&line).map(str::to_owned))
                .collect();
            assert_eq!(said, ["opened 1"], "round {round}");
            assert!(process.wait().expect("it ended").success());
        }
        assert_eq!(versions(&scratch), (SCHEMA_VERSION, 1));
    }
}
