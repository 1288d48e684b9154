//! What `team new` prints: what was made, and what to paste next.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::daemons::{Daemon, Daemons, LOCAL};
use super::plan::Plan;
use crate::advice;
use crate::cli::context::Context;
use crate::cli::join::home_is_joined;
use crate::cli::output::{self, print, print_json, shown};
use crate::cli::setup;
use crate::cli::table::{BOLD, Cell, DIM, Table, WARN};
use crate::exit::Exit;
use crate::model::{ConversationId, Label};
use crate::session::known;
use crate::text::{self, for_shell};

#[derive(Serialize)]
struct TeamJson<'a> {
    name: &'a Label,
    role: &'a str,
    store: &'a str,
    made: bool,
    conversations: Vec<ConversationJson<'a>>,
    orchestrator: &'a Path,
    work_tree: &'a Path,
    client_files: Vec<&'a Path>,
    daemon_files: Vec<PathBuf>,
    /// Commands, in order: those of each worker's work tree, then those of the daemons.
    join: Vec<String>,
    start: Vec<String>,
    /// What would keep it from working, and what to do about it.
    warnings: Vec<String>,
}

#[derive(Serialize)]
struct ConversationJson<'a> {
    id: Option<&'a ConversationId>,
    label: Option<&'a Label>,
    expires_at: jiff::Timestamp,
    credentials: &'a Path,
}

pub(super) fn made(plan: &Plan, store: &str, context: &Context) -> anyhow::Result<Exit> {
    if context.json() {
        return json(plan, store, true);
    }
    print(&advice::as_given(&page(plan, store, true)))?;
    setup::warn()?;
    Ok(Exit::Success)
}

pub(super) fn dry_run(plan: &Plan, store: &str, context: &Context) -> anyhow::Result<Exit> {
    if context.json() {
        return json(plan, store, false);
    }
    print(&advice::as_given(&page(plan, store, false)))?;
    Ok(Exit::Success)
}

fn json(plan: &Plan, store: &str, made: bool) -> anyhow::Result<Exit> {
    let (workers, orchestrator) = plan.credentials();
    let each = plan.new.iter().zip(&workers);
    let conversations = each.map(|(new, file)| ConversationJson {
        // One that was not made has no id yet.
        id: made.then_some(&new.id),
        label: new.label.as_ref(),
        expires_at: new.expires_at,
        credentials: file,
    });
    let lacking = plan.daemons.as_ref();
    let mut warnings = lacking.map_or_else(Vec::new, |daemons| wanting(daemons, plan));
    warnings.extend(in_home(plan, made));
    if made {
        warnings.extend(setup::warnings()?);
    }
    print_json(&TeamJson {
        name: &plan.name,
        role: &plan.role,
        store,
        made,
        conversations: conversations.collect(),
        orchestrator: &orchestrator,
        work_tree: &plan.joined.work_tree,
        client_files: plan.changes.files().collect(),
        daemon_files: plan.daemon_files(),
        join: workers.iter().map(|file| join(plan, &path(file))).collect(),
        start: start(plan),
        warnings,
    })?;
    Ok(Exit::Success)
}

/// What the agent of a worker's work tree gets to read: the file by its path for a script,
/// which may run elsewhere, and for people the session by its name.
fn join(plan: &Plan, which: &str) -> String {
    let join = format!("mcp-bridge join {which}");
    match plan.for_user {
        true => join,
        false => format!("{join} && mcp-bridge setup {}", plan.client.word()),
    }
}

/// How the daemons are started.
fn start(plan: &Plan) -> Vec<String> {
    let Some(daemons) = &plan.daemons else {
        return Vec::new();
    };
    let units: Vec<_> = daemons
        .each
        .iter()
        .map(|daemon| format!("mcp-bridged@{}", daemon.name))
        .collect();
    let user = if daemons.is_machines { "" } else { "--user " };
    match daemons.is_machines || plan.service.starts_daemons() {
        true => vec![format!("systemctl {user}enable --now {}", units.join(" "))],
        false => daemons
            .each
            .iter()
            .map(|daemon| format!("mcp-bridged --config {}", path(&daemon.file)))
            .collect(),
    }
}

fn page(plan: &Plan, store: &str, is_made: bool) -> String {
    let (workers, orchestrator) = plan.credentials();
    let mut out = String::new();
    let count = text::count(plan.new.len() as u64, "conversation");
    let directory = orchestrator.parent().unwrap_or(Path::new("/"));
    let would = if is_made { "" } else { "would create " };
    let _ = writeln!(
        out,
        "{would}team {BOLD}{}{BOLD:#}: {count}, credentials in {}",
        plan.name,
        short(directory)
    );
    let mut table = Table::plain();
    let mut row = |name: &str, what: String| {
        table.row([Cell::new(name, BOLD), Cell::from(what)]);
    };
    let tree = &plan.joined.work_tree;
    row(
        "orchestrator",
        format!("{} in {}", plan.client.name(), short(tree)),
    );
    let files = plan
        .changes
        .files()
        .map(|file| match file.strip_prefix(tree) {
            Ok(below) => below.display().to_string(),
            Err(_) => short(file),
        });
    row("", format!("tools and hooks: {}", list(files)));
    let of = match workers.len() {
        1 => "worker 1".to_owned(),
        several => format!("worker 1..{several}"),
    };
    row(&of, format!("role {}", shown(&plan.role)));
    row("daemons", of_daemons(plan.daemons.as_ref()));
    if let Some(new) = plan.new.first() {
        let left = output::left(new.expires_at, plan.now);
        row(
            "ends",
            format!("in {left}, unless renewed; a daemon renews it"),
        );
    }
    row("store", short(Path::new(store)));
    out.push_str(&table.render(2));
    if let Some(daemons) = &plan.daemons {
        for what in wanting(daemons, plan) {
            let _ = writeln!(out, "\n{what}");
        }
    }
    if let Some(what) = in_home(plan, is_made) {
        let _ = writeln!(out, "\n{WARN}warning{WARN:#}: {what}");
    }
    if is_made {
        out.push_str(&next(plan, &workers));
    }
    out
}

/// What is wrong with a team whose orchestrator works in the home directory.
fn in_home(plan: &Plan, is_made: bool) -> Option<String> {
    let what = home_is_joined(&plan.joined.work_tree)?;
    let name = &plan.name;
    let instead = match is_made {
        true => format!("mcp-bridge team remove {name}, then"),
        false => "instead,".to_owned(),
    };
    Some(format!(
        "{what}\n  {instead} run `team new` in the directory of a project"
    ))
}

fn list(words: impl Iterator<Item = String>) -> String {
    let words: Vec<String> = words.collect();
    match words.is_empty() {
        true => "there already".to_owned(),
        false => words.join(", "),
    }
}

fn of_daemons(daemons: Option<&Daemons>) -> String {
    let Some(daemons) = daemons else {
        return "the system's daemons serve this store".to_owned();
    };
    let written = daemons.each.iter().filter(|daemon| !daemon.is_there);
    list(written.map(|daemon| short(&daemon.file)))
}

/// A path as people read it: from the user's home, if it is below.
pub(super) fn short(path: &Path) -> String {
    let home = std::env::home_dir().filter(|home| home.is_absolute());
    let below = home.and_then(|home| Some(path.strip_prefix(home).ok()?.to_owned()));
    match below {
        Some(below) => format!("~/{}", below.display()),
        None => path.display().to_string(),
    }
}

/// What configurations need that were there already.
fn wanting(daemons: &Daemons, plan: &Plan) -> Vec<String> {
    let wanting = daemons.each.iter().filter(|daemon| daemon.lacks);
    let line = |Daemon { file, .. }: &Daemon| {
        let mut drop_in = file.with_extension("d");
        drop_in.push(format!("{}.toml", plan.name));
        format!(
            "{} exists already and was not changed.\nAdd this to {}, and reload the daemon:\n  {LOCAL}",
            short(file),
            short(&drop_in),
        )
    };
    wanting.map(line).collect()
}

fn next(plan: &Plan, workers: &[PathBuf]) -> String {
    let mut out = String::new();
    let mut part = |what: &str, lines: &[String]| {
        if !lines.is_empty() {
            let _ = writeln!(out, "\n{DIM}# {what}{DIM:#}");
        }
        for line in lines {
            let _ = writeln!(out, "{line}");
        }
    };
    let names = plan.new.iter().zip(workers).map(|(new, file)| {
        let name = new.label.as_ref().map(|label| format!("{label}/b"));
        let name = name.filter(|name| {
            known::files(Path::new(name)).is_ok_and(|files| files == [file.clone()])
        });
        name.unwrap_or_else(|| path(file))
    });
    let joins: Vec<String> = names.map(|name| join(plan, &name)).collect();
    let each = match joins.len() {
        1 => "in the work tree of the worker",
        _ => "each in the work tree of one worker",
    };
    part(each, &joins);
    if let Some((heed, line)) = plan.client.start() {
        part(heed, &[line.to_owned()]);
    }
    let start = start(plan);
    let is_shell = start.len() > 1;
    let what = if is_shell {
        "the daemons, each in its own terminal"
    } else {
        "the daemons"
    };
    part(what, &start);
    let task = format!(
        "mcp-bridge task add --role {} --title TITLE",
        for_shell(&plan.role)
    );
    part(
        "give the team work, and see its state",
        &[task, "mcp-bridge status".to_owned()],
    );
    out
}

/// A path as a shell reads it.
pub(super) fn path(path: &Path) -> String {
    let short = short(path);
    match short.strip_prefix("~/") {
        Some(below) if for_shell(below) == below => short,
        _ => for_shell(&path.display().to_string()),
    }
}
