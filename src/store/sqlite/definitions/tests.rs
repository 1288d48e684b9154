use super::super::history;
use super::known::{DATA, LINE};
use super::*;

fn objects(sql: &str) -> Vec<Object> {
    let connection = Connection::open_in_memory().expect("opened");
    for step in history::steps_to(SCHEMA_VERSION) {
        connection.execute_batch(step).expect("made");
    }
    connection.execute_batch(sql).expect("changed");
    of(&connection).expect("read")
}

fn found(sql: &str) -> Vec<String> {
    let all = differences(&objects(sql), Some(SCHEMA_VERSION));
    all.into_iter().map(|difference| difference.what).collect()
}

/// The data as the migrations make it.
fn made_by_migrations() -> String {
    let mut made: BTreeMap<(String, String), (i64, i64, Object)> = BTreeMap::new();
    for schema in FIRST_SCHEMA..=SCHEMA_VERSION {
        let connection = Connection::open_in_memory().expect("opened");
        for step in history::steps_to(schema) {
            connection.execute_batch(step).expect("made");
        }
        for object in of(&connection).expect("read") {
            let shared = SHARED.iter().any(|(name, _)| *name == object.name);
            let Some(sql) = object.sql.clone().filter(|_| !shared) else {
                continue;
            };
            let key = (object.name.to_ascii_lowercase(), sql);
            made.entry(key).or_insert((schema, schema, object)).1 = schema;
        }
    }
    let mut all: Vec<_> = made.into_iter().collect();
    all.sort_by_key(|((name, _), (first, ..))| (name.clone(), *first));
    all.into_iter()
        .map(|((_, sql), (first, last, object))| {
            let (kind, name, table) = (object.kind, object.name, object.table);
            format!("{LINE}{first} {last} {kind} {name} {table}\n{sql}\n")
        })
        .collect()
}

/// With `MCP_BRIDGE_TEST_WRITE` it writes the data anew, for a new migration.
#[test]
fn the_known_definitions_are_the_migrations() {
    let made = made_by_migrations();
    if std::env::var_os("MCP_BRIDGE_TEST_WRITE").is_some() {
        let path = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/src/store/sqlite/definitions/known.sql"
        );
        std::fs::write(path, &made).expect("written");
    } else {
        assert_eq!(made, DATA);
    }
}

#[test]
fn store_of_ours_is_known_in_every_schema() {
    for schema in FIRST_SCHEMA..=SCHEMA_VERSION {
        let connection = Connection::open_in_memory().expect("opened");
        for step in history::steps_to(schema) {
            connection.execute_batch(step).expect("made");
        }
        let made = of(&connection).expect("read");
        assert_eq!(differences(&made, Some(schema)), [], "schema {schema}");
        assert!(says_its_schema(&made));
    }
}

#[test]
fn additions_of_other_users_are_theirs() {
    for sql in [
        "CREATE INDEX theirs ON messages (timestamp)",
        "CREATE INDEX theirs ON messages (from_session DESC) WHERE read = 0",
        "CREATE VIEW quiet AS SELECT * FROM session_status",
        "CREATE TABLE notes (id INTEGER PRIMARY KEY, text TEXT CHECK (length(text) < 9))",
        "CREATE TABLE notes (x); CREATE TRIGGER t AFTER INSERT ON notes BEGIN DELETE FROM notes; END",
        "ANALYZE",
    ] {
        assert_eq!(found(sql), [] as [String; 0], "{sql}");
    }
}

#[test]
fn definitions_that_run_or_hide_are_named() {
    for (sql, what) in [
        (
            "CREATE TRIGGER steal AFTER INSERT ON messages BEGIN DELETE FROM messages; END",
            "trigger `steal` on `messages`",
        ),
        (
            "CREATE TRIGGER t BEFORE INSERT ON Bridge_Task BEGIN SELECT raise(ignore); END",
            "trigger `t` on `bridge_task`",
        ),
        (
            "CREATE UNIQUE INDEX one ON messages (conversation_id)",
            "index `one` on `messages`",
        ),
        (
            "CREATE INDEX slow ON messages (json(message))",
            "index `slow` on `messages`",
        ),
        (
            "ALTER TABLE messages ADD COLUMN x TEXT GENERATED ALWAYS AS (upper(message))",
            "table `messages`: `GENERATED` in column `x` is not plain",
        ),
        (
            "ALTER TABLE conversations ADD COLUMN x TEXT COLLATE nocase",
            "table `conversations`: `COLLATE` in column `x` is not plain",
        ),
        (
            "DROP TABLE bridge_leader; CREATE VIEW bridge_leader AS SELECT 1 AS one",
            "view `bridge_leader` instead of a table",
        ),
        (
            "CREATE TABLE json_each (value)",
            "table `json_each` instead of a function",
        ),
        (
            "DROP INDEX bridge_messages_unread",
            "index `bridge_messages_unread` is missing",
        ),
    ] {
        let all = found(sql);
        assert!(all.iter().any(|found| found == what), "{sql}: {all:?}");
    }
}

#[test]
fn bridge_s_tables_are_judged_by_their_shape() {
    let judge = |name: &str, sql: &str| of_theirs(name, sql);
    for (name, sql) in [
        (
            "session_status",
            "create table \"session_status\"(conversation_id TEXT PRIMARY KEY, session_id TEXT NOT NULL,
             last_heartbeat TEXT NOT NULL, status TEXT DEFAULT 'active')",
        ),
        (
            "session_status",
            "CREATE TABLE IF NOT EXISTS session_status (conversation_id TEXT NOT NULL, -- c
             session_id TEXT NOT NULL, status TEXT, last_heartbeat TEXT,
             PRIMARY KEY (conversation_id, session_id))",
        ),
        (
            "messages",
            "CREATE TABLE messages (id INTEGER PRIMARY KEY AUTOINCREMENT, conversation_id VARCHAR(64),
             timestamp TEXT DEFAULT CURRENT_TIMESTAMP, read BOOLEAN DEFAULT 0, extra TEXT,
             FOREIGN KEY (conversation_id) REFERENCES conversations (id))",
        ),
    ] {
        assert_eq!(judge(name, sql), None, "{sql}");
    }
    for (name, sql) in [
        (
            "messages",
            "CREATE TABLE messages (id INTEGER PRIMARY KEY, x TEXT UNIQUE ON CONFLICT REPLACE)",
        ),
        (
            "messages",
            "CREATE TABLE messages (id INTEGER PRIMARY KEY, x TEXT, UNIQUE (x) ON CONFLICT IGNORE)",
        ),
        (
            "messages",
            "CREATE TABLE messages (id INTEGER PRIMARY KEY ON CONFLICT REPLACE)",
        ),
        (
            "messages",
            "CREATE TABLE messages (id INTEGER PRIMARY KEY, x TEXT DEFAULT (randomblob(9)))",
        ),
        (
            "messages",
            "CREATE TABLE messages (id INTEGER PRIMARY KEY, x TEXT CHECK (x <> ''))",
        ),
        (
            "messages",
            "CREATE TABLE messages (id INTEGER PRIMARY KEY, x TEXT NOT NULL ON CONFLICT IGNORE)",
        ),
        (
            "messages",
            "CREATE TABLE messages (id INTEGER PRIMARY KEY, x REFERENCES y (z) ON DELETE CASCADE)",
        ),
        (
            "messages",
            "CREATE TABLE messages (id INTEGER PRIMARY KEY, x AS (1))",
        ),
        (
            "session_status",
            "CREATE TABLE session_status (conversation_id TEXT, session_id TEXT PRIMARY KEY)",
        ),
        ("messages", "CREATE VIRTUAL TABLE messages USING fts5 (x)"),
    ] {
        assert!(judge(name, sql).is_some(), "{sql}");
    }
}

#[test]
fn a_newer_version_may_add_plain_columns() {
    let newer = |sql: &str| differences(&objects(sql), Some(SCHEMA_VERSION + 1));
    let plain = "ALTER TABLE bridge_heartbeat ADD COLUMN later INTEGER NOT NULL DEFAULT 0";
    assert_eq!(newer(plain), []);
    assert_eq!(found(plain).len(), 1, "in a store of today");
    let computed = "ALTER TABLE bridge_heartbeat ADD COLUMN later AS (upper(proof))";
    assert_eq!(newer(computed).len(), 1);
}

#[test]
fn a_hostile_name_is_shown_harmless() {
    let shown = shown_name("x\u{1b}]52;c;\u{202e}\n`");
    assert!(
        shown.chars().all(|c| !c.is_control() && c != '\u{202e}'),
        "{shown}"
    );
}
