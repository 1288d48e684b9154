//! What stands beside the store, and what the store is called: the real programs
//! refuse it before SQLite sees it, and say what to do.

#![expect(
    clippy::expect_used,
    reason = "a test that cannot make its files has nothing to say"
)]

use std::path::Path;
use std::process::Command;

use crate::common::scratch::{Ran, Running, Scratch, is_root};

/// A command of each way to open a store, with the exit code of a refusal.
const WAYS: [(&[&str], i32); 8] = [
    (&["status"], 69),
    (&["conversation", "list"], 78),
    (&["check"], 78),
    (&["send", "hello"], 78),
    (&["store", "check"], 78),
    (&["store", "backup", "copy.db"], 78),
    (&["conversation", "new", "--label", "more"], 78),
    (&["doctor"], 1),
];

/// The tables that the Python bridge makes.
const OTHER_BRIDGE: &str = "
    CREATE TABLE conversations (id TEXT PRIMARY KEY, session_a_role TEXT, session_b_role TEXT,
        session_a_token TEXT, session_b_token TEXT, created_at TEXT, expires_at TEXT);
    CREATE TABLE messages (id INTEGER PRIMARY KEY AUTOINCREMENT, conversation_id TEXT,
        from_session TEXT, to_session TEXT, message TEXT, metadata TEXT, timestamp TEXT,
        read INTEGER DEFAULT 0);
    CREATE TABLE session_status (conversation_id TEXT, session_id TEXT, status TEXT,
        last_heartbeat TEXT, PRIMARY KEY (conversation_id, session_id));
    CREATE TABLE audit_log (id INTEGER PRIMARY KEY AUTOINCREMENT, conversation_id TEXT,
        session_id TEXT, action TEXT, details TEXT, timestamp TEXT);";

/// Every way is refused, in words that name `file`.
fn all_refuse(scratch: &Scratch, file: &Path) {
    for (arguments, code) in WAYS {
        let session = if arguments[0] == "check" {
            "work.b"
        } else {
            "work.a"
        };
        let ran = scratch.run_as(session, arguments);
        assert_eq!(ran.code, Some(code), "{arguments:?}: {ran:#?}");
        let said = format!("{}{}", ran.out, ran.err);
        assert!(
            said.contains(&file.display().to_string()),
            "{arguments:?}: {said}"
        );
    }
    assert!(!scratch.path("copy.db").exists(), "a copy was made");
}

/// A rollback journal without a record, whose end names `super_journal`: SQLite
/// deletes the named file when it has rolled back the nothing that there is.
fn crafted_journal(super_journal: &Path) -> Vec<u8> {
    const MAGIC: [u8; 8] = [0xd9, 0xd5, 0x05, 0xf9, 0x20, 0xa1, 0x63, 0xd7];
    let name = super_journal.as_os_str().as_encoded_bytes();
    let sum: u32 = name.iter().map(|&byte| u32::from(byte)).sum();
    let length = u32::try_from(name.len()).expect("short");
    let mut journal = MAGIC.to_vec();
    for number in [0_u32, 1, 1, 512, 4096] {
        journal.extend_from_slice(&number.to_be_bytes());
    }
    journal.resize(512, 0);
    // The page of the lock byte, as pages are counted from one.
    journal.extend_from_slice(&(0x4000_0000_u32 / 4096 + 1).to_be_bytes());
    journal.extend_from_slice(name);
    journal.extend_from_slice(&length.to_be_bytes());
    journal.extend_from_slice(&sum.to_be_bytes());
    journal.extend_from_slice(&MAGIC);
    journal
}

#[test]
fn a_journal_that_names_a_file_deletes_nothing() {
    let scratch = Scratch::with_conversation();
    let victim = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(victim.path(), "dear to its owner").expect("written");
    let journal = scratch.path("bridge.db-journal");
    std::fs::write(&journal, crafted_journal(victim.path())).expect("written");
    all_refuse(&scratch, &journal);
    let text = std::fs::read_to_string(victim.path()).expect("the victim is there");
    assert_eq!(text, "dear to its owner");
    std::fs::remove_file(&journal).expect("the journal is there");
    scratch.run_as("work.a", &["send", "hello"]).ok();
}

#[test]
fn a_crashed_writer_s_journal_is_rolled_back() {
    let scratch = Scratch::new();
    let made = rusqlite::Connection::open(scratch.store()).expect("opened");
    made.execute_batch(OTHER_BRIDGE)
        .expect("the other bridge's tables");
    made.pragma_update(None, "cache_size", 1).expect("set");
    // A transaction that does not end: its journal is kept as a crash leaves it.
    made.execute_batch(
        "BEGIN IMMEDIATE;
         WITH RECURSIVE n (x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < 2000)
         INSERT INTO audit_log (action, details, timestamp)
         SELECT 'x', hex(randomblob(200)), '2026-01-01T00:00:00.000000' FROM n;",
    )
    .expect("begun");
    let crashed = Scratch::new();
    for suffix in ["", "-journal"] {
        let name = format!("bridge.db{suffix}");
        std::fs::copy(scratch.path(&name), crashed.path(&name)).expect("copied");
    }
    assert!(
        std::fs::metadata(crashed.path("bridge.db-journal"))
            .expect("there")
            .len()
            > 512
    );
    crashed.run(&["store", "init"]).ok();
    assert_eq!(
        crashed.number("SELECT count(*) FROM audit_log WHERE action = 'x'"),
        0
    );
    assert!(!crashed.path("bridge.db-journal").exists());
}

#[test]
fn links_beside_the_store_are_not_followed() {
    let scratch = Scratch::with_conversation();
    let outside = tempfile::tempdir().expect("a directory");
    let victim = outside.path().join("victim");
    for suffix in ["-wal", "-shm", "-journal"] {
        let file = scratch.path(&format!("bridge.db{suffix}"));
        // The last of several connections that close at once may leave files.
        scratch.number("SELECT count(*) FROM messages");
        assert!(!file.exists(), "{suffix} is left");
        std::os::unix::fs::symlink(&victim, &file).expect("linked");
        all_refuse(&scratch, &file);
        assert!(!victim.exists(), "{suffix}: a file was made outside");
        std::fs::remove_file(&file).expect("removed");
    }
}

#[test]
fn a_store_with_a_second_name_is_refused() {
    let scratch = Scratch::with_conversation();
    let alias = scratch.path("alias.db");
    std::fs::hard_link(scratch.store(), &alias).expect("linked");
    all_refuse(&scratch, &scratch.store());
    let other = |args: &[&str]| {
        let mut command = scratch.bridge_as("work.a", args);
        command.env("MCP_BRIDGE_STORE", &alias);
        scratch.outcome(command)
    };
    let ran = other(&["--store", "alias.db", "conversation", "list"]);
    assert_eq!(ran.code, Some(78), "{ran:#?}");
    assert!(
        ran.err.contains("2 names") && ran.err.contains("directory"),
        "{ran:#?}"
    );
    std::fs::remove_file(&alias).expect("removed");
    scratch.run_as("work.a", &["send", "hello"]).ok();
}

#[test]
fn a_second_name_made_later_stops_writers() {
    let scratch = Scratch::with_conversation();
    let mut watch = Running::lines(scratch.bridge_as("work.b", &["watch", "--json"]));
    scratch.run_as("work.a", &["send", "first"]).ok();
    assert_eq!(watch.json()["message"], "first");
    std::fs::hard_link(scratch.store(), scratch.path("alias.db")).expect("linked");
    assert_eq!(watch.end(), Some(78));
    let said = watch.complaint();
    assert!(said.contains("2 names"), "{said}");
}

#[test]
fn a_store_mounted_by_itself_is_refused() {
    if !is_root() {
        return;
    }
    let scratch = Scratch::with_conversation();
    let inside = Scratch::new();
    std::fs::write(inside.store(), "").expect("a place to mount on");
    let run = |script: &str| -> Ran {
        let mut command = Command::new("unshare");
        command
            .args(["--mount", "sh", "-c", script, "sh"])
            .args([scratch.dir(), inside.dir()])
            .arg(env!("CARGO_BIN_EXE_mcp-bridge"))
            .env("MCP_BRIDGE_STORE", inside.store())
            .env("HOME", inside.dir());
        scratch.outcome(command)
    };
    let single = run(r#"mount --bind "$1/bridge.db" "$2/bridge.db" && "$3" conversation list"#);
    assert_eq!(single.code, Some(78), "{single:#?}");
    assert!(single.err.contains("mount the directory"), "{single:#?}");
    run(r#"mount --bind "$1" "$2" && "$3" conversation list"#).ok();
}

#[test]
fn a_restored_store_has_one_name() {
    let scratch = Scratch::with_conversation();
    scratch.run(&["store", "backup", "copy.db"]).ok();
    scratch.run(&["store", "restore", "copy.db", "--yes"]).ok();
    let mut command = scratch.bridge(&["conversation", "list"]);
    command.env("MCP_BRIDGE_STORE", scratch.store());
    scratch.outcome(command).ok();
    let mut kept = 0;
    for entry in std::fs::read_dir(scratch.dir()).expect("readable") {
        let entry = entry.expect("readable");
        if entry.file_name().to_string_lossy().contains(".replaced-") {
            use std::os::unix::fs::MetadataExt as _;
            assert_eq!(entry.metadata().expect("there").nlink(), 1);
            kept += 1;
        }
    }
    assert_eq!(kept, 1);
}

/// Gives it to a user who is not root.
fn give(path: &Path) {
    std::os::unix::fs::chown(path, Some(OTHER), Some(OTHER)).expect("given");
}

/// A user who is not root.
const OTHER: u32 = 65_534;

#[test]
fn root_works_as_the_directory_s_owner() {
    use std::os::unix::fs::MetadataExt as _;
    if !is_root() {
        return;
    }
    let scratch = Scratch::new();
    give(scratch.dir());
    scratch.conversation(&["--label", "work"]);
    scratch.run_as("work.a", &["send", "hello"]).ok();
    let mut held = Running::lines(scratch.bridge_as("work.b", &["watch", "--json"]));
    assert_eq!(held.json()["message"], "hello");
    for suffix in ["", "-wal", "-shm", "-bell"] {
        let file = scratch.path(&format!("bridge.db{suffix}"));
        let owner = std::fs::metadata(&file).expect("there").uid();
        assert_eq!(owner, OTHER, "{}", file.display());
    }
    drop(held);
    scratch.run(&["store", "check"]).ok();
    // A copy goes where root may write and that user may not.
    let roots = tempfile::tempdir().expect("a directory");
    let copy = roots.path().join("copy.db").display().to_string();
    scratch.run(&["store", "backup", &copy]).ok();
    scratch.run(&["store", "restore", &copy, "--yes"]).ok();
    scratch.run_as("work.a", &["send", "more"]).ok();
    // A store of root's own in that directory is not that user's to write.
    std::os::unix::fs::chown(scratch.store(), Some(0), Some(0)).expect("taken");
    let ran = scratch.run_as("work.a", &["send", "hello"]);
    assert!(matches!(ran.code, Some(69 | 77 | 78)), "{ran:#?}");
    assert!(ran.err.contains("chown"), "{ran:#?}");
}

#[test]
fn changing_links_beside_the_store_reach_nothing() {
    const ROUNDS: usize = 40;
    /// About as long as a command takes to reach the files.
    const A_MOMENT: std::time::Duration = std::time::Duration::from_millis(3);
    let scratch = Scratch::with_conversation();
    let outside = tempfile::tempdir().expect("a directory");
    let victim = outside.path().join("victim");
    std::fs::write(&victim, "dear to its owner").expect("written");
    let over = std::sync::atomic::AtomicBool::new(false);
    let running = || !over.load(std::sync::atomic::Ordering::Relaxed);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let crafted = crafted_journal(&victim);
            let journal = scratch.path("bridge.db-journal");
            let staged = scratch.path("staged");
            while running() {
                let _ = std::fs::write(&staged, &crafted);
                let _ = std::fs::rename(&staged, &journal);
                std::thread::park_timeout(A_MOMENT);
                let _ = std::fs::remove_file(&journal);
            }
        });
        scope.spawn(|| {
            let mut round = 0_usize;
            while running() {
                round += 1;
                let suffix = ["-wal", "-shm", "-bell"][round % 3];
                let link = scratch.path(&format!("bridge.db{suffix}"));
                let target = outside.path().join(format!("new-{round}"));
                if std::os::unix::fs::symlink([&victim, &target][round / 3 % 2], &link).is_ok() {
                    std::thread::park_timeout(A_MOMENT);
                    let _ = std::fs::remove_file(&link);
                }
            }
        });
        for round in 0..ROUNDS {
            let (arguments, _) = WAYS[round % WAYS.len()];
            // Whether it works does not matter.
            let _ = scratch.run_as("work.a", arguments);
        }
        over.store(true, std::sync::atomic::Ordering::Relaxed);
    });
    let text = std::fs::read_to_string(&victim).expect("the victim is there");
    assert_eq!(text, "dear to its owner");
    let there = std::fs::read_dir(outside.path()).expect("readable").count();
    assert_eq!(there, 1, "a file was made outside");
}
