//! Files that a user names, which turn out to be pipes without a writer, devices
//! without an end, or without a bound.

use std::path::Path;
use std::process::Command;

use super::ground::ended;
use crate::common::scratch::Scratch;

/// What none of them is read from.
fn unreadable(scratch: &Scratch) -> Vec<(String, &'static str)> {
    let pipe = scratch.path("pipe.toml");
    let made = Command::new("mkfifo").arg(&pipe).status();
    assert!(made.expect("mkfifo").success());
    let huge = scratch.path("huge.toml");
    let file = std::fs::File::create(&huge).expect("made");
    file.set_len(3 << 30).expect("sparse");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    file.set_permissions(mode).expect("set");
    let text = |path: &Path| path.display().to_string();
    vec![
        (text(&pipe), "this is a pipe"),
        (text(&huge), "too long"),
        ("/dev/zero".into(), "this is a device"),
    ]
}

/// Runs it within 1 GB: what reads without a bound fails here.
fn within_bounds(command: &Command) -> Command {
    let mut bounded = Command::new("sh");
    bounded
        .args(["-c", "ulimit -v 1000000; exec \"$0\" \"$@\""])
        .arg(command.get_program())
        .args(command.get_args())
        .env_clear();
    for (name, value) in command.get_envs() {
        if let Some(value) = value {
            bounded.env(name, value);
        }
    }
    bounded.current_dir(command.get_current_dir().expect("the scratch directory"));
    bounded
}

#[test]
fn credentials_are_read_to_a_limit() {
    let scratch = Scratch::with_conversation();
    for (path, why) in unreadable(&scratch) {
        let words = ["--credentials", path.as_str(), "check"];
        let ended = ended(within_bounds(&scratch.bridge(&words)), &words);
        assert_eq!(ended.code, Some(77), "{path}: {ended:?}");
        assert!(ended.said.contains(why), "{path}: {ended:?}");
    }
}

#[test]
fn a_configuration_is_read_to_a_limit() {
    let scratch = Scratch::with_conversation();
    for (path, why) in unreadable(&scratch) {
        for words in [
            vec!["--check", "--config", &path],
            vec!["--reload", "--config", &path],
            vec!["--config", &path],
        ] {
            let mut command = scratch.program(env!("CARGO_BIN_EXE_mcp-bridged"));
            command.args(&words);
            let ended = ended(within_bounds(&command), &words);
            assert_eq!(ended.code, Some(78), "{words:?}: {ended:?}");
            assert!(ended.said.contains(why), "{words:?}: {ended:?}");
        }
        let words = ["doctor", "--config", path.as_str()];
        let ended = ended(within_bounds(&scratch.bridge(&words)), &words);
        assert!(ended.said.contains(why), "{words:?}: {ended:?}");
    }
}

#[test]
fn message_comes_from_no_pipe_without_a_writer() {
    let scratch = Scratch::with_conversation();
    for (path, _) in unreadable(&scratch) {
        let words = ["send", "--body-file", path.as_str()];
        let command = within_bounds(&scratch.bridge_as("work.a", &words));
        let ended = ended(command, &words);
        assert_eq!(ended.code, Some(65), "{path}: {ended:?}");
    }
    let mut command = scratch.bridge_as("work.a", &["send", "--body-file", "/dev/stdin"]);
    command.stdin(std::process::Stdio::piped());
    let sent = scratch.outcome_with_input(command, b"from a pipe that is open");
    sent.ok();
}

#[test]
fn a_backup_is_written_over_no_device() {
    let scratch = Scratch::with_conversation();
    let link = scratch.path("copy.db");
    std::os::unix::fs::symlink("bridge.db", &link).expect("linked");
    let pipe = scratch.path("pipe.db");
    let made = Command::new("mkfifo").arg(&pipe).status();
    assert!(made.expect("mkfifo").success());
    for (path, kind) in [(link, "symbolic link"), (pipe, "pipe")] {
        let shown = path.display().to_string();
        let ran = scratch.run(&["store", "backup", "--force", &shown]);
        assert_ne!(ran.code, Some(0), "{ran:?}");
        let still = path.symlink_metadata().expect("there").file_type();
        assert!(!still.is_file(), "{kind} was replaced");
    }
}
