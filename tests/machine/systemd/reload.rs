//! `systemctl reload` returns when the new settings are in force, or refused.

use serde_json::Value;

use super::machine::{Machine, wait_for};
use super::operator::needs_a_machine;
use super::operator::{WORKER, says, site};

fn state(machine: &Machine) -> Value {
    serde_json::from_str(&machine.read("/run/mcp-bridge/worker/worker.json")).expect("JSON")
}

/// Right after the command: what it waited for is there, and no wait is needed.
#[test]
fn thirty_reloads_good_and_bad() {
    needs_a_machine!();
    let machine = site();
    let path = "/etc/mcp-bridge/worker.toml";
    let good = machine.read(path);
    let mut in_force = 1;
    for n in 1..=30 {
        if n % 3 == 0 {
            machine.write(
                path,
                &format!("{good}\n[heartbeat]\ninterval = \"sometimes\"\n"),
            );
            let said = machine.sh("systemctl reload mcp-bridged@worker");
            assert!(!said.status.success(), "refused, and said so: {said:?}");
            let state = state(&machine);
            assert_eq!(state["generation"], in_force, "{state}");
            let why = state["last_reload"]["error"].as_str().unwrap_or_default();
            assert!(why.contains("heartbeat.interval"), "{state}");
            let screen = machine.run(["systemctl", "status", WORKER]).out;
            assert!(
                screen.contains("reload refused: ") && screen.contains("heartbeat.interval"),
                "{screen}"
            );
        } else {
            machine.write(
                path,
                &format!("{good}\n[heartbeat]\ninterval = \"{n}s\"\nttl = \"200s\"\n"),
            );
            machine.sh("systemctl reload mcp-bridged@worker").ok();
            in_force += 1;
            let state = state(&machine);
            assert_eq!(state["generation"], in_force, "{state}");
            assert_eq!(state["last_reload"]["error"], Value::Null, "{state}");
        }
        assert_eq!(machine.show(WORKER, "ActiveState"), "active");
    }
    // The last one was bad: the old settings stay active, and the log says why.
    says(&machine, "1 session alive");
    let log = machine
        .sh(&format!(
            "journalctl -u {WORKER} -o cat MCP_EVENT=reload-refused"
        ))
        .ok();
    assert_eq!(
        log.lines()
            .filter(|line| line.contains("heartbeat.interval"))
            .count(),
        10,
        "{log}"
    );
    assert_eq!(machine.show(WORKER, "NRestarts"), "0");
    // Put right, nothing is refused any more.
    machine.write(path, &good);
    machine.sh("systemctl reload mcp-bridged@worker").ok();
    assert!(!machine.show(WORKER, "StatusText").contains("refused"));
}

#[test]
fn a_key_that_needs_a_restart_is_named() {
    needs_a_machine!();
    let machine = site();
    let path = "/etc/mcp-bridge/worker.toml";
    machine.write(
        path,
        &format!("{}\n[log]\nlevel = \"debug\"\n", machine.read(path)),
    );
    let said = machine.sh(&format!("{BY_HAND} --reload")).ok();
    assert!(
        said.contains("settings are active") && said.contains("log.level"),
        "{said}"
    );
}

/// What an operator types who has the configuration's name, and no environment of the
/// service.
const BY_HAND: &str = "mcp-bridged --config /etc/mcp-bridge/worker.toml";

#[test]
fn daemon_called_by_hand_finds_the_service() {
    needs_a_machine!();
    let machine = site();
    let pid = machine.show(WORKER, "MainPID");
    let said = machine.sh(&format!("{BY_HAND} --reload")).ok();
    assert!(said.contains("settings are active"), "{said}");
    // A second one would take the sessions from the service.
    let said = machine.sh(BY_HAND);
    assert!(
        said.err
            .contains(&format!("another mcp-bridged runs as `worker` (pid {pid})")),
        "{said:?}"
    );
    says(&machine, "1 session alive");
    // A user without the right gets an error that says so.
    let said = machine.sh_as("bob", &format!("{BY_HAND} --reload"));
    assert!(said.err.contains("cannot signal"), "{said:?}");
    machine.sh("systemctl stop mcp-bridged@worker").ok();
    let said = machine.sh(&format!("{BY_HAND} --reload"));
    assert!(
        !said.status.success() && said.err.contains("no running mcp-bridged"),
        "{said:?}"
    );
    let said = machine.sh_as("bob", BY_HAND);
    assert!(
        said.err
            .contains("/run/mcp-bridge/worker cannot be created")
            && said.err.contains("systemctl start mcp-bridged@worker"),
        "{said:?}"
    );
    // By root's hand, and what that leaves is in no service's way.
    machine
        .sh(&format!("systemd-run --quiet --unit=by-hand {BY_HAND}"))
        .ok();
    wait_for("its state", || {
        machine
            .root("/run/mcp-bridge/worker/worker.json")
            .exists()
            .then_some(())
    });
    let said = machine.sh("systemctl start mcp-bridged@worker");
    assert!(!said.status.success(), "one at a time: {said:?}");
    // Nor do the tries after it.
    machine.wait_show(WORKER, "NRestarts", |count| {
        count.parse::<u32>().is_ok_and(|count| count >= 3)
    });
    assert_ne!(machine.show(WORKER, "ActiveState"), "active");
    let owner = machine.read("/run/mcp-bridge/worker/worker.json");
    let pid = machine.show("by-hand", "MainPID");
    assert!(owner.contains(&format!("\"pid\": {pid},")), "{owner}");
    machine
        .sh("systemctl stop by-hand mcp-bridged@worker; systemctl reset-failed; systemctl start mcp-bridged@worker")
        .ok();
    says(&machine, "1 session alive");
}
