//! `mcp-bridge doctor`: everything that an operator would look at by hand.
//!
//! `gather` sees, `judge` says what it means, `finding` shows it. Nothing is
//! changed: no store is made, adopted or brought up to date.

mod facts;
mod finding;
mod gather;
mod judge;
mod wake;

use std::path::PathBuf;

use clap::builder::ValueHint;
use clap::{Args, Subcommand};
use serde_json::json;

use super::context::Context;
use super::output::{self, print, print_json};
use crate::exit::Exit;
use finding::Level;

/// Checks configurations, the store and its disk, kernel limits, daemons, the
/// clock, credentials, agents, and the wake and alert adapters. Each line says what
/// was found and what to do.
#[derive(Debug, Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "\
Examples:
  mcp-bridge doctor
  mcp-bridge -c backend-1/a doctor wake            test whether a message wakes its agent
  sudo -u mcp-bridge mcp-bridge doctor             see it as the service's user
  mcp-bridge doctor --config worker.toml
  mcp-bridge doctor --json | jq '.findings[] | select(.level == \"fail\")'

Levels: ok; note (good to know); skip (could not be checked here); warn (works,
with a problem or soon not any more); fail (does not work). With a fail the exit
code is 1. The doctor runs the commands of the configuration that prove an agent is
alive; it runs no command that wakes or alerts."
)]
pub(super) struct DoctorArgs {
    /// Configuration to check, instead of /etc/mcp-bridge/*.toml and
    /// ~/.config/mcp-bridge/*.toml; may be repeated
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    config: Vec<PathBuf>,
    #[command(subcommand)]
    trial: Option<Trial>,
}

/// A test that does something, not only looks.
#[derive(Debug, Subcommand)]
enum Trial {
    Wake(wake::WakeArgs),
}

/// Where standard output has no width of its own.
const WIDTH: usize = 120;

pub(super) async fn run(args: DoctorArgs, context: &Context) -> anyhow::Result<Exit> {
    if let Some(Trial::Wake(args)) = args.trial {
        return wake::run(args, context).await;
    }
    let way = context.found().await?;
    let waiting_tasks = match args.config.is_empty() {
        true => gather::waiting_tasks(context).await,
        false => 0,
    };
    let context = &context.on_the_file().await?;
    let mut facts = gather::gather(&args.config, context, way).await?;
    facts.waiting_tasks = waiting_tasks;
    let findings = judge::judge(&facts);
    let worst = findings.iter().map(|f| f.level).max().unwrap_or(Level::Ok);
    if context.json() {
        let count = |level| finding::count(&findings, level);
        print_json(&json!({
            "result": worst,
            "version": facts.version,
            "at": facts.now,
            "way": way.json(),
            "counts": {
                "ok": count(Level::Ok),
                "note": count(Level::Note),
                "skip": count(Level::Skip),
                "warn": count(Level::Warn),
                "fail": count(Level::Fail),
            },
            "findings": findings,
        }))?;
    } else {
        print(&finding::page(&findings, width()))?;
    }
    Ok(match worst {
        Level::Fail => Exit::Failure,
        _ => Exit::Success,
    })
}

/// How wide a line may be.
fn width() -> usize {
    output::width().unwrap_or(WIDTH)
}
