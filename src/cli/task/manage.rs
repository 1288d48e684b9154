//! `mcp-bridge task cancel` and `reassign`: an operator's word about a task.

use clap::Args;
use clap_complete::engine::ArgValueCandidates;

use super::{line, named_session, once_given_out};
use crate::cli::context::Context;
use crate::cli::input::word_or_input;
use crate::cli::output::{note, print, print_json};
use crate::cli::{completions, operator, whom};
use crate::clock;
use crate::exit::Exit;
use crate::model::task::{ProgressNote, TaskId, TaskState};
use crate::store::{SharedStore, TaskFilter};

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

/// Moves a task by hand, or all tasks of a session. The fence of each grows, and
/// the owner is told to stop.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  mcp-bridge task reassign 17 backend-2
  mcp-bridge task reassign 17 --queue            to any session with room
  mcp-bridge task reassign --owner backend-1     all its tasks, to any with room

A session is named by label (backend-2: its b side), by label and side
(backend-2/a), or by its conversation's id. A task that was given up is given a
new life by this.")]
pub(in crate::cli) struct ReassignArgs {
    /// Which task
    #[arg(value_name = "TASK", required_unless_present = "owner", add = ArgValueCandidates::new(completions::tasks))]
    task: Option<TaskId>,
    /// The session that gets it
    #[arg(required_unless_present_any = ["queue", "owner"], add = ArgValueCandidates::new(completions::sessions))]
    session: Option<String>,
    /// Back into the queue
    #[arg(long, conflicts_with = "session")]
    queue: bool,
    /// All open tasks of this session, back into the queue
    #[arg(long, value_name = "SESSION", conflicts_with_all = ["task", "session"], add = ArgValueCandidates::new(completions::sessions))]
    owner: Option<String>,
}

pub(super) async fn cancel(args: CancelArgs, context: &Context) -> anyhow::Result<Exit> {
    let reason: Option<ProgressNote> = match &args.reason {
        Some(reason) => Some(word_or_input("reason", reason)?.parse()?),
        None => None,
    };
    let store = context.open().await?;
    let (before, _) = store.task(args.task).await?;
    operator::ensure_or_creator(context, &store, before.creator.as_ref()).await?;
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
    let moved = match (&args.owner, args.task) {
        (Some(owner), _) => all_of(&store, owner, context).await,
        (None, Some(task)) => one(&store, task, args.session.as_deref(), context).await,
        (None, None) => Ok(()),
    };
    store.close().await;
    moved.map(|()| Exit::Success)
}

/// One task, to this session or into the queue.
async fn one(
    store: &SharedStore,
    task: TaskId,
    session: Option<&str>,
    context: &Context,
) -> anyhow::Result<()> {
    let (before, _) = store.task(task).await?;
    operator::ensure_or_creator(context, store, before.creator.as_ref()).await?;
    let now = clock::now();
    let to = match session {
        Some(name) => Some(whom::session(store, name, now).await?),
        None => None,
    };
    let key = to.as_ref().map(|to| &to.key);
    let mut task = store.reassign_task(task, key, now).await?;
    if to.is_none() {
        task = once_given_out(store, task.id).await?;
    }
    if context.json() {
        return print_json(&task);
    }
    let Some(to) = &to else {
        print(&line(&task))?;
        return Ok(());
    };
    let from = match task.last_owner.as_ref().filter(|last| **last != to.key) {
        Some(last) => format!("{} -> ", named_session(store, last).await?),
        None => "-> ".to_owned(),
    };
    print(&format!(
        "task {} {from}{} (fence {})\n",
        task.id, to.name, task.fence
    ))?;
    Ok(())
}

/// All that a session has, into the queue.
async fn all_of(store: &SharedStore, owner: &str, context: &Context) -> anyhow::Result<()> {
    operator::ensure(context)?;
    let now = clock::now();
    let owner = whom::session(store, owner, now).await?;
    let filter = TaskFilter {
        states: vec![TaskState::Leased],
        owner: Some(owner.key.clone()),
        limit: u32::MAX,
        ..TaskFilter::default()
    };
    let mut moved = Vec::new();
    for task in store.tasks(&filter).await? {
        moved.push(store.reassign_task(task.id, None, now).await?);
    }
    if context.json() {
        return print_json(&moved);
    }
    if moved.is_empty() {
        note(&format!("{} has no open task", owner.name));
    }
    let lines: Vec<String> = moved
        .iter()
        .map(|task| format!("task {} {} -> the queue\n", task.id, owner.name))
        .collect();
    print(&lines.concat())?;
    Ok(())
}
