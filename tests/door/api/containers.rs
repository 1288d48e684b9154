//! Programs that see of the daemon what a container mounts: namespaces of their own,
//! another user in the socket's group, and the socket.

use std::io::{BufRead, BufReader};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

use mcp_bridge::credentials::Credentials;
use mcp_bridge::model::token::TokenStorage;

use super::ground::{Ground, Socket};
use crate::common::daemon::Pair;

/// A group without a member.
const GROUP: u32 = 54_321;

/// The user of a container.
const USER: u32 = 65_534;

/// A shell in namespaces of its own, whose `agent` is `mcp-bridge` as the container's
/// user; killed with this.
struct Container {
    shell: Child,
    lines: std::io::Lines<BufReader<ChildStdout>>,
}

impl Container {
    /// Runs a script in `box`, whose daemon's sockets are in `$SOCKETS`.
    fn run(ground: &Ground, script: &str) -> Self {
        // The first argument of `agent` is the socket.
        let mounts = "mkdir -p dir && touch api.sock
            mount --bind \"$SOCKETS/api.sock\" api.sock && mount --bind \"$SOCKETS\" dir
            agent() {
                socket=$1; shift
                setpriv --reuid=65534 --regid=65534 --groups=54321 \\
                    ./mcp-bridge --store \"unix:$PWD/$socket\" -c agent.toml \"$@\" 2>&1
            }";
        let sockets = ground.socket(Socket::Api);
        let sockets = sockets.parent().expect("a directory");
        let mut shell = Command::new("unshare");
        shell
            .args(["--mount", "--pid", "--fork", "--kill-child", "--mount-proc"])
            .args(["sh", "-euc", &format!("{mounts}\n{script}")])
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", "/nonexistent")
            .env("NO_COLOR", "1")
            .env("SOCKETS", sockets)
            .current_dir(ground.rig.path("box"))
            .stdout(Stdio::piped());
        let mut shell = shell.spawn().expect("unshare");
        let lines = BufReader::new(shell.stdout.take().expect("a pipe")).lines();
        Self { shell, lines }
    }

    /// Reads to the line that is this.
    #[track_caller]
    fn says(&mut self, text: &str) -> String {
        let mut all = String::new();
        for line in self.lines.by_ref().map_while(Result::ok) {
            if line == text {
                return all;
            }
            all.push_str(&line);
            all.push('\n');
        }
        panic!("no `{text}` in: {all}");
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.shell.kill();
        let _ = self.shell.wait();
    }
}

fn mode(path: &Path, mode: u32) {
    let mode = std::fs::Permissions::from_mode(mode);
    std::fs::set_permissions(path, mode).expect("set");
}

/// What the package's service does with its sockets.
fn share(ground: &Ground) {
    for (socket, group) in [(Socket::Api, GROUP), (Socket::Admin, 0)] {
        let socket = ground.socket(socket);
        chown(&socket, None, Some(group)).expect("root may");
        mode(&socket, 0o660);
    }
}

/// A daemon, and a directory with all that a container has of it.
#[expect(clippy::print_stdout, reason = "what is skipped is said")]
fn prepared() -> Option<(Ground, Pair)> {
    let mut probe = Command::new("unshare");
    probe.args([
        "--mount",
        "--pid",
        "--fork",
        "--mount-proc",
        "setpriv",
        "--reuid=65534",
        "true",
    ]);
    let may =
        rustix::process::geteuid().is_root() && probe.status().is_ok_and(|status| status.success());
    if !may {
        println!("skipped: namespaces of its own want root, unshare and setpriv");
        return None;
    }
    let ground = Ground::new();
    let pair = ground.rig.pair_without_file("work");
    share(&ground);
    mode(ground.rig.dir.path(), 0o711);
    let inside = ground.rig.path("box");
    std::fs::create_dir(&inside).expect("made");
    let program = env!("CARGO_BIN_EXE_mcp-bridge");
    std::fs::copy(program, inside.join("mcp-bridge")).expect("copied");
    let credentials = Credentials {
        // Of no use in there.
        store: Some(ground.rig.path("bridge.db").display().to_string()),
        label: None,
        callers: vec![pair.b.clone()],
        source: None,
    };
    let file = inside.join("agent.toml");
    credentials
        .write(&file, TokenStorage::Hashed)
        .expect("written");
    chown(&file, Some(USER), Some(USER)).expect("root may");
    Some((ground, pair))
}

#[test]
fn a_container_needs_the_socket_and_nothing_else() {
    let Some((ground, pair)) = prepared() else {
        return;
    };
    ground.rig.send(&pair.a, "for the container");
    let mut container = Container::run(
        &ground,
        "agent api.sock check; echo -- mail
         agent api.sock send answered; echo -- sent
         agent api.sock heartbeat --ttl 5m; echo -- alive
         agent api.sock status; echo -- status
         agent api.sock hold on || echo \"code $?\"; echo -- order
         setpriv --reuid=65534 --regid=65534 --clear-groups \
             ./mcp-bridge --store \"unix:$PWD/api.sock\" status 2>&1 || echo \"code $?\"
         echo -- alone",
    );
    let mail = container.says("-- mail");
    assert!(mail.contains("| for the container"), "{mail}");
    container.says("-- sent");
    assert_eq!(ground.rig.fetch(&pair.a), ["answered"]);
    container.says("-- alive");
    assert!(ground.rig.view(&pair.b.session).heartbeat.is_some());
    let status = container.says("-- status");
    assert!(status.contains("through its daemon"), "{status}");
    let refused = container.says("-- order");
    assert!(
        refused.contains("code 77"),
        "no order by api.sock: {refused}"
    );
    let alone = container.says("-- alone");
    assert!(
        alone.contains("permission denied") && alone.contains("code 77"),
        "a user outside of the group: {alone}"
    );
    // Its process is known by the number that it has here.
    let handed: String = ground
        .rig
        .foreign()
        .query_row("SELECT max(fetch_id) FROM bridge_receipt", [], |row| {
            row.get(0)
        })
        .expect("a fetch");
    let reader = handed.split('.').nth(1).expect("a process");
    assert!(
        u64::from_str_radix(reader, 16).is_ok_and(|pid| pid > 100),
        "{handed}"
    );
    ground.ends_sound(&["mcpb_", "for the container"]);
}

#[test]
fn only_a_mounted_directory_outlives_its_daemon() {
    let Some((mut ground, _)) = prepared() else {
        return;
    };
    let mut container = Container::run(
        &ground,
        "agent api.sock check --peek; agent dir/api.sock check --peek; echo -- both
         until [ -e go ]; do sleep 0.05; done
         agent dir/api.sock check --peek && echo goes on; echo -- directory
         agent api.sock check --peek || echo \"code $?\"; echo -- socket",
    );
    container.says("-- both");
    ground.daemon.signal(rustix::process::Signal::TERM);
    ground.daemon.wait();
    ground.start_again();
    share(&ground);
    std::fs::write(ground.rig.path("box/go"), "").expect("written");
    let directory = container.says("-- directory");
    assert!(directory.contains("goes on"), "{directory}");
    let socket = container.says("-- socket");
    assert!(
        socket.contains("code 69") && socket.contains("the daemon of this socket has ended"),
        "{socket}"
    );
}
