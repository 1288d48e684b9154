//! One word for one thing: a session's name is understood wherever credentials are
//! named, and options that had another name once still have it, hidden.

use std::process::Command;

use crate::common::scratch::{Scratch, can_run, is_root, not_tried};

/// A command whose credentials are looked for where they are by default: root has
/// other places, so another user runs it then.
fn by_a_user(scratch: &Scratch, args: &[&str]) -> Command {
    let mut command = match is_root() {
        true => scratch.as_other_user(args),
        false => scratch.bridge(args),
    };
    command.env_remove("MCP_BRIDGE_STORE");
    command
}

#[test]
fn a_session_names_its_credentials() {
    let scratch = Scratch::new();
    if is_root() && !can_run("setpriv", &["--version"]) {
        return not_tried("names of sessions", "this is root, and setpriv is missing");
    }
    let run = |args: &[&str]| scratch.outcome(by_a_user(&scratch, args));
    run(&["conversation", "new", "--label", "work"]).ok();
    run(&["-c", "work/a", "send", "hello"]).ok();
    let read = run(&["-c", "work/b", "check", "--json"]).ok().json();
    assert_eq!(read["messages"][0]["message"], "hello");
    // The file's name is still one, and so is its path.
    run(&["-c", "work.b", "check"]).ok();
    let path = ".local/state/mcp-bridge/credentials/work.b.toml";
    run(&["-c", path, "check"]).ok();
    run(&["join", "work/b"]).ok();
    let joined = run(&["join"]).ok();
    assert!(joined.out.contains("work/b"), "{joined:?}");

    let unknown = run(&["-c", "other/b", "check"]);
    assert_eq!(unknown.code, Some(77), "{unknown:?}");
    assert!(unknown.err.contains("no other.b.toml in"), "{unknown:?}");
    let no_side = run(&["-c", "work/c", "check"]);
    assert_eq!(no_side.code, Some(77), "{no_side:?}");

    for words in [&["join", "work/c"][..], &["-c", "work/worker", "check"]] {
        let no_side = run(words);
        assert_eq!(no_side.code, Some(77), "{no_side:?}");
        let says = format!(
            "`{}` is not a session: a session is LABEL/a or LABEL/b",
            words[1]
        );
        for says in [
            says.as_str(),
            "for example: work/a   (there are: work/a, work/b)",
        ] {
            assert!(no_side.err.contains(says), "{says}: {no_side:?}");
        }
    }

    // A team's worker has a file without the side.
    let place = scratch.path(".local/state/mcp-bridge/credentials");
    std::fs::rename(place.join("work.b.toml"), place.join("work.toml")).expect("renamed");
    run(&["-c", "work/b", "check"]).ok();
}

#[test]
fn options_have_their_old_names_too() {
    let scratch = Scratch::with_conversation();
    for option in ["--about", "--file"] {
        scratch
            .run_as("work.a", &["send", "look", option, "a.rs"])
            .ok();
        let read = scratch.run_as("work.b", &["check", "--json"]).ok().json();
        let files = &read["messages"][0]["metadata"]["files_involved"];
        assert_eq!(files[0], "a.rs", "{option}: {read}");
    }
    for option in ["--timeout", "--for"] {
        let waited = scratch.run_as("work.b", &["wait", "--new", option, "1ms"]);
        assert_eq!(waited.code, Some(124), "{option}: {waited:?}");
    }
    let task = "{\"role\": \"worker\", \"title\": \"t\"}\n";
    for option in ["--batch", "--from"] {
        let add = scratch.bridge(&["task", "add", option, "-"]);
        let added = scratch.outcome_with_input(add, task.as_bytes()).ok();
        assert!(added.out.starts_with("added task "), "{option}: {added:?}");
    }
    for word in ["verify", "check"] {
        let verified = scratch.run(&["store", word]).ok();
        assert!(verified.out.contains("no problem"), "{word}: {verified:?}");
    }
    for option in ["--check-config", "--check"] {
        let mut daemon = Command::new(env!("CARGO_BIN_EXE_mcp-bridged"));
        daemon.args(["--config", "/nowhere/worker.toml", option]);
        let refused = daemon.output().expect("it starts");
        assert_eq!(refused.status.code(), Some(78), "{option}: {refused:?}");
    }
}

#[test]
fn help_shows_new_names_alone() {
    let scratch = Scratch::new();
    for (command, new, old) in [
        (&["send"][..], "--about", "--file "),
        (&["wait"], "--timeout", "--for"),
        (&["doctor", "wake"], "--timeout", "--for"),
        (&["task", "add"], "--batch", "--from"),
        (&["store"], "verify", " check "),
    ] {
        let help = scratch.run(&[command, &["--help"]].concat()).ok().out;
        assert!(help.contains(new), "{command:?}: {help}");
        assert!(!help.contains(old), "{command:?} shows {old}: {help}");
    }
}
