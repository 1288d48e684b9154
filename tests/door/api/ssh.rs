//! The daemon's socket on another machine, through ssh: a real ssh and a real sshd, which
//! talk by a pipe, so that no port is open.

use std::io::Read as _;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use mcp_bridge::credentials::Credentials;
use mcp_bridge::model::token::TokenStorage;

use super::ground::{Ground, Socket};
use crate::common::daemon::wait_for;

/// A forwarded socket; it ends with this.
struct Tunnel(Child);

impl Tunnel {
    /// Brings the daemon's socket to `here`.
    fn open(directory: &Path, socket: &Path, here: &Path) -> Self {
        for key in ["host", "user"] {
            if directory.join(key).exists() {
                continue;
            }
            let made = Command::new("ssh-keygen")
                .args(["-q", "-t", "ed25519", "-N", "", "-f"])
                .arg(directory.join(key))
                .status();
            assert!(made.is_ok_and(|status| status.success()), "no key");
        }
        let path = |name: &str| directory.join(name).display().to_string();
        let settings = format!(
            "HostKey {}\nAuthorizedKeysFile {}\nStrictModes no\nUsePAM no\nPidFile none\n\
             PermitRootLogin prohibit-password\nPasswordAuthentication no\n",
            path("host"),
            path("user.pub"),
        );
        std::fs::write(directory.join("sshd.conf"), settings).expect("written");
        // As root it insists on a directory of this machine: it gets one of its own.
        let server = format!(
            "exec unshare --mount sh -ec 'mount -t tmpfs run /run; mkdir /run/sshd; \
             exec /usr/sbin/sshd -i -e -f {}' 2>{}",
            path("sshd.conf"),
            path("sshd.log"),
        );
        std::fs::write(directory.join("server"), server).expect("written");
        let ssh = Command::new("ssh")
            .args(["-F", "none", "-N", "-o", "ExitOnForwardFailure=yes"])
            .args(["-o", "StrictHostKeyChecking=no", "-o", "BatchMode=yes"])
            .args(["-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR"])
            .arg("-o")
            .arg(format!("ProxyCommand=sh {}", path("server")))
            .args(["-i", &path("user"), "-L"])
            .arg(format!("{}:{}", here.display(), socket.display()))
            .arg("root@another-machine")
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("ssh");
        let mut tunnel = Self(ssh);
        wait_for("the forwarded socket", || {
            if let Some(status) = tunnel.0.try_wait().expect("a child") {
                let mut said = String::new();
                let mut errors = tunnel.0.stderr.take().expect("a pipe");
                let _ = errors.read_to_string(&mut said);
                let log = std::fs::read_to_string(directory.join("sshd.log"));
                panic!("ssh ended ({status}): {said}{}", log.unwrap_or_default());
            }
            here.exists().then_some(())
        });
        tunnel
    }

    fn close(&mut self) {
        // It may have ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Drop for Tunnel {
    fn drop(&mut self) {
        self.close();
    }
}

/// Whether there is an sshd that this user may start.
#[expect(clippy::print_stdout, reason = "what is skipped is said")]
fn possible() -> bool {
    let there = |program: &str| Path::new(program).is_file();
    if !rustix::process::geteuid().is_root() {
        println!("skipped: only root can run an sshd without this machine's own");
        return false;
    }
    if !there("/usr/sbin/sshd") || !there("/usr/bin/ssh") {
        println!("skipped: there is no sshd here");
        return false;
    }
    true
}

#[test]
fn agent_uses_the_socket_through_ssh() {
    if !possible() {
        return;
    }
    let ground = Ground::new();
    let pair = ground.rig.pair_without_file("work");
    let away = tempfile::tempdir().expect("a directory");
    let (here, file) = (away.path().join("api.sock"), away.path().join("b.toml"));
    let credentials = Credentials {
        store: None,
        label: None,
        callers: vec![pair.b.clone()],
        source: None,
    };
    credentials
        .write(&file, TokenStorage::Hashed)
        .expect("written");
    let agent = |words: &[&str]| -> Output {
        Command::new(env!("CARGO_BIN_EXE_mcp-bridge"))
            .arg(format!("--store=unix:{}", here.display()))
            .arg("-c")
            .arg(&file)
            .args(words)
            .env_clear()
            .env("HOME", away.path())
            .output()
            .expect("a program")
    };
    let text = |output: &Output| {
        let all = [output.stdout.as_slice(), &output.stderr].concat();
        String::from_utf8_lossy(&all).into_owned()
    };
    let mut tunnel = Tunnel::open(away.path(), &ground.socket(Socket::Api), &here);

    ground.rig.send(&pair.a, "over ssh");
    let read = agent(&["check"]);
    assert!(text(&read).contains("| over ssh"), "{}", text(&read));
    let sent = agent(&["send", "answered"]);
    assert!(sent.status.success(), "{}", text(&sent));
    assert_eq!(ground.rig.fetch(&pair.a), ["answered"]);
    // Its process is on the other machine, so it lives by its own word.
    let beat = agent(&["heartbeat", "--ttl", "5m"]);
    assert!(beat.status.success(), "{}", text(&beat));
    assert!(ground.rig.view(&pair.b.session).heartbeat.is_some());

    tunnel.close();
    let lost = agent(&["check"]);
    assert_eq!(lost.status.code(), Some(69), "{}", text(&lost));
    std::fs::remove_file(&here).expect("ssh left it");
    ground.rig.send(&pair.a, "meanwhile");
    let _again = Tunnel::open(away.path(), &ground.socket(Socket::Api), &here);
    let read = agent(&["check"]);
    assert!(text(&read).contains("| meanwhile"), "{}", text(&read));
}
