//! A clock that is far ahead for a while: nothing is deleted, and no conversation
//! goes on beyond its right. And a clock that a sender sets back: it sends no more
//! for that.

use std::path::{Path, PathBuf};
use std::process::Command;

use mcp_bridge::clock;

use super::clocks::library;
use crate::common::daemon::{Agent, Daemon, Rig, session, wait_for};

fn faked(command: &mut Command, library: &Path, wrong: &str) {
    command
        .env("LD_PRELOAD", library)
        .env("FAKETIME", wrong)
        .env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
}

fn start(rig: &Rig, config: &Path, wrong: Option<(&Path, &str)>) -> Daemon {
    let mut command = rig.command(config);
    if let Some((library, wrong)) = wrong {
        faked(&mut command, library, wrong);
    }
    Daemon::start(&mut command, config)
}

fn needs_library() -> Option<PathBuf> {
    let found = library();
    if found.is_none() {
        println!("skipped: libfaketime is not installed, a wrong clock cannot be had");
    }
    found
}

fn text(rig: &Rig, query: &str) -> String {
    let connection = rig.foreign();
    let texts = connection.query_row(query, [], |row| row.get(0));
    texts.expect("a text")
}

const QUICK: &str = "[watchdog]\ncheck_interval = \"100ms\"\nleader_ttl = \"1s\"\n\
     [housekeeping]\ninterval = \"1s\"\n";

#[test]
fn a_clock_far_ahead_deletes_nothing() {
    let Some(library) = needs_library() else {
        return;
    };
    for wrong in ["+45d", "+400d"] {
        let rig = Rig::new();
        let pair = rig.pair("one");
        rig.send(&pair.a, "read and acknowledged");
        rig.fetch(&pair.b);
        rig.fetch(&pair.b);
        let config = rig.config_of("orchestrator", "orchestrator", QUICK);
        let mut daemon = start(&rig, &config, Some((&library, wrong)));
        daemon.says("days ahead; nothing is deleted");
        // A second life of the daemon takes the first one's rows for no witness.
        daemon.kill();
        let mut daemon = start(&rig, &config, Some((&library, wrong)));
        daemon.says("days ahead; nothing is deleted");
        daemon.kill();
        let left = text(
            &rig,
            "SELECT (SELECT count(*) FROM conversations) || ' ' ||
                    (SELECT count(*) FROM messages WHERE from_session = 'a') || ' ' ||
                    (SELECT count(*) FROM audit_log WHERE action = 'create_conversation')",
        );
        assert_eq!(left, "1 1 1", "{wrong}");
        // Put right, it is believed, and what ended long ago goes.
        let raw = rig.foreign();
        raw.execute_batch(
            "UPDATE conversations SET expires_at = '2020-01-01T00:00:00.000000';
                           UPDATE messages SET timestamp = '2020-01-01T00:00:00.000000'",
        )
        .expect("aged");
        let mut daemon = start(&rig, &config, None);
        daemon.says("deleted old rows");
        daemon.kill();
    }
}

#[test]
fn clock_far_ahead_renews_nothing_beyond_its_right() {
    let Some(library) = needs_library() else {
        return;
    };
    let rig = Rig::new();
    let pair = rig.pair("one");
    let _agent = Agent::with_file(&rig, "one.pid");
    let proof = format!("{{ pid_file = \"{}\" }}", rig.path("one.pid").display());
    let worker = format!(
        "[heartbeat]\ninterval = \"100ms\"\nttl = \"5s\"\n{}",
        session("one", &proof)
    );
    let config = rig.config("worker", &worker);
    let year = &clock::now().to_string()[..4];
    for _ in 0..2 {
        let mut daemon = start(&rig, &config, Some((&library, "+3650d")));
        daemon.says("days ahead; conversations are renewed");
        let before = rig.beats(&pair.b.session);
        wait_for("heartbeats all the same", || {
            (rig.beats(&pair.b.session) >= before + 5).then_some(())
        });
        daemon.kill();
        let end = text(&rig, "SELECT expires_at FROM conversations");
        assert_eq!(&end[..4], year, "{end}");
    }
    // What was written by a wrong clock after all is taken back.
    let raw = rig.foreign();
    raw.execute_batch(
        "UPDATE conversations SET expires_at = '2050-01-01T03:00:00.000000';
         UPDATE bridge_conversation SET renewed_to = '2050-01-01T03:00:00.000000',
             renewed_for_ms = 10800000",
    )
    .expect("set");
    let mut daemon = start(&rig, &config, None);
    daemon.says("reverted the renewals of 1 conversation");
    let end = text(&rig, "SELECT expires_at FROM conversations");
    assert_eq!(&end[..4], year, "{end}");
    daemon.kill();
}

#[test]
fn sender_with_a_clock_set_back_sends_no_more() {
    let Some(library) = needs_library() else {
        return;
    };
    let rig = Rig::new();
    rig.pair("one");
    let limits = mcp_bridge::model::rate::RateLimits {
        per_minute: 10,
        ..Default::default()
    };
    rig.block_on(rig.store.set_rate_limits(limits))
        .expect("set");
    let sent = (0..25).filter(|hours| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mcp-bridge"));
        command
            .arg("--store")
            .arg(rig.path("bridge.db"))
            .arg("--credentials")
            .arg(rig.path("one.toml"))
            .args(["send", "hello"]);
        faked(&mut command, &library, &format!("-{hours}h"));
        let output = command.output().expect("run");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success() || said.contains("10 messages per minute"),
            "{said}"
        );
        output.status.success()
    });
    assert_eq!(sent.count(), 10);
}
