//! `conversation rekey`: the old token ends, the new one is in the file, and a
//! command that was cut off locks no agent out.

use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::Path;

use insta::assert_snapshot;
use rustix::fs::{FlockOperation, flock};

use crate::common::scratch::{Ran, Running, Scratch, is_root, not_tried};

const OURS: [&str; 3] = ["conversation", "rekey", "work"];

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).expect("there")
}

fn private(path: &Path, text: &str) {
    std::fs::write(path, text).expect("written");
    let mode = std::fs::Permissions::from_mode(0o600);
    std::fs::set_permissions(path, mode).expect("set");
}

/// The tokens in a text, without prefix.
fn tokens(text: &str) -> Vec<String> {
    let pattern = regex::Regex::new("[0-9a-f]{64}").expect("a pattern");
    let found = pattern.find_iter(text);
    found.map(|token| token.as_str().to_owned()).collect()
}

fn is_refused(ran: &Ran) {
    assert_eq!(ran.code, Some(77), "{ran:?}");
    assert!(ran.err.contains("the token for conv_"), "{ran:?}");
}

#[test]
fn a_session_rewrites_its_own_file() {
    let scratch = Scratch::with_conversation();
    let file = scratch.credentials("work.b");
    let before = format!("{}# mine\n", read(&file));
    private(&file, &before);
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o400)).expect("set");
    private(&scratch.path("old.toml"), &before);
    scratch.run_as("work.a", &["send", "before"]).ok();

    let ran = scratch.run_as("work.b", &OURS).ok();
    assert_snapshot!(ran.shows(), @r"
    session work/b has a new token; the old one is refused from now on
      <dir>/credentials/work.b.toml
    ");
    let after = read(&file);
    let (old, new) = (tokens(&before), tokens(&after));
    assert_ne!(old, new);
    assert_eq!(
        before.replace(&old[0], &new[0]),
        after,
        "all else is as it was"
    );
    assert_eq!(
        std::fs::metadata(&file).expect("there").mode() & 0o7777,
        0o400
    );
    let names = std::fs::read_dir(scratch.path("credentials")).expect("there");
    assert_eq!(names.count(), 2, "nothing is left beside it");
    let said = format!("{ran:?}{}", scratch.run(&["audit", "--json"]).ok().out);
    for token in old.iter().chain(&new) {
        assert!(!said.contains(token), "{said}");
    }
    // What the old token still does, and the other sessions.
    let with_old = |args: &[&str]| scratch.run(&[&["-c", "old.toml"], args].concat());
    is_refused(&with_old(&["check"]));
    is_refused(&with_old(&["send", "hi"]));
    is_refused(&with_old(&["watch"]));
    let got = scratch.run_as("work.b", &["check"]).ok();
    assert!(got.out.contains("before"), "{got:?}");
    scratch.run_as("work.a", &["send", "after"]).ok();
    scratch.run_as("work.b", &["send", "after"]).ok();
}

#[test]
fn an_operator_writes_a_new_file() {
    let scratch = Scratch::with_conversation();
    let rekey = |side, out: &str| {
        let args = ["--side", side, "--out", out, "--json"];
        scratch.run(&[&OURS[..], &args].concat())
    };
    let made = rekey("a", "elsewhere").ok().json();
    assert_eq!(made["session"], "a");
    let file = scratch.path("elsewhere/work.a.toml");
    assert_eq!(made["files"], serde_json::json!([file]));
    assert_eq!(
        std::fs::metadata(&file).expect("there").mode() & 0o7777,
        0o600
    );
    is_refused(&scratch.run_as("work.a", &["send", "hi"]));
    scratch
        .run(&["-c", "elsewhere/work.a.toml", "send", "hi"])
        .ok();
    scratch.run_as("work.b", &["check"]).ok();
    // Once more, into the file that is there.
    rekey("a", "elsewhere").ok();
    scratch
        .run(&["-c", "elsewhere/work.a.toml", "send", "hi"])
        .ok();
    // Without --side nothing says whose.
    let unclear = scratch.run(&OURS);
    assert_snapshot!(unclear.says(), @"2: error: which side gets a new token? use --side a or --side b");
    // A file of something else stays, and the token, too.
    let other = scratch.path("elsewhere/work.b.toml");
    std::fs::copy(&file, &other).expect("copied");
    let refused = rekey("b", "elsewhere");
    assert_snapshot!(refused.says(), @r"
    77: error: credentials <dir>/elsewhere/work.b.toml: the token cannot be replaced: this file exists, and does not contain session conv_ID/b
      move it away, or name another directory with --out
    ");
    assert_eq!(read(&file), read(&other));
    scratch.run_as("work.b", &["check"]).ok();
}

#[test]
fn a_file_of_many_sessions_keeps_the_others() {
    let scratch = Scratch::new();
    scratch.conversation(&["--label", "team", "--count", "3"]);
    let all = scratch.credentials("team.orchestrator");
    let before = tokens(&read(&all));
    let ran = scratch.run_as("team.orchestrator", &["conversation", "rekey", "team-2"]);
    assert_snapshot!(ran.says(), @"0: <dir>/credentials/team-2.a.toml still has the old token of team-2/a, which is not valid any more");
    let after = tokens(&read(&all));
    assert_eq!((&before[0], &before[2]), (&after[0], &after[2]));
    assert_ne!(before[1], after[1]);
    for name in ["team-1", "team-2", "team-3"] {
        scratch
            .run_as("team.orchestrator", &["send", name, "hi"])
            .ok();
    }
    is_refused(&scratch.run_as("team-2.a", &["send", "hi"]));
    // Both are named: both are rewritten.
    let both = ["-c", "team.orchestrator.toml", "-c", "team-1.a.toml"];
    let mut command = scratch.bridge(&[&both[..], &["conversation", "rekey", "team-1"]].concat());
    command.current_dir(scratch.path("credentials"));
    let ran = scratch.outcome(command).ok();
    assert_eq!(ran.err, "");
    assert_eq!(
        tokens(&read(&all))[0],
        tokens(&read(&scratch.credentials("team-1.a")))[0]
    );
    scratch.run_as("team-1.a", &["send", "hi"]).ok();
}

#[test]
fn command_cut_off_after_the_commit_is_finished() {
    let scratch = Scratch::with_conversation();
    let (file, new) = (
        scratch.credentials("work.b"),
        scratch.path("credentials/work.b.toml.new"),
    );
    let old = read(&file);
    scratch.run_as("work.b", &OURS).ok();
    // As it stands when the process is killed before the file has its place.
    std::fs::rename(&file, &new).expect("moved");
    private(&file, &old);
    is_refused(&scratch.run_as("work.b", &["check"]));
    scratch.run_as("work.b", &OURS).ok();
    assert!(!new.exists());
    scratch.run_as("work.b", &["check"]).ok();
    // Or by hand.
    let old = read(&file);
    scratch.run_as("work.b", &OURS).ok();
    std::fs::rename(&file, &new).expect("moved");
    private(&file, &old);
    std::fs::rename(&new, &file).expect("as the error says");
    scratch.run_as("work.b", &["check"]).ok();
}

#[test]
fn command_cut_off_before_the_commit_changes_nothing() {
    let scratch = Scratch::with_conversation();
    let (file, new) = (
        scratch.credentials("work.b"),
        scratch.path("credentials/work.b.toml.new"),
    );
    let text = read(&file);
    let never = text.replace(&tokens(&text)[0], &"1".repeat(64));
    for left in [never.as_str(), &text[..40], ""] {
        private(&new, left);
        scratch.run_as("work.b", &["check"]).ok();
        scratch.run_as("work.b", &OURS).ok();
        assert!(!new.exists());
        scratch.run_as("work.b", &["check"]).ok();
    }
    // Another one at work on it is not disturbed.
    let before = read(&file);
    private(&new, &never);
    let held = std::fs::File::open(&new).expect("there");
    flock(&held, FlockOperation::LockExclusive).expect("locked");
    let refused = scratch.run_as("work.b", &OURS);
    assert_snapshot!(refused.says(), @r"
    77: error: credentials <dir>/credentials/work.b.toml: the token cannot be replaced: another `conversation rekey` is using this file
      wait until that one has ended, and try again
    ");
    assert_eq!((read(&new), read(&file)), (never, before));
    scratch.run_as("work.b", &["check"]).ok();
}

#[test]
fn file_that_cannot_be_replaced_keeps_its_token() {
    let scratch = Scratch::with_conversation();
    let file = scratch.credentials("work.b");
    let kept = |ran: &Ran, says: &str| {
        assert_eq!(ran.code, Some(77), "{ran:?}");
        assert!(ran.err.contains(says), "{ran:?}");
        scratch.run_as("work.b", &["check"]).ok();
    };
    symlink("work.b.toml", scratch.credentials("link")).expect("linked");
    kept(&scratch.run_as("link", &OURS), "symbolic link");
    std::fs::hard_link(&file, scratch.path("second")).expect("linked");
    kept(&scratch.run_as("work.b", &OURS), "second name");
    std::fs::remove_file(scratch.path("second")).expect("removed");
    std::fs::create_dir(scratch.path("credentials/work.b.toml.new")).expect("made");
    kept(&scratch.run_as("work.b", &OURS), "directory");
    let text = read(&file);
    let conversation = text.split('"').find(|part| part.starts_with("conv_"));
    let mut variables = scratch.bridge(&OURS);
    variables
        .env("MCP_BRIDGE_CONVERSATION", conversation.expect("an id"))
        .env("MCP_BRIDGE_SESSION", "b")
        .env("MCP_BRIDGE_TOKEN", &tokens(&text)[0]);
    let refused = scratch.outcome(variables);
    assert_eq!(refused.code, Some(2), "{refused:?}");
    assert!(refused.err.contains("the token is in the environment"));
    scratch.run_as("work.b", &["check"]).ok();
}

#[test]
fn python_bridge_can_use_a_new_plain_token() {
    let scratch = Scratch::with_conversation();
    let file = scratch.credentials("work.b");
    assert!(read(&file).contains("mcpb_"));
    let plain = ["store", "init", "--token-storage", "plain"];
    scratch.run(&plain).ok();
    scratch.run_as("work.b", &OURS).ok();
    let text = read(&file);
    assert!(!text.contains("mcpb_"), "it knows no prefix");
    let same = format!(
        "SELECT count(*) FROM conversations WHERE session_b_token = '{}'",
        tokens(&text)[0]
    );
    assert_eq!(scratch.number(&same), 1, "it compares the texts");
    scratch.run_as("work.b", &["check"]).ok();
    scratch.run_as("work.a", &["check"]).ok();
}

#[test]
fn a_conversation_that_has_ended_is_refused() {
    let scratch = Scratch::with_conversation();
    let before = read(&scratch.credentials("work.b"));
    scratch.expire_conversations(720);
    let operator = [&OURS[..], &["--side", "b", "--out", "credentials"]].concat();
    for ran in [scratch.run_as("work.b", &OURS), scratch.run(&operator)] {
        assert_eq!(ran.code, Some(77), "{ran:?}");
        assert!(ran.err.contains("expired 12 minutes ago"), "{ran:?}");
    }
    scratch.run(&["conversation", "close", "work"]).ok();
    for ran in [scratch.run_as("work.b", &OURS), scratch.run(&operator)] {
        assert_eq!(ran.code, Some(77), "{ran:?}");
        assert!(ran.err.contains("was closed"), "{ran:?}");
    }
    assert_eq!(read(&scratch.credentials("work.b")), before);
    let names = std::fs::read_dir(scratch.path("credentials")).expect("there");
    assert_eq!(names.count(), 2, "nothing is left beside it");
}

#[test]
fn root_leaves_a_file_its_owner() {
    const NOBODY: u32 = 65_534;
    if !is_root() {
        return not_tried("another user's file", "this needs root");
    }
    let scratch = Scratch::with_conversation();
    let file = scratch.credentials("work.b");
    chown(&file, Some(NOBODY), Some(NOBODY)).expect("root may");
    scratch.run_as("work.b", &OURS).ok();
    let meta = std::fs::metadata(&file).expect("there");
    assert_eq!((meta.uid(), meta.gid()), (NOBODY, NOBODY));
}

#[test]
fn listener_with_the_old_token_ends() {
    let scratch = Scratch::with_conversation();
    // Read before or after: it is the old one.
    private(
        &scratch.path("old.toml"),
        &read(&scratch.credentials("work.b")),
    );
    let listen =
        |args: &[&str]| Running::lines(scratch.bridge(&[&["-c", "old.toml"], args].concat()));
    let mut watch = listen(&["watch", "--full-look", "10m"]);
    scratch.run_as("work.a", &["send", "before"]).ok();
    assert_eq!(watch.json()["message"], "before");
    let wait = listen(&["wait", "--new", "--full-look", "10m", "--for", "10m"]);
    scratch.run_as("work.b", &OURS).ok();
    for mut listener in [watch, wait] {
        assert_eq!(listener.end(), Some(77));
        let said = listener.complaint();
        assert!(said.contains("the token for conv_"), "{said}");
    }
}
