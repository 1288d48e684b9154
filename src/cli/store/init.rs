//! `mcp-bridge store init`.

use std::path::Path;

use anyhow::Context as _;
use clap::Args;
use serde_json::json;

use super::limits::{Limits, limits_json, limits_line};
use crate::cli::context::Context;
use crate::cli::operator;
use crate::cli::output::{note, print, print_json};
use crate::cli::table::BOLD;
use crate::exit::Exit;
use crate::model::token::TokenStorage;
use crate::store::{accepted, sqlite};

/// Creates a store. An existing one stays as it is, except for what the options
/// change.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  mcp-bridge store init
  mcp-bridge store init --store /srv/agents/bridge.db --per-minute 300
  mcp-bridge store init --token-storage plain      for a store that the Python bridge shares")]
pub(in crate::cli) struct InitArgs {
    /// How tokens of new conversations are stored: `plain` only if the Python
    /// bridge must verify them
    #[arg(long, value_name = "HOW", value_parser = ["hashed", "plain"])]
    token_storage: Option<String>,
    /// Whether housekeeping also deletes old rows that the Python bridge wrote [default
    /// in an adopted store: off]
    #[arg(long, value_name = "HOW", value_parser = ["on", "off"])]
    prune_foreign: Option<String>,
    /// Accept the triggers and other definitions in the database that `store verify`
    /// names; noted in your configuration directory (root's is valid for all users)
    #[arg(long)]
    accept_schema: bool,
    /// Remove the limits: every session may send any number of messages
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

pub(super) async fn init(args: InitArgs, context: &Context) -> anyhow::Result<Exit> {
    let context = &context.on_the_file().await?;
    let location = context.location().await?;
    if args.accept_schema {
        accept(location.path())?;
    }
    let was_there = std::fs::metadata(location.path()).is_ok_and(|meta| meta.len() > 0);
    if was_there && args.changes_settings() {
        operator::ensure(context).await?;
    }
    let bridge = context.open_or_begin_anew().await?;
    let storage = args
        .token_storage
        .as_deref()
        .and_then(TokenStorage::from_word);
    if let Some(storage) = storage {
        bridge.set_token_storage(storage).await?;
    }
    if let Some(how) = &args.prune_foreign {
        bridge.set_prune_foreign(how == "on").await?;
    }
    let now = bridge.rate_limits().await?;
    let limits = args.limits.change(now, args.no_rate_limit);
    if let Some(limits) = limits {
        bridge.set_rate_limits(limits).await?;
    }
    let found = bridge.check().await?;
    bridge.close().await;
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
            "token_storage": found.token_storage.as_str(),
            "limits": limits_json(limits),
        }))?;
        return Ok(Exit::Success);
    }
    let path = &found.location;
    let first = match what {
        "made" => format!("created store {BOLD}{path}{BOLD:#}\n"),
        "adopted" => format!(
            "adopted store {BOLD}{path}{BOLD:#}: the agents of the Python bridge can go on using it\n"
        ),
        _ => format!("store {BOLD}{path}{BOLD:#} exists already\n"),
    };
    let rest = format!(
        "  {} · schema {} · tokens {} · {}\n",
        found.engine,
        found.schema,
        found.token_storage.as_str(),
        limits_line(limits)
    );
    print(&(first + &rest))?;
    if found.adopted && storage == Some(TokenStorage::Hashed) {
        note(
            "the Python bridge cannot verify hashed tokens: its agents cannot use new conversations",
        );
    }
    Ok(Exit::Success)
}

/// Notes that what this program does not know of the database is meant to be
/// there.
fn accept(path: &Path) -> anyhow::Result<()> {
    let found = sqlite::inspect(path, false)?;
    if found.differences.is_empty() {
        note("nothing to accept: this program knows every definition in the store");
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
