//! `mcp-bridge team remove`: takes back what `team new` made, and nothing else. What is to
//! be done is known before the first of it is done.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::{Args, ValueEnum as _};
use clap_complete::engine::{ArgValueCandidates, CompletionCandidate};

use super::daemons;
use super::record::{Record, Records};
use super::removal::{Removal, Step};
use super::removed::{show, stop};
use super::show::path;
use crate::advice;
use crate::bridge::Bridge;
use crate::cli::candidates;
use crate::cli::context::Context;
use crate::cli::error::CliError;
use crate::cli::setup::{Changes, Client, Scope};
use crate::clock;
use crate::credentials::Credentials;
use crate::exit::Exit;
use crate::guarded;
use crate::model::session::{Conversation, ConversationState};
use crate::model::task::TaskState;
use crate::model::{ConversationId, Label, SessionKey};
use crate::session::joined::{Joined, Joins};
use crate::session::known;
use crate::store::{StoreError, TaskFilter};
use crate::text::near::did_you_mean;

/// Tasks that are looked through.
const MOST_TASKS: u32 = 100_000;

/// Takes a team back.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  mcp-bridge team remove backend --dry-run
  mcp-bridge team remove backend

Stop the agents first: their conversations are closed. A changed file stays, and so does
everything that other sessions of yours need; both are named, with the reason and the
commands that remove them later. The store, its messages and its tasks stay; open tasks
of the team are named.")]
pub(in crate::cli) struct RemoveArgs {
    /// The team
    #[arg(value_name = "NAME", add = ArgValueCandidates::new(teams))]
    name: Label,
    /// Say what would be taken back, and change nothing
    #[arg(long)]
    dry_run: bool,
}

fn teams() -> Vec<CompletionCandidate> {
    let names = Records::own().map(|records| records.names());
    let names = names.unwrap_or_default().into_iter();
    candidates::plain(names.map(CompletionCandidate::new).collect())
}

pub(super) async fn run(args: RemoveArgs, context: &Context) -> anyhow::Result<Exit> {
    let no_home = "this user has no directory for notes: set HOME";
    let records = Records::own().context(no_home)?;
    let joins = Joins::own().context(no_home)?;
    let file = records.file(&args.name);
    let read = records
        .read(&args.name)
        .with_context(|| format!("{}: the record of the team cannot be read", file.display()))?;
    let Some(record) = read else {
        let names = records.names();
        let hint = did_you_mean(args.name.as_str(), names.iter().map(String::as_str));
        return Err(CliError::NoTeam(args.name, hint).into());
    };
    let at_store = context.at_store(&record.store, orchestrator(&record));
    let looks = args.dry_run;
    let bridge = match looks {
        true => at_store.look().await,
        false => at_store.open().await,
    };
    let bridge = match bridge {
        Ok(bridge) => Some(bridge),
        // Its conversations are gone with it.
        Err(error) if super::is_missing(&error) => None,
        Err(error) => return Err(error),
    };
    let mut removal = Removal::default();
    if context
        .location()
        .await
        .map(|own| own.name.to_string())
        .ok()
        != Some(record.store.clone())
    {
        advice::name_store(&record.store);
    }
    conversations(&mut removal, &record, bridge.as_ref()).await?;
    credentials(&mut removal, &record);
    let trees = trees(&mut removal, &record, &joins);
    set_ups(&mut removal, &record, &joins, &trees);
    daemons_files(&mut removal, &record, &joins);
    if looks {
        close(bridge).await;
        return show(&record, &removal, false, context);
    }
    let has_failed = perform(&mut removal, &record.name, bridge.as_ref(), &joins).await;
    close(bridge).await;
    if !has_failed {
        // The command has named what was left; the record is not needed any more.
        records.forget(&record.name).with_context(|| {
            format!(
                "{}: the record of the team cannot be removed",
                file.display()
            )
        })?;
    }
    show(&record, &removal, true, context)?;
    Ok(match has_failed {
        true => Exit::Failure,
        false => Exit::Success,
    })
}

async fn close(bridge: Option<Bridge>) {
    if let Some(bridge) = bridge {
        bridge.close().await;
    }
}

/// The orchestrator's file, if it can be read: it gives the right to close.
fn orchestrator(record: &Record) -> Option<PathBuf> {
    let file = record.credentials.last()?;
    Credentials::read(file).is_ok().then(|| file.clone())
}

async fn conversations(
    removal: &mut Removal,
    record: &Record,
    bridge: Option<&Bridge>,
) -> anyhow::Result<()> {
    let Some(bridge) = bridge else {
        return Ok(());
    };
    let now = clock::now();
    let there = bridge.conversations().await?;
    let open = there.into_iter();
    let open = open.filter(|one| one.state(now) != ConversationState::Closed);
    let (ours, others): (Vec<_>, Vec<_>) =
        open.partition(|one| record.conversations.contains(&one.id));
    let is_ours = |session: &SessionKey| record.conversations.contains(&session.conversation);
    let filter = TaskFilter {
        party: None,
        states: TaskState::ALL.into_iter().filter(|s| s.is_open()).collect(),
        role: None,
        owner: None,
        limit: MOST_TASKS,
    };
    let tasks = bridge.tasks(&filter).await?.into_iter().filter(|task| {
        let role = |one: &Conversation| one.role_b == task.role;
        let of_a_session = task.owner.iter().chain(&task.creator).any(is_ours);
        of_a_session || ours.iter().any(role) && !others.iter().any(role)
    });
    removal.open_tasks = tasks.map(|task| task.id).collect();
    removal.steps.extend(ours.into_iter().map(Step::Close));
    Ok(())
}

fn credentials(removal: &mut Removal, record: &Record) {
    for file in &record.credentials {
        match is_ours(file, &record.conversations) {
            Ok(true) => removal.steps.push(Step::Credentials(file.clone())),
            Ok(false) => {}
            Err(why) => removal.leave(file.display().to_string(), why, [delete(file)]),
        }
    }
}

/// Whether a credentials file is there, with what we write and for this team alone.
fn is_ours(file: &Path, conversations: &[ConversationId]) -> Result<bool, String> {
    let bytes = match guarded::read_named(file, guarded::MOST_BYTES) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
        read => read.map_err(|error| format!("it cannot be read: {error}"))?,
    };
    if bytes.is_empty() {
        // Its writer was killed.
        return Ok(true);
    }
    let changed = "it was changed since it was written";
    let read = Credentials::read(file).map_err(|_| changed.to_owned())?;
    let mut callers = read.callers.iter();
    let others = callers.find(|one| !conversations.contains(&one.session.conversation));
    if let Some(other) = others {
        return Err(format!("it also contains the session {}", other.session));
    }
    match read.is_written_as(&bytes) {
        true => Ok(true),
        false => Err(changed.to_owned()),
    }
}

/// The directories in which sessions of the team work, and those in which the set-up is
/// to be undone: the same, and the orchestrator's, unless another session works there.
fn trees(removal: &mut Removal, record: &Record, joins: &Joins) -> Vec<PathBuf> {
    let joined = joins.all().into_iter();
    let ours = joined.filter(|one| record.credentials.contains(&one.credentials));
    let mut trees: Vec<PathBuf> = ours.map(|one| one.work_tree).collect();
    trees.sort();
    for tree in &trees {
        removal.steps.push(Step::Joined(tree.clone()));
    }
    let own = &record.work_tree;
    if !trees.contains(own) {
        match joins.of(own) {
            None => trees.push(own.clone()),
            Some(Joined { credentials, .. }) => removal.leave(
                format!("tools and hooks in {}", own.display()),
                format!("the session of {} works there now", credentials.display()),
                [undo_in(own, &record.client)],
            ),
        }
    }
    trees.retain(|tree| tree.is_dir());
    trees
}

fn set_ups(removal: &mut Removal, record: &Record, joins: &Joins, trees: &[PathBuf]) {
    let Ok(made_for) = Client::from_str(&record.client, false) else {
        return removal.leave(&record.client, "this program does not know this client", []);
    };
    for tree in trees {
        let is_own = *tree == record.work_tree;
        if is_own && (record.for_user || record.client_files.is_empty()) {
            // Its client was set up before the team, or not here.
            continue;
        }
        let clients = Client::value_variants().iter();
        for client in clients.filter(|client| !is_own || **client == made_for) {
            let scope = Scope::Project(tree.clone());
            match Changes::plan(*client, &scope, true) {
                Ok(changes) => undo(removal, *client, changes),
                // Files of a client that has nothing to do with the team may be anything.
                Err(error) if *client == made_for => removal.leave(
                    format!("tools and hooks in {}", tree.display()),
                    format!("{error:#}"),
                    [undo_in(tree, &client.word())],
                ),
                Err(_) => {}
            }
        }
    }
    if !record.for_user || record.client_files.is_empty() {
        return;
    }
    let what = || format!("tools and hooks of {} for all projects", made_for.name());
    let later = || {
        [format!(
            "mcp-bridge setup {} --user --remove",
            made_for.word()
        )]
    };
    if let Some(other) = others(record, joins) {
        return removal.leave(what(), format!("{other} needs them"), later());
    }
    let Some(home) = std::env::home_dir().filter(|home| home.is_absolute()) else {
        return removal.leave(what(), "this user has no home directory: set HOME", later());
    };
    match Changes::plan(made_for, &Scope::User(home), true) {
        Ok(changes) => undo(removal, made_for, changes),
        Err(error) => removal.leave(what(), format!("{error:#}"), later()),
    }
}

/// The command that removes a file.
fn delete(file: &Path) -> String {
    format!("rm {}", path(file))
}

/// The command that takes our parts out of a client's files in a directory.
fn undo_in(tree: &Path, client: &str) -> String {
    format!("mcp-bridge setup {client} --remove --dir {}", path(tree))
}

fn undo(removal: &mut Removal, client: Client, changes: Changes) {
    if changes.files().next().is_some() {
        removal.steps.push(Step::SetUp(client, Box::new(changes)));
    }
}

/// A session of this user's that is not of the team, as people name it.
fn others(record: &Record, joins: &Joins) -> Option<String> {
    let joined = joins.all().into_iter();
    let mut other = joined.filter(|one| !record.credentials.contains(&one.credentials));
    if let Some(other) = other.next() {
        return Some(format!("the session in {}", other.work_tree.display()));
    }
    let directory = record.credentials.last()?.parent()?;
    let files = known::files(directory).unwrap_or_default().into_iter();
    let mut files = files.filter(|file| !record.credentials.contains(file));
    Some(format!("the session of {}", files.next()?.display()))
}

fn daemons_files(removal: &mut Removal, record: &Record, joins: &Joins) {
    for file in &record.daemon_files {
        let bytes = match guarded::read_named(file, guarded::MOST_BYTES) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            Err(error) => {
                removal.leave(
                    file.display().to_string(),
                    format!("it cannot be read: {error}"),
                    end_daemon(file),
                );
                continue;
            }
            Ok(bytes) => bytes,
        };
        let role = file.file_stem().unwrap_or_default().to_string_lossy();
        let written = daemons::text(&role, &record.name, &record.store);
        let drop_ins = file.with_extension("d");
        // An empty one is of a writer that was killed.
        if !bytes.is_empty() && bytes != written.as_bytes() {
            removal.leave(
                file.display().to_string(),
                "it was changed since it was written",
                end_daemon(file),
            );
        } else if drop_ins.is_dir() {
            let why = format!("{} adds to it", drop_ins.display());
            let more = format!("rm -r {}", path(&drop_ins));
            let later = end_daemon(file).into_iter().chain([more]);
            removal.leave(file.display().to_string(), why, later);
        } else if let Some(other) = others(record, joins) {
            removal.leave(
                file.display().to_string(),
                format!("{other} may need the daemon"),
                end_daemon(file),
            );
        } else {
            removal.steps.push(Step::Daemon(file.clone()));
        }
    }
}

/// The commands that end a daemon and remove its configuration.
fn end_daemon(file: &Path) -> Vec<String> {
    let mut commands = stop(&[file]);
    commands.push(delete(file));
    commands
}

/// Does it, and keeps the steps that were done. Whether one failed: those are left.
async fn perform(
    removal: &mut Removal,
    name: &Label,
    bridge: Option<&Bridge>,
    joins: &Joins,
) -> bool {
    let before = removal.left.len();
    for mut step in std::mem::take(&mut removal.steps) {
        match done(&mut step, bridge, joins).await {
            Ok(()) => removal.steps.push(step),
            Err(error) => {
                let again = format!("mcp-bridge team remove {name}");
                removal.leave(step.what(), format!("{error:#}"), [again]);
            }
        }
    }
    removal.left.len() > before
}

async fn done(step: &mut Step, bridge: Option<&Bridge>, joins: &Joins) -> anyhow::Result<()> {
    match step {
        Step::Close(one) => {
            if let Some(bridge) = bridge {
                match bridge.close_conversation(&one.id).await {
                    // Another program was faster.
                    Err(StoreError::Closed(_) | StoreError::NoConversation(..)) => {}
                    closed => closed?,
                }
            }
        }
        Step::Credentials(file) | Step::Daemon(file) => std::fs::remove_file(file)?,
        Step::Joined(tree) => joins.forget(tree)?,
        Step::SetUp(_, changes) => changes.write()?,
    }
    Ok(())
}
