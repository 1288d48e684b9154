//! What an operator hears of a store in trouble: from the daemon itself, by its
//! own adapters, and without the store.

#![expect(
    clippy::print_stdout,
    clippy::expect_used,
    reason = "a test that cannot make its files has nothing to say"
)]

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::common::again;
use crate::common::daemon::{Daemon, PATIENCE, QUICK, Rig, full, session, wait_for};
use mcp_bridge::model::session::Life;

/// The time limit for an alert about a store; only the long forms insist on it,
/// on a machine that has nothing else to do.
const LIMIT: Duration = Duration::from_secs(10);

/// A command that writes down each alert: kind and edge on one line.
fn teller(rig: &Rig) -> String {
    let told = rig.path("told");
    let script = rig.script(
        "tell",
        &format!(
            "sed -n 's/.*\"edge\":\"\\([a-z]*\\)\".*\"kind\":\"\\([a-z-]*\\)\".*/\\2 \\1/p;\
             s/.*\"kind\":\"\\([a-z-]*\\)\".*\"edge\":\"\\([a-z]*\\)\".*/\\1 \\2/p' >> {}",
            told.display()
        ),
    );
    format!(
        "[alert]\norder = [\"exec\"]\n[alert.exec]\ncommand = [\"{}\"]\n",
        script.display()
    )
}

fn told(rig: &Rig, what: &str) -> usize {
    let all = std::fs::read_to_string(rig.path("told")).unwrap_or_default();
    all.lines().filter(|line| *line == what).count()
}

/// Waits until the operator has an alert of the trouble.
#[track_caller]
fn raised(rig: &Rig, begun: Instant) {
    wait_for("an alert", || {
        (told(rig, "store-trouble raised") == 1).then_some(())
    });
    let took = begun.elapsed();
    println!("alerted after {:.1} s", took.as_secs_f64());
    assert!(!full() || took < LIMIT, "alerted after {took:?}");
}

/// Waits for the end of it; nothing was announced twice.
#[track_caller]
fn recovered(rig: &Rig) {
    wait_for("the recovery", || {
        (told(rig, "store-trouble recovered") == 1).then_some(())
    });
    assert_eq!(told(rig, "store-trouble raised"), 1);
}

/// The database and the files beside it.
fn move_store(rig: &Rig, away: bool) {
    for suffix in ["", "-wal", "-shm"] {
        let (here, there) = (
            rig.path(&format!("bridge.db{suffix}")),
            rig.path(&format!("away.db{suffix}")),
        );
        let (from, to) = if away { (here, there) } else { (there, here) };
        if from.exists() {
            std::fs::rename(from, to).expect("moved");
        }
    }
}

#[test]
fn a_deleted_store_is_alerted_by_both_roles() {
    for role in ["worker", "orchestrator"] {
        let rig = Rig::new();
        let config = rig.config_of(role, role, &teller(&rig));
        let mut daemon = rig.daemon(&config);
        daemon.ready();
        move_store(&rig, true);
        raised(&rig, Instant::now());
        move_store(&rig, false);
        recovered(&rig);
        assert_eq!(daemon.stop(), Some(0));
    }
}

#[test]
fn store_missing_at_the_start_is_alerted() {
    let rig = Rig::new();
    rig.block_on(rig_close(&rig));
    move_store(&rig, true);
    let mut daemon = rig.worker(&teller(&rig));
    raised(&rig, Instant::now());
    daemon.says("event=\"alert-raised\"");
    move_store(&rig, false);
    recovered(&rig);
    assert_eq!(daemon.stop(), Some(0));
}

async fn rig_close(rig: &Rig) {
    rig.store.close().await;
}

#[test]
fn a_lock_that_another_program_keeps_is_alerted() {
    let rig = Rig::new();
    let pair = rig.pair("one");
    let daemon = rig.worker(&format!(
        "{}{QUICK}{}",
        teller(&rig),
        session("one", "\"none\"")
    ));
    rig.becomes(&pair.b.session, Life::Alive);
    let writer = rig.foreign();
    writer.execute_batch("BEGIN IMMEDIATE").expect("locked");
    raised(&rig, Instant::now());
    let state = daemon.shows("the trouble", |state| {
        state
            .duties
            .iter()
            .any(|duty| duty.name == "store" && duty.trouble.is_some())
    });
    assert!(!state.status.contains("store ok"), "{}", state.status);
    writer.execute_batch("ROLLBACK").expect("let go");
    recovered(&rig);
    assert_eq!(daemon.stop(), Some(0));
}

/// Takes all the room there is.
fn fill(disk: &Path) -> PathBuf {
    let filler = disk.join("filler");
    let mut file = std::fs::File::create(&filler).expect("made");
    let mut chunk = vec![1_u8; 65_536];
    while !chunk.is_empty() {
        if file.write_all(&chunk).is_err() {
            chunk.truncate(chunk.len() / 2);
        }
    }
    filler
}

/// One page more in the log.
fn write_a_page(writer: &rusqlite::Connection) -> rusqlite::Result<()> {
    writer.execute_batch(
        "INSERT INTO bridge_signal (name, n) VALUES ('filled', 1)
         ON CONFLICT (name) DO UPDATE SET n = (n & 1023) + 1",
    )
}

/// Takes the room inside the log: an earlier one may have been longer, and its
/// file keeps the length, so that a full disk holds up no write until it is used.
fn fill_log(writer: &rusqlite::Connection) {
    let refused = std::iter::repeat_with(|| write_a_page(writer)).find_map(Result::err);
    let code = refused.and_then(|error| error.sqlite_error_code());
    assert_eq!(code, Some(rusqlite::ErrorCode::DiskFull));
}

const CHILD: &str = "MCP_BRIDGE_TEST_SMALL_DISK";

/// Runs this test again where it may mount a small disk. `None` in that child.
fn on_a_small_disk(test: &str) -> Option<()> {
    if std::env::var_os(CHILD).is_some() {
        return None;
    }
    if !rustix::process::geteuid().is_root() {
        println!("skipped: only root can mount a small disk");
        return Some(());
    }
    let output = again::behind(&["unshare", "-m"], module_path!(), test)
        .env(CHILD, "1")
        .output();
    again::passed(&output.expect("unshare"));
    Some(())
}

/// A daemon whose store is on a small disk, and everything else beside it.
fn on_the_disk(rig: &Rig, role: &str, more: &str) -> (PathBuf, PathBuf) {
    let disk = rig.path("disk");
    std::fs::create_dir(&disk).expect("made");
    let mounted = Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=2m", "tmpfs"])
        .arg(&disk)
        .status();
    assert!(mounted.is_ok_and(|status| status.success()), "mounted");
    let store = disk.join("bridge.db");
    let made = Command::new(env!("CARGO_BIN_EXE_mcp-bridge"))
        .args(["conversation", "new", "--label", "one", "--store"])
        .arg(&store)
        .arg("--out")
        .arg(rig.dir.path())
        .env("HOME", rig.dir.path())
        .output()
        .expect("run");
    assert!(
        made.status.success(),
        "{}",
        String::from_utf8_lossy(&made.stderr)
    );
    // Where the commands look for daemons of this user.
    std::fs::create_dir(rig.path("mcp-bridge")).expect("made");
    let config = rig.path(&format!("mcp-bridge/{role}.conf.toml"));
    let text = format!(
        "role = \"{role}\"\n[store]\nurl = \"{}\"\n[service]\nstate_file = \"{}\"\n{}{more}",
        store.display(),
        rig.path(&format!("mcp-bridge/{role}.state.json")).display(),
        teller(rig),
    );
    std::fs::write(&config, text).expect("written");
    (disk, config)
}

/// What `mcp-bridge` says of a store, and its exit code.
fn bridge(rig: &Rig, store: &Path, args: &[&str]) -> (Option<i32>, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_mcp-bridge"))
        .args(args)
        .arg("--store")
        .arg(store)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("HOME", rig.dir.path())
        .env("XDG_RUNTIME_DIR", rig.dir.path())
        .output()
        .expect("run");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (
        output.status.code(),
        text(&output.stdout),
        text(&output.stderr),
    )
}

/// From the disk's last byte to the alert, and back.
fn full_and_freed(rig: &Rig, disk: &Path, mut daemon: Daemon) {
    let open = || rusqlite::Connection::open(disk.join("bridge.db")).expect("opened");
    let (reader, writer) = (open(), open());
    writer.busy_timeout(PATIENCE).expect("set");
    // A reader that stays keeps the log from beginning anew in its own room, if
    // there is something in the log that it reads.
    write_a_page(&writer).expect("written");
    reader
        .execute_batch("BEGIN; SELECT count(*) FROM messages")
        .expect("read");
    let filler = fill(disk);
    fill_log(&writer);
    raised(rig, Instant::now());
    let state = daemon.shows("the trouble", |state| state.status.contains("disk is full"));
    assert!(!state.status.contains("store ok"), "{}", state.status);
    let store = disk.join("bridge.db");
    let (code, page, _) = bridge(rig, &store, &["status"]);
    assert_eq!(code, Some(69), "{page}");
    assert!(
        page.contains("one/b") && page.contains("disk is full"),
        "{page}"
    );
    let (code, json, _) = bridge(rig, &store, &["status", "--json"]);
    assert_eq!(code, Some(69), "{json}");
    assert!(json.contains("\"not-writable\""), "{json}");
    let (code, line, _) = bridge(rig, &store, &["health"]);
    assert_eq!((code, line.lines().count()), (Some(69), 1), "{line}");
    assert!(line.contains("disk is full"), "{line}");
    std::fs::remove_file(filler).expect("freed");
    reader.execute_batch("ROLLBACK").expect("let go");
    recovered(rig);
    daemon.shows("the recovery", |state| state.status.contains("store ok"));
    for command in ["status", "health"] {
        let (code, said, errors) = bridge(rig, &store, &[command]);
        assert_eq!(code, Some(0), "{command}: {said}{errors}");
    }
    assert!(daemon.is_running());
    assert_eq!(daemon.stop(), Some(0));
}

#[test]
fn a_full_disk_is_alerted_by_a_worker() {
    if on_a_small_disk("a_full_disk_is_alerted_by_a_worker").is_some() {
        return;
    }
    let rig = Rig::new();
    let (disk, config) = on_the_disk(&rig, "worker", &session("../one.b", "\"none\""));
    let mut daemon = rig.daemon(&config);
    daemon.ready();
    full_and_freed(&rig, &disk, daemon);
}

/// No program there has anything to write.
#[test]
fn full_disk_is_alerted_by_a_worker_without_sessions() {
    if on_a_small_disk("full_disk_is_alerted_by_a_worker_without_sessions").is_some() {
        return;
    }
    let rig = Rig::new();
    let (disk, config) = on_the_disk(&rig, "worker", "");
    let mut daemon = rig.daemon(&config);
    daemon.ready();
    full_and_freed(&rig, &disk, daemon);
}

#[test]
fn a_full_disk_is_alerted_by_an_orchestrator() {
    if on_a_small_disk("a_full_disk_is_alerted_by_an_orchestrator").is_some() {
        return;
    }
    let rig = Rig::new();
    let (disk, config) = on_the_disk(&rig, "orchestrator", "");
    let mut daemon = rig.daemon(&config);
    daemon.ready();
    full_and_freed(&rig, &disk, daemon);
}
