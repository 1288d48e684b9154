//! `mcp-bridge setup`: tells an agent's client of our tools and hooks, in the client's
//! own files, and takes that back.

mod clients;
mod file;
mod merge;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Args;
use serde::Serialize;

use super::context::Context;
use super::output::{print, print_json};
use crate::exit::Exit;
use crate::session::joined::Joins;
use clients::{Client, Edit, Ours, Scope};

/// Puts our tools and hooks into the files of an agent's client, or takes them out.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  cd ~/project && mcp-bridge setup claude       for this project alone
  mcp-bridge setup claude --user                for all projects of this user
  mcp-bridge setup codex --dry-run              show what would change
  mcp-bridge setup claude --remove

What else stands in these files keeps its place. The first time, a copy of each
is kept beside it, under its name and .before-mcp-bridge. Doing it twice changes
nothing. A file that the client itself could not read is left as it is.
Which session the agent is says `mcp-bridge join`.")]
pub(super) struct SetupArgs {
    /// The client
    #[arg(value_enum, value_name = "CLIENT")]
    client: Client,
    /// The files of the project in the current directory (default)
    #[arg(long, conflicts_with = "user")]
    project: bool,
    /// The files of this user, for all projects
    #[arg(long)]
    user: bool,
    /// The project's directory, instead of the current one
    #[arg(long, value_name = "DIR", conflicts_with = "user")]
    dir: Option<PathBuf>,
    /// Show what would change, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Take our parts out again
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
    let program = clients::program().context("the path of this program is not known")?;
    let edits = args.client.edits(&scope, &program);

    // All are read, and understood, before one is written.
    let mut changes = Vec::with_capacity(edits.len());
    for edit in &edits {
        let there = file::read(&edit.file)?;
        let wanted = wanted(edit, &there, args.remove).with_context(|| {
            format!(
                "{}: it was left as it is, as were the others",
                edit.file.display()
            )
        })?;
        changes.push((edit, there, wanted));
    }
    let mut out = String::new();
    let mut files = Vec::with_capacity(changes.len());
    for (edit, there, wanted) in changes {
        let changed = wanted != there.text;
        let backup = match changed && !args.dry_run {
            true => file::write(&edit.file, &there, wanted.as_deref())?,
            false => None,
        };
        describe(&mut out, &args, edit, &there, wanted.as_deref(), changed);
        files.push(FileJson {
            file: edit.file.clone(),
            changed,
            backup,
        });
    }
    if context.json() {
        print_json(&files)?;
        return Ok(Exit::Success);
    }
    if !args.remove && !args.dry_run {
        let _ = writeln!(out, "\n{}", args.client.remark());
        out.push_str(&next(&scope));
    }
    print(&out)?;
    Ok(Exit::Success)
}

/// What a file is to hold; nothing where it is not to be there.
fn wanted(
    edit: &Edit,
    there: &file::There,
    remove: bool,
) -> Result<Option<String>, merge::Unmergeable> {
    let text = there.text.as_deref();
    match (&edit.ours, remove) {
        (_, true) if text.is_none() => Ok(None),
        (Ours::Json(parts), false) => merge::with(text.unwrap_or_default(), parts).map(Some),
        (Ours::Json(parts), true) => merge::without(text.unwrap_or_default(), parts),
        (Ours::CodexServer { program }, false) => {
            let list = |words: &[&str]| words.iter().copied().collect::<toml_edit::Array>().into();
            let entries = [
                ("command", program.as_str().into()),
                ("args", list(&["mcp"])),
                ("env_vars", list(&clients::CODEX_ENVIRONMENT)),
                // Otherwise it asks its user at each call, and `codex exec` refuses it.
                ("default_tools_approval_mode", "approve".into()),
            ];
            let text = text.unwrap_or_default();
            merge::with_table(text, "mcp_servers", clients::SERVER, &entries).map(Some)
        }
        (Ours::CodexServer { .. }, true) => {
            let text = text.unwrap_or_default();
            merge::without_table(text, "mcp_servers", clients::SERVER)
        }
    }
}

fn describe(
    out: &mut String,
    args: &SetupArgs,
    edit: &Edit,
    there: &file::There,
    wanted: Option<&str>,
    changed: bool,
) {
    let verb = match (changed, args.remove, args.dry_run) {
        (false, false, _) => "has already",
        (false, true, _) => "has nothing of ours:",
        (true, false, false) => "has now",
        (true, true, false) => "has no longer",
        (true, false, true) => "would get",
        (true, true, true) => "would lose",
    };
    let name = args.client.name();
    let _ = writeln!(out, "{name}: {} {verb} {}", edit.file.display(), edit.what);
    if args.dry_run && changed {
        let before = there.text.as_deref().unwrap_or_default();
        let diff = similar::TextDiff::from_lines(before, wanted.unwrap_or_default());
        let _ = writeln!(out, "{}", diff.unified_diff().context_radius(2));
    }
}

/// What is left to do.
fn next(scope: &Scope) -> String {
    let place = match scope {
        Scope::Project(tree) => tree.as_path(),
        Scope::User(_) => {
            return "next: mcp-bridge join FILE, in the directory of each agent\n".into();
        }
    };
    let joined = Joins::own().and_then(|joins| joins.at(place));
    match joined {
        Some(_) => String::new(),
        None => "next: mcp-bridge join FILE, so that the agent here is that session\n".into(),
    }
}
