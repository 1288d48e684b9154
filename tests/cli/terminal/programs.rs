//! One program is both: `mcp-bridge`, and under the daemon's name the daemon. The one
//! that measures stands beside it.

use std::os::unix::fs::{PermissionsExt, symlink};
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
fn link_of_the_daemons_name_is_the_daemon() {
    let place = TempDir::new().expect("a directory");
    let link = place.path().join("mcp-bridged");
    symlink(BRIDGE, &link).expect("made");
    is_the_daemon(&link);
}

/// What `cargo install` installs, called by its name and by a link elsewhere.
#[test]
fn daemons_own_program_is_the_one_beside_it() {
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
            && err.contains("in one directory"),
        "{err}"
    );
}

/// `pgrep` finds it, and the removal of the package, however it was started.
#[cfg(target_os = "linux")]
#[test]
fn the_kernel_calls_it_by_the_daemons_name() {
    use std::os::unix::process::CommandExt;

    use crate::common::scratch::{Running, Scratch, wait_until};

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

/// `mcp-bridge` in a directory of its own, called by a link from elsewhere, and beside
/// it what stands for the bench.
fn installed(bench: Option<&str>) -> (TempDir, std::path::PathBuf) {
    let place = TempDir::new().expect("a directory");
    let bin = place.path().join("bin");
    std::fs::create_dir(&bin).expect("made");
    let program = bin.join("mcp-bridge");
    // As large as it is, a second name does where one can be had.
    std::fs::hard_link(BRIDGE, &program)
        .or_else(|_| std::fs::copy(BRIDGE, &program).map(drop))
        .expect("installed");
    if let Some(script) = bench {
        let bench = bin.join("mcp-bridge-bench");
        std::fs::write(&bench, script).expect("written");
        std::fs::set_permissions(&bench, PermissionsExt::from_mode(0o755)).expect("set");
    }
    let link = place.path().join("mcp-bridge");
    symlink(&program, &link).expect("made");
    (place, link)
}

/// It becomes that program: words, code and signals are that one's.
#[test]
fn bench_beside_gets_all_words() {
    let script = "#!/bin/sh\nfor word in \"$@\"; do printf '%s|' \"$word\"; done\nexit 7\n";
    let (_place, program) = installed(Some(script));
    for (said, passed) in [
        (&["latency"][..], "latency|"),
        (&["latency", "--help"], "latency|--help|"),
        (
            &["delivery", "--door", "--json", "--dir", "a b"],
            "delivery|--door|--json|--dir|a b|",
        ),
        // Before the first of its own words it is this program's.
        (
            &["--json", "watchdog", "--pauses", "1m"],
            "watchdog|--json|--pauses|1m|",
        ),
        (&["watchdog", "--json"], "watchdog|--json|"),
        // It is for that program to say what it takes.
        (&["latency", "-x", "y"], "latency|-x|y|"),
    ] {
        let (code, out, err) = run(&program, &[&["bench"], said].concat());
        assert_eq!((code, out.as_str()), (Some(7), passed), "{said:?}: {err}");
    }
    let (_place, program) = installed(Some("#!/bin/sh\nkill -TERM $$\n"));
    let mut command = Command::new(&program);
    let mut child = command.args(["bench", "latency"]).spawn().expect("started");
    let status = child.wait().expect("ended");
    assert_eq!(
        std::os::unix::process::ExitStatusExt::signal(&status),
        Some(15)
    );
}

#[test]
fn missing_bench_program_still_has_help() {
    let (_place, program) = installed(None);
    let (code, help, _) = run(&program, &["bench", "--help"]);
    assert_eq!(code, Some(0));
    for words in ["latency", "delivery", "watchdog", "-p mcp-bridge-bench"] {
        assert!(help.contains(words), "{words}: {help}");
    }
    let (code, _, err) = run(&program, &["bench", "latency", "--messages", "3"]);
    assert_eq!(code, Some(1), "{err}");
    assert!(
        err.contains("bin/mcp-bridge-bench: there is no such file")
            && err.contains("cargo build --release -p mcp-bridge-bench"),
        "{err}"
    );
    let (code, _, err) = run(&program, &["bench", "nothing"]);
    assert_eq!(code, Some(2), "{err}");
}

/// What another user may have put there is not run.
#[test]
fn bench_that_others_may_write_is_not_run() {
    let (place, program) = installed(Some("#!/bin/sh\necho run\n"));
    let bin = place.path().join("bin");
    for exposed in ["bin/mcp-bridge-bench", "bin"] {
        let exposed = place.path().join(exposed).canonicalize().expect("there");
        let mode = |mode| {
            std::fs::set_permissions(&exposed, PermissionsExt::from_mode(mode)).expect("set");
        };
        mode(0o757);
        let (code, out, err) = run(&program, &["bench", "latency"]);
        assert_eq!((code, out.as_str()), (Some(1), ""), "{err}");
        let said = format!("other users may write {}, ", exposed.display());
        assert!(err.contains(&said), "{err}");
        mode(0o755);
    }
    // A link leads to where others may write.
    let (bench, open) = (bin.join("mcp-bridge-bench"), place.path().join("open"));
    std::fs::create_dir(&open).expect("made");
    std::fs::rename(&bench, open.join("theirs")).expect("moved");
    symlink(open.join("theirs"), &bench).expect("made");
    assert_eq!(run(&program, &["bench", "latency"]).1, "run\n");
    std::fs::set_permissions(&open, PermissionsExt::from_mode(0o777)).expect("set");
    let (code, out, err) = run(&program, &["bench", "latency"]);
    assert_eq!((code, out.as_str()), (Some(1), ""), "{err}");
}
