//! `mcp-bridge doctor`: everything that an operator would look at by hand.
//!
//! `gather` sees, `judge` says what it means, `finding` shows it. Nothing is
//! changed: no store is made, adopted or brought up to date.

mod facts;
mod finding;
mod gather;
mod judge;
mod wake;

use std::io::IsTerminal;
use std::path::PathBuf;

use clap::builder::ValueHint;
use clap::{Args, Subcommand};
use serde_json::json;

use super::context::Context;
use super::output::{print, print_json};
use crate::exit::Exit;
use finding::Level;

/// Looks at the configurations, the store and its disk, the limits of the
/// kernel, the daemons, the clock, credentials, agents, and the ways to wake
/// and to alert. Each line says what was found, and what to do about it.
#[derive(Debug, Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "\
Examples:
  mcp-bridge doctor
  mcp-bridge -c backend-1.a doctor wake            whether its agent is woken by a message
  sudo -u mcp-bridge mcp-bridge doctor             as the service's user sees it
  mcp-bridge doctor --config worker.toml
  mcp-bridge doctor --json | jq '.findings[] | select(.level == \"fail\")'

Levels: ok; note (worth knowing); skip (could not be asked here); warn (works,
or will not for long); fail (does not work). A fail ends it with exit code 1.
Commands that prove an agent's life are run; those that wake or alert are not."
)]
pub(super) struct DoctorArgs {
    /// A configuration to look at, in the place of /etc/mcp-bridge/*.toml and
    /// ~/.config/mcp-bridge/*.toml; may be repeated
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    config: Vec<PathBuf>,
    #[command(subcommand)]
    trial: Option<Trial>,
}

/// What is tried, as opposed to looked at.
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
    let context = &context.on_the_file().await?;
    let facts = gather::gather(&args.config, context, way).await?;
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
    let out = std::io::stdout();
    match rustix::termios::tcgetwinsize(&out) {
        Ok(size) if out.is_terminal() && size.ws_col > 0 => size.ws_col.into(),
        _ => WIDTH,
    }
}
