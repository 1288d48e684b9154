//! One program is both: `mcp-bridge`, and under the daemon's name the daemon.

use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

const BRIDGE: &str = env!("CARGO_BIN_EXE_mcp-bridge");
const DAEMON: &str = env!("CARGO_BIN_EXE_mcp-bridged");

/// Exit code, stdout and stderr of a program with these arguments.
fn run(program: &Path, arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = Command::new(program)
        .args(arguments)
        .env_clear()
        .output()
        .expect("it starts");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (
        output.status.code(),
        text(&output.stdout),
        text(&output.stderr),
    )
}

#[track_caller]
fn is_the_daemon(program: &Path) {
    let (code, out, err) = run(program, &["--version"]);
    let version = concat!("mcp-bridged ", env!("CARGO_PKG_VERSION"), "\n");
    assert_eq!((code, out.as_str(), err.as_str()), (Some(0), version, ""));
    // Its arguments and its exit code are handed through.
    let (code, _, err) = run(program, &["--config", "/nowhere/it is.toml", "--check"]);
    assert_eq!(code, Some(78), "{err}");
    assert!(err.contains("/nowhere/it is.toml"), "{err}");
}

/// What a package installs.
#[test]
fn a_link_of_the_daemons_name_is_the_daemon() {
    let place = TempDir::new().expect("a directory");
    let link = place.path().join("mcp-bridged");
    symlink(BRIDGE, &link).expect("made");
    is_the_daemon(&link);
}

/// What `cargo install` installs, called by its name and by a link elsewhere.
#[test]
fn the_daemons_own_program_is_the_one_beside_it() {
    is_the_daemon(Path::new(DAEMON));
    let place = TempDir::new().expect("a directory");
    let link = place.path().join("any-name");
    symlink(DAEMON, &link).expect("made");
    is_the_daemon(&link);
}

#[test]
fn the_daemons_program_alone_says_what_is_missing() {
    let place = TempDir::new().expect("a directory");
    let alone = place.path().join("mcp-bridged");
    std::fs::copy(DAEMON, &alone).expect("copied");
    let (code, out, err) = run(&alone, &["--version"]);
    assert_eq!((code, out.as_str()), (Some(1), ""));
    assert!(
        err.starts_with("error: ")
            && err.contains("/mcp-bridge cannot be run: ")
            && err.contains("installed together"),
        "{err}"
    );
}

/// `pgrep` finds it, and the removal of the package, however it was started.
#[cfg(target_os = "linux")]
#[test]
fn the_kernel_calls_it_by_the_daemons_name() {
    use std::os::unix::process::CommandExt;

    use crate::common::{Running, Scratch, wait_until};

    let scratch = Scratch::new();
    std::fs::write(scratch.path("worker.toml"), "role = \"worker\"\n").expect("written");
    for (program, name) in [(DAEMON, DAEMON), (BRIDGE, "/elsewhere/mcp-bridged")] {
        let mut command = scratch.program(program);
        command.arg0(name).args(["--config", "worker.toml"]);
        let daemon = Running::unread(command.stderr(std::process::Stdio::null()));
        let of_proc = |file| {
            let path = format!("/proc/{}/{file}", daemon.child.id());
            std::fs::read_to_string(path).unwrap_or_default()
        };
        wait_until("it bears the daemon's name", || {
            of_proc("comm").trim() == "mcp-bridged"
                && of_proc("cmdline").contains("mcp-bridged\0--config")
        });
    }
}
