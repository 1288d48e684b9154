//! `mcp-bridge status`: who is alive, who has mail and work, who acts.

mod daemons;
mod fleet;
mod sessions;

use clap::Args;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::CliError;
use super::context::Context;
use super::error::beside;
use super::heard::{self, Heard};
use super::output::{self, print, print_json, shown};
use super::table::{BOLD, Cell, DIM, Table};
use crate::advice;
use crate::bridge::StatusNow;
use crate::exit::Exit;
use crate::model::session::SessionView;
use crate::store::locate::{Location, Origin};
use crate::store::{DaemonView, StoreError};
use fleet::Fleet;
pub(super) use fleet::{Outlook, is_leaderless};
pub(super) use sessions::{sessions_json, table};

/// Shows every session of the open conversations, the daemons, and what is true
/// of all of them: who acts, how much work there is, what operators said.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  mcp-bridge status
  mcp-bridge status --json | jq '.sessions[] | select(.unread > 0)'
  watch -c mcp-bridge status

States:
  starting   no sign of life yet
  operator   a side a without an agent; an operator sends from it
  active     the agent works
  busy       the agent is in a turn, or reported that it is busy
  idle       no activity for a minute
  stopped    the agent's process is stopped (Ctrl-Z or a signal)
  silent     the last heartbeat is not valid any more
  exited     the agent's process ended
  expired    the conversation expired
If an orchestrator runs, it decides these states: stalled (has pending work, no
activity), lost, exited, never started.

Problems that a daemon of this machine reports are shown below the table.
Exit codes: 0; 69 if the store cannot be read, or if a daemon reports that it cannot
use or write it. What is known without the store is still shown.")]
pub(super) struct StatusArgs {}

pub(super) async fn run(_: StatusArgs, context: &Context) -> anyhow::Result<Exit> {
    let location = context.location().await?;
    match read(context).await {
        Ok((all, exit)) => {
            all.show(context.json())?;
            Ok(exit)
        }
        Err(error) if !context.json() && is_first_time(&error) => {
            print(&first_screen(location))?;
            Ok(Exit::Success)
        }
        Err(error) if is_outage(&error) => {
            unreadable(&error, location, context.json())?;
            Ok(Exit::Unavailable)
        }
        Err(error) => Err(error),
    }
}

/// What there is to show.
enum Shown {
    Page(String),
    Json(Value),
}

impl Shown {
    fn show(&self, json: bool) -> anyhow::Result<()> {
        match self {
            Self::Page(page) => Ok(print(page)?),
            Self::Json(all) if json => print_json(all),
            Self::Json(_) => Ok(()),
        }
    }
}

/// All that the store and its daemons say. A store that a daemon cannot use is
/// not to be relied on, although this command could read it.
async fn read(context: &Context) -> anyhow::Result<(Shown, Exit)> {
    let bridge = context.look().await?;
    let StatusNow {
        answering,
        mut status,
    } = bridge.status().await?;
    let fleet = Fleet::of(&bridge, &status).await?;
    let (now, sessions, daemons) = (status.at, &mut status.sessions, &status.daemons);
    // A stable order: the sides of a conversation stay together.
    sessions.sort_by_cached_key(|session| output::by_label(session.label.as_ref()));
    let heard = heard::of(answering.store.file());
    let exit = match heard.iter().any(|daemon| daemon.store_trouble().is_some()) {
        true => Exit::Unavailable,
        false => Exit::Success,
    };
    let shown = if context.json() {
        let mut all = fleet.json()?;
        all["store"] = json!(bridge.name());
        all["way"] = context.found().await?.json();
        all["sessions"] = sessions_json(sessions, &fleet.outlook, now)?;
        let daemons = daemons.iter().map(|daemon| daemons::json(daemon, now));
        all["daemons"] = daemons.collect::<Result<Vec<_>, _>>()?.into();
        all["heard"] = heard.iter().map(Heard::json).collect();
        Shown::Json(all)
    } else {
        let way = context.found().await?.to_string();
        let way = shown(&way);
        let mut page = page(&way, sessions, daemons, &fleet, now);
        let heard = heard::lines(&heard);
        if !heard.is_empty() {
            page.push_str(&format!("\n{heard}"));
        }
        if !sessions.is_empty() {
            page.push_str(&format!("\n{DIM}store {way}{DIM:#}\n"));
        }
        Shown::Page(page)
    };
    bridge.close().await;
    Ok((shown, exit))
}

/// Whether it is the store that cannot be read, rather than that it must be
/// changed first.
fn is_outage(error: &anyhow::Error) -> bool {
    if let Some(StoreError::NotAdopted(_) | StoreError::OldSchema { .. }) = error.downcast_ref() {
        return false;
    }
    matches!(error.downcast_ref(), Some(CliError::NoStore(_)))
        || matches!(error.downcast_ref::<StoreError>(), Some(error) if error.is_outage())
}

/// What can be said without the store: why it cannot be read, and what the
/// daemons know that use it.
fn unreadable(error: &anyhow::Error, location: &Location, json: bool) -> anyhow::Result<()> {
    let path = std::path::absolute(location.path())?;
    let heard = heard::of(&path);
    if json {
        let error = error.to_string();
        print_json(&json!({
            "store": path,
            "error": error.lines().next(),
            "heard": heard.iter().map(Heard::json).collect::<Vec<_>>(),
        }))?;
    } else {
        let mut page = String::new();
        for daemon in &heard {
            let (name, status) = (daemon.name(), shown(&daemon.state.status));
            page.push_str(&format!("{BOLD}{name}{BOLD:#} says: {status}\n"));
        }
        print(&page)?;
    }
    // Its exit code is this command's own: on any fault, there is no status.
    let _ = super::report(error);
    Ok(())
}

/// No setting names a store, and there is none.
fn is_first_time(error: &anyhow::Error) -> bool {
    matches!(
        error.downcast_ref(),
        Some(CliError::NoStore(Location {
            origin: Origin::Default,
            ..
        }))
    )
}

fn first_screen(location: &Location) -> String {
    let mut table = Table::plain();
    for (command, what) in [
        (
            "mcp-bridge conversation new --label backend",
            "creates it, with a first conversation",
        ),
        ("mcp-bridge demo", "shows everything in a temporary store"),
        ("mcp-bridge --help", "all commands"),
    ] {
        table.row([Cell::new(command, BOLD), Cell::new(what, DIM)]);
    }
    format!(
        "no store yet: {location}{}\n\n{}",
        beside(location),
        table.render(2)
    )
}

fn page(
    way: &str,
    sessions: &[SessionView],
    daemons: &[DaemonView],
    fleet: &Fleet,
    now: Timestamp,
) -> String {
    let mut out = String::new();
    if sessions.is_empty() {
        let make = advice::as_given("mcp-bridge conversation new --label backend");
        out.push_str(&format!(
            "no open conversations in {way}\n  create one: {make}\n",
        ));
    } else {
        out.push_str(&table(sessions, &fleet.outlook, now).render(0));
    }
    if daemons.is_empty() {
        if !sessions.is_empty() {
            out.push_str(&format!("\n{DIM}no daemon uses this store yet{DIM:#}\n"));
        }
    } else {
        out.push('\n');
        out.push_str(&daemons::table(daemons, now).render(0));
    }
    let lines = fleet.lines(sessions, now);
    if !lines.is_empty() {
        out.push('\n');
        out.push_str(&lines);
    }
    out
}
