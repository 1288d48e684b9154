//! The order as commands have it, with the real daemon.

use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use mcp_bridge::credentials::Credentials;
use mcp_bridge::model::token::TokenStorage;
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::common::daemon::{Daemon, Pair, Rig, wait_for};

/// A user with a login, whose daemons have their sockets below `run/mcp-bridge`.
struct User {
    rig: Rig,
}

impl User {
    fn new() -> Self {
        Self { rig: Rig::new() }
    }

    /// A daemon that answers.
    fn daemon(&self, name: &str, store: &str) -> Daemon {
        let config = self.rig.path(&format!("{name}.conf.toml"));
        let text = format!(
            "role = \"worker\"\n[store]\nurl = \"{}\"\n[service]\nstate_file = \"{}\"\n",
            self.rig.path(store).display(),
            self.rig
                .path(&format!("run/mcp-bridge/{name}.json"))
                .display(),
        );
        std::fs::write(&config, text).expect("written");
        let mut daemon = self.rig.daemon(&config);
        daemon.ready();
        daemon
    }

    /// A command without any setting of a store.
    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mcp-bridge"));
        command
            .args(args)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.rig.dir.path())
            .env("XDG_RUNTIME_DIR", self.rig.path("run"))
            .env("NO_COLOR", "1")
            .current_dir(self.rig.dir.path());
        command
    }

    fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().expect("it ran")
    }

    #[track_caller]
    fn json(&self, args: &[&str]) -> Value {
        let output = self.run(args);
        serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"))
    }

    fn socket(&self, name: &str) -> String {
        let socket = format!("run/mcp-bridge/{name}/api.sock");
        self.rig.path(&socket).display().to_string()
    }

    /// `NAME.toml`, credentials that name the store's file.
    fn credentials(&self, name: &str, pair: &Pair, store: &Path) {
        let credentials = Credentials {
            store: Some(store.display().to_string()),
            label: None,
            callers: vec![pair.b.clone()],
            source: None,
        };
        let file = self.rig.path(&format!("{name}.toml"));
        credentials
            .write(&file, TokenStorage::Hashed)
            .expect("written");
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn status_and_doctor_say_which_way_was_taken() {
    let user = User::new();
    let pair = user.rig.pair_without_file("work");
    let store = user.rig.path("bridge.db");
    user.credentials("work", &pair, &store);
    let file = store.display().to_string();
    let credentials = ["-c", "work.toml"];
    // No daemon: the file that the credentials name.
    let way = |args: &[&str]| user.json(args)["way"].clone();
    let by_file = json!({ "named_by": "credentials", "by": "file", "socket": null });
    assert_eq!(way(&["status", "--json", "-c", "work.toml"]), by_file);
    let daemon = user.daemon("worker", "bridge.db");
    let socket = user.socket("worker");
    let through = json!({ "named_by": "credentials", "by": "daemon", "socket": socket });
    let plain = json!({ "named_by": "daemon", "by": "daemon", "socket": socket });
    let flag = json!({ "named_by": "flag", "by": "file", "socket": null });
    for command in ["status", "doctor"] {
        assert_eq!(
            way(&[command, "--json", "-c", "work.toml"]),
            through,
            "{command}"
        );
        assert_eq!(way(&[command, "--json"]), plain, "{command}");
        assert_eq!(
            way(&[command, "--json", "--store", &file]),
            flag,
            "{command}"
        );
        for (args, line) in [
            (
                &credentials[..],
                format!("{file} (from the credentials), through its daemon at {socket}"),
            ),
            (
                &[],
                format!("unix:{socket} (of this user's daemon), through its daemon"),
            ),
            (
                &["--store", &file],
                format!("{file} (from --store), opened here"),
            ),
        ] {
            let output = user.run(&[&[command], args].concat());
            let said = text(&output.stdout);
            assert!(said.contains(&line), "{command} {args:?}: {output:?}");
        }
    }
    // What a session does goes through the daemon, too.
    user.rig.send(&pair.a, "hello");
    let mail = user.run(&["check", "-c", "work.toml"]);
    assert!(text(&mail.stdout).contains("| hello"), "{mail:?}");
    assert_eq!(daemon.stop(), Some(0));
    assert_eq!(way(&["status", "--json", "-c", "work.toml"]), by_file);
}

#[test]
fn killed_daemon_is_named_and_credentials_go_on() {
    let user = User::new();
    let pair = user.rig.pair_without_file("work");
    user.credentials("work", &pair, &user.rig.path("bridge.db"));
    let mut daemon = user.daemon("worker", "bridge.db");
    daemon.signal(Signal::KILL);
    daemon.wait();
    let output = user.run(&["status"]);
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(69), "{output:?}");
    assert!(
        said.contains(&user.socket("worker")) && said.contains("start it: "),
        "{said}"
    );
    user.rig.send(&pair.a, "hello");
    let mail = user.run(&["check", "-c", "work.toml"]);
    assert!(text(&mail.stdout).contains("| hello"), "{mail:?}");
    // Another daemon of the same store answers for it.
    let _other = user.daemon("writer", "bridge.db");
    let status = user.json(&["status", "--json"]);
    assert_eq!(status["way"]["socket"], json!(user.socket("writer")));
}

#[test]
fn commands_on_the_file_find_it_by_the_daemon() {
    let user = User::new();
    let _daemon = user.daemon("worker", "bridge.db");
    let file = user.rig.path("bridge.db").display().to_string();
    let backup = user.json(&["store", "backup", "--json"]);
    assert_eq!(backup["store"], json!(file));
    let init = user.json(&["store", "init", "--json"]);
    assert_eq!(
        (&init["store"], &init["result"]),
        (&json!(file), &json!("existing"))
    );
    let check = user.json(&["store", "check", "--json"]);
    assert_eq!(check["problems"], json!([]));
    let health = user.json(&["health", "--json"]);
    assert_eq!(health["store"], json!(file));
}

#[test]
fn restore_names_the_daemon_that_has_the_store() {
    let user = User::new();
    let daemon = user.daemon("worker", "bridge.db");
    let backup = user.run(&["store", "backup", "copy.db"]);
    assert!(backup.status.success(), "{backup:?}");
    let refused = user.run(&["store", "restore", "copy.db", "--yes"]);
    let said = text(&refused.stderr);
    assert_eq!(refused.status.code(), Some(75), "{said}");
    let file = user.rig.path("bridge.db").display().to_string();
    let pid = daemon.child.id().to_string();
    for words in [&file, &pid, "mcp-bridged", "systemctl stop"] {
        assert!(said.contains(words), "`{words}` in: {said}");
    }
    daemon.stop();
}

#[test]
fn two_stores_are_not_chosen_between() {
    let user = User::new();
    let (_one, two) = (
        user.daemon("one", "bridge.db"),
        user.daemon("two", "missing.db"),
    );
    // One whose store is not there yet answers for none.
    let status = user.json(&["status", "--json"]);
    assert_eq!(status["way"]["socket"], json!(user.socket("one")));
    let made = user.run(&["store", "init", "--store", "missing.db"]);
    assert!(made.status.success(), "{made:?}");
    let said = wait_for("the second store", || {
        let output = user.run(&["status"]);
        (output.status.code() == Some(65)).then(|| text(&output.stderr))
    });
    assert!(
        said.contains(&user.socket("one"))
            && said.contains(&user.socket("two"))
            && said.contains("choose one: --store"),
        "{said}"
    );
    assert_eq!(two.stop(), Some(0));
    assert!(user.run(&["status"]).status.success());
}

#[test]
fn a_watch_goes_on_without_its_daemon() {
    let user = User::new();
    let pair = user.rig.pair_without_file("work");
    user.credentials("work", &pair, &user.rig.path("bridge.db"));
    let daemon = user.daemon("worker", "bridge.db");
    let mut watch = user.command(&["-c", "work.toml", "watch", "--json"]);
    let mut watch = watch.stdout(Stdio::piped()).spawn().expect("it starts");
    let lines = BufReader::new(watch.stdout.take().expect("a pipe")).lines();
    let mut texts = lines.map_while(Result::ok).map(|line| {
        let line: Value = serde_json::from_str(&line).expect("a line of JSON");
        line["message"].as_str().expect("a text").to_owned()
    });
    let mut next = || texts.next().expect("a line");
    user.rig.send(&pair.a, "by the daemon");
    assert_eq!(next(), "by the daemon");
    assert_eq!(daemon.stop(), Some(0));
    user.rig.send(&pair.a, "by the file");
    assert_eq!(next(), "by the file");
    // It has the file open now, and another daemon changes nothing.
    let _daemon = user.daemon("worker", "bridge.db");
    user.rig.send(&pair.a, "beside a daemon");
    assert_eq!(next(), "beside a daemon");
    watch.kill().expect("it runs");
    watch.wait().expect("it ends");
}

#[test]
fn group_uses_the_system_store_through_its_socket() {
    let mut probe = Command::new("unshare");
    probe.args(["--mount", "setpriv", "--reuid=65534", "true"]);
    if !rustix::process::geteuid().is_root() || !probe.status().is_ok_and(|ran| ran.success()) {
        println!("skipped: a /run of its own wants root, unshare and setpriv");
        return;
    }
    const GROUP: u32 = 54_321;
    let user = User::new();
    let mut daemon = user.daemon("worker", "bridge.db");
    let (socket, program) = (user.socket("worker"), user.rig.path("mcp-bridge"));
    std::fs::copy(env!("CARGO_BIN_EXE_mcp-bridge"), &program).expect("copied");
    let mode = |path: &Path, mode: u32| {
        let mode = std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(path, mode).expect("set");
    };
    mode(user.rig.dir.path(), 0o711);
    std::os::unix::fs::chown(&socket, None, Some(GROUP)).expect("root may");
    mode(Path::new(&socket), 0o660);
    for file in [
        "bridge.db",
        "bridge.db-wal",
        "bridge.db-shm",
        "bridge.db-bell",
    ] {
        mode(&user.rig.path(file), 0o600);
    }
    // As another user without a store, on a machine whose /run has this daemon's sockets.
    let run = |groups: &str, args: &str| {
        let script = format!(
            "mount -t tmpfs none /run && mkdir /run/mcp-bridge && \
             cp -r --preserve=mode \"$DAEMONS\" /run/mcp-bridge/worker && \
             rm -f /run/mcp-bridge/worker/*.sock && touch /run/mcp-bridge/worker/api.sock && \
             mount --bind \"$DAEMONS/api.sock\" /run/mcp-bridge/worker/api.sock && \
             exec setpriv --reuid=65534 --regid=65534 {groups} \"$PROGRAM\" {args}"
        );
        let ran = Command::new("unshare")
            .args(["--mount", "sh", "-euc", &script])
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", "/nonexistent")
            .env("NO_COLOR", "1")
            .env("DAEMONS", Path::new(&socket).parent().expect("a directory"))
            .env("PROGRAM", &program)
            .current_dir("/")
            .output();
        ran.expect("unshare")
    };
    let member = format!("--groups={GROUP}");
    let status = run(&member, "status --json");
    let found: Value =
        serde_json::from_slice(&status.stdout).unwrap_or_else(|_| panic!("no JSON: {status:?}"));
    let system = "/run/mcp-bridge/worker/api.sock";
    let way = json!({ "named_by": "system", "by": "daemon", "socket": system });
    assert_eq!(found["way"], way);
    let doctor = run(&member, "doctor");
    let said = text(&doctor.stdout);
    assert!(
        said.contains("this user cannot open it; its commands use the daemon at")
            && !said.contains("fail "),
        "{doctor:?}"
    );
    let stranger = run("--clear-groups", "status");
    assert!(
        text(&stranger.stdout).contains("no store yet"),
        "{stranger:?}"
    );
    daemon.signal(Signal::KILL);
    daemon.wait();
    let dead = run(&member, "status");
    assert_eq!(dead.status.code(), Some(69), "{dead:?}");
    assert!(text(&dead.stderr).contains(system), "{dead:?}");
}
