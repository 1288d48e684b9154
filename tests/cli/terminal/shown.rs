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
