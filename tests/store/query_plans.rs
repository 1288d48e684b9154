//! No call of the store gets slower with the messages that it ever carried:
//! every statement in its source is explained against a large store, and none
//! may walk through a table that grows.

#![expect(
    clippy::expect_used,
    reason = "a test that cannot set up its case has nothing to say"
)]

use crate::common::store as common;
use std::collections::BTreeSet;
use std::path::Path;

use regex::Regex;

/// Tables that grow with what is sent and done.
const GROWING: [(&str, &[&str]); 8] = [
    ("messages", &["m", "messages"]),
    ("bridge_receipt", &["r", "bridge_receipt"]),
    ("bridge_client_message", &["c", "bridge_client_message"]),
    ("bridge_wake", &["w", "bridge_wake"]),
    ("bridge_task", &["t", "o", "q", "b", "bridge_task"]),
    (
        "bridge_task_history",
        &["h", "y", "d", "bridge_task_history"],
    ),
    ("bridge_task_message", &["l", "bridge_task_message"]),
    ("audit_log", &["audit_log"]),
];

/// Partial indexes of what is open: they grow with the fleet and its work, not
/// with what was.
const OPEN: [&str; 2] = ["bridge_wake_open", "bridge_task_owner"];

/// Statements that may walk, by a part of them, and why.
const MAY_WALK: [(&str, &str); 8] = [
    (
        "SELECT (SELECT count(*) FROM conversations)",
        "the thorough look counts everything",
    ),
    (
        "SELECT state, count(*) FROM bridge_task",
        "`status` counts what there is",
    ),
    (
        "ORDER BY t.task_id DESC LIMIT ?5",
        "a person's list, from the newest, with an end",
    ),
    (
        "FROM audit_log ORDER BY id LIMIT ?2",
        "pruning, from the oldest, one part",
    ),
    (
        "SELECT task_id, fence FROM bridge_task WHERE fence > 0",
        "a restore reads the whole store",
    ),
    (
        "UPDATE bridge_task SET fence = fence + ?1",
        "a restore writes one that no row has yet",
    ),
    (
        "SELECT count(*) FROM messages",
        "a restore tells how much there is in a backup",
    ),
    ("FROM messages ORDER BY id DESC LIMIT 1", "the newest alone"),
];

/// A person's look at the audit log, from the newest.
const AUDIT: &str = "FROM audit_log
                     WHERE (?1 IS NULL OR conversation_id = ?1)";

/// The string literals of a piece of Rust.
fn literals(text: &str) -> Vec<String> {
    let literal = Regex::new(r#""((?:[^"\\]|\\.)*)""#).expect("a pattern");
    let found = literal.captures_iter(text);
    found.map(|found| found[1].replace("\\\"", "\"")).collect()
}

/// Where the bracket that opens right before `start` closes again; brackets in
/// literals count in pairs, as they do in SQL.
fn closing(text: &str, start: usize) -> usize {
    let mut depth = 1;
    for (at, letter) in text[start..].char_indices() {
        depth += match letter {
            '(' => 1,
            ')' => -1,
            _ => 0,
        };
        if depth == 0 {
            return start + at;
        }
    }
    panic!("a bracket is left open: {}", &text[start..]);
}

/// Takes the calls of a macro out of `text`; returns what stood in each.
fn calls(text: &mut String, name: &str) -> Vec<String> {
    let opening = format!("{name}!(");
    let mut found = Vec::new();
    while let Some(at) = text.find(&opening) {
        let start = at + opening.len();
        let end = closing(text, start);
        found.push(text[start..end].to_owned());
        text.replace_range(at..=end, "");
    }
    found
}

fn sources(directory: &Path, into: &mut Vec<(String, String)>) {
    for file in std::fs::read_dir(directory).expect("the source") {
        let path = file.expect("a file").path();
        if path.is_dir() {
            sources(&path, into);
            continue;
        }
        let text = std::fs::read_to_string(&path).expect("text");
        // A quotation mark in a comment opens no literal.
        let code = text
            .lines()
            .filter(|line| !line.trim_start().starts_with("//"));
        into.push((
            path.display().to_string(),
            code.collect::<Vec<_>>().join("\n"),
        ));
    }
}

/// Every statement in the source, those that macros put together included.
fn statements() -> Vec<(String, String)> {
    let verb = Regex::new(r"^\s*(WITH|SELECT|INSERT|UPDATE|DELETE)\s").expect("a pattern");
    let mut files = Vec::new();
    sources(
        &Path::new(env!("CARGO_MANIFEST_DIR")).join("src/store/sqlite"),
        &mut files,
    );
    // Lists of columns: macros that stand for one literal.
    let constant = Regex::new(r#"(?s)macro_rules! (\w+) \{\s*\(\) => \{\s*("[^"]*")\s*\};\s*\}"#);
    let constant = constant.expect("a pattern");
    let columns: Vec<(String, String)> = files
        .iter()
        .flat_map(|(_, text)| constant.captures_iter(text))
        .map(|found| (format!("{}!()", &found[1]), found[2].to_owned()))
        .collect();
    assert!(columns.len() > 10, "{columns:?}");
    // Statements around a part that is given: what comes before and after it.
    let around = Regex::new(
        r#"(?s)macro_rules! (\w+) \{\s*\(\$\w+:literal\) => \{\s*concat!\(\s*("[^"]*"),\s*\$\w+,\s*((?:"[^"]*"(?:,\s*)?)+)\s*\)\s*\};\s*\}"#,
    )
    .expect("a pattern");
    let mut found = Vec::new();
    let mut around_a_part = 0;
    for (file, text) in files {
        let mut text = constant.replace_all(&text, "").into_owned();
        for (name, list) in &columns {
            text = text.replace(name, list);
        }
        let template = around.captures(&text).map(|found| {
            let parts = [2, 3].map(|part| literals(&found[part]).concat());
            (found[0].to_owned(), found[1].to_owned(), parts)
        });
        if let Some((whole, name, [before, after])) = template {
            text = text.replace(&whole, "");
            for part in calls(&mut text, &name) {
                found.push((
                    file.clone(),
                    format!("{before}{}{after}", literals(&part).concat()),
                ));
                around_a_part += 1;
            }
        }
        for parts in calls(&mut text, "concat") {
            found.push((file.clone(), literals(&parts).concat()));
        }
        found.extend(literals(&text).into_iter().map(|sql| (file.clone(), sql)));
    }
    assert_eq!(around_a_part, 4, "the four looks at the fleet");
    found.retain(|(_, sql)| verb.is_match(sql));
    found
}

/// Whether one line of a plan walks through a table that grows.
fn walks(line: &str, sql: &str) -> bool {
    let Some(scanned) = line.strip_prefix("SCAN ") else {
        return false;
    };
    let index = scanned.rsplit(' ').next().unwrap_or_default();
    if OPEN.contains(&index) {
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
    assert!(statements.len() > 120, "the source was not found");
    let mut explained = 0;
    let mut excused = BTreeSet::new();
    for (file, sql) in statements {
        // For each table in turn: the greatest.
        let sql = sql.replace("{table}", "messages");
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
        let plain = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        let allowed = |part: &str| plain(&sql).contains(&plain(part));
        let excuses = MAY_WALK.iter().map(|(part, _)| *part).chain([AUDIT]);
        let fitting: Vec<&str> = excuses.filter(|part| allowed(part)).collect();
        if !fitting.is_empty() {
            excused.extend(fitting);
            continue;
        }
        let slow: Vec<&String> = plan.iter().filter(|line| walks(line, &sql)).collect();
        assert!(slow.is_empty(), "{file}: {slow:?}\n{sql}\n{plan:#?}");
        if sql.contains("read = 0") {
            // Or one by one, for messages that another table names.
            let few = [
                "bridge_messages_unread",
                "SEARCH m USING INTEGER PRIMARY KEY",
            ];
            let partial = plan.iter().any(|l| few.iter().any(|few| l.contains(few)));
            assert!(
                partial,
                "{file}: every message, read or not\n{sql}\n{plan:#?}"
            );
        }
    }
    assert!(explained > 120, "{explained}");
    // One that excuses nothing is an error in itself.
    assert_eq!(excused.len(), MAY_WALK.len() + 1, "{excused:#?}");
}

#[tokio::test]
async fn a_page_of_mail_costs_a_page() {
    let scratch = common::Scratch::fast();
    scratch.make().await.close().await;
    let raw = scratch.raw();
    raw.execute_batch(
        "INSERT INTO conversations VALUES ('conv_0123456789abcdef', 'x', 'y', '', '', '', '');
         WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 10000)
         INSERT INTO messages (conversation_id, from_session, to_session, message, timestamp, read)
         SELECT 'conv_0123456789abcdef', 'a', iif(i % 2, 'b', 'session_b'), 'x', '', i % 3 = 0
         FROM n;
         INSERT INTO bridge_receipt (message_id, conversation_id, session_id, fetch_id, fetched_ms)
         SELECT id, conversation_id, 'b', 'f', 1 FROM messages WHERE read = 1;",
    )
    .expect("filled");
    let statements = statements();
    let page = statements.iter().find(|(_, sql)| {
        sql.contains("INDEXED BY bridge_receipt_open") && sql.contains("LIMIT ?4)")
    });
    let (_, sql) = page.expect("what hands out and shows mail");
    let mut statement = raw.prepare(sql).expect("good SQL");
    let mut ask = |after: i64| -> (Vec<i64>, i32) {
        let rows = statement.query_map(("conv_0123456789abcdef", "b", after, 10), |row| row.get(0));
        let ids = rows
            .expect("read")
            .map(|id| id.expect("a number"))
            .collect();
        let steps = statement.reset_status(rusqlite::StatementStatus::VmStep);
        (ids, steps)
    };
    for after in [0, 5_000] {
        let (ids, steps) = ask(after);
        assert_eq!(ids, (after + 1..=after + 10).collect::<Vec<_>>());
        assert!(steps < 5_000, "{steps} steps for ten of ten thousand");
    }
}
