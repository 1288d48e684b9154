//! From the package to a daemon that works, and back to nothing.

use serde_json::Value;

use super::machine::wait_for;
use super::operator::needs_a_machine;
use super::operator::{
    STORE, WORKER, agent, alice_sends, bob_reads, bridge, conversation, edit, enable, inbox,
    installed, says, site,
};

#[test]
fn a_package_one_file_and_one_command() {
    needs_a_machine!();
    let machine = site();
    assert_eq!(machine.show(WORKER, "ActiveState"), "active");
    says(
        &machine,
        "worker: 1 session alive; 0 unread; store ok (sqlite, ",
    );
    // Every user in the group can write, and the daemon wakes the recipient.
    alice_sends(&machine, "Port the parser");
    wait_for("the wake", || {
        inbox(&machine).contains("1 unread message").then_some(())
    });
    says(&machine, "1 unread");
    // It is for Bob's agent, which reads with Bob's rights, and for no other.
    let seen = machine
        .sh_as("bob", "cat /run/mcp-bridge/worker/inbox")
        .ok();
    assert!(seen.contains("1 unread message"), "{seen}");
    let mode = machine
        .sh("stat --format='%a %U %G' /run/mcp-bridge/worker/inbox")
        .ok();
    assert_eq!(mode.trim(), "660 mcp-bridge mcp-bridge");
    assert_eq!(bob_reads(&machine), ["Port the parser"]);
    says(&machine, "0 unread");
    println!("{}", machine.run(["systemctl", "status", WORKER]).out);
    println!("{}", machine.sh("dpkg --listfiles mcp-bridge").ok());
    // A user who is not in the group has no way in.
    machine.sh("useradd --create-home mallory").ok();
    let said = bridge(&machine, "mallory", "status");
    assert!(
        !said.status.success() && said.err.contains("api.sock: permission denied"),
        "{said:?}"
    );
    // A member who names the file reaches its daemon; without one it is said what to do.
    let by_file = || machine.sh_as("bob", &format!("mcp-bridge --store {STORE} status"));
    assert!(by_file().ok().contains("backend/b"));
    machine.sh("systemctl stop mcp-bridged@worker").ok();
    let said = by_file();
    assert!(
        said.code() == Some(69) && said.err.contains("use one of them"),
        "{said:?}"
    );
}

/// The README's steps, by root alone.
#[test]
fn files_of_root_are_where_the_service_looks() {
    needs_a_machine!();
    let machine = installed();
    machine.sh("useradd --create-home bob").ok();
    agent(&machine);
    machine
        .sh("mcp-bridge conversation new --label backend")
        .ok();
    edit(&machine, super::operator::SESSION);
    enable(&machine, "worker");
    says(&machine, "worker: 1 session alive; ");
    let status = machine.sh("mcp-bridge status --json").ok();
    let status: Value = serde_json::from_str(&status).expect("JSON");
    assert_eq!(status["daemons"][0]["state"], "running", "{status}");
    let found = machine.sh("mcp-bridge doctor --json").ok();
    let found: Value = serde_json::from_str(&found).expect("JSON");
    assert_eq!(found["counts"]["fail"], 0, "{found}");
    assert_eq!(found["counts"]["warn"], 0, "{found}");
    let all = found["findings"].to_string();
    assert!(all.contains("backend/b: alive by process"), "{found}");
    assert!(all.contains("orchestrator: not enabled"), "{found}");
    // Bob's agent acts for it as Bob, once it has what the error says.
    let said = machine.sh_as("bob", "mcp-bridge -c backend.b check");
    let hand_over = "install --mode 600 --owner bob /etc/mcp-bridge/credentials/backend.b.toml /home/bob/.local/state/mcp-bridge/credentials/";
    assert!(said.err.contains(hand_over), "{said:?}");
    machine
        .sh(&format!(
            "usermod -aG mcp-bridge bob; \
             runuser -u bob -- mkdir -p -m 700 ~bob/.local/state/mcp-bridge/credentials; {hand_over}"
        ))
        .ok();
    machine
        .sh("mcp-bridge -c backend.a send 'Port the parser'")
        .ok();
    let read = machine.sh_as("bob", "mcp-bridge -c backend.b check").ok();
    assert!(read.contains("Port the parser"), "{read}");
    // Root may write where the service may not.
    machine
        .sh("sed -i s:/run/mcp-bridge/worker/inbox:/home/bob/inbox: /etc/mcp-bridge/worker.toml")
        .ok();
    let said = machine.sh("mcp-bridge doctor");
    assert_eq!(said.code(), Some(1), "{said:?}");
    assert!(
        said.out
            .contains("/home/bob/inbox: the service may not write there")
            && said.out.contains("sudo -u mcp-bridge mcp-bridge doctor"),
        "{said:?}"
    );
}

#[test]
fn start_before_the_store_waits_for_it() {
    needs_a_machine!();
    let machine = installed();
    edit(
        &machine,
        "[[session]]\ncredentials = \"/etc/mcp-bridge/backend.b.toml\"\nproof = \"none\"\n",
    );
    enable(&machine, "worker");
    says(&machine, "waiting for the store");
    machine
        .sh("useradd --create-home --groups mcp-bridge alice")
        .ok();
    conversation(&machine, "backend");
    machine
        .sh("install --mode 600 --owner mcp-bridge ~alice/.local/state/mcp-bridge/credentials/backend.b.toml /etc/mcp-bridge/")
        .ok();
    says(&machine, "store ok");
    says(&machine, "1 session");
    assert_eq!(machine.show(WORKER, "NRestarts"), "0");
}

#[test]
fn a_worker_and_an_orchestrator_on_one_machine() {
    needs_a_machine!();
    let machine = site();
    enable(&machine, "orchestrator");
    let orchestrator = "mcp-bridged@orchestrator.service";
    machine.wait_show(orchestrator, "StatusText", |status| {
        status.contains("acting")
    });
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
    // The end of one removes nothing of the other.
    machine.sh("systemctl stop mcp-bridged@orchestrator").ok();
    assert!(machine.root("/run/mcp-bridge/worker/worker.json").exists());
    assert!(!machine.root("/run/mcp-bridge/orchestrator").exists());
    says(&machine, "1 session alive");
    // The target is all of them.
    let before = machine.show(WORKER, "MainPID");
    machine
        .sh("systemctl start mcp-bridged@orchestrator; systemctl restart mcp-bridged.target")
        .ok();
    for unit in [WORKER, orchestrator] {
        machine.wait_show(unit, "ActiveState", |state| state == "active");
    }
    assert_ne!(machine.show(WORKER, "MainPID"), before);
    // It starts what it stopped, and one instance starts no other.
    machine.sh("systemctl stop mcp-bridged.target").ok();
    for unit in [WORKER, orchestrator] {
        machine.wait_show(unit, "ActiveState", |state| state == "inactive");
    }
    machine.sh("systemctl start mcp-bridged.target").ok();
    for unit in [WORKER, orchestrator] {
        machine.wait_show(unit, "ActiveState", |state| state == "active");
    }
    machine
        .sh("systemctl stop mcp-bridged@orchestrator; systemctl restart mcp-bridged@worker")
        .ok();
    assert_eq!(machine.show(orchestrator, "ActiveState"), "inactive");
}

#[test]
fn enabled_daemons_start_with_the_machine() {
    needs_a_machine!();
    let mut machine = site();
    alice_sends(&machine, "before");
    machine.reboot();
    machine.wait_show(WORKER, "ActiveState", |state| state == "active");
    // The agent did not survive it, and its old number proves nothing.
    says(&machine, "0 sessions alive");
    agent(&machine);
    says(&machine, "1 session alive");
    alice_sends(&machine, "after");
    assert_eq!(bob_reads(&machine), ["before", "after"]);
}

/// `apt` ends well all the same: the package is there, and can be put right.
#[test]
fn upgrade_names_what_does_not_run_after_it() {
    needs_a_machine!();
    let machine = site();
    enable(&machine, "orchestrator");
    edit(&machine, "[heartbeat]\nintervall = \"5s\"\n");
    let said = machine.sh("dpkg --install /root/mcp-bridge.deb 2>&1").ok();
    assert!(
        said.contains("mcp-bridged@worker.service does not run; this says why: systemctl status"),
        "{said}"
    );
    assert!(
        !said.contains("@orchestrator.service does not run"),
        "{said}"
    );
    machine
        .sh("sed -i /intervall/d /etc/mcp-bridge/worker.toml; systemctl start mcp-bridged@worker")
        .ok();
    let said = machine.sh("dpkg --install /root/mcp-bridge.deb 2>&1").ok();
    assert!(!said.contains("does not run"), "{said}");
    says(&machine, "1 session alive");
}

#[test]
fn removed_and_purged() {
    needs_a_machine!();
    let machine = site();
    enable(&machine, "orchestrator");
    alice_sends(&machine, "still here");
    machine
        .sh("mkdir /root/tree && cd /root/tree && mcp-bridge setup claude")
        .ok();
    let said = machine.sh("dpkg --remove mcp-bridge 2>&1").ok();
    assert!(said.contains("mcp-bridge setup CLIENT --remove"), "{said}");
    // A client goes on calling the hooks that stand in its user's files.
    let settings = machine.root("/root/tree/.claude/settings.local.json");
    let settings = std::fs::read_to_string(settings).expect("the file");
    let settings: Value = serde_json::from_str(&settings).expect("JSON");
    for hook in settings["hooks"]["Stop"][0]["hooks"]
        .as_array()
        .expect("hooks")
    {
        let words = hook["args"].as_array().expect("words");
        let words = words.iter().filter_map(Value::as_str);
        let called = std::iter::once(hook["command"].as_str().expect("a program")).chain(words);
        let said = machine.run(called).ok();
        assert_eq!(said.trim(), "");
    }
    let left = machine
        .sh("systemctl list-units --all --no-legend 'mcp-bridged@*' --state=active")
        .ok();
    assert_eq!(left.trim(), "", "all stopped");
    let kept = machine.sh("ls /etc/mcp-bridge /var/lib/mcp-bridge").ok();
    for name in ["worker.toml", "credentials", "bridge.db"] {
        assert!(kept.contains(name), "{kept}");
    }
    // What was removed comes back as it was.
    machine
        .sh("dpkg --install /root/mcp-bridge.deb && systemctl start mcp-bridged@worker")
        .ok();
    says(&machine, "1 session alive");
    assert_eq!(bob_reads(&machine), ["still here"]);
    // The journal, and what users keep, are not the package's.
    let own = |path: &String| {
        ["/var/log/", "/root/", "/home/"]
            .iter()
            .all(|theirs| !path.starts_with(theirs))
    };
    // Enabled in every way that there is.
    machine
        .sh("systemctl --global enable mcp-bridged@worker")
        .ok();
    let installed = machine.written("*mcp?bridge*");
    assert!(installed.iter().any(own), "the search finds something");
    let said = machine.sh("dpkg --purge mcp-bridge 2>&1").ok();
    let mut left = machine.written("*mcp?bridge*");
    left.retain(own);
    assert_eq!(left, [""; 0], "left behind: {said}");
    // Its user stays: a file elsewhere may be its own.
    machine
        .sh("getent passwd mcp-bridge && getent group mcp-bridge")
        .ok();
}

/// The state directory is a file system of its own, with a backup in it.
#[test]
fn purge_keeps_backups_and_a_mount_point() {
    needs_a_machine!();
    let machine = installed();
    machine
        .sh(
            "mount -t tmpfs -o mode=700,uid=mcp-bridge,gid=mcp-bridge state /var/lib/mcp-bridge && \
             mcp-bridge conversation new --label backend && \
             mcp-bridge store backup /var/lib/mcp-bridge/weekly.db",
        )
        .ok();
    let said = machine.sh("dpkg --purge mcp-bridge 2>&1").ok();
    assert!(said.contains("left in /var/lib/mcp-bridge"), "{said}");
    assert!(said.contains("  weekly.db"), "{said}");
    let left = machine.sh("ls -A /var/lib/mcp-bridge").ok();
    assert_eq!(left.trim(), "weekly.db");
    assert!(!machine.root("/etc/mcp-bridge").exists());
}

/// The README's way: the package's folder of pid files, and the script that writes
/// one for the agent's user.
#[test]
fn run_agent_proves_an_agent_to_the_service() {
    needs_a_machine!();
    let machine = installed();
    machine
        .sh("useradd --create-home --groups mcp-bridge bob && mcp-bridge conversation new --label backend")
        .ok();
    edit(
        &machine,
        "\n[[session]]\ncredentials = \"backend.b.toml\"\nproof = { pid_file = \"/run/mcp-bridge-agents/backend.pid\" }\n",
    );
    enable(&machine, "worker");
    says(&machine, "worker: 0 sessions alive");
    machine
        .sh("systemd-run --quiet --unit=agent --uid=bob \
             /usr/share/doc/mcp-bridge/examples/run-agent backend sleep infinity")
        .ok();
    says(&machine, "worker: 1 session alive");
    let mode = machine
        .sh("stat --format='%a %U %G' /run/mcp-bridge-agents")
        .ok();
    assert_eq!(mode.trim(), "1770 root mcp-bridge");
    machine.sh("systemctl stop agent").ok();
    says(&machine, "worker: 0 sessions alive");
}
