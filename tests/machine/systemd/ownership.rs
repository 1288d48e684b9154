//! The machine's directory of stores: its daemon's own, also after an upgrade from a
//! release that shared it with a group; and a store that the Python bridge shares.

use std::fs;

use serde_json::{Value, json};

use super::machine::{Machine, wait_for};
use super::operator::needs_a_machine;
use super::operator::{
    STORE, WORKER, alice_sends, bob_reads, bridge, conversation, enable, installed, people, says,
};
use super::package::package;

const DIRECTORY: &str = "/var/lib/mcp-bridge";

/// A package of the time when the group shared the directory, and its upgrade.
fn earlier(machine: &Machine) {
    fs::copy(package(), machine.root("/root/mcp-bridge.deb")).expect("copied");
    machine
        .sh("cd /root && dpkg-deb --raw-extract mcp-bridge.deb old && \
             sed -i 's/^Version: .*/Version: 0.0.9/' old/DEBIAN/control && rm -f old/DEBIAN/md5sums && \
             sed -i 's/^UMask=.*/UMask=0007/; s/^StateDirectoryMode=.*/StateDirectoryMode=2770/' \
                 old/usr/lib/systemd/system/mcp-bridged@.service && \
             sed -i 's/ 0700 mcp-bridge/ 2770 mcp-bridge/' old/usr/lib/tmpfiles.d/mcp-bridge-store.conf && \
             dpkg-deb -Znone --build old old.deb >/dev/null && dpkg --install old.deb")
        .ok();
    let mode = machine.sh(&format!("stat --format=%a {DIRECTORY}")).ok();
    assert_eq!(mode.trim(), "2770");
}

#[track_caller]
fn upgrade(machine: &Machine) -> String {
    machine.sh("dpkg --install /root/mcp-bridge.deb 2>&1").ok()
}

/// The mode and the owner of each file of the store, and of its directory.
fn modes(machine: &Machine) -> Vec<String> {
    let said = machine
        .sh(&format!("stat --format='%n %a %U' {DIRECTORY} {STORE}*"))
        .ok();
    said.lines().map(str::to_owned).collect()
}

/// A call of the Python bridge, by another user.
#[track_caller]
fn python(machine: &Machine, who: &str, request: &Value) -> Result<Value, String> {
    machine.write(
        "/usr/local/lib/bridge.py",
        include_str!("../../foreign/bridge.py"),
    );
    let script = format!("echo '{request}' | python3 /usr/local/lib/bridge.py {STORE}");
    let said = machine.sh_as(who, &script);
    let answer: Option<Value> = serde_json::from_str(&said.out).ok();
    let done = answer.and_then(|answer| answer.get("ok").cloned());
    done.ok_or(said.out + &said.err)
}

#[test]
fn upgrade_closes_the_store_and_names_its_holders() {
    needs_a_machine!();
    let machine = Machine::boot();
    earlier(&machine);
    people(&machine);
    enable(&machine, "worker");
    says(&machine, "store ok");
    // An agent of the time before: it has the store's file open itself.
    machine
        .sh(&format!(
            "systemd-run --quiet --unit=holder --uid=bob --setenv=HOME=/home/bob \
             mcp-bridge --store {STORE} -c /home/bob/b.toml watch --json"
        ))
        .ok();
    let pid = machine.show("holder", "MainPID");
    wait_for("the holder", || {
        let open = machine.sh(&format!("ls -l /proc/{pid}/fd")).out;
        open.contains("bridge.db-wal").then_some(())
    });
    machine
        .sh_as(
            "alice",
            &format!("mcp-bridge --store {STORE} store backup {DIRECTORY}/weekly.db"),
        )
        .ok();

    let said = upgrade(&machine);
    assert!(
        said.contains(&format!(
            "only its daemons may use {DIRECTORY} now (2770 before)"
        )),
        "{said}"
    );
    let holder = format!("  {pid} mcp-bridge of bob");
    let held: Vec<&str> = said
        .lines()
        .filter(|line| line.starts_with("  ") && line.contains(" of "))
        .collect();
    assert_eq!(held, [holder.as_str()], "{said}");
    let closed = modes(&machine);
    assert!(closed.len() >= 5, "{closed:?}");
    for (path, mode) in closed.iter().map(|line| line.split_once(' ').expect("two")) {
        let wanted = if path == DIRECTORY { "700" } else { "600" };
        assert_eq!(mode, format!("{wanted} mcp-bridge"), "{path}");
    }
    assert_eq!(machine.show(WORKER, "ActiveState"), "active");

    // It may not even see the file any more, and says so and ends. Started again it finds
    // the daemon by its credentials, which name the file.
    says(&machine, "store ok");
    alice_sends(&machine, "after the upgrade");
    machine.wait_show("holder", "ActiveState", |state| state == "failed");
    machine
        .sh("systemctl reset-failed holder; \
             systemd-run --quiet --unit=holder --uid=bob --setenv=HOME=/home/bob \
             mcp-bridge -c /home/bob/b.toml watch --json")
        .ok();
    wait_for("the holder's line", || {
        let log = machine.sh("journalctl -u holder -o cat").out;
        log.contains("after the upgrade").then_some(())
    });
    machine.sh("systemctl stop holder").ok();
    let open = machine.sh_as("bob", &format!("ls {STORE}"));
    assert!(!open.status.success(), "{open:?}");
    // Once is enough.
    let said = upgrade(&machine);
    assert!(!said.contains(DIRECTORY), "{said}");
    machine.sh("systemd-tmpfiles --create").ok();
    assert_eq!(modes(&machine), closed);
}

#[test]
fn upgrade_leaves_a_store_shared_with_python_open() {
    needs_a_machine!();
    let mut machine = Machine::boot();
    earlier(&machine);
    machine
        .sh("useradd --create-home --groups mcp-bridge alice")
        .ok();
    python(&machine, "alice", &json!(["init"])).expect("the Python bridge's");
    let made = python(&machine, "alice", &json!(["create"])).expect("the Python bridge's");
    machine
        .sh(&format!(
            "chown mcp-bridge: {STORE}* && chmod 660 {STORE}* && mcp-bridge store init"
        ))
        .ok();
    enable(&machine, "worker");
    says(&machine, "store ok");
    let before = modes(&machine);
    let said = upgrade(&machine);
    assert!(
        said.contains(&format!(
            "{STORE} is shared with the Python bridge, so its directory stays open"
        )) && said.contains("/etc/tmpfiles.d/mcp-bridge-store.conf"),
        "{said}"
    );
    let writes = |machine: &Machine, text: &str| {
        let request = json!(["send", made["id"], "a", made["a"], text]);
        python(machine, "alice", &request).expect("written");
    };
    writes(&machine, "right after");
    assert_eq!(modes(&machine)[..2], before[..2]);
    machine.reboot();
    writes(&machine, "after a boot");
    machine.sh("systemctl restart mcp-bridged@worker").ok();
    writes(&machine, "after a start");
    says(&machine, "store ok");
    let said = upgrade(&machine);
    assert!(said.contains("stays open to its group (2770)"), "{said}");
    let found = machine.sh("mcp-bridge doctor").out;
    assert!(!found.contains("only the daemon may use"), "{found}");

    // The bridge is gone: what the upgrade said closes it.
    machine
        .sh("rm /etc/tmpfiles.d/mcp-bridge-store.conf /etc/systemd/system/mcp-bridged@.service.d/shared-store.conf; \
             systemctl daemon-reload && systemd-tmpfiles --create mcp-bridge-store.conf && systemctl restart 'mcp-bridged@*'")
        .ok();
    assert_eq!(modes(&machine)[0], format!("{DIRECTORY} 700 mcp-bridge"));
    python(&machine, "alice", &json!(["create"])).expect_err("closed");
}

/// An operator who opened the directory by a drop-in meant it.
#[test]
fn upgrade_keeps_what_an_operators_drop_in_opens() {
    needs_a_machine!();
    let machine = Machine::boot();
    earlier(&machine);
    people(&machine);
    machine
        .sh("mkdir -p /etc/systemd/system/mcp-bridged@worker.service.d")
        .ok();
    let drop_in = "/etc/systemd/system/mcp-bridged@worker.service.d/override.conf";
    machine.write(drop_in, "[Service]\nStateDirectoryMode=2770\nUMask=0007\n");
    let said = upgrade(&machine);
    let kept = format!("{DIRECTORY} stays open to its group (2770), as {drop_in} says");
    assert!(said.contains(&kept), "{said}");
    machine.sh("systemd-tmpfiles --create").ok();
    enable(&machine, "worker");
    assert_eq!(modes(&machine)[0], format!("{DIRECTORY} 2770 mcp-bridge"));
    let by_file = format!("mcp-bridge --store {STORE} -c backend.a send hello");
    machine.sh_as("alice", &by_file).ok();
}

/// The drop-in and the override that a remedy spells out: the lines below a line that
/// begins so.
fn below<'a>(remedy: &'a str, head: &str) -> String {
    let behind = remedy
        .lines()
        .skip_while(|line| !line.starts_with(head))
        .skip(1);
    let lines: Vec<&'a str> = behind.map_while(|line| line.strip_prefix("  ")).collect();
    assert!(!lines.is_empty(), "{head}: {remedy}");
    lines.join("\n") + "\n"
}

#[test]
fn doctor_spells_out_how_a_shared_store_is_opened() {
    needs_a_machine!();
    let machine = installed();
    machine
        .sh("useradd --create-home --groups mcp-bridge alice")
        .ok();
    machine.write(
        "/usr/local/lib/bridge.py",
        include_str!("../../foreign/bridge.py"),
    );
    machine
        .sh(&format!(
            "echo '[\"init\"]' | runuser -u mcp-bridge -- python3 /usr/local/lib/bridge.py {STORE} && \
             chmod 600 {STORE}* && mcp-bridge store init"
        ))
        .ok();
    enable(&machine, "worker");
    says(&machine, "store ok");
    python(&machine, "alice", &json!(["create"])).expect_err("the daemon's alone");
    let said = machine.sh("mcp-bridge doctor --json").out;
    let found: Value = serde_json::from_str(&said).expect("JSON");
    let findings = found["findings"].as_array().expect("a list");
    let finding = findings
        .iter()
        .find(|finding| {
            finding["text"]
                .to_string()
                .contains("only the daemon may use")
        })
        .unwrap_or_else(|| panic!("{found}"));
    let remedy = finding["remedy"].as_str().expect("a remedy");

    let (edit, tmpfiles) = (
        "systemctl edit mcp-bridged@.service",
        "/etc/tmpfiles.d/mcp-bridge-store.conf",
    );
    machine.write("/root/drop-in", &below(remedy, edit));
    machine.write("/root/editor", "#!/bin/sh\nexec cp /root/drop-in \"$1\"\n");
    machine.write(tmpfiles, &below(remedy, tmpfiles));
    let last = remedy.lines().last().expect("a command");
    machine
        .sh(&format!(
            "chmod 755 /root/editor; export SYSTEMD_EDITOR=/root/editor; \
             script --quiet --return --command '{edit}' /dev/null; {last}"
        ))
        .ok();
    says(&machine, "store ok");
    let made = python(&machine, "alice", &json!(["create"])).expect("open to the group");
    machine
        .sh("systemd-tmpfiles --create && systemctl restart mcp-bridged@worker")
        .ok();
    let request = json!(["send", made["id"], "a", made["a"], "from Python"]);
    python(&machine, "alice", &request).expect("still open");
    let said = machine.sh("mcp-bridge doctor").out;
    assert!(!said.contains("only the daemon may use"), "{said}");
}

/// What the daemon makes is its own, and what others are promised they can read.
#[test]
fn new_files_are_the_daemons_alone() {
    needs_a_machine!();
    let machine = installed();
    people(&machine);
    enable(&machine, "worker");
    says(&machine, "store ok");
    conversation(&machine, "frontend");
    alice_sends(&machine, "hello");
    assert_eq!(bob_reads(&machine), ["hello"]);
    machine
        .sh(&format!("mcp-bridge store backup {DIRECTORY}/weekly.db"))
        .ok();
    let open = machine
        .sh(&format!("find {DIRECTORY} -perm /077 ! -type l"))
        .ok();
    assert_eq!(open, "", "of others than the owner");
    machine.sh("useradd --create-home mallory").ok();
    let state = machine
        .sh_as("mallory", "cat /run/mcp-bridge/worker/worker.json")
        .ok();
    assert!(state.contains("\"role\""), "{state}");
    bridge(&machine, "alice", "status").ok();
}
