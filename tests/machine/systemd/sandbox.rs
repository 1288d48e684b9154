//! What the running unit can reach: all that it must, and nothing more. A wake
//! command inherits its sandbox, so it looks around from inside.

use super::machine::wait_for;
use super::operator::needs_a_machine;
use super::operator::{agent, alice_sends, edit, enable, installed, people, says};

/// A line for each question: its name, and `yes` or `no`.
const PROBE: &str = r#"#!/bin/bash
can() { name=$1; shift; if "$@" >/dev/null 2>&1; then echo "$name yes"; else echo "$name no"; fi; }
agent=$(cat /run/agent/pid)
{
can see-agent grep -q sleep /proc/$agent/comm
can see-start-time cat /proc/$agent/stat
can see-boot-id cat /proc/sys/kernel/random/boot_id
can write-state touch /var/lib/mcp-bridge/touched
can read-own-credential cat "$MCP_BRIDGE_CREDENTIALS"
can act-for-its-session mcp-bridge check
can see-where-all-credentials-are test -n "$CREDENTIALS_DIRECTORY"
can open-inet perl -MSocket -e 'socket(my $s, AF_INET, SOCK_STREAM, 0) or exit 1'
can open-netlink perl -MSocket -e 'socket(my $s, 16, SOCK_RAW, 0) or exit 1'
can read-agent-environment cat /proc/$agent/environ
can signal-agent kill -0 $agent
can read-credentials-at-rest ls /etc/mcp-bridge/credentials
can read-shadow cat /etc/shadow
can read-root-home ls /root
can write-etc touch /etc/mcp-bridge/touched
can write-usr touch /usr/touched
can write-home touch /home/touched
can write-run touch /run/touched
can write-open-srv touch /srv/open/touched
can write-open-home touch /home/open/touched
can see-tmp ls /tmp/outside
can see-device cat /dev/outside
can see-disk ls /dev/vda
can see-kernel-log cat /dev/kmsg
can make-setuid bash -c 'cp /bin/true /var/lib/mcp-bridge/s && chmod u+s /var/lib/mcp-bridge/s'
can make-namespace unshare --user true
can set-clock date -s now
can have-capabilities grep -qE '^Cap(Eff|Prm|Bnd):.*[1-9a-f]' /proc/self/status
can gain-privileges grep -q 'NoNewPrivs:.0' /proc/self/status
} >/var/lib/mcp-bridge/probed.new
mv /var/lib/mcp-bridge/probed.new /var/lib/mcp-bridge/probed
"#;

const MUST: [&str; 7] = [
    "see-agent",
    "see-start-time",
    "see-boot-id",
    "write-state",
    "read-own-credential",
    "act-for-its-session",
    "open-inet",
];

#[test]
fn unit_sees_what_it_must_and_nothing_more() {
    needs_a_machine!();
    let machine = installed();
    people(&machine);
    agent(&machine);
    machine.write("/usr/local/bin/probe", PROBE);
    // Open to every user: only the sandbox refuses these.
    machine
        .sh(
            "chmod 755 /usr/local/bin/probe; touch /tmp/outside; echo hello >/dev/outside; \
             mkdir --mode 777 /srv/open /home/open",
        )
        .ok();
    edit(
        &machine,
        "[[session]]\ncredentials = \"backend.b.toml\"\nproof = { pid_file = \"/run/agent/pid\" }\n\
         wake.order = [\"exec\"]\nwake.exec.command = [\"/usr/local/bin/probe\"]\n",
    );
    enable(&machine, "worker");
    says(&machine, "1 session alive");
    alice_sends(&machine, "look around");
    wait_for("the probe", || {
        machine
            .root("/var/lib/mcp-bridge/probed")
            .exists()
            .then_some(())
    });
    let probed = machine.read("/var/lib/mcp-bridge/probed");
    println!("{probed}");
    assert!(probed.lines().count() > MUST.len() + 10, "{probed}");
    for line in probed.lines() {
        let (name, answer) = line.split_once(' ').expect("a question and its answer");
        let wanted = if MUST.contains(&name) { "yes" } else { "no" };
        assert_eq!(answer, wanted, "{name}");
    }
    // It says the same as ProtectSystem=strict, of homes alone.
    let homes = machine.show("mcp-bridged@worker.service", "ProtectHome");
    assert_eq!(homes, "read-only");

    // Without its wall, each of these is answered otherwise.
    machine
        .sh("mkdir -p /etc/systemd/system/mcp-bridged@.service.d")
        .ok();
    machine.write(
        "/etc/systemd/system/mcp-bridged@.service.d/open.conf",
        "[Service]\nProtectSystem=no\nProtectHome=no\nPrivateTmp=no\nPrivateDevices=no\nDevicePolicy=auto\n",
    );
    machine
        .sh("systemctl daemon-reload; rm /var/lib/mcp-bridge/probed; systemctl restart mcp-bridged@worker")
        .ok();
    alice_sends(&machine, "look around again");
    wait_for("the probe", || {
        machine
            .root("/var/lib/mcp-bridge/probed")
            .exists()
            .then_some(())
    });
    let probed = machine.read("/var/lib/mcp-bridge/probed");
    for name in ["write-open-srv", "write-open-home", "see-tmp", "see-device"] {
        assert!(probed.contains(&format!("{name} yes")), "{name}: {probed}");
    }
}

#[test]
fn the_units_are_clean_and_closed() {
    needs_a_machine!();
    let machine = installed();
    let verified = machine.sh(
        "systemd-analyze verify mcp-bridged@worker.service mcp-bridged@orchestrator.service mcp-bridged.target 2>&1; \
         XDG_RUNTIME_DIR=/run systemd-analyze verify --user /usr/lib/systemd/user/mcp-bridged@.service 2>&1",
    );
    let ours: Vec<&str> = verified
        .out
        .lines()
        .filter(|line| line.contains("mcp-bridge"))
        .collect();
    assert_eq!(
        (verified.code(), ours.as_slice()),
        (Some(0), [""; 0].as_slice()),
        "{verified:?}"
    );
    let said = machine.sh(
        "systemd-analyze security --offline=true --threshold=18 --no-pager mcp-bridged@worker.service",
    );
    let overall = said
        .out
        .lines()
        .find(|line| line.contains("Overall exposure level"));
    println!("{}", overall.unwrap_or_default());
    assert!(said.status.success() && overall.is_some(), "{}", said.out);
}
