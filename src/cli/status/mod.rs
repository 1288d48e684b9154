//! `mcp-bridge status`: who is alive, who has mail and work, who acts.

mod daemons;
mod fleet;
mod sessions;

use std::time::Duration;

use clap::Args;
use jiff::Timestamp;
use serde_json::json;

use super::CliError;
use super::context::Context;
use super::exit::Exit;
use super::output::{self, print, print_json};
use super::table::{BOLD, Cell, DIM, Table};
use crate::clock;
use crate::model::session::SessionView;
use crate::store::locate::{Location, Origin};
use crate::store::{DaemonView, SharedStore};
use fleet::Fleet;
pub(super) use fleet::Outlook;
pub(super) use sessions::{sessions_json, table};

/// Conversations that ended are shown for so long.
const ENDED_SHOWN: Duration = Duration::from_secs(15 * 60);

/// Shows every session of the open conversations, the daemons, and what is true
/// of all of them: who acts, how much work there is, what operators said.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  mcp-bridge status
  mcp-bridge status --json | jq '.sessions[] | select(.unread > 0)'
  watch -c mcp-bridge status

States: starting (nothing heard yet), active, busy (inside a turn, or it said
so), idle (no call for a minute), silent (no heartbeat for longer than it is
good for), exited (the agent's process ended), expired (the conversation's time
ran out). Where an orchestrator acts, its word counts: stalled (owes and does
not move), lost, exited, never started.")]
pub(super) struct StatusArgs {}

pub(super) async fn run(_: StatusArgs, context: &Context) -> anyhow::Result<Exit> {
    let store = match context.look().await {
        Err(error) if !context.json() && is_first_time(&error) => {
            print(&first_screen(&context.location()?))?;
            return Ok(Exit::Success);
        }
        opened => opened?,
    };
    let now = clock::now();
    let mut sessions = store.sessions(now - ENDED_SHOWN).await?;
    // A stable order: the sides of a conversation stay together.
    sessions.sort_by_cached_key(|session| output::by_label(session.label.as_ref()));
    let daemons = store.daemons().await?;
    let fleet = Fleet::of(&store, &daemons, now).await?;
    let page = if context.json() {
        None
    } else {
        Some(page(&store, &sessions, &daemons, &fleet, now))
    };
    store.close().await;
    match page {
        Some(page) => print(&page)?,
        None => {
            let mut all = fleet.json()?;
            all["store"] = json!(store.location());
            all["sessions"] = sessions_json(&sessions, &fleet.outlook, now)?;
            let daemons = daemons.iter().map(|daemon| daemons::json(daemon, now));
            all["daemons"] = daemons.collect::<Result<Vec<_>, _>>()?.into();
            print_json(&all)?;
        }
    }
    Ok(Exit::Success)
}

/// Nobody said that there is a store, and there is none.
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
            "makes it, with a first conversation",
        ),
        ("mcp-bridge demo", "shows everything on a scratch store"),
        ("mcp-bridge --help", "all commands"),
    ] {
        table.row([Cell::new(command, BOLD), Cell::new(what, DIM)]);
    }
    format!("no store yet: {location}\n\n{}", table.render(2))
}

fn page(
    store: &SharedStore,
    sessions: &[SessionView],
    daemons: &[DaemonView],
    fleet: &Fleet,
    now: Timestamp,
) -> String {
    let mut out = String::new();
    if sessions.is_empty() {
        out.push_str(&format!(
            "no open conversations in {}\n  make one: mcp-bridge conversation new --label backend\n",
            store.location().display()
        ));
    } else {
        out.push_str(&table(sessions, &fleet.outlook, now).render(0));
    }
    if daemons.is_empty() {
        if !sessions.is_empty() {
            out.push_str(&format!(
                "\n{DIM}no daemon has served this store yet{DIM:#}\n"
            ));
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
