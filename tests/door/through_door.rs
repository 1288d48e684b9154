//! The command line through a daemon: it shows what it shows with the store's file
//! open, and a daemon that is started again costs no message.

#![expect(
    clippy::expect_used,
    reason = "a test that cannot set up its case has nothing to say"
)]

use crate::common::scratch as common;
mod events;
mod late;
mod moving;

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Instant;

use crate::common::scratch::{PATIENCE, Running, Scratch, wait_until};
use rustix::io::ioctl_fionread;
use rustix::process::Signal;
use serde_json::Value;

/// A daemon in a scratch directory, ended with this.
struct Daemon(Child);

impl Daemon {
    /// Returns when it answers at its socket.
    fn start(scratch: &Scratch) -> Self {
        let config = scratch.path("door.toml");
        let store = scratch.store().display().to_string();
        let text = format!("role = \"orchestrator\"\n[store]\nurl = \"{store}\"\n");
        std::fs::write(&config, text).expect("written");
        let runtime = scratch.path("run");
        std::fs::create_dir_all(&runtime).expect("made");
        let private = std::fs::Permissions::from_mode(0o700);
        std::fs::set_permissions(&runtime, private).expect("private");
        let mut command = scratch.program(env!("CARGO_BIN_EXE_mcp-bridged"));
        command
            .env("XDG_RUNTIME_DIR", runtime)
            .arg("--config")
            .arg(config)
            .stderr(Stdio::null());
        let daemon = Self(command.spawn().expect("the daemon starts"));
        let until = Instant::now() + PATIENCE;
        while through(scratch, None, &["health"]).code != Some(0) {
            assert!(Instant::now() < until, "the daemon does not answer");
        }
        daemon
    }

    /// As `kill -9` ends it.
    fn kill(&mut self) {
        self.0.kill().expect("it runs");
        self.0.wait().expect("it ends");
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The command line, which asks the daemon.
fn command(scratch: &Scratch, name: Option<&str>, args: &[&str]) -> Command {
    let mut command = scratch.bridge(args);
    let socket = scratch.path("run/mcp-bridge/door/api.sock");
    command
        .env("MCP_BRIDGE_STORE", format!("unix:{}", socket.display()))
        .env("XDG_RUNTIME_DIR", scratch.path("run"));
    if let Some(name) = name {
        command.env("MCP_BRIDGE_CREDENTIALS", scratch.credentials(name));
    }
    command
}

fn through(scratch: &Scratch, name: Option<&str>, args: &[&str]) -> common::Ran {
    scratch.outcome(command(scratch, name, args))
}

/// The command line with the store's file open.
fn by_file(scratch: &Scratch, name: &str, args: &[&str]) -> common::Ran {
    let mut command = command(scratch, Some(name), args);
    command.env("MCP_BRIDGE_STORE", scratch.store());
    scratch.outcome(command)
}

/// JSON without what moves by itself from one look to the next.
fn steady(mut value: Value) -> Value {
    match &mut value {
        Value::Array(all) => {
            for one in all {
                *one = steady(one.take());
            }
        }
        Value::Object(members) => {
            for name in [
                "store",
                "way",
                "at",
                "seq",
                "seen_at",
                "renew_seq",
                "heartbeat",
                "activity_at",
            ] {
                members.remove(name);
            }
            for (_, one) in members {
                *one = steady(one.take());
            }
        }
        _ => {}
    }
    value
}

#[test]
fn both_ways_show_the_same() {
    let scratch = Scratch::with_conversation();
    let _daemon = Daemon::start(&scratch);
    let run = |name: &str, args: &[&str]| through(&scratch, Some(name), args).ok();
    run("work.a", &["send", "by the door"]);
    scratch.run_as("work.a", &["send", "by the file"]).ok();
    run(
        "work.a",
        &["task", "add", "--title", "a title", "--role", "tester"],
    );
    run("work.a", &["drain", "work/b", "--for", "1h"]);
    let looks: [(&str, &[&str]); 9] = [
        ("work.b", &["check", "--peek", "--json"]),
        ("work.a", &["status", "--json"]),
        ("work.a", &["conversation", "list", "--json"]),
        ("work.a", &["conversation", "show", "work", "--json"]),
        ("work.a", &["task", "list", "--json"]),
        ("work.a", &["task", "show", "1", "--json"]),
        ("work.a", &["alert", "list", "--json"]),
        ("work.a", &["audit", "--json"]),
        ("work.a", &["store", "check", "--json"]),
    ];
    for (name, look) in looks {
        let door = through(&scratch, Some(name), look);
        let file = by_file(&scratch, name, look);
        assert_eq!(door.code, file.code, "{look:?}: {door:#?} {file:#?}");
        if door.code == Some(0) {
            assert_eq!(steady(door.json()), steady(file.json()), "{look:?}");
        }
    }
    let refused: [(&str, &[&str]); 5] = [
        ("work.b", &["task", "done", "1", "--fence", "1", "ok"]),
        ("work.b", &["ack", "77"]),
        ("work.a", &["task", "show", "99"]),
        ("work.a", &["conversation", "show", "conv_0123456789abcdef"]),
        ("work.a", &["send", ""]),
    ];
    for (name, order) in refused {
        let door = through(&scratch, Some(name), order);
        let file = by_file(&scratch, name, order);
        let first = |ran: &common::Ran| ran.says().lines().next().map(str::to_owned);
        let apart = |text: Option<String>| {
            let text = text.unwrap_or_default();
            text.replace("unix:<dir>/run/mcp-bridge/door/api.sock", "<dir>/bridge.db")
        };
        assert_ne!(door.code, Some(0), "{order:?}");
        assert_eq!(apart(first(&door)), apart(first(&file)), "{order:?}");
    }
}

#[test]
fn credentials_made_through_a_daemon_name_its_socket() {
    let scratch = Scratch::new();
    scratch.run(&["store", "init"]).ok();
    let _daemon = Daemon::start(&scratch);
    through(
        &scratch,
        None,
        &[
            "conversation",
            "new",
            "--label",
            "work",
            "--out",
            "credentials",
        ],
    )
    .ok();
    // Without any setting of a store.
    let run = |name: &str, args: &[&str]| {
        let mut command = command(&scratch, Some(name), args);
        command.env_remove("MCP_BRIDGE_STORE");
        scratch.outcome(command)
    };
    run("work.a", &["send", "hello"]).ok();
    let mail = run("work.b", &["check"]).ok();
    assert!(mail.out.contains("| hello"), "{mail:#?}");
    // A session renews and closes its own conversation; it is no operator of others.
    run("work.b", &["conversation", "renew", "work", "--for", "5h"]).ok();
    run("work.b", &["conversation", "rekey", "work"]).ok();
    run("work.b", &["check"]).ok();
    run("work.b", &["conversation", "close", "work"]).ok();
}

#[test]
fn credentials_that_name_a_closed_file_find_its_daemon() {
    if !rustix::process::geteuid().is_root() {
        println!("skipped: only root can run a program as another user");
        return;
    }
    let scratch = Scratch::with_conversation();
    let _daemon = Daemon::start(&scratch);
    // Another user, who has the credentials and may use the socket, and may not open
    // the file.
    let mut status = scratch.as_other_user(&["-c", "credentials/work.b.toml", "check"]);
    let root = |path: &str| std::os::unix::fs::chown(scratch.path(path), Some(0), Some(0));
    root("").expect("given back");
    root("run").expect("given back");
    mode(&scratch, "", 0o755);
    for file in [
        "bridge.db",
        "bridge.db-wal",
        "bridge.db-shm",
        "bridge.db-bell",
    ] {
        root(file).expect("given back");
        mode(&scratch, file, 0o600);
    }
    mode(&scratch, "run", 0o755);
    mode(&scratch, "run/mcp-bridge/door/api.sock", 0o666);
    scratch.run_as("work.a", &["send", "by the file"]).ok();
    status
        .env_remove("MCP_BRIDGE_STORE")
        .env("XDG_RUNTIME_DIR", scratch.path("run"));
    let mail = scratch.outcome(status).ok();
    assert!(mail.out.contains("| by the file"), "{mail:#?}");
    // That the file is closed is no fault of this machine.
    let mut doctor = scratch.program("setpriv");
    doctor
        .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
        .arg(scratch.path("mcp-bridge"))
        .args(["-c", "credentials/work.b.toml", "doctor"])
        .env_remove("MCP_BRIDGE_STORE")
        .env("XDG_RUNTIME_DIR", scratch.path("run"));
    let doctor = scratch.outcome(doctor).ok();
    assert!(
        doctor
            .out
            .contains("this user cannot open it; its commands use the daemon at"),
        "{doctor:#?}"
    );
}

fn mode(scratch: &Scratch, path: &str, mode: u32) {
    let mode = std::fs::Permissions::from_mode(mode);
    std::fs::set_permissions(scratch.path(path), mode).expect("set");
}

#[test]
fn no_mail_is_shown_by_two_processes() {
    let scratch = Scratch::with_conversation();
    let _daemon = Daemon::start(&scratch);
    for _ in 0..3 {
        let long = "x".repeat(40_000);
        through(&scratch, Some("work.a"), &["send", &long]).ok();
    }
    let mut first = Running::unread(&mut command(&scratch, Some("work.b"), &["check"]));
    wait_until("the pipe is full", || {
        let pipe = first.child.stdout.as_ref().expect("a pipe");
        ioctl_fionread(pipe).is_ok_and(|bytes| bytes > 60_000)
    });
    let read = || {
        through(&scratch, Some("work.b"), &["check", "--json"])
            .ok()
            .json()
    };
    let count = |read: Value| read["messages"].as_array().map(Vec::len);
    assert_eq!(count(read()), Some(0));
    // It dies before it has shown them.
    first.signal(Signal::KILL);
    first.end();
    assert_eq!(count(read()), Some(3));
}

#[test]
fn a_daemon_that_is_killed_costs_no_message() {
    const ROUNDS: usize = 4;
    const EACH: usize = 5;
    let scratch = Scratch::with_conversation();
    let mut daemon = Daemon::start(&scratch);
    let mut watch = command(&scratch, Some("work.b"), &["watch", "--json"])
        .stdout(Stdio::piped())
        .spawn()
        .expect("watch starts");
    let (tell, told) = mpsc::channel();
    let lines = BufReader::new(watch.stdout.take().expect("a pipe")).lines();
    let reader = std::thread::spawn(move || {
        for line in lines.map_while(Result::ok) {
            let message: Value = serde_json::from_str(&line).expect("a line of JSON");
            if tell.send(message["message"].to_string()).is_err() {
                break;
            }
        }
    });
    for round in 0..ROUNDS {
        // Sent while the daemon is there, while it is not, and while it comes back.
        let senders: Vec<Child> = (0..EACH)
            .map(|number| {
                let text = format!("round {round} number {number}");
                command(&scratch, Some("work.a"), &["send", &text])
                    .stdout(Stdio::null())
                    .spawn()
                    .expect("send starts")
            })
            .collect();
        daemon.kill();
        daemon = Daemon::start(&scratch);
        for mut sender in senders {
            assert!(sender.wait().expect("it ends").success(), "a send failed");
        }
    }
    let mut seen = Vec::new();
    while seen.len() < ROUNDS * EACH {
        seen.push(told.recv_timeout(PATIENCE).expect("the next message"));
    }
    assert_eq!(seen.iter().collect::<BTreeSet<_>>().len(), ROUNDS * EACH);
    let stored = scratch.number("SELECT count(*) FROM messages");
    assert_eq!(usize::try_from(stored), Ok(ROUNDS * EACH), "each once");
    watch.kill().expect("it runs");
    watch.wait().expect("it ends");
    reader.join().expect("the reader ends");
}
