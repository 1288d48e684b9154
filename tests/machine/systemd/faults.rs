//! What goes wrong under systemd, and that it is put right without an operator.

use std::process::{Child, Stdio};
use std::time::Instant;

use serde_json::Value;

use super::machine::{Machine, wait_for};
use super::operator::needs_a_machine;
use super::operator::{
    DOOR, WORKER, alice_sends, bob_reads, bridge, edit, enable, inbox, installed, people, says,
    site,
};

/// Alice writes one message after another until she is stopped.
pub(crate) struct Load<'a> {
    machine: &'a Machine,
    shell: Child,
}

impl<'a> Load<'a> {
    /// No message of it fails: a daemon that is started again is waited for.
    pub(crate) fn begin(machine: &'a Machine) -> Self {
        Self::with(machine, "exit 1")
    }

    /// One that tries each message again, for a daemon that is stopped in between.
    fn trying_again(machine: &'a Machine) -> Self {
        Self::with(machine, "sleep 0.1")
    }

    fn with(machine: &'a Machine, failed: &str) -> Self {
        let script = format!(
            "n=0; while [ ! -e stop ]; do n=$((n + 1)); \
             until mcp-bridge --store {DOOR} -c backend.a send --id load-$n \"load $n\" >/dev/null; do {failed}; done; \
             echo $n >sent; done"
        );
        let shell = machine
            .command(["runuser", "-l", "alice", "-c", &script])
            .stdout(Stdio::null())
            .spawn()
            .expect("a shell");
        let load = Self { machine, shell };
        load.reaches(3);
        load
    }

    pub(crate) fn sent(&self) -> u64 {
        let text = std::fs::read_to_string(self.machine.root("/home/alice/sent"));
        text.ok()
            .and_then(|text| text.trim().parse().ok())
            .unwrap_or(0)
    }

    fn reaches(&self, count: u64) {
        wait_for("the load", || (self.sent() >= count).then_some(()));
    }

    /// How many were acknowledged.
    pub(crate) fn end(mut self) -> u64 {
        self.machine.write("/home/alice/stop", "");
        assert!(
            self.shell.wait().expect("a child").success(),
            "each was sent"
        );
        self.sent()
    }
}

pub(crate) fn drop_in(machine: &Machine, text: &str) {
    machine
        .sh("mkdir -p /etc/systemd/system/mcp-bridged@.service.d")
        .ok();
    machine.write("/etc/systemd/system/mcp-bridged@.service.d/test.conf", text);
    machine
        .sh("systemctl daemon-reload && systemctl restart mcp-bridged@worker")
        .ok();
}

/// Waits until systemd has started the daemon this number of times again.
pub(crate) fn restarts(machine: &Machine, times: usize) {
    machine.wait_show(WORKER, "NRestarts", |count| {
        count.parse::<usize>().is_ok_and(|count| count >= times)
    });
    machine.wait_show(WORKER, "ActiveState", |state| state == "active");
}

/// What an orchestrator sees of it all: Bob's session has a task, and keeps it.
pub(crate) struct Watched<'a> {
    machine: &'a Machine,
    /// The task as it was given.
    task: Value,
}

impl<'a> Watched<'a> {
    pub(crate) fn begin(machine: &'a Machine) -> Self {
        enable(machine, "orchestrator");
        machine.wait_show("mcp-bridged@orchestrator.service", "StatusText", |status| {
            status.contains("acting")
        });
        bridge(
            machine,
            "alice",
            "-c backend.a task add --role worker --title 'Port the lexer'",
        )
        .ok();
        let task = wait_for("the task at Bob's", || {
            task(machine).filter(|task| task["state"] == "leased")
        });
        // Its message is read, so that what comes is news.
        assert_eq!(bob_reads(machine).len(), 1);
        Self { machine, task }
    }

    /// No session was declared lost, nothing was moved, no alert was raised.
    #[track_caller]
    pub(crate) fn ends(&self) {
        self.keeps_its_task(&[
            "alert-raised",
            "session-lost",
            "session-exited",
            "session-stalled",
            "task-queued",
        ]);
    }

    /// The task is where it was, and none of these events was logged.
    #[track_caller]
    pub(crate) fn keeps_its_task(&self, events: &[&str]) {
        let task = task(self.machine).expect("the task");
        for same in ["id", "state", "fence", "owner"] {
            assert_eq!(task[same], self.task[same], "{same}: {task}");
            assert_ne!(task[same], Value::Null, "{same}: {task}");
        }
        for event in events {
            let log = self
                .machine
                .sh(&format!(
                    "journalctl -u 'mcp-bridged@*' -o cat MCP_EVENT={event}"
                ))
                .ok();
            assert_eq!(log, "", "{event}");
        }
    }
}

/// The one task that there is.
fn task(machine: &Machine) -> Option<Value> {
    let listed = bridge(machine, "alice", "-c backend.a task list --all --json").ok();
    let listed: Value = serde_json::from_str(&listed).expect("JSON");
    listed.as_array().expect("a list").first().cloned()
}

#[test]
fn watchdog_restarts_a_daemon_that_stands_still() {
    needs_a_machine!();
    let machine = site();
    assert_eq!(machine.show(WORKER, "WatchdogUSec"), "9s");
    // Sooner, for the test.
    drop_in(&machine, "[Service]\nWatchdogSec=2s\n");
    says(&machine, "1 session alive");
    let watched = Watched::begin(&machine);
    says(&machine, "0 unread");
    let wakes = inbox(&machine).lines().count();
    machine
        .sh(&format!(
            "systemctl kill --kill-whom=main --signal=STOP {WORKER}"
        ))
        .ok();
    alice_sends(&machine, "while it stood still");
    let begun = Instant::now();
    restarts(&machine, 1);
    println!(
        "active again after {:.1} s at WatchdogSec=2s",
        begun.elapsed().as_secs_f64()
    );
    let why = machine
        .sh(&format!(
            "journalctl -u {WORKER} -o cat --output-fields=UNIT_RESULT UNIT_RESULT=watchdog"
        ))
        .ok();
    assert!(why.contains("watchdog"), "{why}");
    says(&machine, "1 session alive; 1 unread");
    wait_for("a wake for what came meanwhile", || {
        let inbox = inbox(&machine);
        let last = inbox.lines().nth(wakes)?;
        last.contains("1 unread message").then_some(())
    });
    assert_eq!(bob_reads(&machine), ["while it stood still"]);
    watched.ends();
}

#[test]
fn one_that_is_killed_under_load_loses_nothing() {
    needs_a_machine!();
    let machine = site();
    let watched = Watched::begin(&machine);
    let load = Load::begin(&machine);
    let kills = if std::env::var_os("MCP_BRIDGE_TEST_FULL").is_some() {
        30
    } else {
        4
    };
    for kill in 1..=kills {
        machine
            .sh(&format!(
                "systemctl kill --kill-whom=main --signal=KILL {WORKER}"
            ))
            .ok();
        restarts(&machine, kill);
        load.reaches(load.sent() + 2);
    }
    let sent = load.end();
    let read = bob_reads(&machine);
    let wanted: Vec<String> = (1..=sent).map(|n| format!("load {n}")).collect();
    assert_eq!(read, wanted, "each once and in order");
    says(&machine, "1 session alive");
    watched.ends();
}

/// Takes a lease on a file, and does not give it back when it is asked to: a process
/// that opens the file waits for as long as the kernel's patience, 45 s.
const LEASE: &str = r#"#!/usr/bin/perl
$SIG{IO} = "IGNORE";
open(my $file, "+<", "/run/held.toml") or die;
fcntl($file, 1024, 1) or die "lease: $!";
open(my $said, ">", "/run/leased") or die;
sleep 1 while 1;
"#;

/// A credentials file that would create each of its readers wait: it is named, no duty
/// hangs, and the watchdog has nothing to do.
#[test]
fn file_that_holds_its_readers_hangs_no_duty() {
    needs_a_machine!();
    let machine = site();
    drop_in(&machine, "[Service]\nWatchdogSec=2s\n");
    says(&machine, "1 session alive");
    let watched = Watched::begin(&machine);
    machine.write("/root/lease", LEASE);
    machine
        .sh("install --mode 600 --owner mcp-bridge /etc/mcp-bridge/credentials/backend.b.toml /run/held.toml; \
             chmod 755 /root/lease; systemd-run --quiet --unit=lease /root/lease")
        .ok();
    wait_for("the lease", || {
        machine.root("/run/leased").exists().then_some(())
    });
    edit(
        &machine,
        "\n[[session]]\ncredentials = \"/run/held.toml\"\nproof = \"none\"\n",
    );
    machine
        .sh("systemctl reload --no-block mcp-bridged@worker")
        .ok();
    wait_for("a word about the file", || {
        let log = machine.sh(&format!("journalctl -u {WORKER} -o cat")).ok();
        log.contains("/run/held.toml").then_some(())
    });
    says(&machine, "1 session alive");
    assert_eq!(machine.show(WORKER, "NRestarts"), "0");
    watched.ends();
}

#[test]
fn wrong_configuration_is_said_once_and_not_tried_again() {
    needs_a_machine!();
    let machine = installed();
    edit(&machine, "[heartbeat]\nintervall = \"5s\"\n");
    let said = machine.sh("systemctl enable --now mcp-bridged@worker");
    assert!(!said.status.success(), "{said:?}");
    machine.wait_show(WORKER, "ActiveState", |state| state == "failed");
    assert_eq!(machine.show(WORKER, "ExecMainStatus"), "78");
    assert_eq!(machine.show(WORKER, "NRestarts"), "0");
    let screen = machine.run(["systemctl", "status", WORKER]).out;
    println!("{screen}");
    assert!(
        screen.contains("heartbeat.intervall: unknown key; did you mean `interval`?"),
        "{screen}"
    );
    let status = machine.show(WORKER, "StatusText");
    assert!(status.contains("heartbeat.intervall"), "{status}");
    // Put right, it starts.
    machine.sh("sed -i s/intervall/interval/ /etc/mcp-bridge/worker.toml && systemctl start mcp-bridged@worker").ok();
    says(&machine, "waiting for the store");
}

/// The example for `OnFailure=`, as its first lines say, with a stand-in for
/// `mail`.
#[test]
fn a_unit_that_has_given_up_is_reported() {
    needs_a_machine!();
    let machine = installed();
    machine.write(
        "/usr/local/bin/mail",
        "#!/bin/sh\n{ echo \"to $3: $2\"; cat; } >/root/mailed.new && mv /root/mailed.new /root/mailed\n",
    );
    let example = "mcp-bridge-failed@.service";
    machine.write(
        &format!("/etc/systemd/system/{example}"),
        include_str!("../../../systemd/mcp-bridge-failed@.service"),
    );
    machine.sh("chmod 755 /usr/local/bin/mail").ok();
    let verified = machine.sh(&format!("systemd-analyze verify {example} 2>&1"));
    assert!(
        verified.status.success() && !verified.out.contains("mcp-bridge-failed"),
        "{verified:?}"
    );
    machine
        .sh("mkdir -p /etc/systemd/system/mcp-bridged@worker.service.d")
        .ok();
    machine.write(
        "/etc/systemd/system/mcp-bridged@worker.service.d/override.conf",
        "[Unit]\nOnFailure=mcp-bridge-failed@%n.service\n",
    );
    edit(&machine, "[heartbeat]\nintervall = \"5s\"\n");
    machine.sh("systemctl daemon-reload").ok();
    let said = machine.sh("systemctl enable --now mcp-bridged@worker");
    assert!(!said.status.success(), "{said:?}");
    wait_for("the mail", || {
        machine.root("/root/mailed").exists().then_some(())
    });
    let mail = machine.read("/root/mailed");
    assert!(
        mail.starts_with("to root: mcp-bridged@worker.service failed on "),
        "{mail}"
    );
    assert!(mail.contains("heartbeat.intervall"), "{mail}");
}

#[test]
fn full_disk_is_reported_until_there_is_room() {
    needs_a_machine!();
    let machine = installed();
    machine.sh("mount -t tmpfs -o size=4m,mode=700,uid=mcp-bridge,gid=mcp-bridge small /var/lib/mcp-bridge").ok();
    people(&machine);
    super::operator::agent(&machine);
    edit(&machine, super::operator::SESSION);
    enable(&machine, "worker");
    alice_sends(&machine, "one");
    machine
        .sh(
            "dd if=/dev/zero of=/var/lib/mcp-bridge/filler bs=64k 2>/dev/null || true; \
                dd if=/dev/zero of=/var/lib/mcp-bridge/crumbs bs=512 2>/dev/null || true",
        )
        .ok();
    // The log has room for a little; then the sender gets an error.
    let refused = wait_for("a refusal", || {
        let said = bridge(
            &machine,
            "alice",
            "-c backend.a send \"$(head -c 20000 /dev/zero | tr '\\0' x)\"",
        );
        (!said.status.success()).then_some(said)
    });
    assert_eq!(refused.code(), Some(69), "{refused:?}");
    assert!(refused.err.contains("full"), "{refused:?}");
    says(&machine, "full");
    assert_eq!(machine.show(WORKER, "ActiveState"), "active");
    assert_eq!(machine.show(WORKER, "NRestarts"), "0");
    machine
        .sh("rm /var/lib/mcp-bridge/filler /var/lib/mcp-bridge/crumbs")
        .ok();
    says(&machine, "1 session alive");
    alice_sends(&machine, "two");
    let read = bob_reads(&machine);
    assert_eq!(
        (read.first(), read.last()),
        (Some(&"one".into()), Some(&"two".into())),
        "{read:?}"
    );
}

#[test]
fn stop_under_load_takes_less_than_five_seconds() {
    needs_a_machine!();
    let machine = site();
    let load = Load::trying_again(&machine);
    for _ in 0..3 {
        let begun = Instant::now();
        machine.sh(&format!("systemctl stop {WORKER}")).ok();
        let took = begun.elapsed();
        println!("stopped in {took:.1?}");
        assert!(took.as_secs_f64() < 5.0, "{took:?}");
        assert_eq!(machine.show(WORKER, "Result"), "success");
        assert_eq!(machine.show(WORKER, "ExecMainStatus"), "0");
        machine.sh(&format!("systemctl start {WORKER}")).ok();
    }
    let sent = load.end();
    assert_eq!(bob_reads(&machine).len() as u64, sent);
}
