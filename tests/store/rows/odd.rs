//! A row of a wrong type, an id that is the last one, an end that is no end: each is
//! reported as what it is, and stops nothing else.

use super::site::{ID, Site};

fn store() -> Site {
    let site = Site::adoptable();
    assert_eq!(site.run(&["store", "init"]).0, Some(0));
    site
}

fn add(site: &Site, title: &str) -> (Option<i32>, String) {
    let words = [
        "task", "add", "--role", "builder", "--title", title, "--body", "x",
    ];
    site.run(&words)
}

#[test]
fn the_last_id_is_no_full_disk() {
    let insert = [
        (
            "messages",
            "id",
            format!(
                "INSERT INTO messages (id, conversation_id, from_session, to_session, message, timestamp)
                 VALUES (9223372036854775807, '{ID}', 'a', 'b', 'x', '2025-11-13T02:13:21.000000')"
            ),
        ),
        (
            "audit_log",
            "id",
            "INSERT INTO audit_log (id, action, timestamp)
             VALUES (9223372036854775807, 'x', '2025-11-13T02:13:21.000000')"
                .to_owned(),
        ),
        (
            "bridge_task",
            "task_id",
            "INSERT INTO bridge_task (task_id, role, title, body, created_ms, changed_ms)
             VALUES (9223372036854775807, 'x', 'x', 'x', 0, 0)"
                .to_owned(),
        ),
        (
            "bridge_task_history",
            "history_id",
            "INSERT INTO bridge_task_history (history_id, task_id, fence, event, at_ms)
             VALUES (9223372036854775807, 1, 0, 'x', 0)"
                .to_owned(),
        ),
    ];
    for (table, id, insert) in insert {
        let site = store();
        assert_eq!(add(&site, "one").0, Some(0));
        site.raw().execute_batch(&insert).expect("inserted");
        let given = || match table {
            "messages" | "audit_log" => site.run_as("a", &["send", "hello"]),
            _ => add(&site, "two"),
        };
        let (code, said) = given();
        assert_eq!(code, Some(78), "{table}: {said}");
        let expected = format!("table {table} has no id left for another row: row 92233");
        assert!(said.contains(&expected), "{table}: {said}");
        assert!(!said.contains("disk"), "{table}: {said}");
        for look in [&["store", "check"], &["doctor"] as &[&str]] {
            let (_, said) = site.run(look);
            assert!(said.contains(&expected), "{look:?}: {said}");
        }
        // What it says to do is enough.
        let remedy = said
            .lines()
            .find_map(|line| line.split_once("with sqlite3: "))
            .expect("a remedy")
            .1;
        assert!(remedy.contains(&format!("WHERE {id} = 92233")), "{remedy}");
        site.raw().execute_batch(remedy).expect("mended");
        let (code, said) = given();
        assert_eq!(code, Some(0), "{table}: {said}");
        let (code, said) = site.run(&["store", "check"]);
        assert_eq!(code, Some(0), "{said}");
    }
}

/// One value of a wrong type in each of our tables that lists are made of.
const ODD: [&str; 9] = [
    "UPDATE bridge_task SET created_ms = 'soon' WHERE task_id = 1",
    "UPDATE bridge_task SET title = x'ff00' WHERE task_id = 1",
    "INSERT INTO bridge_alert (kind, subject, text, raised_by, raised_ms)
         VALUES ('lost', 'x', x'ff', 'x', 'then')",
    "INSERT INTO bridge_control VALUES ('mute', 'lost', 'x', 9223372036854775807)",
    "INSERT INTO bridge_daemon (daemon_id, epoch, role, host, boot_id, pid, version, started_ms)
         VALUES ('odd', 'x', 'worker', x'ff', 'x', 'x', 'x', 0)",
    "INSERT INTO bridge_session (conversation_id, session_id, activity_seq, change)
         VALUES ('other', 'b', 'x', 'zzz')",
    "INSERT OR REPLACE INTO bridge_conversation (conversation_id, label, closed_ms)
         VALUES ('other', 'other', 'never')",
    "INSERT INTO bridge_heartbeat (conversation_id, session_id, seq, boot_id, pid_ns,
             beat_boot_ms, beat_ms, ttl_ms, proof)
         VALUES ('other', 'b', 'x', 'x', 'x', 'x', 'x', 'x', x'ff')",
    "INSERT INTO bridge_setting VALUES ('rate.per_minute', x'ff')",
];

#[test]
fn an_odd_row_stops_nothing_else() {
    let site = store();
    assert_eq!(add(&site, "odd").0, Some(0));
    assert_eq!(add(&site, "sound").0, Some(0));
    site.raw()
        .execute_batch(
            "INSERT INTO conversations SELECT 'other', session_a_role, session_b_role,
                 session_a_token, session_b_token, created_at, expires_at FROM conversations;",
        )
        .expect("another conversation");
    for odd in ODD {
        site.raw().execute_batch(odd).expect(odd);
        for command in [
            &["status"] as &[&str],
            &["task", "list"],
            &["task", "show", "2"],
            &["alert", "list"],
            &["conversation", "list"],
            &["store", "limits"],
        ] {
            let (code, said) = site.run(command);
            assert_eq!(code, Some(0), "{odd}\n{command:?}: {said}");
        }
        let (code, said) = add(&site, "another");
        assert_eq!(code, Some(0), "{odd}: {said}");
        let (code, said) = site.run_as("a", &["send", "hello"]);
        assert_eq!(code, Some(0), "{odd}: {said}");
        let (code, said) = site.run_as("b", &["check"]);
        assert_eq!(code, Some(0), "{odd}: {said}");
        // The odd one is the oldest of its role.
        let (code, said) = site.run_as("b", &["task", "claim"]);
        assert!(matches!(code, Some(0 | 75)), "{odd}: {said}");
    }
    let (_, said) = site.run(&["task", "list"]);
    assert!(said.contains("sound") && !said.contains(" odd"), "{said}");
    let (code, said) = site.run(&["store", "check"]);
    assert_eq!(code, Some(78), "{said}");
    for table in [
        "bridge_task",
        "bridge_alert",
        "bridge_control",
        "bridge_daemon",
        "bridge_session",
        "bridge_conversation",
        "bridge_heartbeat",
        "bridge_setting",
    ] {
        let expected = format!("table {table}: 1 row with a value of a wrong type, such as ");
        assert!(said.contains(&expected), "{table}: {said}");
    }
    let (_, said) = site.run(&["doctor"]);
    assert!(said.contains("table bridge_task: 1 row"), "{said}");
}

#[test]
fn the_last_time_that_python_knows_means_never() {
    let site = store();
    site.raw()
        .execute_batch("UPDATE conversations SET expires_at = '9999-12-31T23:59:59.999999'")
        .expect("set");
    let (code, said) = site.run_as("a", &["send", "hello"]);
    assert_eq!(code, Some(0), "{said}");
    let (code, said) = site.run_as("b", &["check"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("hello"), "{said}");
    for command in [
        &["status"] as &[&str],
        &["conversation", "list"],
        &["conversation", "show", ID],
    ] {
        let (code, said) = site.run(command);
        assert_eq!(code, Some(0), "{command:?}: {said}");
        assert!(!said.contains("expired"), "{command:?}: {said}");
    }
}
