//! `systemctl --user`, for a user whose agents run in their own session.

use serde_json::Value;

use super::faults::drop_in;
use super::machine::{Machine, Said, wait_for};
use super::operator::needs_a_machine;
use super::operator::{installed, says, site};

/// A store that the machine's daemon and those of users have open.
const SHARED: &str = "/srv/bridge/bridge.db";

/// A command as Carol, with her own systemd.
#[track_caller]
fn carol(machine: &Machine, script: &str) -> Said {
    machine.sh_as(
        "carol",
        &format!("export XDG_RUNTIME_DIR=/run/user/$(id -u); {script}"),
    )
}

/// Carol, of these groups, with her own systemd.
fn with_carol(machine: &Machine, groups: &str) {
    machine
        .sh(&format!(
            "useradd --create-home {groups} carol && loginctl enable-linger carol"
        ))
        .ok();
    wait_for("Carol's systemd", || {
        carol(machine, "systemctl --user is-system-running")
            .out
            .contains("running")
            .then_some(())
    });
}

/// Each knows the other by name, and neither takes the other's place.
#[test]
fn system_and_user_daemon_share_a_store() {
    needs_a_machine!();
    let machine = site();
    with_carol(&machine, "--groups mcp-bridge");
    // The system's own store is its daemon's alone.
    machine
        .sh("install -d -o mcp-bridge -g mcp-bridge -m 2770 /srv/bridge && \
             mcp-bridge --store /srv/bridge/bridge.db store init && \
             mcp-bridge --store /srv/bridge/bridge.db conversation new --label backend --out /root/shared && \
             install --mode 600 /root/shared/backend.b.toml /etc/mcp-bridge/credentials/ && \
             sed -i 's:/var/lib/mcp-bridge/bridge.db:/srv/bridge/bridge.db:' /etc/mcp-bridge/worker.toml")
        .ok();
    drop_in(
        &machine,
        "[Service]\nReadWritePaths=/srv/bridge\nUMask=0007\n",
    );
    carol(
        &machine,
        &format!(
            "mcp-bridge --store {SHARED} conversation new --label hers && mkdir -p ~/.config/mcp-bridge && \
             printf 'role = \"worker\"\\n[store]\\nurl = \"{SHARED}\"\\n[[session]]\\ncredentials = \"%s\"\\nproof = \"none\"\\n' \
             ~/.local/state/mcp-bridge/credentials/hers.b.toml >~/.config/mcp-bridge/worker.toml && \
             systemctl --user enable --now mcp-bridged@worker"
        ),
    )
    .ok();
    says(&machine, "worker: 1 session alive");
    let daemons = || -> Vec<(String, String)> {
        let said = machine
            .sh(&format!("mcp-bridge --store {SHARED} status --json"))
            .ok();
        let status: Value = serde_json::from_str(&said).expect("JSON");
        let text = |daemon: &Value, key: &str| daemon[key].as_str().expect(key).to_owned();
        let all = status["daemons"].as_array().expect("a list");
        let mut all: Vec<_> = all
            .iter()
            .map(|daemon| (text(daemon, "id"), text(daemon, "state")))
            .collect();
        all.sort();
        all
    };
    let host = machine.sh("hostname").ok();
    let (system, hers) = (
        format!("{}:worker", host.trim()),
        format!("{}:carol/worker", host.trim()),
    );
    let are = |of_system: &str, of_carol: &str| {
        let wanted = [(&hers, of_carol), (&system, of_system)]
            .map(|(id, state)| (id.clone(), state.to_owned()));
        let found = wait_for("the daemons", || {
            let found = daemons();
            (found.len() == 2).then_some(found)
        });
        assert_eq!(found, wanted);
    };
    are("running", "running");
    // The end of one is not the other's.
    carol(&machine, "systemctl --user stop mcp-bridged@worker").ok();
    are("running", "stopped");
    let found = carol(&machine, "mcp-bridge doctor --json").ok();
    let found: Value = serde_json::from_str(&found).expect("JSON");
    let start = "systemctl --user enable --now mcp-bridged@worker";
    let hers: Vec<_> = found["findings"]
        .as_array()
        .expect("a list")
        .iter()
        .filter(|finding| finding["remedy"] == start)
        .collect();
    assert_eq!(hers.len(), 1, "{found}");
    says(&machine, "worker: 1 session alive");
}

#[test]
fn ordinary_user_has_a_daemon_of_their_own() {
    needs_a_machine!();
    let machine = installed();
    with_carol(&machine, "");
    carol(
        &machine,
        "mcp-bridge conversation new --label backend && mkdir -p ~/.config/mcp-bridge && \
         printf 'role = \"worker\"\\n[[session]]\\ncredentials = \"%s\"\\nproof = \"none\"\\nwake.order = [\"file\"]\\nwake.file.path = \"%s\"\\n' \
         ~/.local/state/mcp-bridge/credentials/backend.b.toml ~/inbox >~/.config/mcp-bridge/worker.toml",
    )
    .ok();
    carol(&machine, "systemctl --user enable --now mcp-bridged@worker").ok();
    let status = |words: &str| {
        wait_for(words, || {
            let said = carol(
                &machine,
                "systemctl --user show --value -p StatusText mcp-bridged@worker",
            )
            .out;
            said.contains(words).then_some(())
        });
    };
    status("worker: 1 session");
    carol(&machine, "mcp-bridge -c backend.a send 'Port the parser'").ok();
    wait_for("the wake", || {
        machine.root("/home/carol/inbox").exists().then_some(())
    });
    status("1 unread");
    let read = carol(&machine, "mcp-bridge -c backend.b check").ok();
    assert!(read.contains("Port the parser"), "{read}");
    // The package's own configurations are not in use here, and no fault of Carol's.
    let found = carol(&machine, "mcp-bridge doctor --json").ok();
    let found: Value = serde_json::from_str(&found).expect("JSON");
    assert_eq!(found["counts"]["fail"], 0, "{found}");
    // By hand, too.
    let reload = "mcp-bridged --config ~/.config/mcp-bridge/worker.toml --reload";
    let said = carol(&machine, reload).ok();
    assert!(said.contains("settings are active"), "{said}");
    // Reloads are as good as the system's.
    carol(
        &machine,
        "echo 'nonsense = 1' >>~/.config/mcp-bridge/worker.toml",
    )
    .ok();
    let said = carol(&machine, "systemctl --user reload mcp-bridged@worker");
    assert!(!said.status.success(), "{said:?}");
    status("reload refused: ");
    carol(
        &machine,
        "sed -i '$d' ~/.config/mcp-bridge/worker.toml; systemctl --user reload mcp-bridged@worker",
    )
    .ok();
    carol(&machine, "systemctl --user stop mcp-bridged@worker").ok();
}

/// The program is gone, so what runs it goes, too: a user's service and a daemon
/// that was started by hand. The command line is the same program, and goes on.
#[test]
fn removal_ends_daemons_of_users() {
    needs_a_machine!();
    let machine = installed();
    with_carol(&machine, "");
    carol(
        &machine,
        "mcp-bridge conversation new --label backend && mkdir -p ~/.config/mcp-bridge && \
         cd ~/.config/mcp-bridge && printf 'role = \"worker\"\n' | tee worker.toml >second.toml && \
         systemctl --user enable --now mcp-bridged@worker && \
         systemd-run --user --quiet --unit=by-hand --property=Type=notify mcp-bridged --config ~/.config/mcp-bridge/second.toml && \
         systemd-run --user --quiet --unit=command mcp-bridge -c backend.b watch",
    )
    .ok();
    let running = || {
        machine
            .sh("pgrep --full --count 'mcp-bridged --config'")
            .out
            .trim()
            .to_owned()
    };
    assert_eq!(running(), "2");
    let active = |unit: &str| {
        let show = format!("systemctl --user show --value -p ActiveState {unit}");
        carol(&machine, &show).out.trim().to_owned()
    };
    wait_for("a command that runs", || {
        let seen = machine.sh("pgrep --exact --count mcp-bridge").out;
        (seen.trim() == "1").then_some(())
    });
    machine.sh("dpkg --remove mcp-bridge").ok();
    wait_for("the end of both", || (running() == "0").then_some(()));
    assert_eq!(active("mcp-bridged@worker"), "inactive", "ended cleanly");
    assert_eq!(active("command"), "active", "no daemon");
}
