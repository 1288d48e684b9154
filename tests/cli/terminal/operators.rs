//! An operator's order: who may give one, and what the audit log keeps of it.

use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;

use crate::common::scratch::{Scratch, is_root, not_tried};

/// Every order, with what its row in the audit log is called. In this order each
/// of them changes something.
const ORDERS: &[(&[&str], &str)] = &[
    (&["store", "limits", "--per-minute", "300"], "settings"),
    (&["store", "limits", "--off"], "settings"),
    (&["store", "init", "--token-storage", "plain"], "settings"),
    (&["store", "init", "--per-day", "9"], "settings"),
    (&["capacity", "work", "3"], "capacity"),
    (&["capacity", "work", "default"], "capacity"),
    (&["drain", "work"], "drain_on"),
    (&["drain", "work", "--off"], "drain_off"),
    (&["hold", "on"], "hold_on"),
    (&["hold", "off"], "hold_off"),
    (&["alert", "mute", "lost", "--for", "1h"], "mute_on"),
    (&["alert", "unmute", "lost"], "mute_off"),
    (&["task", "reassign", "1", "work"], "task_given"),
    (&["task", "reassign", "--owner", "work"], "task_queued"),
    (&["task", "cancel", "1"], "task_cancelled"),
    (
        &["conversation", "renew", "work", "--for", "9h"],
        "renew_conversation",
    ),
    (
        &[
            "conversation",
            "rekey",
            "work",
            "--side",
            "a",
            "--out",
            "credentials",
        ],
        "rekey_session",
    ),
    (&["conversation", "close", "work"], "close_conversation"),
    (&["store", "restore", "copy.db", "--yes"], "restore_store"),
];

fn site() -> Scratch {
    let scratch = Scratch::with_conversation();
    let task = ["task", "add", "--role", "worker", "--title", "Port it"];
    scratch.run(&task).ok();
    scratch.run(&["store", "backup", "copy.db"]).ok();
    scratch
}

#[test]
fn audit_log_has_every_order_and_its_user() {
    let scratch = site();
    for (order, action) in ORDERS {
        scratch.run(order).ok();
        let log = scratch.run(&["audit", "--json"]).ok().json();
        let newest = log.as_array().and_then(|log| log.last()).expect("a row");
        assert_eq!(newest["action"], *action, "{order:?}: {newest}");
        let by = &newest["details"]["by"];
        let me = rustix::process::geteuid().as_raw();
        assert_eq!(by["uid"], me, "{order:?}: {newest}");
        assert!(by["user"].is_string(), "{order:?}: {newest}");
    }
}

/// As the service's directory stands: another user's, shared by a group.
fn share(path: &Path, owner: u32, group: u32) {
    chown(path, Some(owner), Some(group)).expect("root may");
    let is_dir = path.is_dir();
    let mode = if is_dir { 0o2770 } else { 0o660 };
    std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).expect("root may");
    if is_dir {
        for entry in std::fs::read_dir(path).expect("a directory") {
            share(&entry.expect("an entry").path(), owner, group);
        }
    }
}

#[test]
fn a_user_of_the_group_gives_no_orders() {
    const NOBODY: u32 = 65_534;
    const OWNER: u32 = 1;
    if !is_root() {
        return not_tried("orders of another user", "this needs root");
    }
    let scratch = site();
    let program = scratch.path("mcp-bridge");
    std::fs::copy(env!("CARGO_BIN_EXE_mcp-bridge"), &program).expect("copied");
    share(scratch.dir(), OWNER, NOBODY);
    std::fs::set_permissions(&program, PermissionsExt::from_mode(0o755)).expect("root may");
    let mine = scratch.credentials("work.b");
    chown(&mine, Some(NOBODY), Some(NOBODY)).expect("root may");
    std::fs::set_permissions(&mine, PermissionsExt::from_mode(0o600)).expect("root may");
    let as_other_user = |args: &[&str]| {
        let mut command = scratch.program("setpriv");
        command
            .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
            .arg(&program)
            .args(args);
        command
    };
    let rows = || scratch.number("SELECT count(*) FROM audit_log");
    let before = rows();
    for (order, _) in ORDERS {
        let refused = scratch.outcome(as_other_user(order));
        assert_eq!(refused.code, Some(77), "{order:?}: {refused:?}");
        assert!(
            refused
                .err
                .contains("only an operator of the store may do this"),
            "{order:?}: {refused:?}"
        );
    }
    assert_eq!(rows(), before);
    // Its own conversation a session may close, and its own token end.
    let rekey = |side| {
        let mut rekey = as_other_user(&["conversation", "rekey", "work", "--side", side]);
        rekey.env("MCP_BRIDGE_CREDENTIALS", &mine);
        scratch.outcome(rekey)
    };
    assert_eq!(rekey("a").code, Some(77));
    assert_eq!(rows(), before);
    let old = scratch.path("old.toml");
    std::fs::copy(&mine, &old).expect("copied");
    chown(&old, Some(NOBODY), Some(NOBODY)).expect("root may");
    rekey("b").ok();
    assert_eq!(rows(), before + 1);
    // As one that is cut off leaves it: the session finishes it without an operator.
    std::fs::rename(&mine, mine.with_extension("toml.new")).expect("moved");
    std::fs::rename(&old, &mine).expect("moved");
    rekey("b").ok();
    let before = rows();
    let mut close = as_other_user(&["conversation", "close", "work"]);
    close.env("MCP_BRIDGE_CREDENTIALS", &mine);
    scratch.outcome(close).ok();
    assert_eq!(rows(), before + 1);
}
