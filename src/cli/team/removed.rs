//! What `team remove` prints: what was taken back, and what stays.

use std::fmt::Write as _;
use std::path::Path;

use serde::Serialize;

use super::record::Record;
use super::removal::{Left, Removal, Step};
use super::show::short;
use crate::advice;
use crate::cli::context::Context;
use crate::cli::heard::configs;
use crate::cli::output::{conversation_name, print, print_json, shown};
use crate::cli::setup::Service;
use crate::cli::table::{BOLD, Cell, DIM, Table, WARN};
use crate::exit::Exit;
use crate::model::{ConversationId, Label, TaskId};
use crate::text;

#[derive(Serialize)]
struct RemovedJson<'a> {
    name: &'a Label,
    store: &'a str,
    removed: bool,
    closed: Vec<&'a ConversationId>,
    /// Credentials, and configurations of daemons.
    files: Vec<&'a Path>,
    /// Directories in which no session works any more.
    directories: Vec<&'a Path>,
    /// Files of clients that lost our parts.
    client_files: Vec<&'a Path>,
    left: &'a [Left],
    /// Tasks of the team that are still open.
    open_tasks: &'a [TaskId],
    /// Commands that stop the daemons.
    stop: Vec<String>,
}

/// Shows it; `is_done` as opposed to a plan.
pub(super) fn show(
    record: &Record,
    removal: &Removal,
    is_done: bool,
    context: &Context,
) -> anyhow::Result<Exit> {
    if context.json() {
        print_json(&json(record, removal, is_done))?;
    } else {
        print(&advice::as_given(&page(record, removal, is_done)))?;
    }
    Ok(Exit::Success)
}

fn json<'a>(record: &'a Record, removal: &'a Removal, is_done: bool) -> RemovedJson<'a> {
    let mut json = RemovedJson {
        name: &record.name,
        store: &record.store,
        removed: is_done,
        closed: Vec::new(),
        files: Vec::new(),
        directories: Vec::new(),
        client_files: Vec::new(),
        left: &removal.left,
        open_tasks: &removal.open_tasks,
        stop: stop(&removed_daemons(removal)),
    };
    for step in &removal.steps {
        match step {
            Step::Close(one) => json.closed.push(&one.id),
            Step::Credentials(file) | Step::Daemon(file) => json.files.push(file),
            Step::Joined(tree) => json.directories.push(tree),
            Step::SetUp(_, changes) => json.client_files.extend(changes.files()),
        }
    }
    json
}

/// The configurations of daemons that were taken away.
fn removed_daemons(removal: &Removal) -> Vec<&Path> {
    let files = removal.steps.iter().filter_map(|step| match step {
        Step::Daemon(file) => Some(file.as_path()),
        _ => None,
    });
    files.collect()
}

/// How the daemons of these configurations are stopped.
pub(super) fn stop(files: &[&Path]) -> Vec<String> {
    let of = |file: &&Path| {
        let instance = file.file_stem().unwrap_or_default().to_string_lossy();
        format!("mcp-bridged@{instance}")
    };
    let units: Vec<String> = files.iter().map(of).collect();
    let is_machines = files.iter().any(|file| file.starts_with(configs::SYSTEM));
    if units.is_empty() || !is_machines && !Service::look().starts_daemons() {
        return Vec::new();
    }
    let user = if is_machines { "" } else { "--user " };
    vec![format!("systemctl {user}disable --now {}", units.join(" "))]
}

fn page(record: &Record, removal: &Removal, is_done: bool) -> String {
    let mut out = String::new();
    let name = &record.name;
    let _ = match is_done {
        true => writeln!(out, "team {BOLD}{name}{BOLD:#} is removed"),
        false => writeln!(out, "would remove team {BOLD}{name}{BOLD:#}"),
    };
    let mut table = Table::plain();
    let mut part = |what: &str, lines: Vec<String>| {
        for (place, line) in lines.into_iter().enumerate() {
            let what = if place == 0 { what } else { "" };
            table.row([Cell::new(what, BOLD), Cell::from(line)]);
        }
    };
    let verb = |done, plan| if is_done { done } else { plan };
    let of = |chosen: &dyn Fn(&Step) -> Option<String>| -> Vec<String> {
        removal.steps.iter().filter_map(chosen).collect()
    };
    part(
        verb("closed", "close"),
        of(&|step| match step {
            Step::Close(one) => {
                let name = conversation_name(one.label.as_ref(), &one.id);
                Some(match one.unread {
                    0 => name,
                    unread => format!("{name} ({} in it)", text::count(unread, "unread message")),
                })
            }
            _ => None,
        }),
    );
    part(
        verb("removed", "remove"),
        of(&|step| match step {
            Step::Credentials(file) | Step::Daemon(file) => Some(short(file)),
            _ => None,
        }),
    );
    part(
        verb("unjoined", "unjoin"),
        of(&|step| match step {
            Step::Joined(tree) => Some(short(tree)),
            _ => None,
        }),
    );
    part(
        verb("undone", "undo"),
        of(&|step| match step {
            Step::SetUp(client, changes) => {
                let files: Vec<String> = changes.files().map(short).collect();
                Some(format!(
                    "set-up of {} in {}",
                    client.name(),
                    files.join(", ")
                ))
            }
            _ => None,
        }),
    );
    out.push_str(&table.render(2));
    if removal.steps.is_empty() {
        out.push_str("  nothing of it exists any more\n");
    }
    if !removal.left.is_empty() {
        let _ = writeln!(out, "\n{WARN}stays{WARN:#}");
        for Left { what, why, later } in &removal.left {
            let _ = writeln!(out, "  {}: {}", shown(what), shown(why));
            for command in later {
                let _ = writeln!(out, "    {DIM}later:{DIM:#} {}", shown(command));
            }
        }
    }
    out.push_str(&open_tasks(&removal.open_tasks));
    let stop = stop(&removed_daemons(removal));
    if !stop.is_empty() {
        let _ = writeln!(out, "\n{DIM}# the daemons{DIM:#}");
    }
    for line in stop {
        let _ = writeln!(out, "{line}");
    }
    out
}

/// The tasks of a team that no session of it ends any more.
fn open_tasks(tasks: &[TaskId]) -> String {
    const SHOWN: usize = 5;
    if tasks.is_empty() {
        return String::new();
    }
    let count = text::count(tasks.len() as u64, "open task");
    let stay = if tasks.len() == 1 { "stays" } else { "stay" };
    let mut out = format!("\n{WARN}{count}{WARN:#} of the team {stay} in the store");
    out.push_str("; cancel what no other session is to do\n");
    for task in tasks.iter().take(SHOWN) {
        let _ = writeln!(out, "  mcp-bridge task cancel {task}");
    }
    if tasks.len() > SHOWN {
        out.push_str("  ...; all of them: mcp-bridge task list\n");
    }
    out
}
