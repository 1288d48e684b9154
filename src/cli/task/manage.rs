//! `mcp-bridge task cancel` and `reassign`: an operator's word about a task.

use clap::Args;
use clap_complete::engine::ArgValueCandidates;

use super::{line, named_session, once_given_out};
use crate::cli::context::Context;
use crate::cli::exit::Exit;
use crate::cli::input::word_or_input;
use crate::cli::output::{print, print_json};
use crate::cli::{completions, whom};
use crate::clock;
use crate::model::task::{ProgressNote, TaskId};

/// Ends a task that nobody shall do any more; its owner is told to stop.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  mcp-bridge task cancel 17
  mcp-bridge task cancel 17 \"the parser is replaced\"")]
pub(in crate::cli) struct CancelArgs {
    /// Which
    #[arg(value_name = "TASK", add = ArgValueCandidates::new(completions::tasks))]
    task: TaskId,
    /// Why; `-` reads standard input
    reason: Option<String>,
}

/// Moves a task by hand. Its fence grows, and who had it is told to stop.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  mcp-bridge task reassign 17 backend-2
  mcp-bridge task reassign 17 --queue        for whoever has room

A session is named by label (backend-2: its b side), by label and side
(backend-2/a), or by its conversation's id. A task that was given up is given a
new life by this.")]
pub(in crate::cli) struct ReassignArgs {
    /// Which
    #[arg(value_name = "TASK", add = ArgValueCandidates::new(completions::tasks))]
    task: TaskId,
    /// To whom
    #[arg(required_unless_present = "queue", add = ArgValueCandidates::new(completions::sessions))]
    session: Option<String>,
    /// Back into the queue
    #[arg(long, conflicts_with = "session")]
    queue: bool,
}

pub(super) async fn cancel(args: CancelArgs, context: &Context) -> anyhow::Result<Exit> {
    let reason: Option<ProgressNote> = match &args.reason {
        Some(reason) => Some(word_or_input("reason", reason)?.parse()?),
        None => None,
    };
    let store = context.open().await?;
    let (before, _) = store.task(args.task).await?;
    let reason = reason.as_ref().map(ProgressNote::as_str);
    let task = store.cancel_task(args.task, reason, clock::now()).await?;
    store.close().await;
    if context.json() {
        print_json(&task)?;
        return Ok(Exit::Success);
    }
    let told = match &before.owner {
        Some(_) => format!(": {} is told to stop", before.owner_name()),
        None => String::new(),
    };
    print(&format!("task {} cancelled{told}\n", task.id))?;
    Ok(Exit::Success)
}

pub(super) async fn reassign(args: ReassignArgs, context: &Context) -> anyhow::Result<Exit> {
    let store = context.open().await?;
    let now = clock::now();
    let to = match &args.session {
        Some(name) => Some(whom::session(&store, name, now).await?),
        None => None,
    };
    let key = to.as_ref().map(|to| &to.key);
    let mut task = store.reassign_task(args.task, key, now).await?;
    if to.is_none() {
        task = once_given_out(&store, task.id).await?;
    }
    if context.json() {
        print_json(&task)?;
    } else if let Some(to) = &to {
        let from = match task.last_owner.as_ref().filter(|last| **last != to.key) {
            Some(last) => format!("{} -> ", named_session(&store, last).await?),
            None => "-> ".to_owned(),
        };
        print(&format!(
            "task {} {from}{} (fence {})\n",
            task.id, to.name, task.fence
        ))?;
    } else {
        print(&line(&task))?;
    }
    store.close().await;
    Ok(Exit::Success)
}
