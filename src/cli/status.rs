//! `mcp-bridge status`: who is alive, who has mail.

use std::time::Duration;

use clap::Args;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::CliError;
use super::context::Context;
use super::exit::Exit;
use super::output::{self, print, print_json, printable};
use super::table::{BAD, BOLD, Cell, DIM, GOOD, Table, WARN};
use crate::model::session::{Life, SessionView};
use crate::store::locate::{Location, Origin};
use crate::store::{DaemonView, SharedStore};
use crate::{clock, host, text};

/// Without a call for so long, a session is idle.
const IDLE_AFTER: Duration = Duration::from_secs(60);

/// Conversations that ended are shown for so long.
const ENDED_SHOWN: Duration = Duration::from_secs(15 * 60);

/// Shows every session of the open conversations, and the daemons.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  mcp-bridge status
  mcp-bridge status --json | jq '.sessions[] | select(.unread > 0)'
  watch -c mcp-bridge status

States: starting (nothing heard yet), active, idle (no call for a minute),
silent (no heartbeat for longer than it is good for), exited (the agent's
process ended), expired (the conversation's time ran out).")]
pub(super) struct StatusArgs {}

pub(super) async fn run(_: StatusArgs, context: &Context) -> anyhow::Result<Exit> {
    let store = match context.open().await {
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
    let page = if context.json() {
        None
    } else {
        Some(page(&store, &sessions, &daemons, now))
    };
    store.close().await;
    match page {
        Some(page) => print(&page)?,
        None => print_json(&json!({
            "store": store.location(),
            "sessions": sessions_json(&sessions, now)?,
            "daemons": daemons.iter().map(daemon_json).collect::<Result<Vec<_>, _>>()?,
        }))?,
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
    now: Timestamp,
) -> String {
    let mut out = String::new();
    if sessions.is_empty() {
        out.push_str(&format!(
            "no open conversations in {}\n  make one: mcp-bridge conversation new --label backend\n",
            store.location().display()
        ));
    } else {
        out.push_str(&table(sessions, now).render(0));
    }
    if daemons.is_empty() {
        if !sessions.is_empty() {
            out.push_str(&format!(
                "\n{DIM}no daemon has served this store yet{DIM:#}\n"
            ));
        }
    } else {
        out.push('\n');
        out.push_str(&daemon_table(daemons, now).render(0));
    }
    out
}

/// The table of sessions.
pub(super) fn table(sessions: &[SessionView], now: Timestamp) -> Table {
    let mut table = Table::new(&[
        "SESSION",
        "ROLE",
        "STATE",
        "HEARTBEAT",
        "ACTIVITY",
        "UNREAD",
        "PROOF",
        "DAEMON",
        "WAKE",
    ]);
    let ago = |at: Option<Timestamp>| {
        at.map(|at| text::short_duration(text::elapsed(at, now)))
            .unwrap_or_default()
    };
    for session in sessions {
        let (state, style) = state(session, now);
        let beat = session.heartbeat.as_ref();
        let unread = if session.unread > 0 { WARN } else { DIM };
        let wake = session.wake.as_deref().unwrap_or_default();
        table.row([
            Cell::new(
                output::session_name(session.label.as_ref(), &session.key),
                BOLD,
            ),
            Cell::from(printable(&session.role).into_owned()),
            Cell::new(state, style),
            Cell::from(ago(beat.map(|beat| beat.at))),
            Cell::from(ago(session.activity_at)),
            Cell::new(session.unread.to_string(), unread),
            Cell::from(beat.map_or("", |beat| beat.proof.as_str())),
            Cell::from(
                beat.and_then(|beat| beat.daemon.as_deref())
                    .unwrap_or_default(),
            ),
            Cell::from(printable(wake).into_owned()),
        ]);
    }
    table.drop_empty(&["HEARTBEAT", "ACTIVITY", "PROOF", "DAEMON", "WAKE"]);
    table
}

/// The sessions as JSON, each with its state in a word.
pub(super) fn sessions_json(sessions: &[SessionView], now: Timestamp) -> anyhow::Result<Value> {
    let one = |session: &SessionView| {
        let mut object = serde_json::to_value(session)?;
        object["state"] = word(session, now).0.into();
        Ok::<_, serde_json::Error>(object)
    };
    Ok(sessions
        .iter()
        .map(one)
        .collect::<Result<Vec<_>, _>>()?
        .into())
}

/// `silent 32s`, with the agent's own word behind it where it said one.
fn state(session: &SessionView, now: Timestamp) -> (String, anstyle::Style) {
    let (word, since, style) = word(session, now);
    let mut state = word.to_owned();
    if let Some(since) = since {
        state.push(' ');
        state.push_str(&text::short_duration(text::elapsed(since, now)));
    }
    if let Some(own @ ("working" | "waiting" | "blocked" | "complete")) =
        session.reported.as_deref()
    {
        state.push_str(&format!(" ({own})"));
    }
    (state, style)
}

fn word(
    session: &SessionView,
    now: Timestamp,
) -> (&'static str, Option<Timestamp>, anstyle::Style) {
    let beat = session.heartbeat.as_ref();
    if let Some(end) = session.expires_at.filter(|end| *end <= now) {
        return ("expired", Some(end), DIM);
    }
    let lately = session
        .activity_at
        .is_some_and(|at| text::elapsed(at, now) < IDLE_AFTER);
    match session.life(now) {
        Life::Exited => ("exited", beat.and_then(|beat| beat.exited_at), BAD),
        Life::Silent => ("silent", beat.map(|beat| beat.at), BAD),
        Life::Starting if session.activity_at.is_none() => ("starting", None, WARN),
        // A call is a sign of life, heartbeat or not.
        Life::Alive | Life::Starting if lately => ("active", None, GOOD),
        Life::Alive | Life::Starting => ("idle", None, GOOD.dimmed()),
    }
}

/// What became of a daemon, as far as this machine can tell.
fn fate(daemon: &DaemonView) -> (&'static str, anstyle::Style) {
    if daemon.stopped_at.is_some() {
        return ("stopped", DIM);
    }
    if daemon.host != host::name() {
        return ("running", GOOD);
    }
    // Another boot id is this machine restarted, or another of its name.
    if daemon.boot_id != host::boot().id || !is_running(daemon.pid) {
        return ("gone", BAD);
    }
    ("running", GOOD)
}

/// Whether a process of this id is there, and is a daemon of ours where that
/// can be told.
fn is_running(pid: u32) -> bool {
    #[cfg(target_os = "linux")]
    {
        // The kernel keeps 15 characters of a name.
        std::fs::read_to_string(format!("/proc/{pid}/comm"))
            .is_ok_and(|name| name.trim() == "mcp-bridged")
    }
    #[cfg(not(target_os = "linux"))]
    {
        i32::try_from(pid)
            .ok()
            .and_then(rustix::process::Pid::from_raw)
            .is_some_and(|pid| rustix::process::test_kill_process(pid).is_ok())
    }
}

fn daemon_table(daemons: &[DaemonView], now: Timestamp) -> Table {
    let mut table = Table::new(&[
        "DAEMON", "ROLE", "STATE", "SINCE", "SESSIONS", "PID", "VERSION",
    ]);
    for daemon in daemons {
        let (state, style) = fate(daemon);
        let since = daemon.stopped_at.unwrap_or(daemon.started_at);
        let note = if state == "gone" {
            "gone (it did not stop cleanly)"
        } else {
            state
        };
        table.row([
            Cell::new(printable(&daemon.id).into_owned(), BOLD),
            Cell::from(daemon.role.as_str()),
            Cell::new(note, style),
            Cell::from(text::short_duration(text::elapsed(since, now))),
            Cell::from(daemon.sessions.to_string()),
            Cell::from(daemon.pid.to_string()),
            Cell::from(daemon.version.as_str()),
        ]);
    }
    table
}

fn daemon_json(daemon: &DaemonView) -> Result<Value, serde_json::Error> {
    let mut object = serde_json::to_value(daemon)?;
    object["state"] = fate(daemon).0.into();
    Ok(object)
}
