//! What stands in the journal: fields to filter by, ids that the catalog
//! explains, and nothing secret.

use serde_json::Value;

use super::machine::{Machine, wait_for};
use super::operator::needs_a_machine;
use super::operator::{alice_sends, bridge, enable, says, site};

/// The records of all instances that match.
fn records(machine: &Machine, filter: &str) -> Vec<Value> {
    let said = machine
        .sh(&format!("journalctl -u 'mcp-bridged@*' -o json {filter}"))
        .ok();
    said.lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect()
}

#[test]
fn fields_priorities_and_the_catalog() {
    needs_a_machine!();
    let machine = site();
    enable(&machine, "orchestrator");
    says(&machine, "1 session alive");
    bridge(
        &machine,
        "alice",
        "-c backend.a task add --role worker --title 'Port the lexer'",
    )
    .ok();
    wait_for("the task at Bob's", || {
        let listed = bridge(&machine, "alice", "-c backend.a task list").ok();
        listed.contains("backend/b").then_some(())
    });
    machine
        .sh("systemctl kill --signal=KILL agent.service")
        .ok();
    // The daemon that keeps the agent says it, and the one that watches the fleet.
    let exited = |duty: &str, role: &str| {
        let filter = format!("MCP_EVENT=session-exited MCP_DUTY={duty}");
        let exited = wait_for(duty, || records(&machine, &filter).pop());
        assert_eq!(exited["PRIORITY"], "4", "{exited}");
        assert_eq!(exited["MCP_ROLE"], role, "{exited}");
        exited
    };
    exited("heartbeat", "worker");
    let exited = exited("watchdog", "orchestrator");
    let session = exited["MCP_SESSION"].as_str().expect("a session");
    let conversation = exited["MCP_CONVERSATION"].as_str().expect("a conversation");
    assert_eq!(session, format!("{conversation}/b"));
    assert_eq!(
        exited["_SYSTEMD_UNIT"], "mcp-bridged@orchestrator.service",
        "{exited}"
    );

    let alert = wait_for("the alert", || {
        records(&machine, "MCP_EVENT=alert-raised MCP_ALERT=exited").pop()
    });
    assert_eq!(alert["MCP_SESSION"], session, "{alert}");
    assert_eq!(
        alert["MCP_DAEMON"]
            .as_str()
            .map(|d| d.ends_with(":orchestrator")),
        Some(true),
        "{alert}"
    );
    let id = alert["MESSAGE_ID"].as_str().expect("an id");
    // `-x` explains it, and says what to do.
    let explained = machine
        .sh(&format!("journalctl -x -o short MESSAGE_ID={id}"))
        .ok();
    println!("{explained}");
    let lines = explained
        .lines()
        .filter(|line| line.starts_with("░░"))
        .count();
    assert!(lines >= 4, "{explained}");
    assert!(
        !explained.contains('@'),
        "every field is filled in: {explained}"
    );
}

#[test]
fn no_token_and_no_message_in_it() {
    needs_a_machine!();
    let machine = site();
    enable(&machine, "orchestrator");
    for instance in ["worker", "orchestrator"] {
        machine
            .sh(&format!(
                "mkdir -p /etc/mcp-bridge/{instance}.d && \
                 printf '[log]\\nlevel = \"trace\"\\n' >/etc/mcp-bridge/{instance}.d/trace.toml && \
                 systemctl restart mcp-bridged@{instance}"
            ))
            .ok();
    }
    says(&machine, "1 session alive");
    alice_sends(&machine, "marmalade at midnight");
    says(&machine, "1 unread");
    machine.write("/home/alice/body.md", "with too much sugar");
    bridge(
        &machine,
        "alice",
        "-c backend.a task add --role worker --title 'Quince jelly' --body-file body.md",
    )
    .ok();
    wait_for("the task at Bob's", || {
        let listed = bridge(&machine, "alice", "-c backend.a task list").ok();
        listed.contains("backend/b").then_some(())
    });
    says(&machine, "2 unread");
    let token = |side: &str| {
        let token = machine
            .sh(&format!("sed -n 's/^token = \"\\(.*\\)\"/\\1/p' ~alice/.local/state/mcp-bridge/credentials/backend.{side}.toml"))
            .ok();
        assert!(token.trim().len() > 20, "`{token}`");
        token.trim().to_owned()
    };
    let tokens = [token("a"), token("b")];
    for role in ["worker", "orchestrator"] {
        let traced = records(&machine, &format!("MCP_ROLE={role} PRIORITY=7"));
        assert!(!traced.is_empty(), "{role}: at its most talkative");
    }
    let everything = machine.sh("journalctl -o export --all").ok();
    assert!(everything.contains("mcp-bridged"));
    for secret in [&tokens[0], &tokens[1], "marmalade", "too much sugar"] {
        // Sent by a login shell of a test: its command line is not ours.
        let ours = records(&machine, "")
            .iter()
            .any(|record| record.to_string().contains(secret));
        assert!(!ours, "{secret}");
    }
}
