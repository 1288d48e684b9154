//! `mcp-bridge heartbeat`: one sign of life, for agents without a daemon.

use std::time::Duration;

use clap::{Args, ValueEnum};
use serde::Serialize;

use super::check;
use super::context::Context;
use super::output::{print, print_json};
use crate::exit::Exit;
use crate::model::health::Turn;
use crate::model::{Label, SessionKey};
use crate::session::mail::Live;
use crate::text;

/// The longest that one sign of life may be good for.
const LONGEST: Duration = Duration::from_secs(24 * 3600);

/// Gives one sign of life for each session of the credentials.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  mcp-bridge -c backend/b heartbeat
  mcp-bridge -c backend/b heartbeat --ttl 1m --json | jq '.[].unread'
  mcp-bridge -c backend/b heartbeat --turn start   from a hook of the agent's client

If a client reports its turns, the watchdog knows when its agent works and when it
waits. Only then does it move the tasks of a stalled agent to another session.

`mcp-bridged` sends the heartbeats of the sessions in its configuration.")]
pub(super) struct HeartbeatArgs {
    /// How long the heartbeat is valid; a session silent for longer is lost
    #[arg(long, value_name = "DURATION", default_value = "5m", value_parser = ttl)]
    ttl: Duration,
    /// Report that a turn of the agent starts or ends; during a turn it counts as
    /// busy, however long the turn takes
    #[arg(long, value_name = "EDGE")]
    turn: Option<Edge>,
}

/// Which end of a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Edge {
    /// The agent starts to work
    Start,
    /// The agent waits for its user or for a message
    End,
}

impl From<Edge> for Turn {
    fn from(edge: Edge) -> Self {
        match edge {
            Edge::Start => Self::Inside,
            Edge::End => Self::Outside,
        }
    }
}

fn ttl(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(ttl) if (Duration::from_secs(1)..=LONGEST).contains(&ttl) => Ok(ttl),
        Ok(_) => Err("between 1s and 24h".into()),
        Err(error) => Err(format!("{error}; write for example 5m")),
    }
}

#[derive(Serialize)]
struct BeatJson {
    #[serde(flatten)]
    session: SessionKey,
    label: Option<Label>,
    ttl_seconds: f64,
    unread: u64,
}

pub(super) async fn run(args: HeartbeatArgs, context: &Context) -> anyhow::Result<Exit> {
    let (bridge, acting) = context.open_acting().await?;
    let (live, refused) = check::verify(&bridge, acting).await?;
    let (mut beats, mut lines) = (Vec::with_capacity(live.len()), String::new());
    for Live { member, .. } in live {
        let turn = args.turn.map(Turn::from);
        let mail = bridge.call_in(&member.caller, args.ttl, turn).await?;
        lines.push_str(&format!(
            "{}: alive for {}, {}\n",
            member.name(),
            humantime::format_duration(args.ttl),
            text::count(mail.unread, "unread message"),
        ));
        beats.push(BeatJson {
            session: member.caller.session,
            label: member.label,
            ttl_seconds: args.ttl.as_secs_f64(),
            unread: mail.unread,
        });
    }
    bridge.close().await;
    if context.json() {
        print_json(&beats)?;
    } else {
        print(&lines)?;
    }
    Ok(refused.unwrap_or(Exit::Success))
}
