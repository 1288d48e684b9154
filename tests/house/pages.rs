//! What is written twice: manual pages, completions, the tables of docs/daemon.md and
//! the description that the door serves say what the code says. Each test makes its pages from the
//! code and holds them against those that are checked in;
//!
//! ```text
//! MCP_BRIDGE_BLESS=1 cargo test --test house pages
//! ```
//!
//! writes them anew. Their prose stands in `packaging/man/*.md`.

#![expect(
    clippy::expect_used,
    reason = "a page that cannot be read or made has nothing to say"
)]

mod commands;
mod examples;
mod keys;
mod markup;
mod render;
mod tables;
mod words;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use clap::CommandFactory;
use roff::Roff;

/// How to make them anew, for a developer who finds them different.
const BLESS: &str = "MCP_BRIDGE_BLESS=1 cargo test --test house pages";

fn root(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn read(path: &str) -> String {
    fs::read_to_string(root(path)).expect(path)
}

/// Holds what is checked in against what the code makes.
fn hold(path: &str, made: &str) {
    if std::env::var_os("MCP_BRIDGE_BLESS").is_some_and(|value| value == "1") {
        fs::write(root(path), made).expect(path);
        return;
    }
    let there = fs::read_to_string(root(path)).unwrap_or_default();
    if there == made {
        return;
    }
    let differs = there.lines().zip(made.lines()).position(|(a, b)| a != b);
    let line = differs.unwrap_or_else(|| there.lines().count().min(made.lines().count()));
    let nth = |text: &str| text.lines().nth(line).unwrap_or("(the end)").to_owned();
    panic!(
        "{path} is not what the code says, from line {} on:\n  there: {}\n  code:  {}\nmake it anew: {BLESS}",
        line + 1,
        nth(&there),
        nth(made)
    );
}

/// A page from its prose; `insert` adds what stands there as `{{name}}`.
fn page(name: &str, insert: impl Fn(&str, &mut Roff)) -> String {
    let prose = read(&format!("packaging/man/{name}.md"));
    markup::page(&prose, &insert).render()
}

#[test]
fn the_page_of_the_daemon() {
    let daemon = mcp_bridge::daemon::Arguments::command();
    let made = page("mcp-bridged.8", |name, roff| match name {
        "options" => commands::own_options(roff, daemon.clone()),
        "events" => tables::events(roff),
        "alerts" => tables::alerts(roff),
        other => panic!("{other} is nothing that could be put in"),
    });
    hold("packaging/man/mcp-bridged.8", &made);
}

#[test]
fn the_page_of_the_command_line() {
    let cli = mcp_bridge::cli::Cli::command();
    let made = page("mcp-bridge.1", |name, roff| match name {
        "options" => commands::own_options(roff, cli.clone()),
        "commands" => commands::all(roff, cli.clone()),
        other => panic!("{other} is nothing that could be put in"),
    });
    hold("packaging/man/mcp-bridge.1", &made);
    for word in ["task add", "--body-file", "conversation new"] {
        let word = word.replace('-', "\\-");
        assert!(made.contains(&word), "{word} is missing");
    }
}

#[test]
fn the_page_of_the_configuration() {
    let made = page("mcp-bridged.toml.5", |name, roff| match name {
        "keys" => keys::page(roff),
        other => panic!("{other} is nothing that could be put in"),
    });
    hold("packaging/man/mcp-bridged.toml.5", &made);
}

#[test]
fn the_tables_of_the_daemons_document() {
    const PATH: &str = "docs/daemon.md";
    let mut text = read(PATH);
    for (name, table) in [
        ("keys of both roles", keys::markdown(keys::Part::Both)),
        ("keys of alerts", keys::markdown(keys::Part::Alerts)),
        (
            "keys of the orchestrator",
            keys::markdown(keys::Part::Orchestrator),
        ),
        ("events", tables::events_markdown()),
    ] {
        let (begin, end) = (format!("<!-- made: {name} -->\n"), "<!-- end of it -->");
        let start = text.find(&begin).expect(name) + begin.len();
        let length = text[start..].find(end).expect(name);
        text.replace_range(start..start + length, &table);
    }
    hold(PATH, &text);
}

/// Compact, and yet a change of it can be read: a line for each path and each schema.
#[test]
fn the_description_of_the_door() {
    let mut document = mcp_bridge::api::document();
    let mut parts = Vec::new();
    for (pointer, name) in [("/paths", "paths"), ("/components/schemas", "schemas")] {
        let part = document.pointer_mut(pointer).expect(name).take();
        let lines = part.as_object().expect(name).iter();
        let lines: Vec<String> = lines
            .map(|(key, value)| format!("\n{}:{value}", serde_json::json!(key)))
            .collect();
        parts.push((
            format!("\"{name}\":null"),
            format!("\"{name}\":{{{}}}", lines.join(",")),
        ));
    }
    let mut made = format!("{document}\n");
    for (place, lines) in parts {
        assert_eq!(made.matches(&place).count(), 1, "{place}");
        made = made.replace(&place, &lines);
    }
    let whole: serde_json::Value = serde_json::from_str(&made).expect("JSON");
    assert_eq!(whole, mcp_bridge::api::document());
    hold("src/api/openapi.json", &made);
}

/// What a page shows of a store is what the program shows today.
#[test]
fn examples_show_the_schema_of_today() {
    let mut shown = 0;
    for page in [
        "docs/service.md",
        "docs/cli.md",
        "docs/daemon.md",
        "docs/migration.md",
    ] {
        let text = read(page);
        for after in text.split(", schema ").skip(1) {
            let number: String = after.chars().take_while(char::is_ascii_digit).collect();
            let number: i64 = number.parse().unwrap_or_default();
            assert_eq!(number, mcp_bridge::store::sqlite::SCHEMA_VERSION, "{page}");
            shown += 1;
        }
    }
    assert!(shown > 4, "{shown}");
}

#[test]
fn the_completions() {
    for (shell, file) in [
        ("bash", "mcp-bridge.bash"),
        ("zsh", "_mcp-bridge"),
        ("fish", "mcp-bridge.fish"),
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_mcp-bridge"))
            .args(["completions", shell])
            .output()
            .expect("mcp-bridge");
        assert!(output.status.success(), "{shell}");
        let script = String::from_utf8(output.stdout).expect("text");
        assert!(script.contains("mcp-bridge"), "{shell}: {script}");
        // The packager has not the path of the developer.
        assert!(!script.contains(env!("CARGO_MANIFEST_DIR")), "{shell}");
        hold(&format!("packaging/completions/{file}"), &script);
    }
}
