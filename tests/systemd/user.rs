//! `systemctl --user`, for somebody whose agents run in their own session.

use crate::machine::{Machine, Said, wait_for};
use crate::needs_a_machine;
use crate::operator::installed;

/// A command as Carol, with her own systemd.
#[track_caller]
fn carol(machine: &Machine, script: &str) -> Said {
    machine.sh_as(
        "carol",
        &format!("export XDG_RUNTIME_DIR=/run/user/$(id -u); {script}"),
    )
}

#[test]
fn an_ordinary_user_has_a_daemon_of_their_own() {
    needs_a_machine!();
    let machine = installed();
    machine
        .sh("useradd --create-home carol && loginctl enable-linger carol")
        .ok();
    wait_for("Carol's systemd", || {
        carol(&machine, "systemctl --user is-system-running")
            .out
            .contains("running")
            .then_some(())
    });
    carol(
        &machine,
        "mcp-bridge conversation new --label backend && mkdir -p ~/.config/mcp-bridge && \
         printf 'role = \"worker\"\\n[[session]]\\ncredentials = \"%s\"\\nproof = \"none\"\\nwake.order = [\"file\"]\\nwake.file.path = \"%s\"\\n' \
         ~/.local/state/mcp-bridge/credentials/backend.b.toml ~/inbox >~/.config/mcp-bridge/worker.toml",
    )
    .ok();
    carol(&machine, "systemctl --user enable --now mcp-bridged@worker").ok();
    let status = |words: &str| {
        wait_for(words, || {
            let said = carol(
                &machine,
                "systemctl --user show --value -p StatusText mcp-bridged@worker",
            )
            .out;
            said.contains(words).then_some(())
        });
    };
    status("worker: 1 session");
    carol(&machine, "mcp-bridge -c backend.a send 'Port the parser'").ok();
    wait_for("the wake", || {
        machine.root("/home/carol/inbox").exists().then_some(())
    });
    status("1 unread");
    let read = carol(&machine, "mcp-bridge -c backend.b check").ok();
    assert!(read.contains("Port the parser"), "{read}");
    // Reloads are as good as the system's.
    carol(
        &machine,
        "echo 'nonsense = 1' >>~/.config/mcp-bridge/worker.toml",
    )
    .ok();
    let said = carol(&machine, "systemctl --user reload mcp-bridged@worker");
    assert!(!said.status.success(), "{said:?}");
    status("reload refused: ");
    carol(
        &machine,
        "sed -i '$d' ~/.config/mcp-bridge/worker.toml; systemctl --user reload mcp-bridged@worker",
    )
    .ok();
    carol(&machine, "systemctl --user stop mcp-bridged@worker").ok();
}
