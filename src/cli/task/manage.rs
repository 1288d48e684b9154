//! `mcp-bridge task cancel` and `reassign`: an operator's word about a task.

use clap::Args;
use clap_complete::engine::ArgValueCandidates;

use super::{line, once_given_out};
use crate::bridge::Bridge;
use crate::cli::context::Context;
use crate::cli::input::word_or_input;
use crate::cli::output::{note, print, print_json};
use crate::cli::{completions, operator};
use crate::exit::Exit;
use crate::model::task::{ProgressNote, TaskId, TaskState};
use crate::session;
use crate::store::TaskFilter;

/// Ends a task for good. Its owner gets a message to stop.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  mcp-bridge task cancel 17
  mcp-bridge task cancel 17 \"the parser is replaced\"")]
pub(in crate::cli) struct CancelArgs {
    /// Id of the task
    #[arg(value_name = "TASK", add = ArgValueCandidates::new(completions::tasks))]
    task: TaskId,
    /// Reason; `-` reads standard input
    reason: Option<String>,
}

/// Moves a task, or all tasks of a session. The fence of each grows, and the owner
/// gets a message to stop.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  mcp-bridge task reassign 17 backend-2
  mcp-bridge task reassign 17 --queue            to any session that has room
  mcp-bridge task reassign --owner backend-1     all its tasks, to any session that has room

The old owner gets a message to stop. Write a session as label and side (backend-2/a);
the label alone means side b. A dead task becomes open again.")]
pub(in crate::cli) struct ReassignArgs {
    /// Id of the task
    #[arg(value_name = "TASK", required_unless_present = "owner", add = ArgValueCandidates::new(completions::tasks))]
    task: Option<TaskId>,
    /// Session that gets the task
    #[arg(required_unless_present_any = ["queue", "owner"], add = ArgValueCandidates::new(completions::sessions))]
    session: Option<String>,
    /// Put the task back into the queue
    #[arg(long, conflicts_with = "session")]
    queue: bool,
    /// Put all open tasks of this session back into the queue
    #[arg(long, value_name = "SESSION", conflicts_with_all = ["task", "session"], add = ArgValueCandidates::new(completions::sessions))]
    owner: Option<String>,
}

pub(super) async fn cancel(args: CancelArgs, context: &Context) -> anyhow::Result<Exit> {
    let reason: Option<ProgressNote> = match &args.reason {
        Some(reason) => Some(word_or_input("reason", reason)?.parse()?),
        None => None,
    };
    let bridge = context.open().await?;
    let (before, _) = bridge.task(args.task).await?;
    operator::ensure_or_creator(context, &bridge, before.creator.as_ref()).await?;
    let task = bridge.cancel_task(args.task, reason).await?;
    bridge.close().await;
    if context.json() {
        print_json(&task)?;
        return Ok(Exit::Success);
    }
    let told = match &before.owner {
        Some(_) => format!(": {} gets a message to stop", before.owner_name()),
        None => String::new(),
    };
    print(&format!("task {} cancelled{told}\n", task.id))?;
    Ok(Exit::Success)
}

pub(super) async fn reassign(args: ReassignArgs, context: &Context) -> anyhow::Result<Exit> {
    let bridge = context.open().await?;
    let moved = match (&args.owner, args.task) {
        (Some(owner), _) => all_of(&bridge, owner, context).await,
        (None, Some(task)) => one(&bridge, task, args.session.as_deref(), context).await,
        (None, None) => Ok(()),
    };
    bridge.close().await;
    moved.map(|()| Exit::Success)
}

/// One task, to this session or into the queue.
async fn one(
    bridge: &Bridge,
    task: TaskId,
    session: Option<&str>,
    context: &Context,
) -> anyhow::Result<()> {
    let (before, _) = bridge.task(task).await?;
    operator::ensure_or_creator(context, bridge, before.creator.as_ref()).await?;
    let to = match session {
        Some(name) => Some(session::session(bridge, name).await?),
        None => None,
    };
    let key = to.as_ref().map(|to| &to.key);
    let mut task = bridge.reassign_task(task, key).await?;
    if to.is_none() {
        task = once_given_out(bridge, task.id).await?;
    }
    if context.json() {
        return print_json(&task);
    }
    let Some(to) = &to else {
        print(&line(&task))?;
        return Ok(());
    };
    let from = match task.last_owner.as_ref().filter(|last| **last != to.key) {
        Some(last) => format!("{} -> ", session::named(bridge, last).await),
        None => "-> ".to_owned(),
    };
    print(&format!(
        "task {} {from}{} (fence {})\n",
        task.id, to.name, task.fence
    ))?;
    Ok(())
}

/// All that a session has, into the queue.
async fn all_of(bridge: &Bridge, owner: &str, context: &Context) -> anyhow::Result<()> {
    operator::ensure(context).await?;
    let owner = session::session(bridge, owner).await?;
    let filter = TaskFilter {
        states: vec![TaskState::Leased],
        owner: Some(owner.key.clone()),
        limit: u32::MAX,
        ..TaskFilter::default()
    };
    let mut moved = Vec::new();
    for task in bridge.tasks(&filter).await? {
        moved.push(bridge.reassign_task(task.id, None).await?);
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
