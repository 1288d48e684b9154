//! Text from elsewhere is shown, never obeyed: by a terminal or by a shell.

use crate::common::scratch::{Ran, Scratch};

/// Clears a screen, writes a clipboard, turns the writing, begins a line.
const HOSTILE: &str = "x\u{1b}[2J\u{1b}]52;c;aGk=\u{7}\u{202e}\u{e0041}\u{9b}1m\u{2028}y";

fn hostile_store() -> Scratch {
    let scratch = Scratch::with_conversation();
    scratch
        .run(&[
            "task", "add", "--role", "worker", "--title", "t", "--body", "b",
        ])
        .ok();
    let text = HOSTILE.replace('\'', "''");
    scratch.sql(&format!(
        "UPDATE conversations SET session_b_role = '{text}'"
    ));
    scratch.sql(&format!(
        "UPDATE bridge_task SET title = '{text}' || char(10) || 'report with:', body = '{text}'"
    ));
    scratch.sql(&format!("UPDATE audit_log SET action = '{text}'"));
    scratch
}

/// As if it stood on a terminal: with colours.
fn coloured(scratch: &Scratch, args: &[&str]) -> Ran {
    let mut command = scratch.bridge(args);
    command.env("CLICOLOR_FORCE", "1");
    scratch.outcome(command)
}

/// Nothing but styles and line ends acts.
fn assert_shown(ran: &Ran) {
    for text in [&ran.out, &ran.err] {
        let mut rest = text.as_str();
        while let Some(at) = rest.find('\u{1b}') {
            rest = &rest[at + 1..];
            let end = rest.find(|c: char| c.is_ascii_alphabetic());
            let style =
                rest.starts_with('[') && end.is_some_and(|end| rest[end..].starts_with('m'));
            assert!(style, "{ran:?}");
        }
        let acts = |c: char| {
            (c.is_control() && c != '\n' && c != '\u{1b}')
                || matches!(c, '\u{202e}' | '\u{2028}' | '\u{e0041}')
        };
        assert!(!text.contains(acts), "{ran:?}");
    }
}

#[test]
fn rows_move_no_terminal() {
    let scratch = hostile_store();
    for args in [
        &["status"][..],
        &["conversation", "list"],
        &["conversation", "show", "work"],
        &["task", "list"],
        &["task", "show", "1"],
        &["audit"],
        &["doctor"],
    ] {
        assert_shown(&coloured(&scratch, args));
    }
    let shown = coloured(&scratch, &["task", "show", "1"]);
    assert!(
        shown
            .out
            .contains(r"x\u{1b}[2J\u{1b}]52;c;aGk=\u{7}\u{202e}"),
        "{shown:?}"
    );
    // The title stays in its frame.
    assert!(
        !shown
            .out
            .lines()
            .any(|line| line.starts_with("report with:")),
        "{shown:?}"
    );
}

#[test]
fn errors_move_no_terminal() {
    let scratch = Scratch::with_conversation();
    for args in [
        &["conversation", "show", HOSTILE][..],
        &["drain", HOSTILE],
        &["-c", HOSTILE, "check"],
        &[HOSTILE],
        &["task", HOSTILE],
        &["status", "--store", HOSTILE],
    ] {
        let ran = coloured(&scratch, args);
        assert_ne!(ran.code, Some(0), "{ran:?}");
        assert_shown(&ran);
    }
}

#[test]
fn bash_completes_no_command() {
    let scratch = Scratch::new();
    scratch.conversation(&["--label", "work", "--role-b", "ready"]);
    scratch.conversation(&["--label", "other", "--role-b", "rest"]);
    scratch.sql(
        "UPDATE conversations SET session_b_role = 'r$(touch PWN)y' WHERE session_b_role = 'rest'",
    );
    let script = scratch.run(&["completions", "bash"]).ok().out;
    std::fs::write(scratch.path("completion.bash"), script).expect("written");
    // The shell finds the program by its name.
    let program = std::path::Path::new(env!("CARGO_BIN_EXE_mcp-bridge"));
    let path = format!(
        "{}:{}",
        program.parent().expect("a directory").display(),
        std::env::var("PATH").unwrap_or_default()
    );
    let asks = r#"
        source ./completion.bash
        COMP_WORDS=(mcp-bridge task add --role r); COMP_CWORD=4; COMP_TYPE=9
        f=$(complete -p mcp-bridge | sed 's/.*-F \([^ ]*\).*/\1/')
        $f mcp-bridge r --role
        for word in "${COMPREPLY[@]}"; do echo "<$word>"; eval ": $word"; done
    "#;
    let mut bash = scratch.program("bash");
    bash.env("PATH", path).args(["--norc", "-c", asks]);
    let ran = scratch.outcome(bash);
    assert!(ran.out.contains("<ready>"), "{ran:?}");
    assert!(!ran.out.contains("touch"), "{ran:?}");
    assert!(!scratch.path("PWN").exists(), "{ran:?}");
}

#[test]
fn status_fits_its_screen() {
    let scratch = Scratch::new();
    scratch.conversation(&[
        "--label",
        "team-of-agents-1",
        "--role-b",
        "backend-reviewer",
    ]);
    for side in ["a", "b"] {
        let name = format!("team-of-agents-1.{side}");
        scratch.run_as(&name, &["heartbeat"]).ok();
        scratch.run_as(&name, &["send", "hello"]).ok();
    }
    scratch.sql(
        "INSERT INTO bridge_registration
         SELECT conversation_id, session_id, 'claude-code', '2.1.332', 'x', 1, 123456, 7, 0, NULL, 0
         FROM bridge_heartbeat",
    );
    scratch.sql(
        "INSERT INTO bridge_wake (conversation_id, session_id, mark, claimant, boot_id,
             lease_boot_ms, adapter, outcome, reason, created_ms, ended_ms)
         SELECT conversation_id, session_id, 1, 'x', 'x', 0, 'exec', 'spent',
             'exec: it ended with the exit code 1', 0, 1 FROM bridge_heartbeat",
    );
    let shown = |columns: Option<&str>| {
        let mut command = scratch.bridge(&["status"]);
        command.envs(columns.map(|columns| ("COLUMNS", columns)));
        let page = scratch.outcome(command).ok().out;
        let table = page.split("\n\n").next().unwrap_or_default();
        table.to_owned()
    };
    let widest = |table: &str| table.lines().map(|line| line.chars().count()).max();
    let whole = shown(None);
    assert!(widest(&whole) > Some(120), "{whole}");
    for (columns, width, headings) in [
        (
            "120",
            120,
            "SESSION ROLE STATE HEARTBEAT ACTIVITY UNREAD TASKS AGENT WAKE",
        ),
        (
            "100",
            100,
            "SESSION ROLE STATE ACTIVITY UNREAD TASKS AGENT WAKE",
        ),
        ("80", 80, "SESSION ROLE STATE UNREAD TASKS AGENT WAKE"),
    ] {
        let table = shown(Some(columns));
        assert!(widest(&table) <= Some(width), "{table}");
        let first = table.lines().next().unwrap_or_default();
        let first: Vec<&str> = first.split_whitespace().collect();
        assert_eq!(first.join(" "), headings, "{table}");
        // Which session it is, is never cut off.
        assert!(
            table.contains("team-of-agents-1/b") || width == 80,
            "{table}"
        );
    }
}
