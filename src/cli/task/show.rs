//! `mcp-bridge task list` and `show`.

use std::fmt::Write as _;

use clap::Args;
use clap_complete::engine::ArgValueCandidates;
use jiff::Timestamp;

use super::{say_who_gives_out, state_since, style};
use crate::bridge::Bridge;
use crate::cli::completions;
use crate::cli::context::Context;
use crate::cli::output::{note, print, print_json, relative, shown, width};
use crate::cli::table::{BOLD, Cell, DIM, Narrower, STYLES, Table};
use crate::clock;
use crate::exit::Exit;
use crate::model::task::{TaskId, TaskState};
use crate::session;
use crate::store::{Task, TaskEvent, TaskFilter};

/// Which tasks; without options about states, the open ones.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  mcp-bridge task list
  mcp-bridge task list --state dead --state cancelled
  mcp-bridge -c backend/b task list --mine --json | jq '.[].id'

States: queued, leased (a session has it), retry_wait (failed, is retried later),
done, dead (failed for good), cancelled. The first three are open.")]
pub(in crate::cli) struct ListArgs {
    /// Only tasks in this state; may be repeated
    #[arg(long = "state", value_name = "STATE", value_parser = state)]
    states: Vec<TaskState>,
    /// Only tasks of this role
    #[arg(long, value_name = "ROLE", add = ArgValueCandidates::new(completions::roles))]
    role: Option<String>,
    /// Only tasks of the sessions of the credentials
    #[arg(long)]
    mine: bool,
    /// Tasks in every state
    #[arg(long, conflicts_with = "states")]
    all: bool,
    /// Show at most N tasks, newest last
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    limit: u32,
}

fn state(text: &str) -> Result<TaskState, String> {
    TaskState::from_word(text).ok_or_else(|| {
        let all = TaskState::ALL.map(TaskState::as_str);
        format!("it is {}", all.join(", "))
    })
}

/// Ids of tasks that are open, for a shell.
pub(super) fn all_tasks() -> ArgValueCandidates {
    ArgValueCandidates::new(completions::tasks)
}

pub(super) async fn list(args: ListArgs, context: &Context) -> anyhow::Result<Exit> {
    let acting = args.mine.then(|| context.acting()).transpose()?;
    let bridge = context.look().await?;
    let now = clock::now();
    let filter = TaskFilter {
        party: None,
        states: match (args.states.as_slice(), args.all) {
            ([], false) => TaskState::ALL.into_iter().filter(|s| s.is_open()).collect(),
            (states, _) => states.to_vec(),
        },
        role: args.role.clone(),
        owner: None,
        limit: args.limit,
    };
    let tasks = match acting {
        None => bridge.tasks(&filter).await?,
        Some(acting) => {
            let mut mine = Vec::new();
            for member in &acting.members {
                let owner = Some(member.caller.session.clone());
                let of_one = TaskFilter {
                    owner,
                    ..filter.clone()
                };
                mine.extend(bridge.tasks(&of_one).await?);
            }
            mine.sort_by_key(|task| task.id);
            mine
        }
    };
    let counts = bridge.task_counts().await?;
    let location = bridge.name();
    if context.json() {
        bridge.close().await;
        print_json(&tasks)?;
        return Ok(Exit::Success);
    }
    // What the list leaves out, so that an empty one is no riddle.
    let others: Vec<String> = TaskState::ALL
        .into_iter()
        .filter(|state| !filter.states.is_empty() && !filter.states.contains(state))
        .filter_map(|state| {
            let count = counts.get(state.as_str()).filter(|count| **count > 0)?;
            Some(format!("{count} {state}"))
        })
        .collect();
    let others = match others.as_slice() {
        [] => String::new(),
        others => format!("not shown: {} (--all)", others.join(", ")),
    };
    if tasks.is_empty() {
        let plainly = args.states.is_empty() && !args.mine && args.role.is_none() && !args.all;
        let what = match (plainly, args.all && args.role.is_none() && !args.mine) {
            (true, _) => "no open tasks",
            (_, true) => "no tasks",
            _ => "no such tasks",
        };
        let rest = if others.is_empty() {
            String::new()
        } else {
            format!("; {others}")
        };
        bridge.close().await;
        note(&format!("{what} in {location}{rest}"));
        return Ok(Exit::Success);
    }
    let mut out = table(&tasks, now).render(0);
    if u32::try_from(tasks.len()).is_ok_and(|count| count == args.limit) {
        let _ = writeln!(out, "{DIM}the newest {}; more: --limit{DIM:#}", args.limit);
    }
    if !others.is_empty() && !args.mine && args.role.is_none() {
        let _ = writeln!(out, "{DIM}{others}{DIM:#}");
    }
    print(&out)?;
    say_who_gives_out(&bridge, tasks.iter().map(|task| task.state)).await;
    bridge.close().await;
    Ok(Exit::Success)
}

fn table(tasks: &[Task], now: Timestamp) -> Table {
    let mut table = Table::new(&["TASK", "ROLE", "STATE", "OWNER", "FENCE", "TRIES", "TITLE"]);
    for task in tasks {
        let owner = task.owner.as_ref().map(|_| task.owner_name());
        let tries = match task.attempts {
            0 => String::new(),
            tries => tries.to_string(),
        };
        table.row([
            Cell::new(task.id.to_string(), BOLD),
            Cell::from(shown(&task.role).into_owned()),
            Cell::new(state_since(task, now), style(task.state)),
            Cell::from(owner.unwrap_or_default()),
            Cell::from(task.fence.to_string()),
            Cell::from(tries),
            Cell::from(shown(&task.title).into_owned()),
        ]);
    }
    table.drop_empty(&["OWNER", "TRIES"]);
    // `task show` has the whole title.
    table.fit(width(), &[Narrower::Cut("TITLE", 20)]);
    table
}

pub(super) async fn one(id: TaskId, context: &Context) -> anyhow::Result<Exit> {
    let bridge = context.look().await?;
    let (task, history) = bridge.task(id).await?;
    if context.json() {
        let mut object = serde_json::to_value(&task)?;
        object["history"] = serde_json::to_value(&history)?;
        print_json(&object)?;
    } else {
        print(&page(&bridge, &task, &history).await?)?;
    }
    bridge.close().await;
    Ok(Exit::Success)
}

async fn page(bridge: &Bridge, task: &Task, history: &[TaskEvent]) -> anyhow::Result<String> {
    let now = clock::now();
    let mut facts = Table::plain();
    let mut fact = |name: &str, cell: Cell| facts.row([Cell::new(name, DIM), cell]);
    fact(
        &format!("task {}", task.id),
        Cell::new(shown(&task.title), BOLD),
    );
    fact("role", shown(&task.role).into_owned().into());
    fact(
        "state",
        Cell::new(state_since(task, now), style(task.state)),
    );
    if task.owner.is_some() {
        let owner = format!("{} (fence {})", task.owner_name(), task.fence);
        fact("owner", owner.into());
    } else if let Some(last) = &task.last_owner {
        let last = session::named(bridge, last).await;
        fact(
            "last owner",
            format!("{last} (fence {})", task.fence).into(),
        );
    }
    let by = match &task.creator {
        Some(creator) => format!(", by {}", session::named(bridge, creator).await),
        None => String::new(),
    };
    fact(
        "added",
        format!("{}{by}", relative(task.created_at, now)).into(),
    );
    if task.attempts > 0 {
        let failed = match task.failures {
            0 => String::new(),
            failures => format!(", {failures} failed"),
        };
        fact("tries", format!("{}{failed}", task.attempts).into());
    }
    if !task.files.is_empty() {
        let files = task.files.join(", ");
        fact("files", shown(&files).replace('\n', " ").into());
    }
    let mut out = facts.render(0);
    quoted(&mut out, "body", &task.body);
    if let (Some(note), Some(at)) = (&task.progress, task.progress_at) {
        quoted(&mut out, &format!("progress, {}", relative(at, now)), note);
    }
    quoted(
        &mut out,
        "reason",
        task.reason.as_deref().unwrap_or_default(),
    );
    quoted(
        &mut out,
        "result",
        task.result.as_deref().unwrap_or_default(),
    );
    let mut table = Table::new(&["WHEN", "EVENT", "FENCE", "SESSION", "NOTE"]);
    for event in history {
        let who = match event.session.as_deref().map(|name| (name, name.parse())) {
            Some((_, Ok(key))) => session::named(bridge, &key).await,
            Some((name, Err(_))) => name.to_owned(),
            None => String::new(),
        };
        let note = shown(event.note.as_deref().unwrap_or_default());
        table.row([
            Cell::from(relative(event.at, now)),
            Cell::from(event.event.as_str()),
            Cell::from(event.fence.to_string()),
            Cell::from(shown(&who).into_owned()),
            Cell::from(note.lines().next().unwrap_or_default()),
        ]);
    }
    table.drop_empty(&["SESSION", "NOTE"]);
    out.push('\n');
    out.push_str(&table.render(0));
    Ok(out)
}

/// A text of another author, every line marked, so that it cannot pass for ours.
fn quoted(out: &mut String, heading: &str, text: &str) {
    if text.is_empty() {
        return;
    }
    let _ = writeln!(out, "\n{DIM}{heading}{DIM:#}");
    out.push_str(&STYLES.quoted(text));
}
