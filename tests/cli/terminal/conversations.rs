//! Conversations: made, found, renewed, closed; their files.

use std::os::unix::fs::{MetadataExt, PermissionsExt};

use insta::assert_snapshot;

use crate::common::scratch::{Scratch, all_say, can_run, is_root, not_tried};

#[test]
fn making_one_makes_the_store_and_two_private_files() {
    let scratch = Scratch::new();
    let made = scratch.conversation(&["--label", "work", "--role-b", "backend", "--for", "12h"]);
    assert_snapshot!(made.shows(), @r"
    conversation work  conv_ID  ends in 12h; `conversation renew` extends it
      a orchestrator  <dir>/credentials/work.a.toml
      b backend       <dir>/credentials/work.b.toml
    store <dir>/bridge.db
    try   mcp-bridge -c <dir>/credentials/work.a.toml send hello   and   mcp-bridge -c <dir>/credentials/work.b.toml check
    ");
    assert_eq!(mode(&scratch, "credentials"), 0o700);
    assert_eq!(mode(&scratch, "credentials/work.a.toml"), 0o600);
    let text = std::fs::read_to_string(scratch.credentials("work.b")).expect("there");
    let store = format!("store = \"{}\"", scratch.store().display());
    assert!(text.contains(&store), "{text}");
    // The file alone is enough.
    let mut alone = scratch.bridge(&["-c", "credentials/work.b.toml", "check"]);
    alone.env_remove("MCP_BRIDGE_STORE");
    scratch.outcome(alone).ok();
}

fn mode(scratch: &Scratch, name: &str) -> u32 {
    std::fs::metadata(scratch.path(name)).expect("there").mode() & 0o777
}

#[test]
fn numbers_go_on_after_the_highest_ever() {
    let scratch = Scratch::new();
    let made = scratch.conversation(&["--label", "team", "--count", "2"]);
    assert_snapshot!(made.shows(), @r"
    conversation team-1  conv_ID  ends in 3h; `conversation renew` extends it
    conversation team-2  conv_ID  ends in 3h; `conversation renew` extends it
    credentials for each session in <dir>/credentials
    all `a` sides in one file: <dir>/credentials/team.orchestrator.toml
    store <dir>/bridge.db
    ");
    scratch.run(&["conversation", "close", "team-2"]).ok();
    std::fs::write(scratch.credentials("team-4.a"), "").expect("written");
    let made = scratch
        .conversation(&["--label", "team", "--count", "1", "--json"])
        .json();
    assert_eq!(made["conversations"][0]["label"], "team-5");
    assert!(
        made["orchestrator"]
            .as_str()
            .is_some_and(|path| path.ends_with("team-5.orchestrator.toml"))
    );
}

#[test]
fn existing_file_is_kept_and_nothing_is_made() {
    let scratch = Scratch::new();
    std::fs::create_dir(scratch.path("credentials")).expect("made");
    std::fs::write(scratch.credentials("work.b"), "precious").expect("written");
    let refused = scratch.run(&[
        "conversation",
        "new",
        "--out",
        "credentials",
        "--label",
        "work",
    ]);
    assert_snapshot!(refused.says(), @r"
    65: error: <dir>/credentials/work.b.toml exists already; nothing was created
      choose another --label or --out, or move the file away
    ");
    assert_eq!(scratch.number("SELECT count(*) FROM conversations"), 0);
    let kept = std::fs::read_to_string(scratch.credentials("work.b")).expect("there");
    assert_eq!(kept, "precious");
}

#[test]
fn unwritable_files_close_the_conversation_again() {
    let scratch = Scratch::new();
    scratch.run(&["store", "init"]).ok();
    std::fs::create_dir(scratch.path("locked")).expect("made");
    let args = ["conversation", "new", "--label", "work", "--out", "locked"];
    let command = if is_root() {
        if !can_run("setpriv", &["--version"]) {
            return not_tried(
                "unwritable credentials",
                "this is root, and setpriv is missing",
            );
        }
        scratch.as_other_user(&args)
    } else {
        scratch.bridge(&args)
    };
    let locked = std::fs::Permissions::from_mode(0o555);
    std::fs::set_permissions(scratch.path("locked"), locked).expect("set");
    let refused = scratch.outcome(command);
    assert_snapshot!(refused.says(), @r"
    77: error: no conversation was created: credentials <dir>/locked/work.a.toml: cannot be written: Permission denied (os error 13)
      name a directory that you may write with --out
    ");
    assert_eq!(
        scratch.run(&["conversation", "list", "--json"]).ok().out,
        "[]\n"
    );
}

#[test]
fn the_user_s_own_place_is_the_default() {
    let scratch = Scratch::new();
    let mut command = if is_root() {
        if !can_run("setpriv", &["--version"]) {
            return not_tried("the default store", "this is root, and setpriv is missing");
        }
        scratch.as_other_user(&["conversation", "new", "--label", "work"])
    } else {
        scratch.bridge(&["conversation", "new", "--label", "work"])
    };
    command.env_remove("MCP_BRIDGE_STORE");
    assert_snapshot!(scratch.outcome(command).ok().shows(), @r"
    conversation work  conv_ID  ends in 3h; `conversation renew` extends it
      a orchestrator  <dir>/.local/state/mcp-bridge/credentials/work.a.toml
      b worker        <dir>/.local/state/mcp-bridge/credentials/work.b.toml
    store <dir>/.local/state/mcp-bridge/bridge.db
    try   mcp-bridge -c work/a send hello   and   mcp-bridge -c work/b check
    ");
}

#[test]
fn conversations_are_found_by_id_and_label() {
    let scratch = Scratch::with_conversation();
    scratch.run(&["conversation", "close", "work"]).ok();
    std::fs::remove_dir_all(scratch.path("credentials")).expect("there");
    scratch.conversation(&["--label", "work"]);
    let list = scratch
        .run(&["conversation", "list", "--all", "--json"])
        .ok()
        .json();
    assert_eq!(
        (&list[0]["state"], &list[1]["state"]),
        (&"closed".into(), &"open".into())
    );
    let shown = scratch
        .run(&["conversation", "show", "work", "--json"])
        .ok()
        .json();
    assert_eq!(shown["id"], list[1]["id"]);
    assert_eq!(shown["sessions"].as_array().map(Vec::len), Some(2));
    let closed = list[0]["id"].as_str().expect("an id");
    assert!(
        scratch
            .run(&["conversation", "show", closed])
            .ok()
            .out
            .contains("closed")
    );
    assert_snapshot!(scratch.run(&["conversation", "show", "wrk"]).says(), @r"
    65: error: there is no conversation `wrk`; did you mean `work`?
      `mcp-bridge conversation list --all` shows the conversations of this store
    ");
}

#[test]
fn lists_say_which_store_is_empty() {
    let scratch = Scratch::new();
    scratch.run(&["store", "init"]).ok();
    assert_snapshot!(scratch.run(&["conversation", "list"]).ok().says(), @r"
    0: no conversations in <dir>/bridge.db
      create one: mcp-bridge conversation new
    ");
    assert_snapshot!(scratch.run(&["status"]).ok().shows(), @r"
    no open conversations in <dir>/bridge.db (from MCP_BRIDGE_STORE), opened here
      create one: mcp-bridge conversation new --label backend
    ");
}

#[test]
fn renewing_opens_an_expired_one_and_never_shortens() {
    let scratch = Scratch::with_conversation();
    scratch.expire_conversations(720);
    assert_snapshot!(scratch.run_as("work.a", &["send", "hi"]).says(), @r"
    77: error: conversation conv_ID expired 12 minutes ago
      renew it: mcp-bridge conversation renew conv_ID --for 3h
    ");
    assert_snapshot!(scratch.run(&["conversation", "renew", "work", "--for", "5h"]).ok().shows(), @"conversation work ends in 5h");
    assert_snapshot!(scratch.run(&["conversation", "renew", "work", "--for", "1h"]).ok().shows(), @"conversation work ends in 5h already");
    scratch.run_as("work.a", &["send", "hi"]).ok();
}

#[test]
fn a_closed_one_stays_closed() {
    let scratch = Scratch::with_conversation();
    scratch.run_as("work.a", &["send", "hi"]).ok();
    let closed = scratch.run(&["conversation", "close", "work"]).ok();
    assert_snapshot!(closed.shows(), @"closed conversation work (1 unread message in it)");
    let refused = [
        scratch.run_as("work.a", &["send", "hi"]),
        scratch.run_as("work.b", &["check"]),
        scratch.run_as("work.b", &["watch"]),
        scratch.run(&["conversation", "renew", "work"]),
        scratch.run(&["conversation", "close", "work"]),
    ];
    assert_snapshot!(all_say(&refused), @r"
    77: error: conversation conv_ID was closed
      create a new one: mcp-bridge conversation new
    ");
}

#[test]
fn a_label_is_given_and_changed() {
    let scratch = Scratch::with_conversation();
    scratch.conversation(&["--label", "other"]);
    let said = scratch
        .run(&["conversation", "label", "work", "backend-1"])
        .ok();
    assert_snapshot!(said.shows(), @"conversation conv_ID is backend-1");
    scratch.run(&["conversation", "show", "backend-1"]).ok();
    assert_eq!(
        scratch.run(&["conversation", "show", "work"]).code,
        Some(65)
    );
    // Its own label again is no conflict; another's is.
    scratch
        .run(&["conversation", "label", "backend-1", "backend-1"])
        .ok();
    let taken = scratch.run(&["conversation", "label", "backend-1", "other"]);
    assert!(taken.err.contains("other"), "{taken:?}");
    assert_ne!(taken.code, Some(0));
    scratch.run(&["conversation", "show", "backend-1"]).ok();
    let audit = scratch.run(&["audit", "--json"]).ok();
    assert!(audit.out.contains("label_conversation"), "{audit:?}");
    // A closed one keeps the name that it had.
    scratch.run(&["conversation", "close", "other"]).ok();
    let closed = scratch.run(&["conversation", "label", "other", "again"]);
    assert_eq!(closed.code, Some(77), "{closed:?}");
    scratch
        .run(&["conversation", "label", "backend-1", "other"])
        .ok();
}

#[test]
fn credentials_are_written_where_tokens_are_plain() {
    let scratch = Scratch::with_conversation();
    let refused = scratch.run(&["conversation", "credentials", "work", "--out", "again"]);
    assert_snapshot!(refused.says(), @r"
    65: error: conversation work: the store has only digests of its tokens, so no credentials can be written
      use the files that `conversation new` wrote, or give a session a new token: mcp-bridge conversation rekey
    ");
    assert!(!scratch.path("again").exists());
    scratch
        .run(&["store", "init", "--token-storage", "plain"])
        .ok();
    scratch.conversation(&["--label", "shared"]);
    let said = scratch
        .run(&["conversation", "credentials", "shared", "--out", "again"])
        .ok();
    assert_snapshot!(said.shows(), @r"
    <dir>/again/shared.a.toml
    <dir>/again/shared.b.toml
    ");
    assert_eq!(mode(&scratch, "again"), 0o700);
    assert_eq!(mode(&scratch, "again/shared.b.toml"), 0o600);
    let read = |path: std::path::PathBuf| std::fs::read_to_string(path).expect("there");
    // Word for word what `conversation new` wrote, without the prefix that the
    // Python bridge does not know.
    let again = read(scratch.path("again/shared.b.toml"));
    assert_eq!(again, read(scratch.credentials("shared.b")));
    assert!(!again.contains("mcpb_"), "{again}");
    assert!(read(scratch.credentials("work.b")).contains("token = \"mcpb_"));
    scratch
        .run(&["-c", "again/shared.a.toml", "send", "hi"])
        .ok();
    let twice = scratch.run(&["conversation", "credentials", "shared", "--out", "again"]);
    assert_eq!(twice.code, Some(77), "{twice:?}");
    assert!(twice.err.contains("never overwritten"), "{twice:?}");
}
