//! `mcp-bridge team new`: all that a team needs, or nothing.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use futures_util::StreamExt as _;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook_tokio::Signals;

use super::daemons::Daemons;
use super::plan::Plan;
use super::record::Records;
use super::show;
use crate::bridge::Bridge;
use crate::cli::context::Context;
use crate::cli::conversation::new as conversations;
use crate::cli::conversation::role;
use crate::cli::error::CliError;
use crate::cli::output::note;
use crate::cli::setup::{Changes, Client, Scope, Service};
use crate::clock;
use crate::exit::Exit;
use crate::host::SYSTEM_DAEMONS;
use crate::model::session::ConversationState;
use crate::model::{Label, Side};
use crate::session::joined::{Joined, Joins};
use crate::session::known::credentials_directory;
use crate::session::made::{self, NewFile};
use crate::store::NewConversation;

/// Makes a team.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  cd ~/project && mcp-bridge team new backend --workers 3 --client claude
  mcp-bridge team new backend --workers 3 --client claude --dry-run
  mcp-bridge team new backend --workers 3 --client claude --user

The command prints what to run in each worker's work tree. It never overwrites a
file: if a daemon's configuration exists, it prints what to add. On Ctrl-C or SIGTERM
it undoes all steps; `mcp-bridge team remove` does that later.")]
pub(in crate::cli) struct NewArgs {
    /// Name of the team; its conversations are NAME-1, NAME-2, ...
    #[arg(value_name = "NAME", value_parser = conversations::label)]
    name: Label,
    /// Number of workers
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100))]
    workers: u32,
    /// Client of the orchestrator, set up in the current directory
    #[arg(long, value_enum, value_name = "CLIENT")]
    client: Client,
    /// Set up the client for all projects of this user, also those of the workers
    #[arg(long)]
    user: bool,
    /// Role of the workers, used by their tasks [default: NAME]
    #[arg(long, value_name = "ROLE", value_parser = role)]
    role: Option<String>,
    /// How long the conversations live, unless they are renewed
    #[arg(long = "for", value_name = "DURATION", default_value = "3h", value_parser = conversations::life)]
    life: Duration,
    /// Show what would be created, and create nothing
    #[arg(long)]
    dry_run: bool,
}

pub(super) async fn run(args: NewArgs, context: &Context) -> anyhow::Result<Exit> {
    let mut plan = plan(&args, context).await?;
    if args.dry_run {
        let bridge = match context.look().await {
            Ok(bridge) => Some(bridge),
            // It would be made.
            Err(error) if super::is_missing(&error) => None,
            Err(error) => return Err(error),
        };
        let store = match &bridge {
            Some(bridge) => {
                ensure_free(bridge, &plan).await?;
                let store = bridge.lasting_name().await?;
                bridge.close().await;
                store
            }
            None => context.location().await?.name.to_string(),
        };
        return show::dry_run(&plan, &store, context);
    }
    let bridge = context.open_or_create().await?;
    let store = bridge.lasting_name().await?;
    let made = make(&mut plan, &bridge, &store).await;
    bridge.close().await;
    if let Some(signal) = made? {
        // Its caller sees what ended it.
        signal_hook::low_level::emulate_default_handler(signal)?;
        return Ok(Exit::Failure);
    }
    show::made(&plan, &store, context)
}

async fn plan(args: &NewArgs, context: &Context) -> anyhow::Result<Plan> {
    let tree = std::env::current_dir()
        .and_then(|directory| directory.canonicalize())
        .context("the current directory cannot be joined")?;
    let no_home = "this user has no directory for credentials: set HOME";
    let joins = Joins::own().context(no_home)?;
    let records = Records::own().context(no_home)?;
    let directory = credentials_directory().context(no_home)?;
    let role = args.role.clone().unwrap_or_else(|| args.name.to_string());
    let now = clock::now();
    let expires_at = conversations::end(now, args.life)?;
    let mut new = Vec::new();
    for number in 1..=args.workers {
        let label = format!("{}-{number}", args.name).parse()?;
        new.push(made::planned(
            Some(label),
            ["orchestrator", &role],
            expires_at,
        )?);
    }
    let files = files(&args.name, &directory, &new);
    let record = Some(records.file(&args.name)).filter(|file| file.symlink_metadata().is_ok());
    if let Some(file) = taken(&args.name, &directory).or(record) {
        return Err(CliError::TeamExists(args.name.clone(), file.display().to_string()).into());
    }
    let own = files.last().context("a team has an orchestrator")?;
    let joined = Joined {
        work_tree: tree.clone(),
        credentials: own.path.clone(),
    };
    if let Some(other) = joins.of(&tree) {
        return Err(CliError::JoinedAlready(other).into());
    }
    let scope = match args.user {
        false => Scope::Project(tree),
        true => Scope::User(home().context("this user has no home directory: set HOME")?),
    };
    let is_machines = context
        .found()
        .await?
        .socket()
        .is_some_and(|socket| socket.starts_with(SYSTEM_DAEMONS));
    Ok(Plan {
        changes: Changes::plan(args.client, &scope, false)?,
        name: args.name.clone(),
        client: args.client,
        daemons: Daemons::own().filter(|_| !is_machines),
        service: Service::look(),
        for_user: args.user,
        records,
        role,
        new,
        files,
        joined,
        joins,
        now,
    })
}

/// `NAME-1.toml` and so on for the workers, `NAME.orchestrator.toml` with all `a` sides.
fn files(name: &Label, directory: &Path, new: &[NewConversation]) -> Vec<NewFile> {
    let mut files: Vec<NewFile> = new
        .iter()
        .zip(1..)
        .map(|(one, number)| {
            NewFile::of(
                one,
                Side::B,
                directory.join(format!("{name}-{number}.toml")),
            )
        })
        .collect();
    files.push(NewFile {
        path: directory.join(format!("{name}.orchestrator.toml")),
        label: Some(name.clone()),
        callers: new.iter().map(|one| made::caller(one, Side::A)).collect(),
    });
    files
}

/// Whether this is the name of a team, or of a conversation of one.
fn is_of(name: &Label, label: &str) -> bool {
    let number = label
        .strip_prefix(name.as_str())
        .and_then(|rest| rest.strip_prefix('-'));
    label == name.as_str() || number.is_some_and(|number| number.parse::<u32>().is_ok())
}

/// A credentials file of a team of this name.
fn taken(name: &Label, directory: &Path) -> Option<PathBuf> {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let files = entries.map(|entry| entry.path());
    let taken = files.filter(|path| {
        let file = path.file_name().unwrap_or_default().to_string_lossy();
        let stem = file.strip_suffix(".toml").unwrap_or_default();
        let sides = [".a", ".b", ".orchestrator"];
        let stem = sides
            .iter()
            .find_map(|side| stem.strip_suffix(side))
            .unwrap_or(stem);
        is_of(name, stem)
    });
    taken.min()
}

/// No conversation may have a name of this team, but for closed ones.
async fn ensure_free(bridge: &Bridge, plan: &Plan) -> anyhow::Result<()> {
    let there = bridge.conversations().await?;
    let taken = there.iter().find_map(|one| {
        let label = one
            .label
            .as_ref()
            .filter(|label| is_of(&plan.name, label.as_str()))?;
        (one.state(plan.now) != ConversationState::Closed).then_some(label)
    });
    match taken {
        Some(label) => {
            let what = format!("conversation {label}");
            Err(CliError::TeamExists(plan.name.clone(), what).into())
        }
        None => Ok(()),
    }
}

fn home() -> Option<PathBuf> {
    std::env::home_dir().filter(|home| home.is_absolute())
}

/// Makes all of it. What was made before a step that fails is taken back, or named; so is
/// all of it where a signal came meanwhile, which is returned.
async fn make(plan: &mut Plan, bridge: &Bridge, store: &str) -> anyhow::Result<Option<i32>> {
    ensure_free(bridge, plan).await?;
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    // For the time in which files are written, and no stream is read.
    let came = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&came))?;
    }
    let record = plan.record(store);
    let not_noted = "the record of this team cannot be written";
    plan.records.write(&record).context(not_noted)?;
    let made = tokio::select! {
        signal = signals.next() => Ok(signal),
        made = made::make(bridge, &plan.new, &plan.files) => made.map(|()| None),
    };
    let made = match made {
        // It has taken back what it had made.
        Err(error) => {
            let _ = plan.records.forget(&plan.name);
            return Err(error.into());
        }
        Ok(None) => {
            let written = plan.write_files(store);
            match came.load(Ordering::Relaxed) {
                false => written.map(|()| None),
                // The stream has it, too, and what it has next is another one.
                true => written.and(Ok(signals.next().await)),
            }
        }
        Ok(signal) => Ok(signal),
    };
    if let Ok(None) = made {
        return Ok(None);
    }
    let what = tokio::select! {
        what = take_back(plan, bridge) => what,
        // Its user waits no longer.
        _ = signals.next() => format!(
            "team {} was not created, and perhaps not all of it was removed\n  \
             mcp-bridge team remove {}",
            plan.name, plan.name
        ),
    };
    match made {
        Err(error) => Err(error.context(what)),
        Ok(signal) => {
            note(&what);
            Ok(signal)
        }
    }
}

/// Takes back all that was made, and returns what is left of it, in words.
async fn take_back(plan: &mut Plan, bridge: &Bridge) -> String {
    plan.take_back_files();
    let left = made::take_back(bridge, &plan.new, &plan.files).await;
    let mut what = format!("team {} was not created", plan.name);
    for (id, why) in &left {
        let _ = write!(what, "; conversation {id} stays open ({why})");
    }
    match left.is_empty() {
        true => drop(plan.records.forget(&plan.name)),
        false => {
            let _ = write!(what, "\n  later: mcp-bridge team remove {}", plan.name);
        }
    }
    what
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_fits_a_team_or_its_conversations() {
        let name: Label = "backend".parse().expect("a label");
        for label in ["backend", "backend-1", "backend-17"] {
            assert!(is_of(&name, label), "{label}");
        }
        for label in ["backend-", "backend-x", "backend-1x", "backends", "back"] {
            assert!(!is_of(&name, label), "{label}");
        }
    }
}
