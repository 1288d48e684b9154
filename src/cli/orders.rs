//! `mcp-bridge drain`, `hold` and `capacity`: what an operator tells the
//! orchestrator. Planned work is no incident, and each order has its end.

use std::time::Duration;

use clap::{Args, Subcommand};
use clap_complete::engine::ArgValueCandidates;
use serde_json::json;

use super::completions;
use super::context::Context;
use super::operator;
use super::output::{left, note, print, print_json};
use super::table::WARN;
use super::whom::{self, Whom};
use crate::exit::Exit;
use crate::store::{Control, ControlKind, SharedStore};
use crate::{clock, text};

/// What a hold is about: the whole fleet.
const FLEET: &str = "";

/// Gives a session, or every session that a host's daemons keep, no new tasks;
/// that it ends is then no incident. It keeps what it has.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  mcp-bridge drain backend-1 --for 30m      the b side of that conversation
  mcp-bridge drain host:laptop-2            all sessions of that host, for an hour
  mcp-bridge drain backend-1 --off

A session is named by label (backend-1: its b side), by label and side
(backend-1/a), or by its conversation's id; a host as its daemons name it.
`mcp-bridge task reassign` takes from it what it has already.")]
pub(super) struct DrainArgs {
    /// Which
    #[arg(value_name = "SESSION|HOST", add = ArgValueCandidates::new(completions::sessions_and_hosts))]
    whom: String,
    /// From now on, 30 days at most
    #[arg(long = "for", value_name = "DURATION", default_value = "1h", value_parser = whom::time_limit)]
    time: Duration,
    /// Take it back
    #[arg(long, conflicts_with = "time")]
    off: bool,
}

/// Holds the watchdog.
#[derive(Debug, Subcommand)]
pub(super) enum HoldCommand {
    /// Give nobody up who falls silent; ends that are certain still count
    #[command(after_help = "\
Examples:
  mcp-bridge hold on --for 30m      before a switch is restarted
  mcp-bridge hold off")]
    On {
        /// From now on, 30 days at most
        #[arg(long = "for", value_name = "DURATION", default_value = "1h", value_parser = whom::time_limit)]
        time: Duration,
    },
    /// Watch again
    #[command(after_help = "\
Examples:
  mcp-bridge hold off")]
    Off,
}

/// Says how many tasks a session may have at once.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  mcp-bridge capacity backend-1 3
  mcp-bridge capacity backend-1 default     as the orchestrator's configuration says

To give it none, drain it.")]
pub(super) struct CapacityArgs {
    /// Which, as for `drain`
    #[arg(add = ArgValueCandidates::new(completions::sessions))]
    session: String,
    /// 1 to 100, or `default`
    #[arg(value_name = "N|default", value_parser = number)]
    number: Number,
}

/// How many: this number, or what the orchestrator says.
#[derive(Debug, Clone, Copy)]
struct Number(Option<u32>);

fn number(text: &str) -> Result<Number, String> {
    match (text, text.parse()) {
        ("default", _) => Ok(Number(None)),
        (_, Ok(number @ 1..=100)) => Ok(Number(Some(number))),
        _ => Err("a whole number from 1 to 100, or `default`".into()),
    }
}

pub(super) async fn drain(args: DrainArgs, context: &Context) -> anyhow::Result<Exit> {
    operator::ensure(context)?;
    let store = context.open().await?;
    let whom = whom::session_or_host(&store, &args.whom, clock::now()).await?;
    let name = whom.name();
    if args.off {
        let was = take_back(&store, ControlKind::Drain, &whom.subject()).await?;
        store.close().await;
        let said = match was {
            true => format!("{name} gets new tasks again\n"),
            false => format!("{name} was not being drained\n"),
        };
        return show_off(context, ControlKind::Drain, &whom.subject(), was, &said);
    }
    let control = say(&store, ControlKind::Drain, whom.subject(), args.time).await?;
    let still = still_has(&store, &whom).await?;
    store.close().await;
    let time = left(control.until, control.since);
    let said = format!("{name} is being drained for {time}: it gets no new tasks{still}\n");
    show_on(context, &control, &said)
}

/// What a session that is drained goes on with.
async fn still_has(store: &SharedStore, whom: &Whom) -> anyhow::Result<String> {
    let sessions = store.sessions(clock::now()).await?;
    let tasks: u64 = sessions
        .iter()
        .filter(|session| match whom {
            Whom::Session(named) => session.key == named.key,
            Whom::Host(host) => session.host.as_deref() == Some(host),
        })
        .map(|session| session.open_tasks)
        .sum();
    Ok(match tasks {
        0 => String::new(),
        tasks => format!(", and keeps the {} that it has", text::count(tasks, "task")),
    })
}

pub(super) async fn hold(command: HoldCommand, context: &Context) -> anyhow::Result<Exit> {
    operator::ensure(context)?;
    let store = context.open().await?;
    match command {
        HoldCommand::On { time } => {
            let control = say(&store, ControlKind::Hold, FLEET.to_owned(), time).await?;
            store.close().await;
            let time = left(control.until, control.since);
            let said = format!(
                "the watchdog is on hold for {time}: it gives nobody up who falls silent\n"
            );
            show_on(context, &control, &said)
        }
        HoldCommand::Off => {
            let was = take_back(&store, ControlKind::Hold, FLEET).await?;
            store.close().await;
            let said = match was {
                true => "the watchdog watches again\n",
                false => "the watchdog was not on hold\n",
            };
            show_off(context, ControlKind::Hold, FLEET, was, said)
        }
    }
}

pub(super) async fn capacity(args: CapacityArgs, context: &Context) -> anyhow::Result<Exit> {
    operator::ensure(context)?;
    let store = context.open().await?;
    let session = whom::session(&store, &args.session, clock::now()).await?;
    let Number(number) = args.number;
    store.set_session_capacity(&session.key, number).await?;
    store.close().await;
    if context.json() {
        print_json(&json!({
            "conversation": session.key.conversation, "session": session.key.side,
            "name": session.name, "capacity": number,
        }))?;
        return Ok(Exit::Success);
    }
    let said = match number {
        Some(number) => format!("{} at once", text::count(number, "task")),
        None => "as many tasks at once as the orchestrator's configuration says".to_owned(),
    };
    print(&format!("{} may have {said}\n", session.name))?;
    Ok(Exit::Success)
}

/// Writes an order down, and warns if nobody is there to follow it.
pub(super) async fn say(
    store: &SharedStore,
    kind: ControlKind,
    subject: String,
    time: Duration,
) -> anyhow::Result<Control> {
    let since = clock::now();
    let control = Control {
        kind,
        subject,
        since,
        until: since.checked_add(time)?,
    };
    store.set_control(&control).await?;
    let acts = store.lease().await?.and_then(|lease| lease.holder);
    if acts.is_none() && kind != ControlKind::Drain {
        note(&format!(
            "{WARN}note:{WARN:#} no orchestrator acts for this store now"
        ));
    }
    Ok(control)
}

/// Takes an order back. `false` if it did not hold any more.
pub(super) async fn take_back(
    store: &SharedStore,
    kind: ControlKind,
    subject: &str,
) -> anyhow::Result<bool> {
    let now = clock::now();
    let holds = store
        .controls(now)
        .await?
        .iter()
        .any(|control| control.kind == kind && control.subject == subject);
    Ok(store.clear_control(kind, subject, now).await? && holds)
}

/// Shows an order that holds from now on.
pub(super) fn show_on(context: &Context, control: &Control, said: &str) -> anyhow::Result<Exit> {
    match context.json() {
        true => print_json(control)?,
        false => print(said)?,
    }
    Ok(Exit::Success)
}

/// Shows that an order holds no more; `was` tells whether it did.
pub(super) fn show_off(
    context: &Context,
    kind: ControlKind,
    subject: &str,
    was: bool,
    said: &str,
) -> anyhow::Result<Exit> {
    match context.json() {
        true => print_json(&json!({ "kind": kind, "subject": subject, "held": was }))?,
        false => print(said)?,
    }
    Ok(Exit::Success)
}
