//! `mcp-bridge completions`, and what the shell is offered when it asks.

use std::time::Duration;

use clap::Args;
use clap_complete::engine::CompletionCandidate;
use clap_complete::env::Shells;

use super::args::Global;
use super::context::{self, Context};
use super::exit::Exit;
use super::output::{by_label, print};
use crate::clock;
use crate::model::session::ConversationState;

/// The program by the name under which the shell finds it.
const PROGRAM: &str = "mcp-bridge";

/// A shell must not wait long for a busy store.
const PATIENCE: Duration = Duration::from_millis(500);

/// Prints the completion script of a shell. It completes commands, options,
/// and the labels of open conversations.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  mcp-bridge completions bash > ~/.local/share/bash-completion/completions/mcp-bridge
  mcp-bridge completions zsh  > \"${fpath[1]}/_mcp-bridge\"
  mcp-bridge completions fish > ~/.config/fish/completions/mcp-bridge.fish")]
pub(super) struct CompletionsArgs {
    /// Which shell
    #[arg(value_parser = ["bash", "zsh", "fish", "elvish", "powershell"])]
    shell: String,
}

pub(super) fn run(args: &CompletionsArgs) -> anyhow::Result<Exit> {
    let shells = Shells::builtins();
    let mut script = Vec::new();
    if let Some(shell) = shells.completer(&args.shell) {
        shell.write_registration("COMPLETE", PROGRAM, PROGRAM, PROGRAM, &mut script)?;
    }
    print(&String::from_utf8(script)?)?;
    Ok(Exit::Success)
}

/// Names in the default directory of credentials.
pub(super) fn credentials() -> Vec<CompletionCandidate> {
    context::known_names()
        .into_iter()
        .map(CompletionCandidate::new)
        .collect()
}

/// Open conversations of the store that the environment means, by label or id.
pub(super) fn conversations() -> Vec<CompletionCandidate> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let Ok(runtime) = runtime else {
        return Vec::new();
    };
    // Whatever is wrong is no business of a TAB.
    runtime
        .block_on(async { tokio::time::timeout(PATIENCE, open_conversations()).await })
        .ok()
        .and_then(Result::ok)
        .unwrap_or_default()
}

async fn open_conversations() -> anyhow::Result<Vec<CompletionCandidate>> {
    let context = Context::new(Global {
        store: None,
        credentials: Vec::new(),
        json: false,
    });
    let store = context.open().await?;
    let now = clock::now();
    let mut all = store.conversations().await?;
    all.sort_by_cached_key(|c| by_label(c.label.as_ref()));
    let open = all
        .iter()
        .filter(|c| c.state(now) == ConversationState::Open);
    Ok(open
        .map(|c| match &c.label {
            Some(label) => CompletionCandidate::new(label.as_str())
                .help(Some(format!("{} {}", c.id, c.role_b).into())),
            None => CompletionCandidate::new(c.id.as_str()).help(Some(c.role_b.clone().into())),
        })
        .collect())
}
