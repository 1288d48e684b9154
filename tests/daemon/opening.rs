//! A store that is missing, goes away, or misbehaves while the daemon runs.

#![allow(
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a test that cannot make its files has nothing to say; what it measured, it prints"
)]

use std::path::PathBuf;
use std::process::{Command, Stdio};

use mcp_bridge::clock;
use mcp_bridge::model::session::Life;
use mcp_bridge::model::token::Token;
use mcp_bridge::store::sqlite::SCHEMA_VERSION;
use mcp_bridge::supervisor::StateFile;
use rustix::fs::{FlockOperation, flock};

use crate::common::daemon::{Agent, Daemon, QUICK, Rig, session, wait_for};
use crate::common::store::BRIDGE;

fn one_session() -> String {
    format!("{QUICK}{}", session("one", "\"none\""))
}

fn waits(state: &StateFile) -> bool {
    state.status.contains("waiting for the store ")
}

fn is_well(state: &StateFile) -> bool {
    state.status.contains("store ok") && state.duties.iter().all(|duty| duty.trouble.is_none())
}

/// The database and the files that SQLite puts beside it.
fn files(rig: &Rig) -> [PathBuf; 3] {
    ["bridge.db", "bridge.db-wal", "bridge.db-shm"].map(|name| rig.path(name))
}

/// Moves the store out of the way, or back.
fn move_store(rig: &Rig, away: bool) {
    for file in files(rig) {
        let mut other = file.clone().into_os_string();
        other.push(".away");
        let (from, to) = if away {
            (file, other.into())
        } else {
            (other.into(), file)
        };
        if PathBuf::from(&from).exists() {
            std::fs::rename(from, to).expect("moved");
        }
    }
}

#[test]
fn missing_store_is_awaited_and_never_made() {
    let rig = Rig::new();
    let pair = rig.pair("one");
    rig.block_on(rig.store.close());
    move_store(&rig, true);
    let mut daemon = rig.worker(&one_session());
    daemon.says("there is no such file");
    daemon.says("mcp-bridge store init --store");
    let state = daemon.shows("it", waits);
    assert!(state.ready, "a store that is missing is no failed start");
    let keeper = state.duties.iter().find(|duty| duty.name == "store");
    let trouble = keeper.and_then(|duty| duty.trouble.clone());
    assert!(trouble.is_some_and(|why| why.contains("no such file")));
    // Rounds that were begun after that.
    daemon.reload();
    assert!(!rig.path("bridge.db").exists(), "an empty one was made");
    move_store(&rig, false);
    daemon.says("store ok again");
    daemon.shows("it", is_well);
    let back = rig.reopen();
    let beats = |rig: &Rig| {
        let views = rig.block_on(back.sessions(clock::now())).expect("listed");
        let view = views.into_iter().find(|view| view.key == pair.b.session);
        view.and_then(|view| view.heartbeat)
            .map_or(0, |beat| beat.seq)
    };
    wait_for("heartbeats", || (beats(&rig) > 2).then_some(()));
    let (code, said) = daemon.finish();
    assert_eq!(code, Some(0));
    said.only_once("there is no such file");
}

#[test]
fn deleted_or_replaced_store_is_noticed() {
    let rig = Rig::new();
    let pair = rig.pair("one");
    let mut daemon = rig.worker(&one_session());
    rig.becomes(&pair.b.session, Life::Alive);

    move_store(&rig, true);
    daemon.says("the file was deleted or replaced while it was open");
    daemon.shows("it", waits);
    assert!(!rig.path("bridge.db").exists());
    move_store(&rig, false);
    daemon.says_times("store ok again", 1);
    rig.goes_on(&pair.b.session);

    move_store(&rig, true);
    daemon.shows("it", waits);
    for (what, words) in [
        (
            &b"this is no database, however long it may be: "[..],
            "is not an SQLite database",
        ),
        (b"", "the file is empty"),
    ] {
        let text = what.repeat(if what.is_empty() { 0 } else { 1000 });
        std::fs::write(rig.path("bridge.db"), &text).expect("written");
        daemon.says(words);
        daemon.shows("it", waits);
        let now = std::fs::read(rig.path("bridge.db")).expect("there");
        assert!(now == text, "the file there is another's");
    }
    std::fs::create_dir(rig.path("directory")).expect("made");
    std::fs::remove_file(rig.path("bridge.db")).expect("removed");
    std::fs::rename(rig.path("directory"), rig.path("bridge.db")).expect("moved");
    daemon.says("this is a directory, not a database file");
    std::fs::remove_dir(rig.path("bridge.db")).expect("removed");
    move_store(&rig, false);
    daemon.says_times("store ok again", 2);
    rig.goes_on(&pair.b.session);

    // Another store in its place: that one's sessions count.
    move_store(&rig, true);
    daemon.shows("it", waits);
    let other = rig.make_store();
    let stranger = format!("conversation {} does not exist", pair.id);
    daemon.says(&stranger);
    rig.block_on(other.close());
    for file in files(&rig) {
        // Its sidecars go with the last connection.
        let _ = std::fs::remove_file(file);
    }
    move_store(&rig, false);
    rig.goes_on(&pair.b.session);
    daemon.shows("it", is_well);
    let (code, said) = daemon.finish();
    assert_eq!(code, Some(0));
    said.only_once(&stranger);
    assert!(said.0.len() < 60, "{}", said.0.join("\n"));
}

#[test]
fn end_during_a_store_outage_is_reported_later() {
    let rig = Rig::new();
    let pair = rig.pair("one");
    let mut agent = Agent::with_file(&rig, "one.pid");
    let file = rig.path("one.pid");
    let proof = format!("{{ pid_file = \"{}\" }}", file.display());
    let mut daemon = rig.worker(&format!("{QUICK}{}", session("one", &proof)));
    rig.becomes(&pair.b.session, Life::Alive);
    let writer = rig.foreign();
    writer.execute_batch("BEGIN IMMEDIATE").expect("locked");
    agent.end();
    daemon.says("the agent of one/b has ended");
    writer.execute_batch("ROLLBACK").expect("let go");
    rig.becomes(&pair.b.session, Life::Exited);
    let (code, said) = daemon.finish();
    assert_eq!(code, Some(0));
    said.only_once("the agent of one/b has ended");
}

#[test]
fn stuck_writer_is_trouble_and_no_death() {
    let rig = Rig::new();
    let pair = rig.pair("one");
    let mut daemon = rig.worker(&one_session());
    rig.becomes(&pair.b.session, Life::Alive);
    let writer = rig.foreign();
    writer.execute_batch("BEGIN IMMEDIATE").expect("locked");
    daemon.says("heartbeat: store ");
    let state = daemon.shows("the trouble", |s| {
        s.duties
            .iter()
            .any(|d| d.name == "heartbeat" && d.trouble.is_some())
    });
    assert!(
        state.status.contains("held the write lock for too long"),
        "{}",
        state.status
    );
    // As does one that starts now.
    let config = rig.config("other", &one_session().replace("one.toml", "two.toml"));
    let mut other = rig.daemon(&config);
    other.ready();
    assert!(daemon.is_running());
    writer.execute_batch("ROLLBACK").expect("let go");
    rig.goes_on(&pair.b.session);
    daemon.shows("the recovery", is_well);
    daemon.says("heartbeat: 1 session alive");
    assert_eq!(other.stop(), Some(0));
    assert_eq!(daemon.stop(), Some(0));
}

/// A library that makes every fsync take 6 s, if it can be made here.
fn slow_disk(rig: &Rig) -> Option<PathBuf> {
    let (source, library) = (rig.path("slow.c"), rig.path("slow.so"));
    let text = "#include <sys/syscall.h>
        #include <unistd.h>
        static int slow(long call, int fd) { sleep(6); return syscall(call, fd); }
        int fsync(int fd) { return slow(SYS_fsync, fd); }
        int fdatasync(int fd) { return slow(SYS_fdatasync, fd); }";
    std::fs::write(&source, text).expect("written");
    let mut compiler = Command::new("cc");
    compiler
        .args(["-shared", "-fPIC", "-o"])
        .arg(&library)
        .arg(&source);
    compiler
        .status()
        .is_ok_and(|status| status.success())
        .then_some(library)
}

#[test]
#[cfg(target_os = "linux")]
fn a_slow_disk_is_named_as_one() {
    let rig = Rig::new();
    rig.pair("one");
    let Some(library) = slow_disk(&rig) else {
        println!("skipped: a slow disk needs a C compiler");
        return;
    };
    let config = rig.config("worker", &one_session());
    let mut command = rig.command(&config);
    command.env("LD_PRELOAD", &library);
    let mut daemon = Daemon::start(&mut command, &config);
    daemon.says("the disk is slow: a write waited ");
    daemon.shows("it", |state| {
        state.duties.iter().any(|duty| {
            let trouble = duty.trouble.as_deref().unwrap_or_default();
            trouble.contains("the disk is slow")
        })
    });
    let (_, said) = daemon.finish();
    said.never("held the write lock");
}

/// The Python bridge's database in the place of the rig's store.
fn make_foreign(rig: &Rig) {
    rig.block_on(rig.store.close());
    for file in files(rig) {
        // Its sidecars go with the last connection.
        let _ = std::fs::remove_file(file);
    }
    let raw = rig.foreign();
    raw.execute_batch(BRIDGE).expect("made");
    raw.pragma_update(None, "journal_mode", "wal").expect("set");
}

#[test]
fn long_schema_change_is_reported_and_ends() {
    let rig = Rig::new();
    make_foreign(&rig);
    // Another program makes the copy that is kept first, and takes its time.
    let copy = rig.path(&format!("bridge.db.before-schema-{SCHEMA_VERSION}"));
    let partial = rig.path(&format!("bridge.db.before-schema-{SCHEMA_VERSION}.partial"));
    let held = std::fs::File::create(partial).expect("made");
    flock(&held, FlockOperation::LockExclusive).expect("locked");
    let mut daemon = rig.worker("");
    daemon.shows("it", |state| {
        let keeper = state.duties.iter().find(|duty| duty.name == "store");
        state.status.contains("upgrading the store ")
            && keeper.is_some_and(|duty| duty.trouble.is_none())
    });
    daemon.says("upgrading the store to schema ");
    assert!(!copy.exists());
    drop(held);
    daemon.says("adopted the Python bridge's database");
    daemon.shows("the store", is_well);
    assert!(copy.exists());
    let (code, said) = daemon.finish();
    assert_eq!(code, Some(0));
    said.only_once("upgrading the store to schema ");
    said.only_once("adopted the Python bridge's database");
    said.never("held the write lock");
}

#[test]
fn unreleased_schema_is_refused_and_left_alone() {
    let rig = Rig::new();
    let pair = rig.pair("one");
    let schema = |schema: i64| {
        let sql = "UPDATE bridge_schema SET version = ?1";
        rig.foreign().execute(sql, [schema]).expect("set");
    };
    schema(5);
    let mut daemon = rig.worker(&one_session());
    daemon.says("a build of before the first release made it (schema version 5)");
    daemon.says("use it with the build that made it");
    daemon.shows("it", waits);
    assert_eq!(rig.beats(&pair.b.session), 0, "nothing was written");
    schema(SCHEMA_VERSION);
    daemon.says("store ok again");
    assert_eq!(daemon.stop(), Some(0));
}

#[test]
fn newer_schema_is_refused_and_looked_at_again() {
    let rig = Rig::new();
    let pair = rig.pair("one");
    let schema = |needed: i64| {
        let sql = "UPDATE bridge_schema SET version = ?1, min_compatible = ?1";
        rig.foreign().execute(sql, [needed]).expect("set");
    };
    schema(99);
    let mut daemon = rig.worker(&one_session());
    daemon.says("it has schema version 99, and this program reads versions up to ");
    daemon.says("install a newer mcp-bridge");
    daemon.shows("it", waits);
    assert_eq!(rig.beats(&pair.b.session), 0, "nothing was written");
    schema(SCHEMA_VERSION);
    daemon.says("store ok again");
    rig.goes_on(&pair.b.session);
    assert_eq!(daemon.stop(), Some(0));
}

#[test]
fn read_only_store_is_taken_once_writable() {
    // Root may write everything; without this capability it is as others are.
    let wrapper = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"];
    let tried = Command::new(wrapper[0])
        .arg(wrapper[1])
        .arg("true")
        .stderr(Stdio::null())
        .status();
    let root = rustix::process::geteuid().is_root();
    if root && !tried.is_ok_and(|status| status.success()) {
        println!("skipped: setpriv cannot take a capability from root here");
        return;
    }
    let rig = Rig::new();
    let pair = rig.pair("one");
    rig.block_on(rig.store.close());
    let mode = |mode| {
        use std::os::unix::fs::PermissionsExt;
        let mode = std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(rig.path("bridge.db"), mode).expect("set");
    };
    mode(0o444);
    let config = rig.config("worker", &one_session());
    let mut command = if root {
        rig.command_behind(&wrapper, &config)
    } else {
        rig.command(&config)
    };
    let mut daemon = Daemon::start(&mut command, &config);
    daemon.ready();
    daemon.says("bridge.db: it is read-only");
    daemon.says("give this user write permission for the file and its directory");
    daemon.shows("it", waits);
    for sidecar in &files(&rig)[1..] {
        assert!(!sidecar.exists(), "its owner could not write that");
    }
    mode(0o600);
    let back = rig.reopen();
    wait_for("heartbeats", || {
        let views = rig.block_on(back.sessions(clock::now())).ok()?;
        let view = views.into_iter().find(|view| view.key == pair.b.session)?;
        (view.heartbeat?.seq > 2).then_some(())
    });
    daemon.shows("it", is_well);
    // And again, while it runs.
    mode(0o444);
    daemon.shows("it", |s| s.status.contains("it is read-only"));
    mode(0o600);
    daemon.shows("it", is_well);
    let (code, said) = daemon.finish();
    assert_eq!(code, Some(0));
    assert!(said.0.len() < 40, "{}", said.0.join("\n"));
}

// A limit is set from outside on Linux alone.
#[cfg(target_os = "linux")]
#[test]
fn disk_that_refuses_writes_is_trouble_and_no_death() {
    use rustix::process::{Pid, Resource, Rlimit, prlimit};

    let rig = Rig::new();
    let pair = rig.pair("one");
    // Past its limit a file is not written: as on a full disk, but for this
    // process alone. The signal that comes with it is for programs without an
    // answer to that.
    let wrapper = ["sh", "-c", "trap '' XFSZ; exec \"$@\"", "sh"];
    let config = rig.config("worker", &one_session());
    let mut daemon = Daemon::start(&mut rig.command_behind(&wrapper, &config), &config);
    daemon.ready();
    rig.becomes(&pair.b.session, Life::Alive);
    let pid = Pid::from_child(&daemon.child);
    let limit = |current| {
        let limit = Rlimit {
            current,
            maximum: None,
        };
        prlimit(Some(pid), Resource::Fsize, limit).expect("a limit");
    };
    limit(Some(0));
    daemon.says("heartbeat: ");
    let refused = rig.beats(&pair.b.session);
    daemon.says("event=\"state-file-trouble\"");
    assert_eq!(rig.beats(&pair.b.session), refused, "nothing was written");
    assert!(daemon.is_running());
    limit(None);
    rig.goes_on(&pair.b.session);
    daemon.shows("the recovery", is_well);
    assert_eq!(daemon.stop(), Some(0));
}

/// Puts the name of a store into `NAME.toml`.
fn good_for(rig: &Rig, name: &str, store: &str) {
    let path = rig.path(&format!("{name}.toml"));
    let text = std::fs::read_to_string(&path).expect("there");
    std::fs::write(&path, format!("store = \"{store}\"\n{text}")).expect("written");
}

#[test]
fn credentials_name_the_store_when_nothing_else_does() {
    let rig = Rig::new();
    let (one, _two) = (rig.pair("one"), rig.pair("two"));
    let (own, other) = (rig.path("bridge.db"), rig.path("other.db"));
    let other = other.to_str().expect("text");
    // By another way there, too.
    std::os::unix::fs::symlink(rig.dir.path(), rig.path("link")).expect("linked");
    let linked = rig.path("link/bridge.db");
    good_for(&rig, "one", own.to_str().expect("text"));
    good_for(&rig, "two", &format!("sqlite:{}", linked.display()));
    let both = session("one", "\"none\"") + &session("two", "\"none\"");
    let config = rig.path("worker.conf.toml");
    let state = rig.path("worker.state.json");
    let write = |store: &str, sessions: &str| {
        let text = format!(
            "role = \"worker\"\n{store}[service]\nstate_file = \"{}\"\n{QUICK}{sessions}",
            state.display()
        );
        std::fs::write(&config, text).expect("written");
    };
    let check = || {
        let output = rig.command(&config).arg("--check").output().expect("run");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let said = text(&output.stdout) + &text(&output.stderr);
        (output.status.code(), said)
    };
    // A third file that is not there yet says nothing.
    write("", &(both.clone() + &session("three", "\"none\"")));
    let (code, said) = check();
    assert_eq!(code, Some(0), "{said}");
    let meant = format!("store {} (from the credentials)", own.display());
    assert!(said.contains(&meant), "{said}");
    let mut daemon = rig.daemon(&config);
    daemon.ready();
    rig.becomes(&one.b.session, Life::Alive);
    // It comes, and was made for somewhere else.
    rig.pair("three");
    good_for(&rig, "three", other);
    let line = daemon.says("three.toml: they belong to the store");
    assert!(line.contains(other), "{line}");
    let (code, said) = daemon.finish();
    assert_eq!(code, Some(0));
    said.never("one.toml: they belong to");
    said.never("two.toml: they belong to");

    rig.write_credentials("two", &[&one.b]);
    good_for(&rig, "two", other);
    write("", &both);
    let (code, said) = check();
    assert_eq!(code, Some(78), "{said}");
    for named in [own.to_str().expect("text"), other, "one.toml", "two.toml"] {
        assert!(said.contains(named), "{named} in {said}");
    }
    assert_eq!(rig.daemon(&config).wait(), Some(78));
    // The configuration decides, and the difference is reported.
    write(&format!("[store]\nurl = \"{}\"\n", own.display()), &both);
    let (code, said) = check();
    assert_eq!(code, Some(0), "{said}");
    let mut daemon = rig.daemon(&config);
    daemon.says("two.toml: they belong to the store");
    assert_eq!(daemon.stop(), Some(0));
}

#[test]
fn older_store_is_taken_as_scripts_left_it() {
    let rig = Rig::new();
    rig.block_on(rig.store.close());
    for file in files(&rig) {
        // Any rest of the new one.
        let _ = std::fs::remove_file(file);
    }
    let id = "conv_0123456789abcdef";
    let token = "ab".repeat(32);
    rusqlite::Connection::open(rig.path("bridge.db"))
        .expect("opened")
        .execute_batch(&format!(
            "CREATE TABLE conversations (id TEXT PRIMARY KEY, session_a_role TEXT NOT NULL,
                 session_b_role TEXT NOT NULL, session_a_token TEXT NOT NULL,
                 session_b_token TEXT NOT NULL, created_at TEXT NOT NULL, expires_at TEXT NOT NULL);
             CREATE TABLE messages (id INTEGER PRIMARY KEY AUTOINCREMENT,
                 conversation_id TEXT NOT NULL, from_session TEXT NOT NULL, to_session TEXT NOT NULL,
                 message TEXT NOT NULL, metadata TEXT, timestamp TEXT NOT NULL,
                 read INTEGER DEFAULT 0);
             CREATE TABLE session_status (conversation_id TEXT PRIMARY KEY, session_id TEXT NOT NULL,
                 last_heartbeat TEXT NOT NULL, status TEXT DEFAULT 'active');
             CREATE TABLE audit_log (id INTEGER PRIMARY KEY AUTOINCREMENT, conversation_id TEXT,
                 session_id TEXT, action TEXT NOT NULL, details TEXT, timestamp TEXT NOT NULL);
             INSERT INTO conversations VALUES ('{id}', 'orchestrator', 'worker', '{token}',
                 '{token}', '2025-11-13T16:02:45.123456', '2999-11-13T16:02:45.123456');
             INSERT INTO session_status VALUES ('{id}', 'b', '2025-11-13T16:02:45', 'waiting');"
        ))
        .expect("made");
    let caller = mcp_bridge::store::Caller {
        session: format!("{id}/b").parse().expect("a session"),
        token: Token::parse(&token).expect("a token"),
    };
    rig.write_credentials("one", &[&caller]);
    let daemon = rig.worker(&one_session());
    daemon.shows("it", |s| s.status.contains("1 session alive"));
    let connection = rig.foreign();
    let (status, beat): (String, String) = connection
        .query_row(
            "SELECT status, last_heartbeat FROM session_status WHERE session_id = 'b'",
            [],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )
        .expect("a row");
    assert_eq!(status, "waiting");
    assert!(beat.as_str() > "2026" && beat.len() == 26, "{beat}");
    assert_eq!(daemon.stop(), Some(0));
}
