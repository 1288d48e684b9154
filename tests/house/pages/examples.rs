//! What is shown to be typed can be typed: the examples of every `--help`, and
//! the commands in the documents, are held against the arguments that there are.

use std::path::PathBuf;

use clap::error::ErrorKind;
use clap::{Command, CommandFactory};

use super::{read, root};

fn programs() -> [Command; 2] {
    [
        mcp_bridge::cli::Cli::command(),
        mcp_bridge::daemon::Arguments::command(),
    ]
}

/// What people read, by its path in this repository.
fn documents() -> Vec<String> {
    let mut found = vec!["README.md".to_owned(), "CHANGELOG.md".to_owned()];
    for directory in ["docs", "packaging", "packaging/man", "launchd"] {
        let entries = std::fs::read_dir(root(directory)).expect(directory);
        for entry in entries {
            let path = PathBuf::from(directory).join(entry.expect(directory).file_name());
            if path.extension().is_some_and(|extension| extension == "md") {
                found.push(path.display().to_string());
            }
        }
    }
    found
}

#[test]
fn no_document_waits_for_its_output() {
    for path in documents() {
        let text = read(&path);
        for (number, line) in text.lines().enumerate() {
            let name = line
                .trim()
                .strip_prefix('@')
                .and_then(|l| l.strip_suffix('@'));
            let waits = name.is_some_and(|name| {
                !name.is_empty() && name.chars().all(|c| c.is_ascii_uppercase() || c == '_')
            });
            assert!(
                !waits,
                "{path}:{} is a placeholder: {}",
                number + 1,
                line.trim()
            );
        }
    }
}

#[test]
fn the_examples_of_every_help_can_be_typed() {
    let mut tried = 0;
    let mut wrong = Vec::new();
    for mut program in programs() {
        program.build();
        each(&program, &mut |command| {
            let help = command
                .get_after_long_help()
                .or_else(|| command.get_after_help());
            let Some(help) = help else { return };
            for line in help
                .to_string()
                .lines()
                .filter_map(|line| line.strip_prefix("  "))
            {
                // What stands far to the right is said about it.
                for words in typed(line, Comment::Gap) {
                    tried += 1;
                    if let Err(error) = parse(&words) {
                        wrong.push(format!("{}: {line}\n  {error}", command.get_name()));
                    }
                }
            }
        });
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(tried > 60, "only {tried} examples were found");
}

#[test]
fn the_commands_in_the_documents_can_be_typed() {
    let mut tried = 0;
    let mut wrong = Vec::new();
    for path in documents() {
        for line in shown(&read(&path)) {
            for words in typed(&line, Comment::Hash) {
                tried += 1;
                if let Err(error) = parse(&words) {
                    wrong.push(format!("{path}: {line}\n  {error}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(tried > 25, "only {tried} commands were found");
}

/// In running text a command is named with as much of it as matters there.
#[test]
fn the_commands_that_documents_name_are_there() {
    let mut tried = 0;
    let mut wrong = Vec::new();
    for path in documents() {
        for span in spans(&read(&path)) {
            // The place of any command.
            let span = span.replace(" COMMAND", "");
            for words in typed(&span, Comment::None) {
                tried += 1;
                if let Err(error) = parse(&words)
                    && matches!(
                        error.kind(),
                        ErrorKind::UnknownArgument | ErrorKind::InvalidSubcommand
                    )
                {
                    wrong.push(format!("{path}: `{span}`\n  {error}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(tried > 40, "only {tried} commands were found");
}

fn each(command: &Command, with: &mut impl FnMut(&Command)) {
    with(command);
    for inner in command.get_subcommands() {
        each(inner, with);
    }
}

fn parse(words: &[String]) -> Result<(), clap::Error> {
    let [cli, daemon] = programs();
    let program = if words[0] == "mcp-bridged" {
        daemon
    } else {
        cli
    };
    match program.try_get_matches_from(words) {
        // `COMMAND --help` is one, too.
        Err(error) if error.kind() == ErrorKind::DisplayHelp => Ok(()),
        parsed => parsed.map(drop),
    }
}

/// The lines of a document's blocks that are typed: those after a prompt, and
/// where a block has no prompt those that begin with one of the programs.
fn shown(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for block in text.split("\n```").skip(1).step_by(2) {
        let lines: Vec<&str> = block.lines().skip(1).collect();
        let prompted: Vec<&str> = lines
            .iter()
            .filter_map(|line| line.strip_prefix("$ ").or_else(|| line.strip_prefix("# ")))
            .collect();
        let bare = lines.iter().copied().filter(|line| {
            // The demo's own title.
            line.starts_with("mcp-bridge") && !line.contains('·')
        });
        if prompted.is_empty() {
            found.extend(bare.map(str::to_owned));
        } else {
            found.extend(prompted.into_iter().map(str::to_owned));
        }
    }
    found
}

/// What stands between single backquotes.
fn spans(text: &str) -> Vec<String> {
    let blocks = text.split("\n```").step_by(2).collect::<Vec<_>>().join(" ");
    let parts = blocks.split('`').skip(1).step_by(2);
    parts.map(|span| span.replace('\n', " ")).collect()
}

/// How a line says something about a command.
#[derive(Clone, Copy, PartialEq)]
enum Comment {
    None,
    /// After ` # `.
    Hash,
    /// After two spaces or more.
    Gap,
}

/// The calls of our programs in a line of shell, word by word.
fn typed(line: &str, comment: Comment) -> Vec<Vec<String>> {
    let mut calls = vec![Vec::new()];
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut skip = false;
    let mut chars = line.chars().peekable();
    while let Some(c) = chars.next() {
        let last = calls.last_mut().expect("one");
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (Some(_), c) => word.get_or_insert_default().push(c),
            (None, '"' | '\'') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, '#') if comment == Comment::Hash && word.is_none() => break,
            (None, ' ' | '|' | '&' | ';' | '<' | '>') => {
                // Where a redirection goes is no argument.
                if let Some(done) = word.take()
                    && !std::mem::take(&mut skip)
                {
                    last.push(done);
                }
                match c {
                    ' ' if comment == Comment::Gap && chars.peek() == Some(&' ') => break,
                    ' ' => {}
                    '<' | '>' => skip = true,
                    _ => calls.push(Vec::new()),
                }
            }
            (None, c) => word.get_or_insert_default().push(c),
        }
    }
    if let Some(done) = word
        && !skip
    {
        calls.last_mut().expect("one").push(done);
    }
    calls.iter().filter_map(|call| ours(call)).collect()
}

/// Without what stands before the program: `sudo -u mcp-bridge`, `VAR=value`,
/// a directory, a cargo that builds it first.
fn ours(words: &[String]) -> Option<Vec<String>> {
    if let Some(rest) = words.join(" ").strip_prefix("cargo run --release -- ") {
        let arguments = rest.split(' ').map(str::to_owned);
        return Some(
            std::iter::once("mcp-bridge".to_owned())
                .chain(arguments)
                .collect(),
        );
    }
    let mut after_user = false;
    let start = words.iter().position(|word| {
        let was = std::mem::replace(&mut after_user, word == "-u");
        !was && ["mcp-bridge", "mcp-bridged"].contains(&name(word))
    })?;
    // `cat mcp-bridge` is another command.
    let before = words[..start].iter();
    let lead = |word: &String| {
        ["sudo", "-u", "mcp-bridge", "_mcpbridge"].contains(&word.as_str()) || word.contains('=')
    };
    if !before.clone().all(lead) {
        return None;
    }
    let mut call = words[start..].to_vec();
    call[0] = name(&call[0]).to_owned();
    Some(call)
}

fn name(word: &str) -> &str {
    word.rsplit('/').next().unwrap_or(word)
}
