//! `mcp-bridge events`: what was done, and who did it, as it happens.

use std::collections::HashMap;
use std::io::Write;

use anyhow::Context as _;
use clap::Args;
use clap_complete::engine::ArgValueCandidates;
use futures_util::StreamExt;
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use serde_json::Value;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook_tokio::Signals;
use tokio::sync::{mpsc, oneshot};

use super::context::Context;
use super::output::{note, print, print_json, shown};
use super::table::{Cell, DIM, Table};
use super::{completions, output, stdout};
use crate::bridge::{Bridge, FollowEvents};
use crate::clock;
use crate::ending;
use crate::exit::Exit;
use crate::model::task::TaskId;
use crate::session;
use crate::store::{AuditEntry, AuditFilter, AuditPage};
use crate::text::shown::shown_page;

/// Rows that are shown if nothing else is said.
const SHOWN: u32 = 50;

/// The same before those that are followed.
const BEFORE: u32 = 10;

/// Shows the newest rows of the audit log, newest last: messages that were sent and
/// fetched, tasks, verdicts, alerts, and what operators ordered. No text of an agent is
/// in it.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  mcp-bridge events
  mcp-bridge events backend-1/b --action send_message --limit 10
  mcp-bridge events --since 1h --json | jq '.[] | select(.details.redacted)'
  mcp-bridge events --follow --json | while read -r line; do ...; done

--follow runs until it is interrupted, also across a restart of the daemon. With
--json it prints one line per row; `id` is the position in the log.")]
pub(super) struct EventsArgs {
    /// Only this conversation (id or label) or session (backend-1/b)
    #[arg(value_name = "CONVERSATION", add = ArgValueCandidates::new(completions::conversations))]
    name: Option<String>,
    /// Only this action, for example send_message
    #[arg(long)]
    action: Option<String>,
    /// Only this task
    #[arg(long, value_name = "ID")]
    task: Option<TaskId>,
    /// Only rows since then: 1h (one hour ago), or 2026-01-31T12:00:00Z
    #[arg(long, value_name = "TIME", value_parser = since)]
    since: Option<Timestamp>,
    /// Show at most N rows, newest last [default: 50; with --follow 10]
    #[arg(short = 'n', long, value_name = "N")]
    limit: Option<u32>,
    /// Keep printing new rows
    #[arg(short, long)]
    follow: bool,
}

fn since(text: &str) -> Result<Timestamp, String> {
    if let Ok(at) = text.parse() {
        return Ok(at);
    }
    let ago = humantime::parse_duration(text)
        .map_err(|error| format!("{error}; write for example 1h, or 2026-01-31T12:00:00Z"))?;
    let ago = SignedDuration::try_from(ago).map_err(|error| error.to_string())?;
    Ok(clock::now().checked_sub(ago).unwrap_or(Timestamp::MIN))
}

/// A row as JSON: with what people call its conversation.
#[derive(Serialize)]
struct EventJson<'a> {
    #[serde(flatten)]
    entry: &'a AuditEntry,
    label: Option<&'a str>,
}

/// Labels by the id of their conversation.
type Labels = HashMap<String, String>;

pub(super) async fn run(args: EventsArgs, context: &Context) -> anyhow::Result<Exit> {
    if args.follow {
        return follow(args, context).await;
    }
    let bridge = context.look().await?;
    let now = clock::now();
    let filter = filter(&args, &bridge).await?;
    let entries = bridge.events(&filter).await?;
    let labels = session::labels(&bridge).await?;
    let location = bridge.name();
    bridge.close().await;
    if context.json() {
        let all: Vec<_> = entries.iter().map(|entry| json(entry, &labels)).collect();
        print_json(&all)?;
        return Ok(Exit::Success);
    }
    if entries.is_empty() {
        note(&format!("no such rows in the audit log of {location}"));
        return Ok(Exit::Success);
    }
    let mut table = Table::new(&["WHEN", "SESSION", "ACTION", "DETAILS"]);
    for entry in &entries {
        let when = entry.at.map_or("?".into(), |at| output::relative(at, now));
        table.row([
            Cell::new(when, DIM),
            Cell::from(shown(&session(entry, &labels)).into_owned()),
            Cell::from(shown(&entry.action).into_owned()),
            Cell::from(shown(&details(&entry.details)).into_owned()),
        ]);
    }
    print(&table.render(0))?;
    Ok(Exit::Success)
}

async fn filter(args: &EventsArgs, bridge: &Bridge) -> anyhow::Result<AuditFilter> {
    let (mut conversation, mut side) = (None, None);
    if let Some(name) = &args.name {
        side = session::Name::read(name)?.side;
        let whole = name.rsplit_once('/').filter(|_| side.is_some());
        let whole = whole.map_or(name.as_str(), |(whole, _)| whole);
        conversation = Some(session::conversation(bridge, whole).await?.id);
    }
    let usual = if args.follow { BEFORE } else { SHOWN };
    Ok(AuditFilter {
        conversation,
        side,
        action: args.action.clone(),
        task: args.task,
        since: args.since,
        limit: args.limit.unwrap_or(usual),
    })
}

/// Prints on a thread of its own: it may hang in a write to a pipe that no program
/// reads, and must not hold up a signal. It ends with the process.
async fn follow(args: EventsArgs, context: &Context) -> anyhow::Result<Exit> {
    stdout::ensure_open()?;
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    let gone = ending::when_gone(None)?;
    let (done, ended) = oneshot::channel();
    let context = context.clone();
    std::thread::Builder::new()
        .name("events".into())
        .spawn(move || {
            let outcome = super::block_on(print_events(args, &context));
            // The receiver is gone only if the process is about to end.
            let _ = done.send(outcome);
        })?;
    tokio::select! {
        outcome = ended => outcome.context("the thread that follows died")?,
        _ = signals.next() => Ok(Exit::Success),
        _ = gone => Ok(Exit::Success),
    }
}

async fn print_events(args: EventsArgs, context: &Context) -> anyhow::Result<Exit> {
    let bridge = context.look().await?;
    let filter = filter(&args, &bridge).await?;
    let wanted = FollowEvents {
        filter,
        after: None,
    };
    let (pages, mut taken) = mpsc::channel::<AuditPage>(1);
    let asked = &bridge;
    // It owns what it takes from: if it ends, so does the following.
    let show = async move {
        let mut labels = Labels::new();
        while let Some(page) = taken.recv().await {
            let mut ids = page.entries.iter().filter_map(|e| e.conversation.as_ref());
            if ids.any(|id| !labels.contains_key(id)) {
                labels = known(asked, &page.entries, labels).await;
            }
            let mut lines = Vec::new();
            for entry in &page.entries {
                if context.json() {
                    serde_json::to_writer(&mut lines, &json(entry, &labels))?;
                } else {
                    lines.extend_from_slice(shown_page(&line(entry, &labels)).as_bytes());
                }
                lines.push(b'\n');
            }
            let mut out = std::io::stdout().lock();
            out.write_all(&lines)?;
            out.flush()?;
        }
        Ok::<_, anyhow::Error>(())
    };
    let (followed, shown) = tokio::join!(bridge.follow_events(wanted, pages), show);
    shown?;
    followed?;
    Ok(Exit::Success)
}

/// The labels, read anew. A conversation without one, or that is not there any more, is
/// not asked for again.
async fn known(bridge: &Bridge, entries: &[AuditEntry], before: Labels) -> Labels {
    // Without them a row has its conversation's id.
    let mut labels = session::labels(bridge).await.unwrap_or(before);
    for id in entries
        .iter()
        .filter_map(|entry| entry.conversation.as_ref())
    {
        labels.entry(id.clone()).or_insert_with(|| id.clone());
    }
    labels
}

fn json<'a>(entry: &'a AuditEntry, labels: &'a Labels) -> EventJson<'a> {
    let id = entry.conversation.as_ref();
    let label = id.and_then(|id| labels.get(id).filter(|label| *label != id));
    EventJson {
        entry,
        label: label.map(String::as_str),
    }
}

/// `2026-01-31T12:00:00Z backend/b send_message message_id=17 to=a`.
fn line(entry: &AuditEntry, labels: &Labels) -> String {
    let when = entry.at.map_or("?".to_owned(), |at| {
        let seconds = Timestamp::from_second(at.as_second());
        seconds.unwrap_or(at).to_string()
    });
    let session = session(entry, labels);
    let session = if session.is_empty() { "-" } else { &session };
    let details = details(&entry.details);
    let parts = [session, &entry.action, &details].map(|part| shown(part).into_owned());
    format!("{when} {}", parts.join(" ")).trim_end().to_owned()
}

fn session(entry: &AuditEntry, labels: &Labels) -> String {
    let Some(id) = entry.conversation.as_deref() else {
        return entry.session.clone().unwrap_or_default();
    };
    let name = labels.get(id).map_or(id, String::as_str);
    match &entry.session {
        Some(side) => format!("{name}/{}", side.trim_start_matches("session_")),
        None => name.to_owned(),
    }
}

/// `message_id=17 to=b`: one line, also for values with line ends.
fn details(value: &Value) -> String {
    match value {
        Value::Object(map) => {
            let pairs = map
                .iter()
                .filter(|(_, value)| !matches!(value, Value::Null | Value::Bool(false)))
                .filter(|(_, value)| value.as_array().is_none_or(|list| !list.is_empty()))
                .map(|(key, value)| match value {
                    Value::Bool(_) => key.clone(),
                    value => format!("{key}={}", plain(value)),
                });
            pairs.collect::<Vec<_>>().join(" ")
        }
        Value::Null => String::new(),
        other => plain(other),
    }
    .replace('\n', " ")
}

fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(list) => list.iter().map(plain).collect::<Vec<_>>().join(","),
        // An operator, by name and number.
        Value::Object(who) => match (who.get("user").and_then(Value::as_str), who.get("uid")) {
            (Some(user), Some(uid)) if who.len() == 2 => format!("{user}({uid})"),
            _ => value.to_string(),
        },
        other => other.to_string(),
    }
}
