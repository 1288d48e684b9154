//! No call of the store gets slower with the messages that it ever carried:
//! every statement in its source is explained against a large store, and none
//! may walk through a table that grows.

#![expect(
    clippy::expect_used,
    reason = "a test that cannot set up its case has nothing to say"
)]

#[path = "common/store.rs"]
mod common;

use std::path::Path;

use regex::Regex;

/// Tables that grow with what is sent.
const GROWING: [(&str, &[&str]); 4] = [
    ("messages", &["m", "messages"]),
    ("bridge_receipt", &["r", "bridge_receipt"]),
    ("bridge_client_message", &["c", "bridge_client_message"]),
    ("bridge_wake", &["w", "bridge_wake"]),
];

/// The thorough look counts everything, on purpose.
const COUNTS_ALL: &str = "SELECT (SELECT count(*) FROM conversations)";

fn statements() -> Vec<(String, String)> {
    let literal = Regex::new(r#""((?:[^"\\]|\\.)*)""#).expect("a pattern");
    let verb = Regex::new(r"^\s*(WITH|SELECT|INSERT|UPDATE|DELETE)\s").expect("a pattern");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/store/sqlite");
    let mut found = Vec::new();
    for file in std::fs::read_dir(source).expect("the source") {
        let path = file.expect("a file").path();
        let text = std::fs::read_to_string(&path).expect("text");
        for literal in literal.captures_iter(&text) {
            let sql = literal[1].replace("\\\"", "\"");
            if verb.is_match(&sql) {
                found.push((path.display().to_string(), sql));
            }
        }
    }
    found
}

/// Whether one line of a plan walks through a table that grows.
fn walks(line: &str, sql: &str) -> bool {
    let Some(scanned) = line.strip_prefix("SCAN ") else {
        return false;
    };
    // The partial index of what is open holds at most one row a session.
    if scanned.ends_with("USING INDEX bridge_wake_open") {
        return false;
    }
    let name = scanned.split(' ').next().unwrap_or_default();
    GROWING.iter().any(|(table, names)| {
        // An alias means the table only where the statement says so.
        names.contains(&name) && (name == *table || sql.contains(&format!("{table} {name}")))
    })
}

#[tokio::test]
async fn nothing_walks_through_what_grows() {
    let scratch = common::Scratch::fast();
    scratch.make().await.close().await;
    let raw = scratch.raw();
    let parameter = Regex::new(r"\?(\d+)").expect("a pattern");
    let statements = statements();
    assert!(statements.len() > 40, "the source was not found");
    let mut explained = 0;
    for (file, sql) in statements {
        // What concerns the table as it was before it was migrated.
        if sql.contains("bridge_old_session_status") {
            continue;
        }
        let mut statement = raw
            .prepare(&format!("EXPLAIN QUERY PLAN {sql}"))
            .unwrap_or_else(|error| panic!("{file}: {error}: {sql}"));
        let wanted = parameter
            .captures_iter(&sql)
            .filter_map(|found| found[1].parse::<usize>().ok())
            .max()
            .unwrap_or(0);
        let nothing = vec![rusqlite::types::Null; wanted];
        let plan: Vec<String> = statement
            .query_map(rusqlite::params_from_iter(nothing), |row| row.get(3))
            .expect("explained")
            .map(|line| line.expect("a line"))
            .collect();
        explained += 1;
        if sql.trim_start().starts_with(COUNTS_ALL) {
            continue;
        }
        let slow: Vec<&String> = plan.iter().filter(|line| walks(line, &sql)).collect();
        assert!(slow.is_empty(), "{file}: {slow:?}\n{sql}\n{plan:#?}");
        if sql.contains("read = 0") {
            let partial = plan.iter().any(|l| l.contains("bridge_messages_unread"));
            assert!(
                partial,
                "{file}: every message, read or not\n{sql}\n{plan:#?}"
            );
        }
    }
    assert!(explained > 40);
}
