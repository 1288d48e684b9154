//! Secrets come as credentials of the service: root's files, which the daemon
//! can read in its own copy alone.

use serde_json::{Value, json};

use super::machine::wait_for;
use super::operator::needs_a_machine;
use super::operator::{
    STORE, WORKER, agent, alice_sends, conversation, edit, enable, installed, people, says,
};

#[test]
fn root_files_reach_the_daemon_alone() {
    needs_a_machine!();
    let machine = installed();
    people(&machine);
    agent(&machine);
    // The store's place, too: that of a server would hold a password.
    machine.write(
        "/etc/mcp-bridge/credentials/store.url",
        &format!("sqlite:{STORE}\n"),
    );
    machine
        .sh("chmod 600 /etc/mcp-bridge/credentials/*; sed -i 's/^url = .*/url_file = \"store.url\"/' /etc/mcp-bridge/worker.toml")
        .ok();
    edit(&machine, super::operator::SESSION);
    enable(&machine, "worker");
    says(&machine, "1 session alive");
    alice_sends(&machine, "hello");
    wait_for("the wake", || {
        machine
            .root("/run/mcp-bridge/worker/inbox")
            .exists()
            .then_some(())
    });
    for path in [
        "/etc/mcp-bridge/credentials/backend.b.toml",
        "/etc/mcp-bridge/credentials/store.url",
    ] {
        for who in ["bob", "mcp-bridge"] {
            let said = machine.sh(&format!("runuser -u {who} -- cat {path}"));
            assert!(!said.status.success(), "{who} reads {path}");
        }
    }
    let copies = machine
        .sh("ls /run/credentials/mcp-bridged@worker.service")
        .ok();
    assert!(copies.contains("mcp-bridge_backend.b.toml"), "{copies}");
    let said = machine.sh("runuser -u bob -- ls /run/credentials/mcp-bridged@worker.service");
    assert!(!said.status.success(), "{said:?}");
    // Neither in what the process was started with nor in what it shows.
    let pid = machine.show(WORKER, "MainPID");
    let token = machine
        .sh("sed -n 's/^token = \"\\(.*\\)\"/\\1/p' /etc/mcp-bridge/credentials/backend.b.toml")
        .ok();
    let shown = machine
        .sh(&format!(
            "cat /proc/{pid}/cmdline /proc/{pid}/environ /run/mcp-bridge/worker/worker.json"
        ))
        .ok();
    assert!(!token.trim().is_empty() && !shown.contains(token.trim()));
}

/// A session that is added later: its file is loaded at the next start.
#[test]
fn credential_that_comes_later_counts_after_a_restart() {
    needs_a_machine!();
    let machine = installed();
    people(&machine);
    agent(&machine);
    edit(&machine, super::operator::SESSION);
    enable(&machine, "worker");
    says(&machine, "1 session alive");
    conversation(&machine, "frontend");
    edit(
        &machine,
        "\n[[session]]\ncredentials = \"frontend.b.toml\"\nproof = \"none\"\n",
    );
    machine.sh("systemctl reload mcp-bridged@worker").ok();
    let state: Value =
        serde_json::from_str(&machine.read("/run/mcp-bridge/worker/worker.json")).expect("JSON");
    let file = "/etc/mcp-bridge/credentials/frontend.b.toml";
    assert_eq!(state["last_reload"]["error"], Value::Null, "{state}");
    assert_eq!(state["last_reload"]["needs_restart"], json!([file]));
    let log = machine.sh(&format!("journalctl -u {WORKER} -o cat")).ok();
    for said in [
        format!("but {file}: this needs a restart"),
        format!("credentials {file}: the service did not get this file when it started"),
        "this loads it: systemctl restart mcp-bridged@worker".to_owned(),
    ] {
        assert!(log.contains(&said), "{said}: {log}");
    }
    let found = machine.sh("mcp-bridge doctor");
    let wanted = format!("{file}: the service started before this file was there");
    assert!(found.out.contains(&wanted), "{found:?}");
    machine.sh("systemctl restart mcp-bridged@worker").ok();
    says(&machine, "2 sessions");
    let found = machine.sh("mcp-bridge doctor");
    assert!(!found.out.contains(&wanted), "{found:?}");
}
