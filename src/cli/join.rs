//! `mcp-bridge join`: which session works in a directory.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Args;
use serde::Serialize;

use super::check;
use super::context::Context;
use super::error::CliError;
use super::output::{note, print, print_json};
use super::table::WARN;
use crate::exit::Exit;
use crate::session::joined::{Joined, Joins};
use crate::session::{Member, known};

/// Says that the session of a credentials file works in a directory: programs that
/// are started there need no credentials named.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  cd ~/project && mcp-bridge join backend/b
  mcp-bridge join backend/b --dir ~/project
  mcp-bridge join                               show which session works here
  mcp-bridge join --remove

After that, `mcp-bridge check` and the tools and hooks of an agent's client act for
this session if they are started in the directory or below it. Nothing is written to
the directory itself; the note is in your own state directory.")]
pub(super) struct JoinArgs {
    /// Session (backend/b), its credentials file, or the file's name in the default
    /// directory
    #[arg(value_name = "FILE", conflicts_with = "remove")]
    file: Option<PathBuf>,
    /// Directory, instead of the current one
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Replace another session that works there
    #[arg(long, requires = "file")]
    replace: bool,
    /// Remove the note: no session works there any more
    #[arg(long)]
    remove: bool,
}

/// What came of it, for scripts.
#[derive(Serialize)]
struct JoinJson<'a> {
    work_tree: &'a Path,
    credentials: Option<&'a Path>,
    sessions: Vec<String>,
}

pub(super) async fn run(args: JoinArgs, context: &Context) -> anyhow::Result<Exit> {
    let directory = args.dir.as_deref().unwrap_or(Path::new("."));
    let work_tree = directory
        .canonicalize()
        .with_context(|| format!("{}: this directory cannot be joined", directory.display()))?;
    anyhow::ensure!(
        work_tree.is_dir(),
        "{}: not a directory",
        work_tree.display()
    );
    let joins = Joins::own().context("this user has no directory for notes: set HOME")?;
    match args.file {
        Some(file) => join(&joins, &work_tree, &file, args.replace, context).await,
        None if args.remove => leave(&joins, &work_tree, context),
        None => show(&joins, &work_tree, context),
    }
}

async fn join(
    joins: &Joins,
    work_tree: &Path,
    file: &Path,
    replace: bool,
    context: &Context,
) -> anyhow::Result<Exit> {
    let credentials = one_file(file)?;
    if let Some(other) = joins.of(work_tree)
        && other.credentials != credentials
        && !replace
    {
        return Err(CliError::JoinedAlready(other).into());
    }
    // What does not hold now would fail at each start of an agent.
    let of_it = context.with_credentials(credentials.clone());
    let (bridge, acting) = of_it.look_acting().await?;
    let (live, refused) = check::verify(&bridge, acting).await?;
    bridge.close().await;
    if let Some(exit) = refused.filter(|_| live.is_empty()) {
        return Ok(exit);
    }
    let sessions: Vec<String> = live.iter().map(|one| one.member.name()).collect();
    let joined = Joined {
        work_tree: work_tree.to_owned(),
        credentials,
    };
    joins
        .note(&joined)
        .context("the note of this directory cannot be written")?;
    if let Some(elsewhere) = joins.elsewhere(&joined) {
        note(&format!(
            "{WARN}warning{WARN:#}: another agent works as {} in {}: two agents of one session take each other's messages",
            sessions.join(", "),
            elsewhere.display()
        ));
    }
    if let Some(what) = home_is_joined(&joined.work_tree) {
        note(&format!(
            "{WARN}warning{WARN:#}: {what}\n  to undo it: mcp-bridge join --remove; then join the directory of a project"
        ));
    }
    tell(
        &joined.work_tree,
        Some(&joined.credentials),
        sessions,
        context,
    )
}

/// What is wrong with a home directory as the directory of one session: what stands below
/// it joins with it.
pub(super) fn home_is_joined(work_tree: &Path) -> Option<String> {
    let home = std::env::home_dir().filter(|home| home.is_absolute())?;
    let is_home = home.canonicalize().is_ok_and(|home| home == work_tree);
    is_home.then(|| {
        format!(
            "{} is your home directory: every agent that starts in it or below it acts for this session, unless its directory has its own",
            work_tree.display()
        )
    })
}

/// The whole path of one credentials file: the note is read from other directories.
fn one_file(named: &Path) -> anyhow::Result<PathBuf> {
    let files = known::files(named)?;
    let [file] = files.as_slice() else {
        return Err(CliError::NotOneFile(named.to_owned(), files.len()).into());
    };
    std::path::absolute(file).with_context(|| format!("credentials {}", file.display()))
}

fn leave(joins: &Joins, work_tree: &Path, context: &Context) -> anyhow::Result<Exit> {
    joins
        .forget(work_tree)
        .context("the note of this directory cannot be removed")?;
    tell(work_tree, None, Vec::new(), context)
}

fn show(joins: &Joins, work_tree: &Path, context: &Context) -> anyhow::Result<Exit> {
    match joins.at(work_tree) {
        Some(Joined {
            work_tree,
            credentials,
        }) => {
            let acting = context.with_credentials(credentials.clone()).acting()?;
            let sessions = acting.members.iter().map(Member::name).collect();
            tell(&work_tree, Some(&credentials), sessions, context)
        }
        None => tell(work_tree, None, Vec::new(), context),
    }
}

fn tell(
    work_tree: &Path,
    credentials: Option<&Path>,
    sessions: Vec<String>,
    context: &Context,
) -> anyhow::Result<Exit> {
    if context.json() {
        print_json(&JoinJson {
            work_tree,
            credentials,
            sessions,
        })?;
        return Ok(Exit::Success);
    }
    let place = work_tree.display();
    let mut out = String::new();
    match credentials {
        None => {
            let _ = writeln!(out, "no session works in {place}");
        }
        Some(credentials) => {
            let verb = if sessions.len() == 1 { "works" } else { "work" };
            let _ = writeln!(out, "{} {verb} in {place}", sessions.join(", "));
            let _ = writeln!(out, "  credentials: {}", credentials.display());
        }
    }
    print(&out)?;
    Ok(Exit::Success)
}
