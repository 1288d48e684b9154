//! Sessions, each with its state in a word: the orchestrator's verdict where
//! one acts, and what can be read off the heartbeat otherwise.

use std::time::Duration;

use anstyle::Style;
use jiff::Timestamp;
use serde_json::Value;

use super::fleet::Outlook;
use crate::cli::output::{shown as plain, width};
use crate::cli::table::{BAD, BOLD, Cell, DIM, GOOD, Narrower, Table, WARN};
use crate::model::health::Turn;
use crate::model::session::{Life, ProofKind, SessionView};
use crate::model::standing::Standing;
use crate::{host, text};

/// Without a call for so long, a session is idle.
const IDLE_AFTER: Duration = Duration::from_secs(60);

/// A session's state: the word in JSON, since when, and its colour.
struct State {
    word: &'static str,
    since: Option<Timestamp>,
    style: Style,
}

/// What the table of sessions gives up on a narrow screen, the least important first.
const NARROWER: [Narrower; 9] = [
    Narrower::Cut("WAKE", 16),
    Narrower::Cut("AGENT", 16),
    Narrower::Drop("HEARTBEAT"),
    Narrower::Cut("ROLE", 8),
    Narrower::Cut("AGENT", 8),
    Narrower::Cut("WAKE", 8),
    Narrower::Drop("ACTIVITY"),
    Narrower::Cut("SESSION", 16),
    Narrower::Cut("STATE", 10),
];

/// The table of sessions, as it fits the screen.
pub(in crate::cli) fn table(sessions: &[SessionView], outlook: &Outlook, now: Timestamp) -> Table {
    let mut table = Table::new(&[
        "SESSION",
        "ROLE",
        "STATE",
        "HEARTBEAT",
        "ACTIVITY",
        "UNREAD",
        "TASKS",
        "AGENT",
        "WAKE",
    ]);
    let ago = |at: Option<Timestamp>| {
        at.map(|at| text::short_duration(text::elapsed(at, now)))
            .unwrap_or_default()
    };
    let here = host::name();
    for session in sessions {
        let (state, style) = shown(session, outlook, now);
        let unread = if session.unread > 0 { WARN } else { DIM };
        let has = if session.open_tasks > 0 { GOOD } else { DIM };
        let tasks = match session.capacity {
            Some(capacity) => format!("{}/{capacity}", session.open_tasks),
            None => session.open_tasks.to_string(),
        };
        // One that ended well is nothing to look at.
        let wake = session.wake.as_deref().unwrap_or_default();
        let wake = if wake.ends_with(": verified") {
            ""
        } else {
            wake
        };
        table.row([
            Cell::new(
                crate::model::session::session_name(session.label.as_ref(), &session.key),
                BOLD,
            ),
            Cell::from(plain(&session.role).into_owned()),
            Cell::new(state, style),
            Cell::from(ago(session.heartbeat.as_ref().map(|beat| beat.at))),
            Cell::from(ago(session.activity_at)),
            Cell::new(session.unread.to_string(), unread),
            Cell::new(tasks, has),
            Cell::from(agent(session, &here)),
            Cell::from(plain(wake).into_owned()),
        ]);
    }
    table.drop_empty(&["HEARTBEAT", "ACTIVITY", "AGENT", "WAKE"]);
    table.fit(width(), &NARROWER);
    table
}

/// Who the agent is, as far as that is known: its client, its process, its
/// host; without these, what its life is known by.
fn agent(session: &SessionView, here: &str) -> String {
    let mut parts: Vec<String> = Vec::new();
    if let Some(client) = &session.client {
        parts.push(plain(client).into_owned());
    }
    if let Some(pid) = session.pid {
        parts.push(format!("pid {pid}"));
    }
    if parts.is_empty() {
        parts.extend(session.heartbeat.as_ref().map(|beat| {
            match beat.proof {
                ProofKind::Process | ProofKind::Stopped => "a process",
                ProofKind::Probe => "probed",
                ProofKind::None => "not proven",
                ProofKind::Call => "calls in",
                ProofKind::Unknown => "unknown proof",
            }
            .to_owned()
        }));
    }
    if let Some(host) = session.host.as_deref().filter(|host| *host != here) {
        parts.push(format!("({})", plain(host)));
    }
    parts.join(" ")
}

/// The sessions as JSON, each with its state in a word.
pub(in crate::cli) fn sessions_json(
    sessions: &[SessionView],
    outlook: &Outlook,
    now: Timestamp,
) -> anyhow::Result<Value> {
    let one = |session: &SessionView| {
        let mut object = serde_json::to_value(session)?;
        object["state"] = state(session, outlook, now).word.into();
        object["draining_until"] = serde_json::to_value(outlook.draining_until(session))?;
        Ok::<_, serde_json::Error>(object)
    };
    Ok(sessions
        .iter()
        .map(one)
        .collect::<Result<Vec<_>, _>>()?
        .into())
}

/// `lost 32s`, with the agent's own word and the operator's behind it.
fn shown(session: &SessionView, outlook: &Outlook, now: Timestamp) -> (String, Style) {
    let State { word, since, style } = state(session, outlook, now);
    let mut shown = word.replace('_', " ");
    if let Some(since) = since {
        shown.push(' ');
        shown.push_str(&text::short_duration(text::elapsed(since, now)));
    }
    if let Some(own @ ("working" | "waiting" | "blocked" | "complete")) =
        session.reported.as_deref()
    {
        shown.push_str(&format!(" ({own})"));
    }
    if outlook.draining_until(session).is_some() {
        shown.push_str(", draining");
    }
    (shown, style)
}

fn state(session: &SessionView, outlook: &Outlook, now: Timestamp) -> State {
    let state = |word, since, style| State { word, since, style };
    let beat = session.heartbeat.as_ref();
    if let Some(end) = session.expires_at.filter(|end| *end <= now) {
        return state("expired", Some(end), DIM);
    }
    let found = session.standing.filter(|_| outlook.acts());
    match found {
        Some(Standing::Stalled) => return state("stalled", session.standing_at, BAD),
        Some(Standing::Lost) => return state("lost", session.standing_at, BAD),
        Some(Standing::Exited) => return state("exited", session.standing_at, BAD),
        Some(Standing::NeverStarted) => return state("never_started", None, BAD),
        _ => {}
    }
    let lately = session
        .activity_at
        .is_some_and(|at| text::elapsed(at, now) < IDLE_AFTER);
    let busy = session.turn == Turn::Inside || session.busy_until.is_some_and(|end| end > now);
    match session.life(now) {
        Life::Exited => state("exited", beat.and_then(|beat| beat.exited_at), BAD),
        Life::Silent => state("silent", beat.map(|beat| beat.at), BAD),
        Life::Alive if session.is_stopped() => state("stopped", None, WARN),
        Life::Starting if session.is_operators() => state("operator", None, DIM),
        Life::Starting if session.activity_at.is_none() => state("starting", None, WARN),
        Life::Alive | Life::Starting if busy => state("busy", None, GOOD),
        // A call is a sign of life, heartbeat or not.
        Life::Alive | Life::Starting if lately => state("active", None, GOOD),
        Life::Alive | Life::Starting => state("idle", None, GOOD.dimmed()),
    }
}
