//! Daemons: their state, and the files of wakes.

use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use rustix::process::Signal;

use super::ground::{As, Ground, Obstacle, possible};
use crate::common::scratch::{Running, Scratch, wait_until};

impl Ground {
    /// A configuration of this user's, with these lines.
    fn config(&self, user: As, more: &str) -> std::path::PathBuf {
        let path = self.home(user).join("worker.toml");
        let store = self.shared("bridge.db").display().to_string();
        let text = format!("role = \"worker\"\n[store]\nurl = \"{store}\"\n{more}");
        std::fs::write(&path, text).expect("written");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).expect("set");
        path
    }

    fn daemon(&self, user: As, more: &str) -> Command {
        let config = self.config(user, more).display().to_string();
        self.program(user, "mcp-bridged", &["--config", &config])
    }
}

#[test]
fn state_file_in_a_shared_directory_is_refused() {
    if !possible("an attack on a daemon's state") {
        return;
    }
    for user in [As::Root, As::Service] {
        let mut ground = Ground::new();
        let state = ground.shared("run/worker.json").display().to_string();
        let more = format!("[service]\nstate_file = \"{state}\"\n");
        let command = ground.daemon(user, &more);
        ground.note();
        let ended = super::ground::ended(command, &["mcp-bridged"]);
        assert_eq!(ended.code, Some(1), "{ended:?}");
        assert!(ended.said.contains("may write"), "{ended:?}");
        assert!(ended.said.contains("service.state_file"), "{ended:?}");
        ground.assert_untouched("a state file in a shared directory");
    }
}

#[test]
fn daemon_with_every_obstacle_at_its_bell_stops_cleanly() {
    if !possible("an attack on a running daemon") {
        return;
    }
    for obstacle in [Obstacle::Link, Obstacle::Dangling, Obstacle::Pipe] {
        let ground = Ground::new();
        let state = ground.home(As::Service).join("state/worker.json");
        let more = format!(
            "[service]\nstate_file = \"{}\"\n[heartbeat]\ninterval = \"100ms\"\nttl = \"5s\"\n",
            state.display()
        );
        ground.put(obstacle, "bridge.db-bell", As::Service);
        let mut daemon = Running::start(&mut ground.daemon(As::Service, &more));
        wait_until("the daemon is ready", || {
            std::fs::read_to_string(&state).is_ok_and(|text| text.contains("\"ready\": true"))
        });
        let sent = ground.run(As::Agent, &["send", "hello"]);
        assert_eq!(sent.code, Some(0), "{sent:?}");
        daemon.signal(Signal::TERM);
        assert_eq!(daemon.end(), Some(0), "{obstacle:?}");
        let victim = std::fs::read_to_string(ground.victim(As::Service)).expect("there");
        assert_eq!(victim, "the victim's own\n", "{obstacle:?}");
        assert!(
            !ground.home(As::Service).join("new").exists(),
            "{obstacle:?}"
        );
    }
}

/// A link of the agent's in the place of a wake's file, and the partner's role
/// in a line that a shell would act on.
#[test]
fn a_wake_writes_through_no_link() {
    if !possible("an attack by a wake's file") {
        return;
    }
    let ground = Ground::new();
    let made = ground.run(
        As::Service,
        &[
            "conversation",
            "new",
            "--label",
            "evil",
            "--role-b",
            "x",
            "--out",
            "credentials",
        ],
    );
    assert_eq!(made.code, Some(0), "{made:?}");
    let home = ground.home(As::Service);
    let (state, inbox) = (home.join("state/worker.json"), ground.shared("inbox"));
    let more = format!(
        "[service]\nstate_file = \"{}\"\n[heartbeat]\ninterval = \"100ms\"\nttl = \"5s\"\n\
         [[session]]\ncredentials = \"{}\"\nproof = \"none\"\n\
         [session.wake]\norder = [\"file\"]\n[session.wake.file]\npath = \"{}\"\n",
        state.display(),
        home.join("credentials/evil.b.toml").display(),
        inbox.display(),
    );
    ground.put(Obstacle::Link, "inbox", As::Service);
    let log = std::fs::File::create(ground.path("log")).expect("made");
    let mut command = ground.daemon(As::Service, &more);
    let mut daemon = Running::start(command.stderr(log));
    let sender = home.join("credentials/evil.a.toml");
    let mut send = ground.program(As::Service, "mcp-bridge", &["send", "wake up"]);
    send.env("MCP_BRIDGE_CREDENTIALS", sender);
    let sent = super::ground::ended(send, &["send"]);
    assert_eq!(sent.code, Some(0), "{sent:?}");
    wait_until("the wake is refused", || {
        std::fs::read_to_string(ground.path("log"))
            .is_ok_and(|log| log.contains("this is a symbolic link"))
    });
    daemon.signal(Signal::TERM);
    assert_eq!(daemon.end(), Some(0));
    let victim = std::fs::read_to_string(ground.victim(As::Service)).expect("there");
    assert_eq!(victim, "the victim's own\n");
}

/// At its lowest level the log has a record for much that a daemon does; a record
/// for each write to the log itself would never end.
#[test]
fn log_beside_the_store_does_not_feed_itself() {
    let scratch = Scratch::with_conversation();
    let state = scratch.path("state/worker.json");
    let text = format!(
        "role = \"worker\"\n[log]\nlevel = \"trace\"\n[service]\nstate_file = \"{}\"\n\
         [[session]]\ncredentials = \"{}\"\nproof = \"none\"\n",
        state.display(),
        scratch.credentials("work.b").display()
    );
    std::fs::write(scratch.path("worker.toml"), text).expect("written");
    let log = scratch.path("daemon.log");
    let mut command = scratch.program(env!("CARGO_BIN_EXE_mcp-bridged"));
    command.args(["--config", "worker.toml"]);
    let written = std::fs::File::create(&log).expect("made");
    let mut daemon = Running::start(command.stderr(written));
    wait_until("the daemon is ready", || {
        std::fs::read_to_string(&state).is_ok_and(|text| text.contains("\"ready\": true"))
    });
    for _ in 0..40 {
        scratch.run_as("work.a", &["send", "hello"]).ok();
    }
    daemon.signal(Signal::TERM);
    assert_eq!(daemon.end(), Some(0));
    let length = std::fs::metadata(&log).expect("there").len();
    assert!(length < 4 << 20, "{length} bytes");
}
