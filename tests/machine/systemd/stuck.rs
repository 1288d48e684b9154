//! A journal that stands still, and a duty that hangs.

use std::time::{Duration, Instant};

use serde_json::Value;

use super::faults::{Load, Watched, drop_in, restarts};
use super::machine::{Machine, wait_for};
use super::operator::needs_a_machine;
use super::operator::{WORKER, bob_reads, says, site};

const JOURNAL: &str = "systemd-journald.service";

/// What a round may be late by. Both daemons beat every five seconds or more often;
/// a round that waits for a log takes as long as the log stands still.
const SLACK: f64 = 3.5;

/// Looks at the store all the time, and tells the longest time between two beats of
/// the worker, and between two renewals of the lead.
const ROUNDS: &str = r#"
import json, os, sqlite3, time
store = sqlite3.connect("file:/var/lib/mcp-bridge/bridge.db?mode=ro", uri=True, timeout=30)
looks = {
    "beat": "SELECT seq FROM bridge_heartbeat WHERE session_id = 'b' AND daemon_id IS NOT NULL",
    "lead": "SELECT renew_seq FROM bridge_leader",
}
seen = {name: (store.execute(look).fetchone(), time.monotonic()) for name, look in looks.items()}
begun, gaps = dict(seen), dict.fromkeys(looks, 0)
open("/root/looking", "w").close()
while not os.path.exists("/root/enough"):
    for name, look in looks.items():
        value, now = store.execute(look).fetchone(), time.monotonic()
        gaps[name] = max(gaps[name], now - seen[name][1])
        if value != seen[name][0]:
            seen[name] = (value, now)
    time.sleep(0.02)
beats = seen["beat"][0][0] - begun["beat"][0][0]
with open("/root/rounds.new", "w") as file:
    json.dump({"gaps": gaps, "beats": beats}, file)
os.rename("/root/rounds.new", "/root/rounds.json")
"#;

/// How many records there are that match, in the worker's journal behind `cursor`.
fn records(machine: &Machine, cursor: &str, filter: &str) -> Vec<Value> {
    let said = machine
        .sh(&format!(
            "journalctl -u {WORKER} --after-cursor='{cursor}' -o json {filter}"
        ))
        .ok();
    let lines = said.lines().map(serde_json::from_str);
    lines.map(|line| line.expect("JSON")).collect()
}

#[test]
fn a_journal_that_stands_still_delays_no_round() {
    needs_a_machine!();
    let still = if std::env::var_os("MCP_BRIDGE_TEST_FULL").is_some() {
        Duration::from_mins(1)
    } else {
        Duration::from_secs(10)
    };
    let machine = site();
    for instance in ["worker", "orchestrator"] {
        machine
            .sh(&format!(
                "mkdir -p /etc/mcp-bridge/{instance}.d && \
                 printf '[log]\\nlevel = \"debug\"\\n' >/etc/mcp-bridge/{instance}.d/debug.toml"
            ))
            .ok();
    }
    // What the journal's socket holds is soon full.
    machine
        .sh(&format!(
            "sysctl -qw net.unix.max_dgram_qlen=4 && \
             systemctl restart systemd-journald.socket {JOURNAL} 2>/dev/null || systemctl start {JOURNAL}; \
             systemctl restart {WORKER}"
        ))
        .ok();
    says(&machine, "1 session alive");
    let watched = Watched::begin(&machine);
    machine.write("/root/rounds.py", ROUNDS);
    machine
        .sh("systemd-run --quiet --unit=rounds python3 /root/rounds.py")
        .ok();
    wait_for("the first look", || {
        machine.root("/root/looking").exists().then_some(())
    });
    let cursor = machine
        .sh("journalctl --sync; journalctl -n 0 --show-cursor | sed -n 's/^-- cursor: //p'")
        .ok();
    let load = Load::begin(&machine);

    machine
        .sh(&format!(
            "systemctl kill --kill-whom=main --signal=STOP {JOURNAL}"
        ))
        .ok();
    let (begun, before) = (Instant::now(), load.sent());
    while begun.elapsed() < still {
        std::thread::park_timeout(Duration::from_millis(200));
    }
    let meanwhile = load.sent() - before;
    machine
        .sh(&format!(
            "systemctl kill --kill-whom=main --signal=CONT {JOURNAL}"
        ))
        .ok();

    let sent = load.end();
    machine.write("/root/enough", "");
    let rounds = wait_for("the rounds", || {
        let text = std::fs::read_to_string(machine.root("/root/rounds.json")).ok()?;
        serde_json::from_str::<Value>(&text).ok()
    });
    println!("journald stood still for {still:?}, {meanwhile} messages meanwhile: {rounds}");
    for round in ["beat", "lead"] {
        let gap = rounds["gaps"][round].as_f64().expect("a number");
        assert!(gap < 5.5 + SLACK, "{round}: {gap} s between two");
    }
    assert!(meanwhile > 0, "the load went on");
    // Nothing is lost: of messages none, of records those that the log tells of.
    assert_eq!(bob_reads(&machine).len() as u64, sent);
    let beats = rounds["beats"].as_u64().expect("a number");
    wait_for(
        "a record of each round, or the count of what is missing",
        || {
            machine.sh("journalctl --sync").ok();
            let told = records(&machine, cursor.trim(), "MCP_DUTY=heartbeat MESSAGE=round").len();
            let missing: u64 = records(&machine, cursor.trim(), "MCP_EVENT=log-missing")
                .iter()
                .filter_map(|record| {
                    record["MESSAGE"]
                        .as_str()?
                        .split(' ')
                        .next()?
                        .parse::<u64>()
                        .ok()
                })
                .sum();
            println!("{beats} beats, {told} records of rounds, {missing} records told as missing");
            (told as u64 + missing >= beats).then_some(())
        },
    );
    for instance in ["worker", "orchestrator"] {
        assert_eq!(
            machine.show(&format!("mcp-bridged@{instance}"), "NRestarts"),
            "0"
        );
    }
    // In the long form Bob reads nothing for a minute, which is reported; but no
    // session is declared lost.
    watched.keeps_its_task(&["session-lost", "session-exited", "task-queued"]);
}

/// A file system whose server never answers: a program that looks at a file there waits,
/// until the server ends.
const HUNG: &str = r#"
import ctypes, os, time
if not os.path.exists("/dev/fuse"):
    os.mknod("/dev/fuse", 0o20600, os.makedev(10, 229))
device = os.open("/dev/fuse", os.O_RDWR)
options = b"fd=%d,rootmode=40000,user_id=0,group_id=0,allow_other" % device
libc = ctypes.CDLL(None, use_errno=True)
if libc.mount(b"hung", b"/run/agent", b"fuse.hung", 0, options):
    raise OSError(ctypes.get_errno(), "mount")
open("/root/hung", "w").close()
while True:
    time.sleep(60)
"#;

/// A proof on a share whose server went away hangs the heartbeat duty for ever: no call
/// that this process could bound ends there.
#[test]
fn duty_that_hangs_is_ended_by_the_watchdog() {
    needs_a_machine!();
    if !std::path::Path::new("/dev/fuse").exists() {
        println!("skipped: this kernel has no file systems of users");
        return;
    }
    let machine = site();
    drop_in(&machine, "[Service]\nWatchdogSec=2s\n");
    says(&machine, "1 session alive");
    machine.write("/root/hung.py", HUNG);
    machine
        .sh("systemd-run --quiet --unit=hung python3 /root/hung.py")
        .ok();
    wait_for("the mount", || {
        machine.root("/root/hung").exists().then_some(())
    });
    let begun = Instant::now();
    // The journal keeps why the unit failed.
    wait_for("the watchdog", || {
        let why = machine
            .sh(&format!(
                "journalctl -u {WORKER} -o cat UNIT_RESULT=watchdog"
            ))
            .ok();
        why.contains("watchdog").then_some(())
    });
    println!("ended after {:.1} s", begun.elapsed().as_secs_f64());
    // The server is back, as far as it can: what waits there ends.
    machine
        .sh("systemctl kill --signal=KILL hung.service; umount --lazy /run/agent")
        .ok();
    restarts(&machine, 1);
    says(&machine, "1 session alive");
}
