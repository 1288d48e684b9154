//! `mcp-bridge store limits`.

use clap::Args;
use serde_json::json;

use crate::cli::context::Context;
use crate::cli::operator;
use crate::cli::output::{print, print_json};
use crate::exit::Exit;
use crate::model::rate::RateLimits;

/// Shows the limits, or sets those that are named.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  mcp-bridge store limits
  mcp-bridge store limits --per-minute 300 --per-day 0    0 means no limit
  mcp-bridge store limits --off")]
pub(in crate::cli) struct LimitsArgs {
    #[command(flatten)]
    limits: Limits,
    /// Remove all limits
    #[arg(long, conflicts_with_all = ["per_minute", "per_hour", "per_day"])]
    off: bool,
}

#[derive(Debug, Args)]
pub(super) struct Limits {
    /// Messages that a session may send in a minute
    #[arg(long, value_name = "N")]
    per_minute: Option<u32>,
    /// Messages that a session may send in an hour
    #[arg(long, value_name = "N")]
    per_hour: Option<u32>,
    /// Messages that a session may send in a day
    #[arg(long, value_name = "N")]
    per_day: Option<u32>,
}

impl Limits {
    /// Whether anything was said about them.
    pub(super) fn any(&self) -> bool {
        [self.per_minute, self.per_hour, self.per_day]
            .iter()
            .any(Option::is_some)
    }

    /// The limits as they are to be, if anything was said about them.
    pub(super) fn change(&self, now: RateLimits, off: bool) -> Option<RateLimits> {
        if off {
            return Some(RateLimits::NONE);
        }
        self.any().then(|| RateLimits {
            per_minute: self.per_minute.unwrap_or(now.per_minute),
            per_hour: self.per_hour.unwrap_or(now.per_hour),
            per_day: self.per_day.unwrap_or(now.per_day),
        })
    }
}

pub(super) async fn limits(args: LimitsArgs, context: &Context) -> anyhow::Result<Exit> {
    let asked = args.off || args.limits.any();
    if asked {
        operator::ensure(context).await?;
    }
    let bridge = match asked {
        true => context.open().await?,
        false => context.look().await?,
    };
    let now = bridge.rate_limits().await?;
    let change = args.limits.change(now, args.off);
    if let Some(limits) = change {
        bridge.set_rate_limits(limits).await?;
    }
    bridge.close().await;
    let limits = change.unwrap_or(now);
    if context.json() {
        print_json(&limits_json(limits))?;
    } else {
        print(&format!("each session may send: {}\n", limits_line(limits)))?;
    }
    Ok(Exit::Success)
}

pub(super) fn limits_json(limits: RateLimits) -> serde_json::Value {
    json!({
        "per_minute": limits.per_minute,
        "per_hour": limits.per_hour,
        "per_day": limits.per_day,
    })
}

pub(super) fn limits_line(limits: RateLimits) -> String {
    let windows: Vec<String> = limits
        .windows()
        .map(|window| format!("{}/{}", window.limit, window.name))
        .collect();
    if windows.is_empty() {
        "no rate limit".to_owned()
    } else {
        format!("{} messages", windows.join(" "))
    }
}
