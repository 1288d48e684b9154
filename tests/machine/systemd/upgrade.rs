//! An upgrade of the package while messages flow, with a database that the new daemon
//! has to change: copied first, then adopted; the daemon goes on.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

use mcp_bridge::store::sqlite::SCHEMA_VERSION;
use rusqlite::Connection;
use serde_json::{Value, json};

use crate::common::store::BRIDGE;

use super::machine::{Machine, wait_for};
use super::operator::needs_a_machine;
use super::operator::{STORE, WORKER, agent, edit, enable, says};
use super::package::{install, package};

/// Stands where the daemon of the older package stood: it says that it is
/// ready, and lives.
const STAND_IN: &str = r#"#!/usr/bin/perl
use Socket;
socket(my $s, AF_UNIX, SOCK_DGRAM, 0) or die;
send($s, "READY=1\nSTATUS=an older version", 0, sockaddr_un($ENV{NOTIFY_SOCKET})) or die;
sleep 1 while 1;
"#;

/// The package of a release before this one: the same files, and the daemon a
/// program of its own.
fn older(machine: &Machine) {
    let deb = package();
    fs::copy(&deb, machine.root("/root/new.deb")).expect("copied");
    machine.write("/root/stand-in", STAND_IN);
    machine
        .sh("cd /root && dpkg-deb --raw-extract new.deb old && install --mode 755 stand-in old/usr/bin/mcp-bridged \
             && sed -i 's/^Version: .*/Version: 0.0.9/' old/DEBIAN/control && rm -f old/DEBIAN/md5sums \
             && dpkg-deb -Znone --build old old.deb >/dev/null && dpkg --install old.deb")
        .ok();
}

/// The Python bridge's database, as nothing of ours has touched it.
fn make_store(path: &Path) {
    let raw = Connection::open(path).expect("opened");
    raw.pragma_update(None, "journal_mode", "wal").expect("set");
    raw.execute_batch(BRIDGE).expect("made");
}

/// The Python bridge at work on the machine's store.
struct Bridge {
    process: Child,
    answers: BufReader<std::process::ChildStdout>,
}

impl Bridge {
    fn new(machine: &Machine) -> Self {
        machine.write("/root/bridge.py", include_str!("../../foreign/bridge.py"));
        let mut process = machine
            .command(["python3", "/root/bridge.py", STORE])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("python3");
        let answers = BufReader::new(process.stdout.take().expect("piped"));
        Self { process, answers }
    }

    fn call(&mut self, request: &Value) -> Value {
        let stdin = self.process.stdin.as_mut().expect("piped");
        writeln!(stdin, "{request}").expect("asked");
        let mut line = String::new();
        self.answers.read_line(&mut line).expect("answered");
        let answer: Value = serde_json::from_str(&line).expect("JSON");
        assert!(answer.get("ok").is_some(), "{answer}");
        answer["ok"].clone()
    }
}

/// Stops the writer when it goes out of scope.
struct Halt<'a>(&'a AtomicBool);

impl Drop for Halt<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

impl Drop for Bridge {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        let _ = self.process.wait();
    }
}

#[test]
fn upgrade_copies_the_store_first_and_loses_nothing() {
    needs_a_machine!();
    let machine = Machine::boot();
    older(&machine);
    machine.sh("useradd --create-home bob").ok();
    agent(&machine);
    // Made out here: SQLite follows the link that /proc has for another root,
    // and would end up in this one.
    let outside = tempfile::tempdir().expect("a directory");
    let made = outside.path().join("bridge.db");
    make_store(&made);
    fs::copy(&made, machine.root(STORE)).expect("copied");
    machine
        .sh(&format!("chown mcp-bridge: {STORE} && chmod 660 {STORE}"))
        .ok();
    let mut bridge = Bridge::new(&machine);
    let made = bridge.call(&json!(["create"]));
    let (id, a, b) = (&made["id"], &made["a"], &made["b"]);
    machine.write(
        "/etc/mcp-bridge/credentials/backend.b.toml",
        &format!("[[session]]\nconversation = {id}\nsession = \"b\"\ntoken = {b}\n"),
    );
    machine.sh("chmod 600 /etc/mcp-bridge/credentials/*").ok();
    edit(&machine, super::operator::SESSION);
    enable(&machine, "worker");
    says(&machine, "an older version");

    let stop = AtomicBool::new(false);
    let sent = std::thread::scope(|scope| {
        // Also where a test gives up in between.
        let halt = Halt(&stop);
        let writer = scope.spawn(|| {
            let mut sent = 0;
            while !stop.load(Ordering::Acquire) {
                bridge.call(&json!(["send", id, "a", a, format!("message {sent}")]));
                sent += 1;
            }
            (bridge, sent)
        });
        // Edited, and no question is asked: the package's own has not changed.
        install(&machine, &package());
        says(&machine, "worker: 1 session alive");
        wait_for("a wake by the new one", || {
            machine
                .root("/run/mcp-bridge/worker/inbox")
                .exists()
                .then_some(())
        });
        drop(halt);
        writer.join().expect("it sent")
    });
    let (mut bridge, sent) = sent;
    let read = bridge.call(&json!(["read", id, "b", b]));
    let read: Vec<&str> = read
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|message| message["message"].as_str())
        .collect();
    let wanted: Vec<String> = (0..sent).map(|n| format!("message {n}")).collect();
    assert_eq!(read, wanted);
    println!("{sent} messages over the upgrade");
    assert_eq!(machine.show(WORKER, "NRestarts"), "0");
    let link = machine.sh("readlink /usr/bin/mcp-bridged").ok();
    assert_eq!(link.trim(), "mcp-bridge", "one program is installed");

    // The copy is the Python bridge's database, whole, and no more open than the store.
    let copy = format!("{STORE}.before-schema-{SCHEMA_VERSION}");
    let copies = machine
        .sh("stat --format='%n %a %U' /var/lib/mcp-bridge/*before-schema*")
        .ok();
    assert_eq!(copies.trim(), format!("{copy} 660 mcp-bridge"));
    let kept = outside.path().join("kept.db");
    fs::copy(machine.root(&copy), &kept).expect("copied");
    let copy = Connection::open(kept).expect("opened");
    let ask = |sql: &str| -> String {
        copy.query_row(sql, [], |row| row.get::<_, rusqlite::types::Value>(0))
            .map(|value| format!("{value:?}"))
            .expect("asked")
    };
    let ours = "SELECT count(*) FROM sqlite_schema WHERE name LIKE 'bridge%'";
    assert_eq!(ask(ours), "Integer(0)");
    assert_eq!(ask("PRAGMA integrity_check"), "Text(\"ok\")");
}
