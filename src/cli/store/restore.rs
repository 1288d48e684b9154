//! `mcp-bridge store restore`.

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use clap::builder::ValueHint;
use serde_json::json;

use super::attend::attend;
use super::backup::content;
use crate::cli::CliError;
use crate::cli::context::Context;
use crate::cli::operator;
use crate::cli::output::{note, print, print_json, relative};
use crate::cli::table::{BOLD, DIM, WARN};
use crate::clock;
use crate::exit::Exit;
use crate::store::sqlite::{self, Inspection};
use crate::text::shown::shown;

/// Replaces the store by a backup. Daemons, agents' commands and the Python bridge
/// must be stopped. The old database is kept, under a name that contains the time.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  systemctl stop 'mcp-bridged@*'
  mcp-bridge store restore bridge-20251113T021320Z.backup.db
  mcp-bridge store restore /mnt/disk/nightly.db --yes     do not ask
  systemctl start mcp-bridged@worker

Stop daemons, agents and the Python bridge first. The old database is kept under a
name that contains the time. It has what was sent, read and done after the backup
was made. Numbers of messages and tasks, and fences, continue after the old ones:
none is used twice.")]
pub(in crate::cli) struct RestoreArgs {
    /// Backup file
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    file: PathBuf,
    /// Do not ask; required without a terminal
    #[arg(long)]
    yes: bool,
}

pub(super) async fn run(args: RestoreArgs, context: &Context) -> anyhow::Result<Exit> {
    // Of a socket the file that its daemon has open; that daemon is named below, as all
    // who have it are.
    let context = &context.on_the_file().await?;
    operator::ensure(context).await?;
    let store = std::path::absolute(context.location().await?.path())?;
    let file = std::path::absolute(&args.file)?;
    let found = sqlite::candidate(&file, &store)?;
    if !args.yes {
        if !std::io::stdin().is_terminal() {
            let what = "restoring replaces the store, and there is no terminal to ask you\n  use --yes to confirm";
            return Err(CliError::Usage(what.into()).into());
        }
        if !agreed(&store, &found)? {
            note("nothing was changed");
            return Ok(Exit::Failure);
        }
    }
    let (to, from) = (store.clone(), file.clone());
    let restored =
        attend(move |attendant| sqlite::restore(&to, &from, clock::now(), attendant)).await?;
    if context.json() {
        print_json(&json!({
            "store": restored.store,
            "from": file,
            "replaced": restored.replaced,
            "damaged": restored.damaged,
            "bytes": restored.content.bytes,
            "schema": restored.content.kind.schema(),
            "conversations": restored.content.conversations,
            "messages": restored.content.messages,
        }))?;
    } else {
        let mut out = format!(
            "restored {BOLD}{}{BOLD:#}\n  from {}: {}\n",
            restored.store.display(),
            file.display(),
            content(&restored.content),
        );
        if let Some(replaced) = &restored.replaced {
            let state = match &restored.damaged {
                Some(why) => format!(" ({why}); its log is beside it"),
                None => ", whole".to_owned(),
            };
            out.push_str(&format!(
                "  the old database is kept{state}: {}\n",
                replaced.display()
            ));
        }
        out.push_str(&format!(
            "{DIM}  now restart the programs that use it{DIM:#}\n"
        ));
        print(&out)?;
    }
    if !restored.late.is_empty() {
        note(&format!(
            "{WARN}warning{WARN:#}: {} opened the old database at that moment and would write to it\n  restart it",
            restored.late
        ));
    }
    Ok(Exit::Success)
}

/// Asks, with what is at stake on either side.
fn agreed(store: &Path, found: &Inspection) -> anyhow::Result<bool> {
    let mut out = anstream::stderr().lock();
    let age = |found: &Inspection| match found.newest {
        Some(at) => format!(", last used {}", relative(at, clock::now())),
        None => String::new(),
    };
    let old = match sqlite::inspect(store, false) {
        Ok(old) => format!("{}{}", content(&old), age(&old)),
        Err(error) => error.headline(),
    };
    let name = store.display().to_string();
    writeln!(out, "the store {BOLD}{}{BOLD:#}", shown(&name))?;
    writeln!(out, "  is       {}", shown(&old))?;
    writeln!(out, "  becomes  {}{}", content(found), age(found))?;
    write!(out, "replace it and keep the old one? [y/N] ")?;
    out.flush()?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    Ok(matches!(answer.trim().to_lowercase().as_str(), "y" | "yes"))
}
