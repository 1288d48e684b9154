//! `mcp-bridge conversation new`: conversations, and the files that let
//! somebody be a session of them.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use jiff::Timestamp;

use super::made::{self, Plan};
use super::role;
use crate::bridge::Bridge;
use crate::cli::context::Context;
use crate::cli::error::CliError;
use crate::cli::output::{self, note};
use crate::clock;
use crate::credentials::{Credentials, CredentialsError};
use crate::exit::Exit;
use crate::model::session::Conversation;
use crate::model::token::{Token, TokenStorage};
use crate::model::{ConversationId, InvalidId, Label, SessionKey, Side};
use crate::session::known::credentials_directory;
use crate::session::made::{make_directory, random, token_for};
use crate::store::{Caller, NewConversation, StoreError};

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
    /// What people call it; with --count, a number is appended
    #[arg(long, value_name = "NAME", value_parser = label)]
    label: Option<Label>,
    /// The role of side `a`
    #[arg(long, value_name = "ROLE", default_value = "orchestrator", value_parser = role)]
    role_a: String,
    /// The role of side `b`
    #[arg(long, value_name = "ROLE", default_value = "worker", value_parser = role)]
    role_b: String,
    /// How many, numbered after the highest number that was ever used
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    count: Option<u32>,
    /// How long they live unless they are renewed
    #[arg(long = "for", value_name = "DURATION", default_value = "3h", value_parser = life)]
    life: Duration,
    /// Where the credentials are written [default: credentials beside this
    /// user's store; root's, where the service looks for them]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

pub(super) fn label(text: &str) -> Result<Label, InvalidId> {
    text.parse()
}

pub(super) fn life(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(life) if (Duration::from_secs(1)..=LONGEST).contains(&life) => Ok(life),
        Ok(_) => Err("between 1s and 10 years".into()),
        Err(error) => Err(format!("{error}; write for example 3h or 2days")),
    }
}

pub(super) fn end(now: Timestamp, life: Duration) -> anyhow::Result<Timestamp> {
    Ok(now.checked_add(life)?)
}

pub(super) async fn run(args: NewArgs, context: &Context) -> anyhow::Result<Exit> {
    let directory = directory(args.out.clone())?;
    let bridge = context.open_or_create().await?;
    let now = clock::now();
    let mut tries = 0;
    let (plans, all_a, storage) = loop {
        let plans = plan(&args, &directory, &bridge.conversations().await?, now)?;
        let all_a = (args.count.is_some()).then(|| all_a_file(&args, &directory, &plans));
        let files = plans.iter().flat_map(|plan| &plan.files).chain(&all_a);
        if let Some(file) = files
            .into_iter()
            .find(|file| file.symlink_metadata().is_ok())
        {
            return Err(CliError::Exists(file.clone()).into());
        }
        let new: Vec<_> = plans.iter().map(|plan| plan.new.clone()).collect();
        tries += 1;
        match bridge.create_conversations(&new).await {
            Err(StoreError::LabelTaken(_)) if args.count.is_some() && tries < TRIES => {}
            made => break (plans, all_a, made?),
        }
    };
    if let Err(error) = write_files(&plans, all_a.as_deref(), &args, &bridge, storage) {
        return Err(undo(&bridge, &plans, all_a.as_deref(), error).await);
    }
    made::show(&plans, all_a.as_deref(), &bridge, context, now)?;
    bridge.close().await;
    Ok(Exit::Success)
}

/// The directory for the files, made for this user alone if it is not there.
pub(super) fn directory(asked: Option<PathBuf>) -> anyhow::Result<PathBuf> {
    let directory = match asked.or_else(credentials_directory) {
        Some(directory) => std::path::absolute(directory)?,
        None => {
            let what = "this user has no home directory: say with --out where the files shall be";
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
        let id = ConversationId::from_random(random()?);
        let [token_a, token_b] = [token(&id, Side::A)?, token(&id, Side::B)?];
        let name = output::conversation_name(label.as_ref(), &id);
        plans.push(Plan {
            files: Side::BOTH.map(|side| directory.join(format!("{name}.{side}.toml"))),
            new: NewConversation {
                id,
                label,
                role_a: args.role_a.clone(),
                role_b: args.role_b.clone(),
                token_a,
                token_b,
                expires_at,
            },
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

fn token(id: &ConversationId, side: Side) -> anyhow::Result<Token> {
    Ok(token_for(&SessionKey::new(id.clone(), side))?)
}

fn write_files(
    plans: &[Plan],
    all_a: Option<&Path>,
    args: &NewArgs,
    bridge: &Bridge,
    storage: TokenStorage,
) -> Result<(), CredentialsError> {
    let caller = |new: &NewConversation, side| Caller {
        session: SessionKey::new(new.id.clone(), side),
        token: match side {
            Side::A => new.token_a.clone(),
            Side::B => new.token_b.clone(),
        },
    };
    let credentials = |label: Option<Label>, callers| Credentials {
        store: Some(bridge.name()),
        label,
        callers,
        source: None,
    };
    for plan in plans {
        for (side, path) in Side::BOTH.into_iter().zip(&plan.files) {
            credentials(plan.new.label.clone(), vec![caller(&plan.new, side)])
                .write(path, storage)?;
        }
    }
    if let Some(path) = all_a {
        let callers = plans.iter().map(|plan| caller(&plan.new, Side::A));
        credentials(args.label.clone(), callers.collect()).write(path, storage)?;
    }
    Ok(())
}

/// Conversations that nobody can use must not stay open.
async fn undo(
    bridge: &Bridge,
    plans: &[Plan],
    all_a: Option<&Path>,
    error: CredentialsError,
) -> anyhow::Error {
    // Only our own can stand there: all were missing a moment ago, and the
    // one that was not is the error.
    let failed = match &error {
        CredentialsError::Write(path, _) => Some(path.clone()),
        _ => None,
    };
    for file in plans
        .iter()
        .flat_map(|plan| &plan.files)
        .map(PathBuf::as_path)
        .chain(all_a)
    {
        if Some(file) == failed.as_deref() {
            break;
        }
        let _ = std::fs::remove_file(file);
    }
    for plan in plans {
        if let Err(error) = bridge.close_conversation(&plan.new.id).await {
            note(&format!(
                "conversation {} could not be closed again: {}",
                plan.new.id,
                error.headline()
            ));
        }
    }
    bridge.close().await;
    anyhow::Error::from(error).context("no conversation was made")
}
