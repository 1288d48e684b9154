//! `mcp-bridge completions`, and what the shell is offered when it asks.

use std::collections::BTreeSet;
use std::time::Duration;

use clap::Args;
use clap_complete::engine::CompletionCandidate;
use clap_complete::env::Shells;

use super::candidates::plain;
use super::context::{Context, Global};
use super::output::{by_label, print};
use crate::bridge::Bridge;
use crate::clock;
use crate::exit::Exit;
use crate::model::session::ConversationState;
use crate::model::session::session_name;
use crate::model::task::TaskState;
use crate::store::TaskFilter;
use crate::text::shown::shown;

/// The program by the name under which the shell finds it.
const PROGRAM: &str = "mcp-bridge";

/// A shell must not wait long for a busy store.
const PATIENCE: Duration = Duration::from_millis(500);

/// Most tasks that a shell is offered.
const TASKS: u32 = 200;

/// Prints the completion script of a shell. It completes commands, options,
/// and what is in the store: labels, sessions, roles, tasks.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  mcp-bridge completions bash > ~/.local/share/bash-completion/completions/mcp-bridge
  mcp-bridge completions zsh  > \"${fpath[1]}/_mcp-bridge\"
  mcp-bridge completions fish > ~/.config/fish/completions/mcp-bridge.fish")]
pub(super) struct CompletionsArgs {
    /// Shell
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

/// Open conversations of the store that the environment means, by label or id.
pub(super) fn conversations() -> Vec<CompletionCandidate> {
    ask(async |bridge| {
        let now = clock::now();
        let mut all = bridge.conversations().await?;
        all.sort_by_cached_key(|c| by_label(c.label.as_ref()));
        let open = all
            .iter()
            .filter(|c| c.state(now) == ConversationState::Open);
        Ok(open
            .map(|c| match &c.label {
                Some(label) => CompletionCandidate::new(label.as_str())
                    .help(Some(format!("{} {}", c.id, shown(&c.role_b)).into())),
                None => CompletionCandidate::new(c.id.as_str())
                    .help(Some(shown(&c.role_b).into_owned().into())),
            })
            .collect())
    })
}

/// Sessions of open conversations, by label and side.
pub(super) fn sessions() -> Vec<CompletionCandidate> {
    ask(async |bridge| {
        let mut all = bridge.sessions(Duration::ZERO).await?;
        all.sort_by_cached_key(|session| by_label(session.label.as_ref()));
        Ok(all
            .iter()
            .map(|session| {
                CompletionCandidate::new(session_name(session.label.as_ref(), &session.key))
                    .help(Some(shown(&session.role).into_owned().into()))
            })
            .collect())
    })
}

/// The same, and the hosts of daemons.
pub(super) fn sessions_and_hosts() -> Vec<CompletionCandidate> {
    let hosts = ask(async |bridge| {
        let daemons = bridge.daemons().await?;
        let hosts: BTreeSet<String> = daemons.into_iter().map(|daemon| daemon.host).collect();
        let named = |host: String| CompletionCandidate::new(format!("host:{host}"));
        Ok(hosts.into_iter().map(named).collect())
    });
    sessions().into_iter().chain(hosts).collect()
}

/// Roles that open sessions have.
pub(super) fn roles() -> Vec<CompletionCandidate> {
    ask(async |bridge| {
        let sessions = bridge.sessions(Duration::ZERO).await?;
        let roles: BTreeSet<String> = sessions.into_iter().map(|session| session.role).collect();
        Ok(roles.into_iter().map(CompletionCandidate::new).collect())
    })
}

/// Tasks that are open, by id.
pub(super) fn tasks() -> Vec<CompletionCandidate> {
    ask(async |bridge| {
        let open = TaskFilter {
            states: TaskState::ALL.into_iter().filter(|s| s.is_open()).collect(),
            limit: TASKS,
            ..TaskFilter::default()
        };
        let tasks = bridge.tasks(&open).await?;
        Ok(tasks
            .iter()
            .map(|task| {
                let help = format!("{} {}", task.state, shown(&task.title));
                CompletionCandidate::new(task.id.to_string()).help(Some(help.into()))
            })
            .collect())
    })
}

/// Asks the store. A TAB reports no errors.
fn ask(
    question: impl AsyncFnOnce(&Bridge) -> anyhow::Result<Vec<CompletionCandidate>>,
) -> Vec<CompletionCandidate> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let Ok(runtime) = runtime else {
        return Vec::new();
    };
    let answer = async {
        let context = Context::new(Global {
            store: None,
            credentials: Vec::new(),
            json: false,
        });
        question(&context.look().await?).await
    };
    runtime
        .block_on(async { tokio::time::timeout(PATIENCE, answer).await })
        .ok()
        .and_then(Result::ok)
        .map(plain)
        .unwrap_or_default()
}
