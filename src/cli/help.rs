//! Help for people who type it as a command, and what clap's errors leave out.

use std::ffi::{OsStr, OsString};

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{CommandFactory, Parser};

use super::args::Cli;

/// Commands that take a text of people's.
const TAKE_A_TEXT: [&str; 5] = [
    "send",
    "task add",
    "task done",
    "task fail",
    "task progress",
];

/// The arguments as clap reads them. `help` in the place of a command asks for the help
/// of the command that the other words name: `help task add`, `task help add`.
pub(super) fn parse(words: &[OsString]) -> Result<Cli, clap::Error> {
    let error = match Cli::try_parse_from(words) {
        Err(error) => error,
        parsed => return parsed,
    };
    if said(
        &error,
        ErrorKind::InvalidSubcommand,
        ContextKind::InvalidSubcommand,
    ) == Some("help")
    {
        let mut words = words.to_vec();
        if let Some(at) = words.iter().position(|word| word == "help") {
            words.remove(at);
        }
        words.push("--help".into());
        return Cli::try_parse_from(words);
    }
    Err(with_tip(error, words))
}

/// A text without quotes is many arguments.
fn with_tip(mut error: clap::Error, words: &[OsString]) -> clap::Error {
    let extra = said(&error, ErrorKind::UnknownArgument, ContextKind::InvalidArg);
    let is_word = extra.is_some_and(|extra| !extra.starts_with('-'));
    if is_word && TAKE_A_TEXT.contains(&command(words).as_str()) {
        let tip = "put a text of several words in quotes: \"hello there\"";
        let tips = ContextValue::StyledStrs(vec![tip.into()]);
        error.insert(ContextKind::Suggested, tips);
    }
    error
}

/// What an error of this kind says of its context.
fn said(error: &clap::Error, kind: ErrorKind, of: ContextKind) -> Option<&str> {
    match error.get(of) {
        Some(ContextValue::String(said)) if error.kind() == kind => Some(said),
        _ => None,
    }
}

/// The command that these words begin, without its arguments: `task add`.
fn command(words: &[OsString]) -> String {
    let mut at = &Cli::command();
    let mut names = Vec::new();
    for word in words.iter().skip(1).filter_map(|word| OsStr::to_str(word)) {
        if let Some(found) = at.find_subcommand(word) {
            names.push(found.get_name());
            at = found;
        }
    }
    names.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(line: &str) -> clap::Error {
        let words: Vec<OsString> = line.split(' ').map(OsString::from).collect();
        parse(&words).expect_err(line)
    }

    #[test]
    fn help_is_understood_as_a_command() {
        for (line, usage) in [
            ("mcp-bridge help", "mcp-bridge [OPTIONS] <COMMAND>"),
            (
                "mcp-bridge help task",
                "mcp-bridge task [OPTIONS] <COMMAND>",
            ),
            (
                "mcp-bridge task help",
                "mcp-bridge task [OPTIONS] <COMMAND>",
            ),
            ("mcp-bridge help task add", "mcp-bridge task add"),
            ("mcp-bridge task help add", "mcp-bridge task add"),
            ("mcp-bridge -c backend/b help send", "mcp-bridge send"),
            ("mcp-bridge help doctor", "mcp-bridge doctor"),
            ("mcp-bridge doctor help", "mcp-bridge doctor"),
        ] {
            let page = refusal(line);
            assert_eq!(page.kind(), ErrorKind::DisplayHelp, "{line}: {page}");
            assert!(page.to_string().contains(usage), "{line}: {page}");
        }
        let unknown = refusal("mcp-bridge help tsak");
        assert_eq!(unknown.kind(), ErrorKind::InvalidSubcommand);
        assert!(unknown.to_string().contains("'task'"), "{unknown}");
        // It is a command, and no text.
        let words = ["mcp-bridge", "send", "help"].map(OsString::from);
        parse(&words).expect("a message");
    }

    #[test]
    fn text_without_quotes_gets_a_tip() {
        for line in [
            "mcp-bridge -c a/b send hello there friend",
            "mcp-bridge task done 1 --fence 1 merged it",
            "mcp-bridge task add --role r --title two words",
        ] {
            let error = refusal(line).to_string();
            assert!(error.contains("tip: put a text of several"), "{error}");
        }
        for line in ["mcp-bridge send hello --wrong", "mcp-bridge status now"] {
            let error = refusal(line).to_string();
            assert!(!error.contains("in quotes"), "{error}");
        }
    }
}
