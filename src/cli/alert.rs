//! `mcp-bridge alert`: the alerts that the operator got, and those to mute for a while.

use std::time::Duration;

use clap::builder::PossibleValuesParser;
use clap::{Args, Subcommand};

use super::context::Context;
use super::operator;
use super::orders;
use super::output::{left, note, print, print_json, relative, shown};
use super::table::{BAD, BOLD, Cell, DIM, GOOD, Table, WARN};
use crate::clock;
use crate::exit::Exit;
use crate::model::alert::{AlertKind, Severity};
use crate::store::{AlertRow, ControlKind};

/// What to do with alerts.
#[derive(Debug, Subcommand)]
pub(super) enum AlertCommand {
    /// List open alerts
    #[command(after_help = "\
Examples:
  mcp-bridge alert list
  mcp-bridge alert list --all --json | jq '.[] | select(.kind == \"lost\")'")]
    List {
        /// Include alerts that are over
        #[arg(long)]
        all: bool,
        /// Show at most N alerts, newest last
        #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=10_000))]
        limit: u32,
    },
    /// Mute one kind of alert for a time; `alert list` still shows it
    #[command(after_help = "\
Examples:
  mcp-bridge alert mute stalled --for 2h")]
    Mute(MuteArgs),
    /// Unmute one kind of alert
    #[command(after_help = "\
Examples:
  mcp-bridge alert unmute stalled")]
    Unmute {
        /// Kind of alert
        #[arg(value_parser = kinds())]
        kind: String,
    },
}

/// What is muted, until when.
#[derive(Debug, Args)]
pub(super) struct MuteArgs {
    /// Kind of alert
    #[arg(value_parser = kinds())]
    kind: String,
    /// How long, from now on; 30 days at most
    #[arg(long = "for", value_name = "DURATION", default_value = "1h", value_parser = orders::time_limit)]
    time: Duration,
}

fn kinds() -> PossibleValuesParser {
    PossibleValuesParser::new(AlertKind::ALL.map(AlertKind::as_str))
}

pub(super) async fn run(command: AlertCommand, context: &Context) -> anyhow::Result<Exit> {
    match command {
        AlertCommand::List { all, limit } => list(all, limit, context).await,
        AlertCommand::Mute(args) => {
            operator::ensure(context).await?;
            let bridge = context.open().await?;
            let kind = ControlKind::Mute;
            let control = orders::say(&bridge, kind, args.kind, args.time).await?;
            bridge.close().await;
            let time = left(control.until, control.since);
            let said = format!(
                "alerts of the kind `{}` are muted for {time}\n",
                control.subject
            );
            orders::show_on(context, &control, &said)
        }
        AlertCommand::Unmute { kind } => {
            operator::ensure(context).await?;
            let bridge = context.open().await?;
            let was = bridge.take_back(ControlKind::Mute, &kind).await?;
            bridge.close().await;
            let said = match was {
                true => format!("alerts of the kind `{kind}` are sent again\n"),
                false => format!("alerts of the kind `{kind}` were not muted\n"),
            };
            orders::show_off(context, ControlKind::Mute, &kind, was, &said)
        }
    }
}

async fn list(all: bool, limit: u32, context: &Context) -> anyhow::Result<Exit> {
    let bridge = context.look().await?;
    let now = clock::now();
    let alerts = if all {
        bridge.alerts(limit).await?
    } else {
        let mut open = bridge.open_alerts().await?;
        // Those that are over and were not announced yet are among them.
        open.retain(|alert| alert.recovered_at.is_none());
        let over = open
            .len()
            .saturating_sub(usize::try_from(limit).unwrap_or(usize::MAX));
        open.split_off(over)
    };
    let location = bridge.name();
    bridge.close().await;
    if context.json() {
        print_json(&alerts)?;
        return Ok(Exit::Success);
    }
    if alerts.is_empty() {
        note(&match all {
            true => format!("no alerts in {location}"),
            false => format!("no open alerts in {location}; show past alerts with --all"),
        });
        return Ok(Exit::Success);
    }
    let mut table = Table::new(&["ID", "SINCE", "KIND", "ABOUT", "STATE", "WHAT"]);
    for alert in &alerts {
        let (mut state, style) = match alert.recovered_at {
            Some(at) => (format!("over {}", relative(at, now)), GOOD),
            None => ("open".to_owned(), style(alert)),
        };
        if alert.is_overdue(now) {
            state += ", not sent";
        }
        table.row([
            Cell::new(alert.id.to_string(), DIM),
            Cell::from(relative(alert.raised_at, now)),
            Cell::new(alert.kind.as_str(), style),
            Cell::new(shown(&alert.about()).into_owned(), BOLD),
            Cell::new(state, style),
            Cell::from(shown(&alert.text).replace('\n', " ")),
        ]);
    }
    print(&table.render(0))?;
    Ok(Exit::Success)
}

fn style(alert: &AlertRow) -> anstyle::Style {
    match alert.kind.severity() {
        Severity::Critical | Severity::Error => BAD,
        _ => WARN,
    }
}
