//! Bad input: each gets its exit code, the thing's name and the remedy.

use std::os::unix::fs::PermissionsExt;

use insta::assert_snapshot;

use crate::common::scratch::{Ran, Scratch, all_say, is_root};

#[test]
fn invalid_messages() {
    let scratch = Scratch::with_conversation();
    let send = |input: &[u8]| {
        let command = scratch.bridge_as("work.a", &["send"]);
        scratch.outcome_with_input(command, input)
    };
    assert_snapshot!(send(b" \n\t\n").says(), @"65: error: the message is empty; write a text");
    assert_snapshot!(send("ä".repeat(50_001).as_bytes()).says(), @"65: error: the message has 50001 characters, 50000 are allowed; put the rest in a file and give its path");
    assert_snapshot!(send(b"ab\xff").says(), @"65: error: the message is not UTF-8 (first wrong byte at 2); put binary data in a file and give its path");
    assert_snapshot!(send(b"a\0b").says(), @"65: error: the message contains a NUL character at byte 1; remove it");
    send("ä".repeat(50_000).as_bytes()).ok();

    let files: Vec<&str> = std::iter::repeat_n(["--file", "x"], 21).flatten().collect();
    let args: Vec<&str> = ["send", "hi"].into_iter().chain(files).collect();
    assert_snapshot!(scratch.run_as("work.a", &args).says(), @"65: error: the message names 21 files, 20 are allowed; name their directory, or send the rest with another message");
    assert_snapshot!(scratch.run_as("work.a", &["send", "hi", "--id", "a b"]).says(), @"65: error: the client message id is malformed: use 1 to 128 printable ASCII characters without spaces");
    assert_snapshot!(scratch.run_as("work.a", &["send", "--body-file", "none"]).says(), @r"
    65: error: none cannot be read: No such file or directory (os error 2)
      name an existing file that this user may read
    ");
    assert_eq!(
        scratch
            .run_as("work.a", &["send", "hi", "--action", "shout"])
            .code,
        Some(2)
    );
    assert_eq!(scratch.number("SELECT count(*) FROM messages"), 1);
}

#[test]
fn missing_credentials() {
    let scratch = Scratch::new();
    // Root's stand elsewhere.
    let run = |args: &[&str]| match is_root() {
        true => scratch.outcome(scratch.as_other_user(args)),
        false => scratch.run(args),
    };
    assert_snapshot!(run(&["-c", "work.c", "check"]).says(), @r"
    77: error: credentials `work.c`: there is no such file here, and no work.c.toml in <dir>/.local/state/mcp-bridge/credentials
      `mcp-bridge conversation new` writes one for each side
    ");
    run(&["conversation", "new", "--label", "work"]).ok();
    assert_snapshot!(run(&["-c", "work.c", "check"]).says(), @r"
    77: error: credentials `work.c`: there is no such file here, and no work.c.toml in <dir>/.local/state/mcp-bridge/credentials; did you mean `work.a`?
      for example: work/a   (there are: work/a, work/b)
    ");
    assert_snapshot!(run(&["-c", "work.b", "ack", "x"]).says(), @r"
    2: error: invalid value 'x' for '<ID>...': `x` is not a message id: use a positive whole number, as `check` shows it

    For more information, try '--help'.
    ");
}

#[test]
fn batch_that_is_more_than_may_ever_be_sent() {
    let scratch = Scratch::with_conversation();
    let command = scratch.bridge_as("work.a", &["send", "--batch"]);
    let sent = scratch.outcome_with_input(command, "hi\n".repeat(101).as_bytes());
    assert_snapshot!(sent.says(), @r"
    65: error: the batch has 101 messages, and conv_ID/a may send 100 per minute: it cannot be sent in one part; nothing was sent
      send it in parts of 100 at most, or allow more: mcp-bridge store limits --per-minute 101
    ");
    assert_eq!(scratch.number("SELECT count(*) FROM messages"), 0);
    scratch
        .run(&["store", "limits", "--per-minute", "101"])
        .ok();
    let command = scratch.bridge_as("work.a", &["send", "--batch"]);
    scratch
        .outcome_with_input(command, "hi\n".repeat(101).as_bytes())
        .ok();
}

#[test]
fn arguments_that_mean_nothing() {
    let scratch = Scratch::with_conversation();
    assert_snapshot!(scratch.run_as("work.a", &["send", "--to", "work", "work", "hi"]).says(), @"2: error: --to names the recipient already: give only the text, in quotes");
    assert_snapshot!(scratch.run_as("work.a", &["send", "work", "hi", "--batch"]).says(), @"2: error: the text is given twice: use either the argument, --body-file or --batch");
    assert_snapshot!(scratch.run_as("work.a", &["send", "hello", "there"]).says(), @r"
    77: error: the credentials have no conversation `hello`
      they have: work
      if both words are the text, put them in quotes
    ");
    let words = scratch.run_as("work.a", &["send", "hello", "there", "friend"]);
    let tip = "tip: put a text of several words in quotes: \"hello there\"";
    assert!(words.err.contains(tip), "{words:?}");
    for args in [
        &["send", "a", "b", "c"][..],
        &["check", "--limit", "0"],
        &["watch", "--full-look", "1ms"],
        &["heartbeat", "--ttl", "soon"],
        &["conversation", "new", "--for", "100years"],
        &["conversation", "new", "--label", "../x"],
        &["conversation", "new", "--role-a", ""],
        &["sned"],
    ] {
        let refused = scratch.run_as("work.a", args);
        assert_eq!(refused.code, Some(2), "{args:?}: {refused:?}");
    }
}

#[test]
fn unknown_conversations() {
    let scratch = Scratch::with_conversation();
    let refused = [
        scratch.run_as("work.a", &["send", "conv_xyz", "hi"]),
        scratch.run(&["conversation", "show", "conv_xyz"]),
        scratch.run(&["audit", "conv_xyz"]),
    ];
    assert_snapshot!(all_say(&refused), @"65: error: `conv_xyz` is not a conversation id: an id is `conv_` and 16 hexadecimal digits (0-9, a-f)");
    assert_snapshot!(scratch.run(&["conversation", "show", "conv_0123456789abcdef"]).says(), @r"
    65: error: conversation conv_ID does not exist in store <dir>/bridge.db
      `mcp-bridge conversation list` shows the existing ones
    ");
    assert_snapshot!(scratch.run_as("work.a", &["send", "conv_0123456789abcdef", "hi"]).says(), @r"
    77: error: the credentials have no conversation `conv_ID`
      they have: work
    ");
    assert_snapshot!(scratch.run_as("work.b", &["ack", "17"]).says(), @r"
    65: error: there is no message 17 for conv_ID/b
      the receiver sees the id of each message: `mcp-bridge check`, `mcp-bridge watch`
    ");
}

#[test]
fn credentials_that_cannot_be_used() {
    let scratch = Scratch::with_conversation();
    assert_snapshot!(scratch.run(&["check"]).says(), @r"
    77: error: no credentials: this command acts for a session
      name the session: -c LABEL/SIDE or -c FILE, or set MCP_BRIDGE_CREDENTIALS
      or once for all commands in this directory: mcp-bridge join LABEL/SIDE (or FILE)
      `mcp-bridge conversation new` writes one for each side
    ");
    assert_snapshot!(scratch.run_as("none", &["check"]).says(), @r"
    77: error: credentials <dir>/credentials/none.toml: there is no such file
      the sessions that exist: mcp-bridge status; to create new ones: mcp-bridge conversation new
    ");
    // By a name: where it was looked for.
    let unknown = scratch.run(&["-c", "nobody.b", "check"]);
    assert_eq!(unknown.code, Some(77), "{unknown:?}");
    let looked = "credentials `nobody.b`: there is no such file here, and no nobody.b.toml in /";
    assert!(unknown.err.contains(looked), "{unknown:?}");
    let text = std::fs::read_to_string(scratch.credentials("work.b")).expect("there");

    let with = |change: &dyn Fn(&str) -> String| -> Ran {
        private(&scratch, "changed", &change(&text));
        scratch.run_as("changed", &["check"])
    };
    let token = text
        .split('"')
        .find_map(|part| part.strip_prefix("mcpb_"))
        .expect("a token");
    assert_snapshot!(with(&|text| text.replace(token, &"0".repeat(64))).says(), @r"
    77: error: the token for conv_ID/b is wrong
      use the credentials file that `conversation new` wrote, or the last `conversation rekey`
    ");
    assert_snapshot!(with(&|text| text.replace(token, "short")).says(), @r"
    77: error: credentials <dir>/credentials/changed.toml: session 1: the token is malformed: a token has 64 hexadecimal characters after an optional mcpb_, this one has 5
      use the file that `mcp-bridge conversation new` wrote
    ");
    assert_snapshot!(with(&|text| text.replace("\"b\"", "\"c\"")).says(), @r"
    77: error: credentials <dir>/credentials/changed.toml: session 1: `c` is not a side: use `a` (the orchestrator's side) or `b` (the worker's)
      use the file that `mcp-bridge conversation new` wrote
    ");
    assert_snapshot!(with(&|_| "[[session]".into()).says(), @r"
    77: error: credentials <dir>/credentials/changed.toml: line 1: unclosed array table, expected `]`
      use the file that `mcp-bridge conversation new` wrote
    ");
    assert_snapshot!(with(&|_| String::new()).says(), @r"
    77: error: credentials <dir>/credentials/changed.toml: it has no [[session]]
      use the file that `mcp-bridge conversation new` wrote
    ");
    assert_snapshot!(with(&|text| text.replace("\"b\"", "b")).says(), @r"
    77: error: credentials <dir>/credentials/changed.toml: line 7: string values must be quoted, expected literal string
      use the file that `mcp-bridge conversation new` wrote
    ");
    assert_snapshot!(with(&|_| "session = []".into()).says(), @r"
    77: error: credentials <dir>/credentials/changed.toml: it has no [[session]]
      use the file that `mcp-bridge conversation new` wrote
    ");

    let open = std::fs::Permissions::from_mode(0o644);
    std::fs::set_permissions(scratch.credentials("work.b"), open).expect("set");
    assert_snapshot!(scratch.run_as("work.b", &["check"]).says(), @r"
    77: error: credentials <dir>/credentials/work.b.toml: other users may read this file (mode 644)
      chmod 600 <dir>/credentials/work.b.toml   (and, if another user may have read it: mcp-bridge conversation rekey)
    ");
}

fn private(scratch: &Scratch, name: &str, text: &str) {
    let path = scratch.credentials(name);
    std::fs::write(&path, text).expect("written");
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).expect("set");
}

#[test]
fn credentials_in_the_environment_are_all_or_nothing() {
    let scratch = Scratch::with_conversation();
    let mut partial = scratch.bridge(&["check"]);
    partial.env("MCP_BRIDGE_TOKEN", "0".repeat(64));
    assert_snapshot!(scratch.outcome(partial).says(), @r"
    77: error: environment variable MCP_BRIDGE_CONVERSATION is not set, but another of MCP_BRIDGE_CONVERSATION, MCP_BRIDGE_SESSION, MCP_BRIDGE_TOKEN is
      set all three, or none
    ");
    let text = std::fs::read_to_string(scratch.credentials("work.b")).expect("there");
    let values: Vec<&str> = text.split('"').skip(1).step_by(2).collect();
    let [_store, _label, conversation, session, token] = values[..] else {
        panic!("{values:?}");
    };
    let mut whole = scratch.bridge(&["check"]);
    whole
        .env("MCP_BRIDGE_CONVERSATION", conversation)
        .env("MCP_BRIDGE_SESSION", session)
        .env("MCP_BRIDGE_TOKEN", token);
    scratch.outcome(whole).ok();
}

#[test]
fn credentials_that_contradict_each_other() {
    let scratch = Scratch::with_conversation();
    let text = std::fs::read_to_string(scratch.credentials("work.b")).expect("there");
    private(
        &scratch,
        "other-store",
        &text.replace("bridge.db", "other.db"),
    );
    let mut command = scratch.bridge(&["-c", "credentials", "check"]);
    command.env_remove("MCP_BRIDGE_STORE");
    assert_snapshot!(scratch.outcome(command).says(), @r"
    77: error: the credentials name two stores, <dir>/other.db and <dir>/bridge.db
      use credentials of one store, or choose the store with --store
    ");
}

#[test]
fn too_many_messages() {
    let scratch = Scratch::with_conversation();
    let limits = scratch.run(&["store", "limits", "--per-minute", "2"]).ok();
    assert_snapshot!(limits.shows(), @"each session may send: 2/minute 500/hour 2000/day messages");
    for _ in 0..2 {
        scratch.run_as("work.a", &["send", "hi"]).ok();
    }
    let refused = scratch.run_as("work.a", &["send", "hi"]);
    assert_eq!(refused.code, Some(75), "{refused:?}");
    assert!(
        refused
            .err
            .contains("reached its rate limit: 2 messages per minute are allowed"),
        "{refused:?}"
    );
    scratch.run(&["store", "limits", "--off"]).ok();
    scratch.run_as("work.a", &["send", "hi"]).ok();
}
