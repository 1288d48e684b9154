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
use crate::bridge::Bridge;
use crate::exit::Exit;
use crate::session::{self, Whom};
use crate::store::{Control, ControlKind};
use crate::text;

/// What a hold is about: the whole fleet.
const FLEET: &str = "";

/// The longest time that an order holds: what is meant for ever is forgotten.
const LONGEST: Duration = Duration::from_secs(30 * 24 * 3600);

/// Gives a session, or every session of a host, no new tasks.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  mcp-bridge drain backend-1 --for 30m      the b side of that conversation
  mcp-bridge drain host:laptop-2            all sessions of that host, for an hour
  mcp-bridge drain backend-1 --off

The session keeps the tasks that it has; `mcp-bridge task reassign` moves them. If
it ends while it is being drained, no alert is raised.
Write a session as label and side (backend-1/a); the label alone means side b. A
host has the name that its daemons give it (host:NAME).")]
pub(super) struct DrainArgs {
    /// Session or host to drain
    #[arg(value_name = "SESSION|HOST", add = ArgValueCandidates::new(completions::sessions_and_hosts))]
    whom: String,
    /// How long, from now on; 30 days at most
    #[arg(long = "for", value_name = "DURATION", default_value = "1h", value_parser = time_limit)]
    time: Duration,
    /// End the drain now
    #[arg(long, conflicts_with = "time")]
    off: bool,
}

/// Holds the watchdog.
#[derive(Debug, Subcommand)]
pub(super) enum HoldCommand {
    /// Do not mark silent sessions as lost; confirmed exits still count
    #[command(after_help = "\
Examples:
  mcp-bridge hold on --for 30m      before you restart a network switch
  mcp-bridge hold off")]
    On {
        /// How long, from now on; 30 days at most
        #[arg(long = "for", value_name = "DURATION", default_value = "1h", value_parser = time_limit)]
        time: Duration,
    },
    /// Watch again: silent sessions are marked as lost
    #[command(after_help = "\
Examples:
  mcp-bridge hold off")]
    Off,
}

/// Sets how many tasks a session may have at once.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  mcp-bridge capacity backend-1 3
  mcp-bridge capacity backend-1 default     the limit of the orchestrator's configuration

To give a session no tasks, use `mcp-bridge drain`.")]
pub(super) struct CapacityArgs {
    /// Session: backend-1/b; the label alone means side b
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
    operator::ensure(context).await?;
    let bridge = context.open().await?;
    let whom = session::session_or_host(&bridge, &args.whom).await?;
    let name = whom.name();
    if args.off {
        let was = bridge
            .take_back(ControlKind::Drain, &whom.subject())
            .await?;
        bridge.close().await;
        let said = match was {
            true => format!("{name} gets new tasks again\n"),
            false => format!("{name} was not being drained\n"),
        };
        return show_off(context, ControlKind::Drain, &whom.subject(), was, &said);
    }
    let control = say(&bridge, ControlKind::Drain, whom.subject(), args.time).await?;
    let still = still_has(&bridge, &whom).await?;
    bridge.close().await;
    let time = left(control.until, control.since);
    let said = format!("{name} is being drained for {time}: it gets no new tasks{still}\n");
    show_on(context, &control, &said)
}

/// What a session that is drained goes on with.
async fn still_has(bridge: &Bridge, whom: &Whom) -> anyhow::Result<String> {
    let sessions = bridge.sessions(Duration::ZERO).await?;
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
        tasks => format!(", and keeps {}", text::count(tasks, "task")),
    })
}

pub(super) async fn hold(command: HoldCommand, context: &Context) -> anyhow::Result<Exit> {
    operator::ensure(context).await?;
    let bridge = context.open().await?;
    match command {
        HoldCommand::On { time } => {
            let control = say(&bridge, ControlKind::Hold, FLEET.to_owned(), time).await?;
            bridge.close().await;
            let time = left(control.until, control.since);
            let said =
                format!("the watchdog is on hold for {time}: it marks no silent session as lost\n");
            show_on(context, &control, &said)
        }
        HoldCommand::Off => {
            let was = bridge.take_back(ControlKind::Hold, FLEET).await?;
            bridge.close().await;
            let said = match was {
                true => "the watchdog watches again\n",
                false => "the watchdog was not on hold\n",
            };
            show_off(context, ControlKind::Hold, FLEET, was, said)
        }
    }
}

pub(super) async fn capacity(args: CapacityArgs, context: &Context) -> anyhow::Result<Exit> {
    operator::ensure(context).await?;
    let bridge = context.open().await?;
    let session = session::session(&bridge, &args.session).await?;
    let Number(number) = args.number;
    bridge.set_session_capacity(&session.key, number).await?;
    bridge.close().await;
    if context.json() {
        print_json(&json!({
            "conversation": session.key.conversation, "session": session.key.side,
            "name": session.name, "capacity": number,
        }))?;
        return Ok(Exit::Success);
    }
    let said = match number {
        Some(number) => format!("{} at once", text::count(number, "task")),
        None => "the number of tasks of the orchestrator's configuration".to_owned(),
    };
    print(&format!("{} may have {said}\n", session.name))?;
    Ok(Exit::Success)
}

/// Writes an order down, and warns if no daemon is there to follow it.
pub(super) async fn say(
    bridge: &Bridge,
    kind: ControlKind,
    subject: String,
    time: Duration,
) -> anyhow::Result<Control> {
    let control = bridge.order(kind, subject, time).await?;
    let acts = bridge.lease().await?.and_then(|lease| lease.holder);
    if acts.is_none() && kind != ControlKind::Drain {
        note(&format!(
            "{WARN}note:{WARN:#} no orchestrator is active for this store now"
        ));
    }
    Ok(control)
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

/// How long something holds: 1 second to 30 days.
///
/// # Errors
/// What is wrong with it, for clap.
pub(super) fn time_limit(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(time) if (Duration::from_secs(1)..=LONGEST).contains(&time) => Ok(time),
        Ok(_) => Err("between 1s and 30days".into()),
        Err(error) => Err(format!("{error}; write for example 1h or 2days")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_has_an_end() {
        assert_eq!(time_limit("1h"), Ok(Duration::from_secs(3600)));
        assert!(time_limit("30days").is_ok());
        for wrong in ["0s", "31days", "soon", ""] {
            assert!(time_limit(wrong).is_err(), "{wrong}");
        }
    }
}
