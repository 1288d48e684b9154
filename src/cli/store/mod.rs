//! `mcp-bridge store`: the database itself.

mod attend;
mod backup;
mod restore;

use std::path::Path;

use anyhow::Context as _;
use clap::{Args, Subcommand};
use serde_json::json;

use super::context::Context;
use super::operator;
use super::output::{note, print, print_json};
use super::table::{BAD, BOLD, Cell, DIM, GOOD, Table};
use crate::exit::Exit;
use crate::model::rate::RateLimits;
use crate::model::token::TokenStorage;
use crate::store::sqlite::Inspection;
use crate::store::{SharedStore, StoreCheck, StoreError, accepted, sqlite};
use crate::text;

/// What to do with the store.
#[derive(Debug, Subcommand)]
pub(super) enum StoreCommand {
    /// Make a store, or adopt the Python bridge's
    Init(InitArgs),
    /// Look thoroughly: integrity, version, sizes
    #[command(after_help = "\
Examples:
  mcp-bridge store check
  mcp-bridge store check --json | jq .problems

Problems end it with exit code 78.")]
    Check,
    /// Copy the store to a file, while everybody goes on writing
    Backup(backup::BackupArgs),
    /// Put a backup in the place of the store; nobody may be using it
    Restore(restore::RestoreArgs),
    /// Show or set how much a session may send
    Limits(LimitsArgs),
}

/// Makes a store where there is none. One that is there stays as it is, but
/// for what the options say.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  mcp-bridge store init
  mcp-bridge store init --store /srv/agents/bridge.db --per-minute 300
  mcp-bridge store init --token-storage plain      the Python bridge will share it")]
pub(super) struct InitArgs {
    /// How tokens of new conversations are kept: `plain` only where the Python
    /// bridge must verify them
    #[arg(long, value_name = "HOW", value_parser = ["hashed", "plain"])]
    token_storage: Option<String>,
    /// Whether housekeeping deletes old rows that the Python bridge wrote, too; in
    /// an adopted store it deletes only our own
    #[arg(long, value_name = "HOW", value_parser = ["on", "off"])]
    prune_foreign: Option<String>,
    /// Accept the triggers and other definitions in the database that `store
    /// check` names; it is noted in your configuration directory, root's counts
    /// for every user
    #[arg(long)]
    accept_schema: bool,
    /// Let everybody send as much as they like
    #[arg(long, conflicts_with_all = ["per_minute", "per_hour", "per_day"])]
    no_rate_limit: bool,
    #[command(flatten)]
    limits: Limits,
}

impl InitArgs {
    /// Whether it says more than that there be a store.
    fn changes_settings(&self) -> bool {
        self.token_storage.is_some()
            || self.prune_foreign.is_some()
            || self.no_rate_limit
            || self.limits.any()
    }
}

/// Shows the limits, or sets those that are named.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  mcp-bridge store limits
  mcp-bridge store limits --per-minute 300 --per-day 0    0 is no limit
  mcp-bridge store limits --off")]
pub(super) struct LimitsArgs {
    #[command(flatten)]
    limits: Limits,
    /// No limit at all
    #[arg(long, conflicts_with_all = ["per_minute", "per_hour", "per_day"])]
    off: bool,
}

#[derive(Debug, Args)]
struct Limits {
    /// Messages that a session may send in a minute
    #[arg(long, value_name = "N")]
    per_minute: Option<u32>,
    /// ... in an hour
    #[arg(long, value_name = "N")]
    per_hour: Option<u32>,
    /// ... in a day
    #[arg(long, value_name = "N")]
    per_day: Option<u32>,
}

impl Limits {
    /// Whether anything was said about them.
    fn any(&self) -> bool {
        [self.per_minute, self.per_hour, self.per_day]
            .iter()
            .any(Option::is_some)
    }

    /// The limits as they are to be, if anything was said about them.
    fn change(&self, now: RateLimits, off: bool) -> Option<RateLimits> {
        if off {
            return Some(RateLimits::NONE);
        }
        self.any().then(|| RateLimits {
            per_minute: self.per_minute.unwrap_or(now.per_minute),
            per_hour: self.per_hour.unwrap_or(now.per_hour),
            per_day: self.per_day.unwrap_or(now.per_day),
        })
    }
}

pub(super) async fn run(command: StoreCommand, context: &Context) -> anyhow::Result<Exit> {
    match command {
        StoreCommand::Init(args) => init(args, context).await,
        StoreCommand::Check => check(context).await,
        StoreCommand::Backup(args) => backup::run(args, context).await,
        StoreCommand::Restore(args) => restore::run(args, context).await,
        StoreCommand::Limits(args) => limits(args, context).await,
    }
}

async fn init(args: InitArgs, context: &Context) -> anyhow::Result<Exit> {
    let location = context.location()?;
    if args.accept_schema {
        accept(&location.path)?;
    }
    let was_there = std::fs::metadata(&location.path).is_ok_and(|meta| meta.len() > 0);
    if was_there && args.changes_settings() {
        operator::ensure(context)?;
    }
    let store = context.open_or_begin_anew().await?;
    let storage = args
        .token_storage
        .as_deref()
        .and_then(TokenStorage::from_word);
    if let Some(storage) = storage {
        store.set_token_storage(storage).await?;
    }
    if let Some(how) = &args.prune_foreign {
        store.set_prune_foreign(how == "on").await?;
    }
    let now = store.rate_limits().await?;
    let limits = args.limits.change(now, args.no_rate_limit);
    if let Some(limits) = limits {
        store.set_rate_limits(limits).await?;
    }
    let found = store.check().await?;
    store.close().await;
    let what = match (was_there, found.adopted) {
        (false, _) => "made",
        (true, true) => "adopted",
        (true, false) => "existing",
    };
    let limits = limits.unwrap_or(now);
    if context.json() {
        print_json(&json!({
            "store": found.location,
            "result": what,
            "engine": found.engine,
            "schema": found.schema,
            "token_storage": found.token_storage,
            "limits": limits_json(limits),
        }))?;
        return Ok(Exit::Success);
    }
    let path = found.location.display();
    let first = match what {
        "made" => format!("made store {BOLD}{path}{BOLD:#}\n"),
        "adopted" => format!(
            "adopted store {BOLD}{path}{BOLD:#}: the Python bridge's agents go on working with it\n"
        ),
        _ => format!("store {BOLD}{path}{BOLD:#} is there already\n"),
    };
    let rest = format!(
        "  {} · schema {} · tokens {} · {}\n",
        found.engine,
        found.schema,
        found.token_storage,
        limits_line(limits)
    );
    print(&(first + &rest))?;
    if found.adopted && storage == Some(TokenStorage::Hashed) {
        note(
            "the Python bridge cannot verify hashed tokens: its agents cannot take part in new conversations",
        );
    }
    Ok(Exit::Success)
}

/// Notes that what this program does not know of the database is meant to be
/// there.
fn accept(path: &Path) -> anyhow::Result<()> {
    let found = sqlite::inspect(path, false)?;
    if found.differences.is_empty() {
        note("there is nothing to accept: every definition in it is known");
        return Ok(());
    }
    let file = accepted::accept(path, &found.fingerprint).context("noting what was accepted")?;
    let mut text = format!("accepted, and noted in {}:", file.display());
    for difference in &found.differences {
        text.push_str(&format!("\n  {difference}"));
    }
    text.push_str(&format!(
        "\n  for a daemon of another user: store.accepted_schema = \"{}\"",
        found.fingerprint
    ));
    note(&text);
    Ok(())
}

/// A store with definitions that are not known is named, and not read.
fn unknown(error: anyhow::Error, context: &Context) -> anyhow::Result<Exit> {
    let Some(StoreError::UnknownDefinitions { path, what, hash }) = error.downcast_ref() else {
        return Err(error);
    };
    if context.json() {
        print_json(&json!({ "location": path, "problems": what, "fingerprint": hash }))?;
        return Ok(Exit::Config);
    }
    let mut out = format!("store {BOLD}{}{BOLD:#}\n", path.display());
    for difference in what {
        out.push_str(&format!(
            "{BAD}problem{BAD:#}: {difference} is not known to this program\n"
        ));
    }
    out.push_str(&format!(
        "  take it out; or, if it is meant to be there: mcp-bridge store init --accept-schema --store {}\n  \
         for a daemon of another user: store.accepted_schema = \"{hash}\"\n",
        path.display()
    ));
    print(&out)?;
    Ok(Exit::Config)
}

async fn check(context: &Context) -> anyhow::Result<Exit> {
    let store = match context.look().await {
        Ok(store) => store,
        Err(error) => return unknown(error, context),
    };
    let found = store.check().await?;
    let limits = store.rate_limits().await?;
    store.close().await;
    let seen = sqlite::inspect(&found.location, false)?;
    let odd = sqlite::odd_rows(&found.location)?;
    let mut problems = found.problems.clone();
    if found.journal_mode != "wal" {
        problems.push(format!(
            "the journal mode is {}, not wal: somebody changed it; stop all programs and start one again",
            found.journal_mode
        ));
    }
    problems.extend(
        seen.used_up
            .iter()
            .map(|table| format!("{}; {}", table.what(), table.remedy())),
    );
    problems.extend(odd.into_iter().map(|row| {
        format!(
            "{row}: it is left out where rows are listed; put it right with sqlite3, or delete it"
        )
    }));
    if context.json() {
        let found = StoreCheck {
            problems: problems.clone(),
            ..found
        };
        let mut object = serde_json::to_value(&found)?;
        object["limits"] = limits_json(limits);
        if let Some(file) = &seen.accepted {
            object["accepted"] = json!({ "definitions": seen.differences, "noted_in": file });
        }
        print_json(&object)?;
    } else {
        print(&page(&found, &seen, &problems, limits))?;
    }
    Ok(if problems.is_empty() {
        Exit::Success
    } else {
        Exit::Config
    })
}

fn page(found: &StoreCheck, seen: &Inspection, problems: &[String], limits: RateLimits) -> String {
    let mut table = Table::plain();
    let mut row = |name: &str, value: String| {
        table.row([Cell::new(name, DIM), value.into()]);
    };
    row("store", found.location.display().to_string());
    let origin = if found.adopted {
        "adopted from the Python bridge"
    } else {
        "its own"
    };
    row(
        "kind",
        format!("{}, schema {}, {origin}", found.engine, found.schema),
    );
    row(
        "size",
        format!(
            "{}, log {}",
            text::bytes(found.bytes),
            text::bytes(found.log_bytes)
        ),
    );
    row(
        "content",
        format!(
            "{}, {}, {} unread",
            text::count(found.conversations, "conversation"),
            text::count(found.messages, "message"),
            found.unread
        ),
    );
    row("tokens", found.token_storage.to_owned());
    row("limits", limits_line(limits));
    let mut out = table.render(0);
    if let Some(file) = &seen.accepted {
        out.push_str(&format!("accepted, as {} says:\n", file.display()));
        for definition in &seen.differences {
            out.push_str(&format!("  {definition}\n"));
        }
    }
    if problems.is_empty() {
        out.push_str(&format!("{GOOD}ok{GOOD:#}: nothing is wrong with it\n"));
    }
    for problem in problems {
        out.push_str(&format!("{BAD}problem{BAD:#}: {problem}\n"));
    }
    if !found.problems.is_empty() {
        out.push_str("  stop all programs that use it, and restore a backup\n");
    }
    out
}

async fn limits(args: LimitsArgs, context: &Context) -> anyhow::Result<Exit> {
    let asked = args.off || args.limits.any();
    if asked {
        operator::ensure(context)?;
    }
    let store: SharedStore = match asked {
        true => context.open().await?,
        false => context.look().await?,
    };
    let now = store.rate_limits().await?;
    let change = args.limits.change(now, args.off);
    if let Some(limits) = change {
        store.set_rate_limits(limits).await?;
    }
    store.close().await;
    let limits = change.unwrap_or(now);
    if context.json() {
        print_json(&limits_json(limits))?;
    } else {
        print(&format!("each session may send: {}\n", limits_line(limits)))?;
    }
    Ok(Exit::Success)
}

fn limits_json(limits: RateLimits) -> serde_json::Value {
    json!({
        "per_minute": limits.per_minute,
        "per_hour": limits.per_hour,
        "per_day": limits.per_day,
    })
}

fn limits_line(limits: RateLimits) -> String {
    let windows: Vec<String> = limits
        .windows()
        .map(|window| format!("{}/{}", window.limit, window.name))
        .collect();
    if windows.is_empty() {
        "no rate limit".to_owned()
    } else {
        format!("{} messages", windows.join(" "))
    }
}
