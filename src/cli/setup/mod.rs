//! `mcp-bridge setup`: tells an agent's client of our tools and hooks, in the client's
//! own files, and takes that back.

mod changes;
mod checks;
mod clients;
mod difference;
mod file;
mod merge;
mod table;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Args;
use serde::Serialize;

use super::context::Context;
use super::heard::configs;
use super::output::{note, print, print_json};
use super::table::WARN;
use crate::exit::Exit;
use crate::session::joined::Joins;
use changes::Change;
pub(super) use changes::Changes;
pub(super) use checks::Service;
pub(super) use clients::{Client, Scope};
use difference::difference;

/// Puts our tools and hooks into the files of an agent's client, or takes them out.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  cd ~/project && mcp-bridge setup claude       for this project only
  mcp-bridge setup claude --user                for all projects of this user
  mcp-bridge setup codex --dry-run              show what would change
  mcp-bridge setup claude --remove

Everything else in these files stays as it is. The first time, a copy of each file
is kept beside it as NAME.before-mcp-bridge. A second run changes nothing. A file
that the client itself could not read is not changed.
`mcp-bridge join` chooses the session of the agent.")]
pub(super) struct SetupArgs {
    /// Client to set up
    #[arg(value_enum, value_name = "CLIENT")]
    client: Client,
    /// Change the files of the project in the current directory (default)
    #[arg(long, conflicts_with = "user")]
    project: bool,
    /// Change the files of this user, for all projects
    #[arg(long)]
    user: bool,
    /// Directory of the project, instead of the current one
    #[arg(long, value_name = "DIR", conflicts_with = "user")]
    dir: Option<PathBuf>,
    /// Show what would change, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Remove the parts of mcp-bridge
    #[arg(long)]
    remove: bool,
}

/// What came of one file, for scripts.
#[derive(Serialize)]
struct FileJson {
    file: PathBuf,
    changed: bool,
    backup: Option<PathBuf>,
}

pub(super) async fn run(args: SetupArgs, context: &Context) -> anyhow::Result<Exit> {
    let home = std::env::home_dir().filter(|home| home.is_absolute());
    let project = args.dir.as_deref().unwrap_or(Path::new("."));
    let scope =
        match args.user {
            true => Scope::User(home.context("this user has no home directory: set HOME")?),
            false => Scope::Project(project.canonicalize().with_context(|| {
                format!("{}: this directory cannot be set up", project.display())
            })?),
        };
    let mut changes = Changes::plan(args.client, &scope, args.remove)?;
    if !args.dry_run {
        changes.write()?;
    }
    if !args.remove {
        warn()?;
    }
    let mut out = String::new();
    for change in &changes.each {
        describe(&mut out, &args, change);
    }
    let files: Vec<FileJson> = changes
        .each
        .into_iter()
        .map(|change| FileJson {
            changed: change.is_one(),
            file: change.edit.file,
            backup: change.backup,
        })
        .collect();
    if context.json() {
        print_json(&files)?;
        return Ok(Exit::Success);
    }
    if !args.dry_run {
        match args.remove {
            true => out.push_str(&left(&scope)),
            false => {
                let _ = writeln!(out, "\n{}", args.client.remark());
                out.push_str(&next(&scope, args.client));
            }
        }
    }
    print(&out)?;
    Ok(Exit::Success)
}

fn describe(out: &mut String, args: &SetupArgs, change: &Change) {
    let verb = match (change.is_one(), args.remove, args.dry_run) {
        (false, false, _) => "already has",
        (false, true, _) => "has nothing of mcp-bridge:",
        (true, false, false) => "now has",
        (true, true, false) => "has no longer",
        (true, false, true) => "would get",
        (true, true, true) => "would lose",
    };
    let (name, edit) = (args.client.name(), &change.edit);
    let _ = writeln!(out, "{name}: {} {verb} {}", edit.file.display(), edit.what);
    if let (true, Some((copy, false))) = (change.is_one(), &change.copy) {
        let copy = copy.display();
        let _ = writeln!(
            out,
            "  it was changed after set-up, so the earlier copy is kept: {copy}"
        );
    }
    if args.dry_run && change.is_one() {
        let before = change.there.text.as_deref().unwrap_or_default();
        let after = change.wanted.as_deref().unwrap_or_default();
        let _ = writeln!(out, "{}", difference(before, after));
    }
}

/// Says what would keep it from working.
pub(in crate::cli) fn warn() -> anyhow::Result<()> {
    for what in warnings()? {
        note(&format!("{WARN}warning{WARN:#}: {what}"));
    }
    Ok(())
}

/// What would keep it from working.
pub(in crate::cli) fn warnings() -> anyhow::Result<Vec<String>> {
    let program = clients::program().context("the path of this program is unknown")?;
    let mut found = checks::program(Path::new(&program));
    let configured = configs::user_directory().map(|own| configs::toml_in(&own));
    if configured.is_some_and(|files| !files.is_empty()) {
        let service = Service::look().warnings();
        found.extend(service.into_iter().map(str::to_owned));
    }
    Ok(found)
}

/// What a removal leaves.
fn left(scope: &Scope) -> String {
    let joined = match scope {
        Scope::Project(tree) => Joins::own().and_then(|joins| joins.of(tree)),
        Scope::User(_) => None,
    };
    match joined {
        Some(_) => "a session still works here; to end that: mcp-bridge join --remove\n".into(),
        None => String::new(),
    }
}

/// What is left to do.
fn next(scope: &Scope, client: Client) -> String {
    let place = match scope {
        Scope::Project(tree) => tree.as_path(),
        Scope::User(_) => {
            return "next: mcp-bridge join SESSION, in the directory of each agent\n".into();
        }
    };
    let joined = Joins::own().and_then(|joins| joins.at(place));
    match joined {
        Some(_) => {
            let start = client.start();
            let start = start.map_or_else(|| client.word(), |(_, line)| line.to_owned());
            format!(
                "next: start `{start}` here, and answer yes if it asks whether you trust this directory\n"
            )
        }
        None => "next: mcp-bridge join SESSION, to choose the session of the agent here\n".into(),
    }
}
