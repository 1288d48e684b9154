//! `mcp-bridge task`: work, as operators add it and agents do it.

mod add;
mod lines;
mod manage;
mod show;
mod work;

use std::time::Duration;

use clap::Subcommand;
use jiff::Timestamp;

use super::context::Context;
use super::output::relative;
use super::status::is_leaderless;
use super::table::{BAD, DIM, GOOD, WARN};
use crate::bridge::Bridge;
use crate::clock;
use crate::exit::Exit;
use crate::model::TaskId;
use crate::model::redact::SecretKind;
use crate::model::task::TaskState;
use crate::store::Task;
use crate::text;

/// How long a task that was added is watched, so that its owner can be named.
const GIVEN_OUT: Duration = Duration::from_secs(1);
/// Between two looks for that.
const LOOK: Duration = Duration::from_millis(10);

/// What to do with tasks.
#[derive(Debug, Subcommand)]
pub(super) enum TaskCommand {
    /// Add a task, or a file of tasks
    Add(add::AddArgs),
    /// List open tasks
    List(show::ListArgs),
    /// Show a task with its history
    #[command(after_help = "\
Examples:
  mcp-bridge task show 17
  mcp-bridge task show 17 --json | jq -r .result")]
    Show {
        /// Id of the task
        #[arg(value_name = "TASK", add = show::all_tasks())]
        task: TaskId,
    },
    /// Claim a task: the named one, or the oldest that waits for this session's role
    Claim(work::ClaimArgs),
    /// Report progress on a task
    Progress(work::ProgressArgs),
    /// Report that a task is done
    Done(work::DoneArgs),
    /// Report failure; the task is retried later, up to five times
    Fail(work::FailArgs),
    /// Cancel a task for good; its owner gets a message to stop
    Cancel(manage::CancelArgs),
    /// Move a task to a session or back into the queue
    Reassign(manage::ReassignArgs),
}

pub(super) async fn run(command: TaskCommand, context: &Context) -> anyhow::Result<Exit> {
    match command {
        TaskCommand::Add(args) => add::run(args, context).await,
        TaskCommand::List(args) => show::list(args, context).await,
        TaskCommand::Show { task } => show::one(task, context).await,
        TaskCommand::Claim(args) => work::claim(args, context).await,
        TaskCommand::Progress(args) => work::progress(args, context).await,
        TaskCommand::Done(args) => work::done(args, context).await,
        TaskCommand::Fail(args) => work::fail(args, context).await,
        TaskCommand::Cancel(args) => manage::cancel(args, context).await,
        TaskCommand::Reassign(args) => manage::reassign(args, context).await,
    }
}

/// The task, a moment later: where an orchestrator acts, it is usually given
/// out before a person has read that it was added.
async fn once_given_out(bridge: &Bridge, id: TaskId) -> anyhow::Result<Task> {
    let acts = bridge.lease().await?.and_then(|lease| lease.holder);
    let end = clock::since_boot() + GIVEN_OUT;
    loop {
        let (task, _) = bridge.task(id).await?;
        let waits = task.state == TaskState::Queued;
        if !waits || acts.is_none() || clock::since_boot() >= end {
            return Ok(task);
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Says that tasks wait for a claim, if no orchestrator gives them out.
async fn say_who_gives_out(bridge: &Bridge, states: impl IntoIterator<Item = TaskState>) {
    let waits = |state| matches!(state, TaskState::Queued | TaskState::RetryWait);
    if !states.into_iter().any(waits) {
        return;
    }
    // What the command did does not depend on it.
    if let Ok(now) = bridge.status().await
        && is_leaderless(&now.status)
    {
        super::output::note(&format!(
            "{WARN}note:{WARN:#} no orchestrator runs: {UNTIL}"
        ));
    }
}

/// How long a task waits where no orchestrator runs.
pub(super) const UNTIL: &str = "a queued task waits until a worker claims it \
                                (`mcp-bridge task claim`) or an orchestrator's daemon runs";

/// `task 17 queued`, `task 17 queued -> backend-1/b (fence 1)`, `task 17 done`.
fn line(task: &Task) -> String {
    match &task.owner {
        Some(_) => format!(
            "task {} queued -> {} (fence {})\n",
            task.id,
            task.owner_name(),
            task.fence
        ),
        None => format!("task {} {}\n", task.id, words(task.state)),
    }
}

/// A state in a person's words.
fn words(state: TaskState) -> &'static str {
    match state {
        TaskState::RetryWait => "waits for its next attempt",
        other => other.as_str(),
    }
}

/// Its colour.
fn style(state: TaskState) -> anstyle::Style {
    match state {
        TaskState::Leased => GOOD,
        TaskState::Queued | TaskState::RetryWait => WARN,
        TaskState::Dead => BAD,
        TaskState::Done | TaskState::Cancelled | TaskState::Unknown => DIM,
    }
}

/// `leased 3m`, `retry in 28s`, `done 2h ago`: the state, and since when.
fn state_since(task: &Task, now: Timestamp) -> String {
    match (task.state, task.retry_at) {
        (TaskState::RetryWait, Some(at)) if at > now => format!("retry {}", relative(at, now)),
        (state, _) if state.is_open() => {
            let since = text::elapsed(task.changed_at, now);
            format!("{state} {}", text::short_duration(since))
        }
        (state, _) => format!("{state} {}", relative(task.changed_at, now)),
    }
}

/// What was taken out of the texts, each kind once.
fn say_redacted<'a>(kinds: impl IntoIterator<Item = &'a SecretKind>) {
    let mut names: Vec<&str> = Vec::new();
    for kind in kinds {
        if !names.contains(&kind.as_str()) {
            names.push(kind.as_str());
        }
    }
    if !names.is_empty() {
        let names = names.join(", ");
        super::output::note(&format!("{WARN}secrets redacted:{WARN:#} {names}"));
    }
}
