//! `mcp-bridge conversation new`: conversations, and the files that make their holder a
//! session of them.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use jiff::Timestamp;

use super::made::{Plan, show};
use super::role;
use crate::cli::context::Context;
use crate::cli::error::CliError;
use crate::cli::output;
use crate::clock;
use crate::exit::Exit;
use crate::model::session::Conversation;
use crate::model::{InvalidId, Label, Side};
use crate::session::SessionError;
use crate::session::known::credentials_directory;
use crate::session::made::{self, NewFile, make_directory};
use crate::store::StoreError;

/// The longest life that can be asked for: ten years.
const LONGEST: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// How often numbers are chosen again when another process took them first.
const TRIES: u32 = 5;

/// Makes conversations, and the files for their sessions.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  mcp-bridge conversation new --label backend
  mcp-bridge conversation new --label backend --role-b backend --count 3
  mcp-bridge conversation new --label night-shift --for 12h --out ./credentials")]
pub(crate) struct NewArgs {
    /// Label of the conversation; with --count, a number is appended
    #[arg(long, value_name = "NAME", value_parser = label)]
    label: Option<Label>,
    /// Role of side `a`
    #[arg(long, value_name = "ROLE", default_value = "orchestrator", value_parser = role)]
    role_a: String,
    /// Role of side `b`
    #[arg(long, value_name = "ROLE", default_value = "worker", value_parser = role)]
    role_b: String,
    /// Number of conversations; numbers continue after the highest ever used
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    count: Option<u32>,
    /// How long the conversation lives, unless it is renewed
    #[arg(long = "for", value_name = "DURATION", default_value = "3h", value_parser = life)]
    life: Duration,
    /// Directory for the credentials [default: credentials/ beside this user's
    /// store; for root, the directory where the service looks for them]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

pub(in crate::cli) fn label(text: &str) -> Result<Label, InvalidId> {
    text.parse()
}

pub(in crate::cli) fn life(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(life) if (Duration::from_secs(1)..=LONGEST).contains(&life) => Ok(life),
        Ok(_) => Err("between 1s and 10 years".into()),
        Err(error) => Err(format!("{error}; write for example 3h or 2days")),
    }
}

pub(in crate::cli) fn end(now: Timestamp, life: Duration) -> anyhow::Result<Timestamp> {
    Ok(now.checked_add(life)?)
}

pub(super) async fn run(args: NewArgs, context: &Context) -> anyhow::Result<Exit> {
    let directory = directory(args.out.clone())?;
    let bridge = context.open_or_create().await?;
    let now = clock::now();
    let mut tries = 0;
    let (plans, all_a) = loop {
        let plans = plan(&args, &directory, &bridge.conversations().await?, now)?;
        let all_a = (args.count.is_some()).then(|| all_a_file(&args, &directory, &plans));
        let files = files(&plans, all_a.clone(), args.label.as_ref());
        ensure_none(files.iter().map(|file| file.path.as_path()))?;
        let new: Vec<_> = plans.iter().map(|plan| plan.new.clone()).collect();
        tries += 1;
        match made::make(&bridge, &new, &files).await {
            Err(SessionError::Store(StoreError::LabelTaken(_)))
                if args.count.is_some() && tries < TRIES => {}
            made => {
                made?;
                break (plans, all_a);
            }
        }
    };
    show(&plans, all_a.as_deref(), &bridge, context, now)?;
    bridge.close().await;
    Ok(Exit::Success)
}

/// None of these files may be there yet.
fn ensure_none<'a>(mut files: impl Iterator<Item = &'a Path>) -> Result<(), CliError> {
    match files.find(|file| file.symlink_metadata().is_ok()) {
        Some(file) => Err(CliError::Exists(file.to_owned())),
        None => Ok(()),
    }
}

/// The directory for the files, made for this user alone if it is not there.
pub(super) fn directory(asked: Option<PathBuf>) -> anyhow::Result<PathBuf> {
    let directory = match asked.or_else(credentials_directory) {
        Some(directory) => std::path::absolute(directory)?,
        None => {
            let what = "this user has no home directory; give a directory for the files with --out";
            return Err(CliError::Usage(what.into()).into());
        }
    };
    make_directory(&directory)?;
    Ok(directory)
}

fn plan(
    args: &NewArgs,
    directory: &Path,
    existing: &[Conversation],
    now: Timestamp,
) -> anyhow::Result<Vec<Plan>> {
    let expires_at = end(now, args.life)?;
    let first = match (&args.label, args.count) {
        (Some(label), Some(_)) => 1 + highest_number(label, directory, existing),
        _ => 1,
    };
    let mut plans = Vec::new();
    for number in first..first + args.count.unwrap_or(1) {
        let label = match (&args.label, args.count) {
            (Some(label), Some(_)) => Some(format!("{label}-{number}").parse()?),
            (label, _) => label.clone(),
        };
        let new = made::planned(label, [&args.role_a, &args.role_b], expires_at)?;
        let name = output::conversation_name(new.label.as_ref(), &new.id);
        plans.push(Plan {
            files: Side::BOTH.map(|side| directory.join(format!("{name}.{side}.toml"))),
            new,
        });
    }
    Ok(plans)
}

/// The highest number behind this label, of conversations open or ended and of
/// files: a name that came back would mean two things.
fn highest_number(label: &Label, directory: &Path, existing: &[Conversation]) -> u32 {
    let prefix = format!("{label}-");
    let number = |name: &str| -> Option<u32> { name.strip_prefix(&prefix)?.parse().ok() };
    let labels = existing
        .iter()
        .filter_map(|c| number(c.label.as_ref()?.as_str()));
    let files = std::fs::read_dir(directory)
        .into_iter()
        .flatten()
        .filter_map(|entry| {
            let name = entry.ok()?.file_name();
            number(name.to_str()?.split_once('.')?.0)
        });
    // Far from the end, so that counting on cannot overflow.
    labels.chain(files).max().unwrap_or(0).min(u32::MAX / 2)
}

/// `NAME.orchestrator.toml`; a later batch of that name has a file of its own.
fn all_a_file(args: &NewArgs, directory: &Path, plans: &[Plan]) -> PathBuf {
    let file = |name: &str| directory.join(format!("{name}.orchestrator.toml"));
    let first = plans.first().map(|plan| {
        let label = plan.new.label.as_ref();
        output::conversation_name(label, &plan.new.id)
    });
    let of_batch = file(&first.unwrap_or_default());
    match &args.label {
        Some(label) if !file(label.as_str()).exists() => file(label.as_str()),
        _ => of_batch,
    }
}

/// One for each side, and the one of all `a` sides.
fn files(plans: &[Plan], all_a: Option<PathBuf>, label: Option<&Label>) -> Vec<NewFile> {
    let mut files = Vec::with_capacity(2 * plans.len() + 1);
    for plan in plans {
        let sides = Side::BOTH.into_iter().zip(&plan.files);
        files.extend(sides.map(|(side, path)| NewFile::of(&plan.new, side, path.clone())));
    }
    files.extend(all_a.map(|path| {
        NewFile {
            path,
            label: label.cloned(),
            callers: plans
                .iter()
                .map(|plan| made::caller(&plan.new, Side::A))
                .collect(),
        }
    }));
    files
}
