//! Definitions that an operator accepted may keep rows out: no command reports a false
//! success.

use super::site::Site;

/// The source of a command: an operator, or the session of a side.
type Given = (Option<&'static str>, &'static [&'static str]);

const SEND: Given = (Some("a"), &["send", "hello"]);
const CHECK: Given = (Some("b"), &["check"]);
const ADD: Given = (
    None,
    &[
        "task", "add", "--role", "builder", "--title", "one", "--body", "x",
    ],
);
const NEW: Given = (None, &["conversation", "new", "--label", "another"]);

/// What is kept out, where, and the command that then says so.
const CASES: [(&str, &str, Given); 13] = [
    ("INSERT", "messages", SEND),
    ("INSERT", "audit_log", SEND),
    ("INSERT", "bridge_session", SEND),
    ("UPDATE", "messages", CHECK),
    ("INSERT", "bridge_receipt", CHECK),
    ("INSERT", "bridge_task", ADD),
    ("INSERT", "bridge_task_history", ADD),
    ("INSERT", "bridge_signal", ADD),
    ("INSERT", "conversations", NEW),
    ("INSERT", "bridge_conversation", NEW),
    (
        "INSERT",
        "bridge_control",
        (None, &["drain", "conv_0123456789abcdef/b", "--for", "30m"]),
    ),
    (
        "UPDATE",
        "conversations",
        (
            None,
            &[
                "conversation",
                "renew",
                "conv_0123456789abcdef",
                "--for",
                "3h",
            ],
        ),
    ),
    (
        "INSERT",
        "bridge_setting",
        (None, &["store", "limits", "--per-minute", "7"]),
    ),
];

fn given(site: &Site, command: Given) -> (Option<i32>, String) {
    let (side, arguments) = command;
    if command == NEW {
        let out = site.home.path().to_str().expect("text");
        return site.run(&[arguments, &["--out", out]].concat());
    }
    match side {
        Some(side) => site.run_as(side, arguments),
        None => site.run(arguments),
    }
}

#[test]
fn a_row_that_was_kept_out_is_refused() {
    let site = Site::adoptable();
    assert_eq!(site.run(&["store", "init"]).0, Some(0));
    let soon =
        "UPDATE conversations SET expires_at = strftime('%Y-%m-%dT%H:%M:%f000', 'now', '+1 hours')";
    site.raw().execute_batch(soon).expect("set");
    for (event, table, command) in CASES {
        let raw = site.raw();
        raw.execute_batch(&format!(
            "CREATE TRIGGER swallow BEFORE {event} ON {table} BEGIN SELECT raise(ignore); END"
        ))
        .expect("made");
        let (code, said) = site.run(&["store", "init", "--accept-schema"]);
        assert_eq!(code, Some(0), "{table}: {said}");
        let (code, said) = given(&site, command);
        assert_eq!(code, Some(78), "{event} {table}: {said}");
        let expected = format!("a row for table {table} was not stored");
        assert!(said.contains(&expected), "{event} {table}: {said}");
        raw.execute_batch("DROP TRIGGER swallow").expect("dropped");
    }
    // Each of them works without.
    for command in [SEND, CHECK, ADD, NEW] {
        let (code, said) = given(&site, command);
        assert_eq!(code, Some(0), "{command:?}: {said}");
    }
}

#[test]
fn a_constraint_that_ignores_conflicts_swallows_nothing() {
    let site = Site::adoptable();
    // The second of two equal messages goes nowhere.
    site.raw()
        .execute_batch(
            "ALTER TABLE messages RENAME TO was;
             CREATE TABLE messages (
                 id INTEGER PRIMARY KEY AUTOINCREMENT, conversation_id TEXT NOT NULL,
                 from_session TEXT NOT NULL, to_session TEXT NOT NULL, message TEXT NOT NULL,
                 metadata TEXT, timestamp TEXT NOT NULL, read INTEGER DEFAULT 0,
                 UNIQUE (message) ON CONFLICT IGNORE);
             DROP TABLE was;",
        )
        .expect("made");
    let (code, said) = site.run(&["store", "init", "--accept-schema"]);
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(site.run_as("a", &["send", "same"]).0, Some(0));
    let (code, said) = site.run_as("a", &["send", "same"]);
    assert_eq!(code, Some(78), "{said}");
    assert!(
        said.contains("a row for table messages was not stored"),
        "{said}"
    );
}
