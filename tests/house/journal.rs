//! What the journal shows: the words of `MCP_EVENT`, their ids, and the
//! catalog that explains them, each held against the code.

#![expect(
    clippy::expect_used,
    reason = "a file that cannot be read has nothing to say"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use jiff::Timestamp;
use mcp_bridge::logging::events::{EVENTS, Level};
use mcp_bridge::model::alert::{Alert, AlertKind, Edge};
use tempfile::TempDir;

const CATALOG: &str = "packaging/catalog/mcp-bridge.catalog";

fn root(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// Every Rust file below, without its tests.
fn sources(directory: &Path, found: &mut Vec<(String, String)>) {
    for entry in fs::read_dir(directory).expect("a directory") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).expect("text");
            let name = path.display().to_string();
            let code = text.split("#[cfg(test)]\nmod tests").next();
            found.push((name, code.unwrap_or_default().to_owned()));
        }
    }
}

fn code() -> Vec<(String, String)> {
    let mut found = Vec::new();
    sources(&root("src"), &mut found);
    found.retain(|(name, _)| !name.contains("/cli/") && !name.ends_with("logging/events.rs"));
    assert!(found.len() > 60, "{}", found.len());
    found
}

/// The arguments of each call of this macro: up to its closing bracket.
fn calls<'a>(code: &'a str, name: &str) -> Vec<&'a str> {
    let head = format!("{name}!(");
    code.match_indices(&head)
        .filter(|(at, _)| {
            let before = code[..*at].chars().next_back();
            !before.is_some_and(|c| c.is_alphanumeric() || c == '_')
        })
        .map(|(at, _)| {
            let rest = &code[at + head.len()..];
            let (mut depth, mut quoted, mut escaped) = (1, false, false);
            let end = rest.find(|c| {
                match c {
                    _ if escaped => {
                        escaped = false;
                        return false;
                    }
                    '\\' if quoted => escaped = true,
                    '"' => quoted = !quoted,
                    '(' if !quoted => depth += 1,
                    ')' if !quoted => depth -= 1,
                    _ => {}
                }
                depth == 0
            });
            &rest[..end.expect("a closing bracket")]
        })
        .collect()
}

/// A reader who filters the journal by `MCP_EVENT` misses nothing above debug.
#[test]
fn every_record_above_debug_names_its_event() {
    let known: BTreeMap<&str, Level> = EVENTS.iter().map(|e| (e.name, e.level)).collect();
    let mut said = 0;
    for (file, code) in code() {
        for (name, level) in [
            ("info", Level::Info),
            ("warn", Level::Warning),
            ("error", Level::Error),
        ] {
            for call in calls(&code, name) {
                said += 1;
                let event = call.split_once("event = \"").map(|(_, rest)| {
                    let (word, _) = rest.split_once('"').expect("a word");
                    word
                });
                let Some(event) = event else {
                    // Named by a variable; the words stand beside it.
                    assert!(
                        call.trim_start().starts_with("event,"),
                        "{file}: {name}!({call}) has no event"
                    );
                    continue;
                };
                let found = known.get(event);
                // Two ways of dying share one event for who died.
                assert_eq!(found, Some(&level), "{file}: {name}!({call})");
            }
        }
    }
    assert!(said > 45, "{said}");
}

/// The id is for scripts, the name for people: a record of a session has both.
#[test]
fn every_record_of_a_session_has_its_name() {
    let mut said = 0;
    for (file, code) in code() {
        for name in ["info", "warn", "error"] {
            for call in calls(&code, name) {
                let fields = call.split('"').step_by(2).collect::<String>();
                if fields.contains("session = ") || fields.contains("%session") {
                    said += 1;
                    assert!(fields.contains("label"), "{file}: {name}!({call})");
                }
            }
        }
    }
    assert!(said > 12, "{said}");
}

#[test]
fn every_event_of_the_table_stands_in_the_code() {
    let code = code();
    for event in EVENTS {
        let word = format!("\"{}\"", event.name);
        let found = code.iter().any(|(_, code)| code.contains(&word));
        assert!(found, "nothing says {word}");
        assert!(!event.about.ends_with('.'), "{word}");
    }
}

fn recovered() -> &'static str {
    let now = Timestamp::UNIX_EPOCH;
    let alert = Alert {
        id: String::new(),
        kind: AlertKind::Lost,
        edge: Edge::Recovered,
        subject: String::new(),
        session: None,
        task: None,
        text: String::new(),
        since: now,
        at: now,
        reminders: 0,
        daemon: String::new(),
    };
    alert.message_id()
}

/// Every `MESSAGE_ID` of the code, with what it is of.
fn ids() -> Vec<(&'static str, String)> {
    let events = EVENTS
        .iter()
        .filter_map(|e| Some((e.message_id?, e.name.to_owned())));
    let alerts = AlertKind::ALL.map(|kind| (kind.message_id(), format!("alert {kind}")));
    let recovered = (recovered(), "recovered".to_owned());
    events.chain(alerts).chain([recovered]).collect()
}

#[test]
fn ids_are_each_their_own() {
    let ids = ids();
    let distinct: BTreeSet<&str> = ids.iter().map(|(id, _)| *id).collect();
    assert_eq!(distinct.len(), ids.len());
    for (id, name) in &ids {
        let hex = |c: char| c.is_ascii_digit() || ('a'..='f').contains(&c);
        assert!(id.len() == 32 && id.chars().all(hex), "{name}: {id}");
    }
}

/// Operators and their scripts rest on this.
#[test]
fn the_ids_of_events_do_not_change() {
    let events = EVENTS
        .iter()
        .filter_map(|e| Some(format!("{} {}", e.message_id?, e.name)));
    let listed: Vec<String> = events.collect();
    insta::assert_snapshot!(listed.join("\n"), @r"
    5af14c90e35d4db888e16b0d380ed4d0 ready
    5c9ad98305e24dfb943a66b5f2a1f7ae stop-overdue
    f4d99ffb483249b3bab7f2f3e10d59f9 reload-refused
    fc439b9309eb4a1bb1c1c3f54ab82c18 reload-partial
    5e7a9f56586c4604b512bef98749d6a9 duty-trouble
    c2701774f8c94d37827ff4813ac8703d duty-hung
    08f19eb84f9a409b867685f8f3902e9f duty-died
    073291738bef4c11a845993b5bc34621 door-for-one-user
    3fe54f03ae9a4291b0900300b9515301 store-trouble
    566628f690514312a4a9e86c92c5a622 store-log-large
    40f81f1c889a4683a8ae3c40b17448cc file-events-lost
    3c0f5d1be3a945a8a1d1b8f6b0d4c2f7 log-missing
    95797aa77795459e97e1d63994b4c735 session-unproven
    a6394cae5bb84b7ca2791736f31d879b session-exited
    a9f9873a888848639ba3ce6785d220e6 session-refused
    c687831abfad4958af5ca047ff239b20 wake-list-spent
    8d95ab13b76649c0ab6d68158b6c82e8 lead-taken
    dc29583a746c4d91a4fdeb8dbae6a058 lead-lost
    6a2daea911bf4494b4f0d266d85d9a6c watchdog-late
    2980efe32793486d99d924ef4828000d session-lost
    75c7fc6d2cac40819e67ae4167093156 session-stalled
    d98c1f2d78c748e08d847cc2a3904dc8 session-never-started
    eceddb76955946cca2c0f49d847fc2d8 task-dead
    dd5b433b4ae04881884fdcc719256b1a alert-not-told
    ");
}

/// Heads and texts of the catalog, by id.
fn catalog() -> BTreeMap<String, String> {
    let text = fs::read_to_string(root(CATALOG)).expect("the catalog");
    let mut entries = BTreeMap::new();
    for entry in format!("\n{text}").split("\n-- ").skip(1) {
        let (id, body) = entry.split_once('\n').expect("an id");
        let twice = entries.insert(id.to_owned(), body.to_owned());
        assert!(twice.is_none(), "{id} twice");
    }
    entries
}

#[test]
fn the_catalog_explains_every_id_and_no_other() {
    let entries = catalog();
    let explained: BTreeSet<&str> = entries.keys().map(String::as_str).collect();
    let ids = ids();
    let wanted: BTreeSet<&str> = ids.iter().map(|(id, _)| *id).collect();
    assert_eq!(explained, wanted);
    for (id, name) in ids {
        let (head, text) = entries[id].split_once("\n\n").expect("a head and a text");
        for field in [
            "Subject: ",
            "Defined-By: mcp-bridge",
            "Support: ",
            "Documentation: ",
        ] {
            assert!(head.contains(field), "{name}: {head}");
        }
        assert!(text.trim().len() > 40, "{name}: {text}");
        // A line of it stands below a record on an ordinary terminal.
        for line in text.lines() {
            assert!(line.chars().count() <= 86, "{name}: {line}");
        }
        // What it names of the record has to be there.
        let event = EVENTS.iter().find(|event| event.name == name);
        for field in entries[id].split('@').skip(1).step_by(2) {
            let field = field.strip_prefix("MCP_").expect(field);
            let common = ["ROLE", "DUTY"].contains(&field);
            let own = match event {
                // Every record of a session has its name as well.
                Some(event) => event
                    .fields
                    .split(", ")
                    .any(|own| own == field || (own == "SESSION" && field == "LABEL")),
                None => ["ALERT", "ALERT_ID", "SUBJECT", "DAEMON"].contains(&field),
            };
            assert!(common || own, "{name} has no field {field}");
        }
    }
}

/// As the package's installation does it, for a directory of its own.
#[test]
fn the_journal_takes_the_catalog() {
    let dir = TempDir::new().expect("a directory");
    let catalogs = dir.path().join("usr/lib/systemd/catalog");
    fs::create_dir_all(&catalogs).expect("made");
    fs::create_dir_all(dir.path().join("var/lib/systemd/catalog")).expect("made");
    fs::copy(root(CATALOG), catalogs.join("mcp-bridge.catalog")).expect("copied");
    let journalctl = |what: &str| {
        Command::new("journalctl")
            .arg(format!("--root={}", dir.path().display()))
            .arg(what)
            .output()
    };
    let Ok(made) = journalctl("--update-catalog") else {
        println!("skipped: the catalog is not compiled: there is no journalctl here");
        return;
    };
    let said = String::from_utf8_lossy(&made.stderr);
    assert!(made.status.success() && said.is_empty(), "{said}");
    let dumped = journalctl("--dump-catalog").expect("it ran before");
    let text = String::from_utf8_lossy(&dumped.stdout);
    for (id, name) in ids() {
        assert!(text.contains(&format!("-- {id}\n")), "{name}");
    }
}
