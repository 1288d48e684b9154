//! The rpm, from its installation to its removal, on a machine that has rpm.

use std::fs;
use std::path::Path;

use super::machine::Machine;
use super::operator::{
    SESSION, STORE, WORKER, agent, alice_sends, bob_reads, edit, enable, needs_a_machine, people,
    says,
};
use crate::release::{lacks, rpm};

/// What a machine of this system says of its own rpm.
fn of_its_scripts(said: &str) -> String {
    let lines = said.lines().filter(|line| !line.starts_with("rpm: "));
    lines.collect::<Vec<_>>().join("\n")
}

/// Its database has no other package, such as systemd.
#[track_caller]
fn run(machine: &Machine, words: &str) -> String {
    let said = machine.sh(&format!("cd /root && rpm --nodeps {words} 2>&1"));
    of_its_scripts(&said.ok())
}

#[test]
fn rpm_is_installed_upgraded_and_removed() {
    needs_a_machine!();
    if lacks(&[
        ("cargo-generate-rpm", &["--version"]),
        ("rpm", &["--version"]),
    ]) {
        return;
    }
    // To pack the program takes cargo-generate-rpm minutes where it is not optimised.
    let directory = tempfile::tempdir().expect("a directory");
    fs::create_dir(directory.path().join("release")).expect("made");
    fs::write(
        directory.path().join("release/mcp-bridge"),
        "#!/bin/bash\nexec -a \"$0\" /opt/mcp/program \"$@\"\n",
    )
    .expect("written");
    let machine = Machine::boot();
    fs::create_dir(machine.root("/opt/mcp")).expect("made");
    let program = machine.root("/opt/mcp/program");
    fs::copy(env!("CARGO_BIN_EXE_mcp-bridge"), program).expect("copied");
    for (name, version) in [("now", env!("CARGO_PKG_VERSION")), ("next", "99.0.0")] {
        let file = rpm(directory.path(), version);
        fs::copy(&file, machine.root(&format!("/root/{name}.rpm"))).expect("copied");
    }

    machine.sh("rpm --initdb").ok();
    let said = run(&machine, "--install now.rpm");
    let made = |line: &str| line.starts_with("Creating ");
    assert!(said.lines().all(made), "{said}");
    assert_eq!(run(&machine, "--verify mcp-bridge"), "");
    people(&machine);
    agent(&machine);
    edit(&machine, SESSION);
    enable(&machine, "worker");
    says(&machine, "worker: 1 session alive");

    // An upgrade goes on with the new program, and names what does not run.
    machine
        .sh("cd /etc/mcp-bridge && sed 's/^role/intervall = 1\\n&/' orchestrator.toml >second.toml && \
             ! systemctl start mcp-bridged@second 2>/dev/null")
        .ok();
    let before = machine.show(WORKER, "InvocationID");
    let said = run(&machine, "--upgrade next.rpm");
    assert_eq!(
        said,
        "mcp-bridge: mcp-bridged@second.service does not run; this says why: systemctl status mcp-bridged@second.service"
    );
    assert_ne!(machine.show(WORKER, "InvocationID"), before);
    says(&machine, "worker: 1 session alive");
    alice_sends(&machine, "still here");

    // The daemons end, and what users wrote stays, as with the Debian package.
    let said = run(&machine, "--erase mcp-bridge");
    assert!(said.contains("mcp-bridge setup CLIENT --remove"), "{said}");
    let saved = "warning: /etc/mcp-bridge/worker.toml saved as /etc/mcp-bridge/worker.toml.rpmsave";
    assert!(said.contains(saved) && said.lines().count() == 4, "{said}");
    assert_eq!(machine.show(WORKER, "ActiveState"), "inactive");
    let mut left = machine.written("*mcp?bridge*");
    left.retain(|path| {
        !["/var/log/", "/root/", "/home/"]
            .iter()
            .any(|theirs| path.starts_with(theirs))
    });
    left.sort_unstable();
    assert_eq!(
        left,
        [
            "/etc/mcp-bridge",
            "/etc/systemd/system/mcp-bridged.target.wants",
            "/etc/systemd/system/mcp-bridged.target.wants/mcp-bridged@worker.service",
            "/etc/systemd/system/multi-user.target.wants/mcp-bridged@worker.service",
            "/var/lib/mcp-bridge",
        ]
    );
    assert!(Path::new(&machine.root(STORE)).exists());

    // What was removed comes back as it was.
    run(&machine, "--install now.rpm");
    machine
        .sh("cd /etc/mcp-bridge && mv worker.toml.rpmsave worker.toml && systemctl start mcp-bridged@worker")
        .ok();
    says(&machine, "1 session alive");
    assert_eq!(bob_reads(&machine), ["still here"]);
}
