//! `systemctl reload` returns when the new settings are in force, or refused.

use serde_json::Value;

use crate::machine::Machine;
use crate::needs_a_machine;
use crate::operator::{WORKER, says, site};

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
    // The last one was bad: the old settings go on, and the log says why.
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
    let said = machine.sh("runuser -u mcp-bridge -- env RUNTIME_DIRECTORY=/run/mcp-bridge/worker mcp-bridged --config /etc/mcp-bridge/worker.toml --reload").ok();
    assert!(
        said.contains("in force") && said.contains("log.level"),
        "{said}"
    );
    machine.sh("systemctl stop mcp-bridged@worker").ok();
    let said = machine.sh("RUNTIME_DIRECTORY=/run/mcp-bridge/worker mcp-bridged --config /etc/mcp-bridge/worker.toml --reload");
    assert!(
        !said.status.success() && said.err.contains("no mcp-bridged runs"),
        "{said:?}"
    );
}
