//! What an operator does before anything can be tried: the package, two people
//! of the group, a conversation between them, and a worker that keeps one side.

use serde_json::Value;

use super::machine::{Machine, wait_for};
use super::package::{install, package};

pub(crate) const STORE: &str = "/var/lib/mcp-bridge/bridge.db";
pub(crate) const WORKER: &str = "mcp-bridged@worker.service";

/// A machine with the package and nothing else.
pub(crate) fn installed() -> Machine {
    let machine = Machine::boot();
    install(&machine, &package());
    machine
}

/// A test that needs a machine ends here where none can be had.
macro_rules! needs_a_machine {
    () => {
        if let Some(why) = $crate::systemd::machine::cannot_boot() {
            println!("skipped: {why}");
            return;
        }
    };
}
pub(crate) use needs_a_machine;

/// Alice and Bob of the group, and a store with a conversation between them,
/// made by root, as the store's operator.
pub(crate) fn people(machine: &Machine) {
    machine
        .sh("for who in alice bob; do useradd --create-home --groups mcp-bridge $who; done")
        .ok();
    conversation(machine, "backend");
    machine
        .sh(&format!("mcp-bridge --store {STORE} store limits --off"))
        .ok();
    machine
        .sh("install --mode 600 --owner bob ~alice/.local/state/mcp-bridge/credentials/backend.b.toml ~bob/b.toml")
        .ok();
}

/// A conversation of Alice's, whose other side the daemon keeps.
pub(crate) fn conversation(machine: &Machine, label: &str) {
    machine
        .sh(&format!(
            "mcp-bridge --store {STORE} conversation new --label {label} --out /root/made && \
             runuser -u alice -- mkdir -p -m 700 ~alice/.local/state/mcp-bridge/credentials && \
             install --mode 600 --owner alice /root/made/{label}.?.toml ~alice/.local/state/mcp-bridge/credentials/ && \
             install --mode 600 /root/made/{label}.b.toml /etc/mcp-bridge/credentials/"
        ))
        .ok();
}

/// Where the worker answers for the store, which is its own.
pub(crate) const DOOR: &str = "unix:/run/mcp-bridge/worker/api.sock";

/// A command of `mcp-bridge` that asks the worker.
#[track_caller]
pub(crate) fn bridge(machine: &Machine, who: &str, words: &str) -> super::machine::Said {
    machine.sh_as(who, &format!("mcp-bridge --store {DOOR} {words}"))
}

/// Alice writes to Bob.
#[track_caller]
pub(crate) fn alice_sends(machine: &Machine, text: &str) {
    bridge(machine, "alice", &format!("-c backend.a send '{text}'")).ok();
}

/// What Bob has not read, by its texts.
#[track_caller]
pub(crate) fn bob_reads(machine: &Machine) -> Vec<String> {
    let mut all = Vec::new();
    loop {
        let said = bridge(machine, "bob", "-c b.toml check --limit 1000 --json").ok();
        let read = all.len();
        all.extend(texts(&said));
        if all.len() - read < 1000 {
            return all;
        }
    }
}

fn texts(said: &str) -> impl Iterator<Item = String> {
    said.lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .flat_map(
            |value| match value.get("messages").and_then(Value::as_array) {
                Some(messages) => messages.clone(),
                None => vec![value],
            },
        )
        .filter_map(|message| Some(message.get("message")?.as_str()?.to_owned()))
}

/// Bob's agent: a service of its own, whose process proves it. (systemd reads
/// `$$` as one `$`.)
pub(crate) fn agent(machine: &Machine) {
    machine
        .sh("systemd-run --quiet --unit=agent --uid=bob --property=RuntimeDirectory=agent \
             bash -c 'echo $$$$ >/run/agent/pid.new; mv /run/agent/pid.new /run/agent/pid; exec sleep infinity'")
        .ok();
    wait_for("the agent", || {
        machine.root("/run/agent/pid").exists().then_some(())
    });
}

/// Bob's session.
pub(crate) const SESSION: &str = r#"
[[session]]
credentials = "backend.b.toml"
proof = { pid_file = "/run/agent/pid" }
wake.order = ["file"]
wake.file.path = "/run/mcp-bridge/worker/inbox"
"#;

/// What the daemon did for Bob's agent: a line for each wake.
pub(crate) fn inbox(machine: &Machine) -> String {
    std::fs::read_to_string(machine.root("/run/mcp-bridge/worker/inbox")).unwrap_or_default()
}

/// All of it, with the worker enabled and ready.
pub(crate) fn site() -> Machine {
    let machine = installed();
    people(&machine);
    agent(&machine);
    edit(&machine, SESSION);
    enable(&machine, "worker");
    machine
}

/// Adds to the worker's configuration.
pub(crate) fn edit(machine: &Machine, more: &str) {
    let path = "/etc/mcp-bridge/worker.toml";
    machine.write(path, &(machine.read(path) + more));
}

/// `enable --now`, which returns when the daemon is ready.
#[track_caller]
pub(crate) fn enable(machine: &Machine, instance: &str) {
    machine
        .sh(&format!("systemctl enable --now mcp-bridged@{instance}"))
        .ok();
}

/// The worker's status line, once it is as wished.
#[track_caller]
pub(crate) fn says(machine: &Machine, words: &str) -> String {
    machine.wait_show(WORKER, "StatusText", |status| status.contains(words))
}
