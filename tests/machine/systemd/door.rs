//! The sockets of the installed service: who may use which, by the system's groups.

use super::machine::{Machine, Said};
use super::operator::needs_a_machine;
use super::operator::{STORE, WORKER, enable, installed, people, says};

const API: &str = "/run/mcp-bridge/worker/api.sock";
const ADMIN: &str = "/run/mcp-bridge/worker/admin.sock";

/// What one of the sockets answers to a user.
#[track_caller]
fn asks(machine: &Machine, who: &str, socket: &str, path: &str) -> Said {
    let script =
        format!("curl --silent --show-error --unix-socket {socket} http://localhost{path}");
    machine.sh_as(who, &script)
}

/// The kernel's word on a connection of this user: `0` or the error's name.
#[track_caller]
fn connects(machine: &Machine, who: &str, socket: &str) -> String {
    let script = format!(
        "perl -MSocket -MErrno -e 'socket(my $s, AF_UNIX, SOCK_STREAM, 0) or die; \
         print connect($s, sockaddr_un(\"{socket}\")) ? \"connected\" : $!{{EACCES}} ? \"EACCES\" : $!'"
    );
    machine.sh_as(who, &script).ok()
}

fn mode(machine: &Machine, path: &str) -> String {
    let said = machine.run(["stat", "--format=%a %U:%G", path]);
    said.ok().trim().to_owned()
}

/// What the worker's log says of a socket that is not its group's, since it was started
/// last.
fn told(machine: &Machine) -> String {
    let id = machine.show(WORKER, "InvocationID");
    let filter = format!("_SYSTEMD_INVOCATION_ID={id}");
    machine
        .sh(&format!(
            "journalctl --sync; journalctl {filter} -o cat MCP_EVENT=door-for-one-user"
        ))
        .ok()
}

#[test]
fn sockets_admit_their_groups_alone() {
    needs_a_machine!();
    let machine = installed();
    people(&machine);
    machine
        .sh("useradd --create-home --groups mcp-bridge-admin carol; useradd --create-home mallory")
        .ok();
    enable(&machine, "worker");
    says(&machine, "store ok");
    assert_eq!(mode(&machine, API), "660 mcp-bridge:mcp-bridge");
    assert_eq!(mode(&machine, ADMIN), "660 mcp-bridge:mcp-bridge-admin");
    assert_eq!(told(&machine), "");

    let json = |said: Said| -> serde_json::Value {
        let said = said.ok();
        serde_json::from_str(&said).unwrap_or_else(|error| panic!("{error}: {said}"))
    };
    let health = json(asks(&machine, "alice", API, "/v1/health"));
    assert_eq!(health["store"], STORE, "{health}");
    // For operators, at their socket alone.
    let check = json(asks(&machine, "alice", API, "/v1/store/check"));
    assert_eq!(check["class"], "denied", "{check}");
    let check = json(asks(&machine, "carol", ADMIN, "/v1/store/check"));
    assert_eq!(check["class"], serde_json::Value::Null, "{check}");
    let by_name = "mcp-bridge --store unix:/run/mcp-bridge/worker/api.sock";
    machine
        .sh("usermod --append --groups mcp-bridge carol")
        .ok();
    machine
        .sh_as("carol", &format!("{by_name} drain backend/b --for 1h"))
        .ok();
    let refused = machine.sh_as("alice", &format!("{by_name} drain backend/b --for 1h"));
    assert_eq!(refused.code(), Some(77), "{refused:?}");
    assert!(refused.err.contains(ADMIN), "{refused:?}");

    for (who, socket, answer) in [
        ("alice", API, "connected"),
        ("alice", ADMIN, "EACCES"),
        ("carol", ADMIN, "connected"),
        ("mallory", API, "EACCES"),
        ("mallory", ADMIN, "EACCES"),
    ] {
        assert_eq!(connects(&machine, who, socket), answer, "{who}: {socket}");
    }
}

#[test]
fn daemon_says_why_operators_have_no_socket() {
    needs_a_machine!();
    let machine = installed();
    machine
        .sh("gpasswd --delete mcp-bridge mcp-bridge-admin")
        .ok();
    enable(&machine, "worker");
    assert_eq!(mode(&machine, ADMIN), "600 mcp-bridge:mcp-bridge");
    let why = told(&machine);
    let put = "usermod -aG mcp-bridge-admin mcp-bridge";
    assert!(why.contains(ADMIN) && why.contains(put), "{why}");
    machine
        .sh("groupdel mcp-bridge-admin; systemctl restart mcp-bridged@worker")
        .ok();
    assert_eq!(mode(&machine, ADMIN), "600 mcp-bridge:mcp-bridge");
    let why = told(&machine);
    let make = "groupadd --system mcp-bridge-admin";
    assert!(why.contains(make) && why.contains(put), "{why}");
    // What it says helps.
    machine
        .sh(&format!(
            "{make}; {put}; systemctl restart mcp-bridged@worker"
        ))
        .ok();
    assert_eq!(mode(&machine, ADMIN), "660 mcp-bridge:mcp-bridge-admin");
    assert_eq!(told(&machine), "");
    assert_eq!(mode(&machine, API), "660 mcp-bridge:mcp-bridge");
}
