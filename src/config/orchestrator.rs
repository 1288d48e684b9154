//! `[watchdog]`, `[reassignment]` and `[housekeeping]`: the orchestrator's own.

use std::time::Duration;

use humantime::format_duration;

use super::orchestrator_settings::{
    HousekeepingSettings, MatchRole, OrchestratorSettings, ReassignmentSettings, WatchdogSettings,
};
use super::raw::{RawHousekeeping, RawReassignment, RawSettings, RawWatchdog};
use crate::setting::{
    Findings, Limits, Origins, Range, YEAR, days, hours, limits, millis, mins, range, secs,
};

pub(super) const CHECK_INTERVAL: Limits = limits(secs(1), millis(100), secs(10));
pub(super) const DEFAULT_TTL: Limits = limits(mins(5), secs(1), hours(24));
pub(super) const IDLE_AFTER: Limits = limits(secs(60), secs(1), hours(24));
pub(super) const STALLED_AFTER: Limits = limits(secs(120), secs(1), hours(24));
pub(super) const REVOKE_AFTER: Limits = limits(mins(5), secs(1), hours(24));
pub(super) const STARTING_FOR: Limits = limits(mins(2), secs(1), hours(24));
pub(super) const CORRELATED_HOSTS: Range = range(3, 1, 10_000);
pub(super) const CORRELATED_PERCENT: Range = range(55, 1, 100);
pub(super) const CORRELATED_HOLD: Limits = limits(mins(5), secs(0), hours(24));
pub(super) const LEADER_TTL: Limits = limits(secs(10), secs(1), secs(60));

pub(super) const CAPACITY: Range = range(1, 1, 100);
pub(super) const MOVES_PER_SECOND: Range = range(50, 1, 10_000);
pub(super) const MAX_LOSSES: Range = range(3, 1, 100);
pub(super) const LOSSES_WITHIN: Limits = limits(hours(72), mins(1), YEAR);

pub(super) const INTERVAL: Limits = limits(hours(1), secs(1), hours(24));
const TEN_YEARS: Duration = YEAR.saturating_mul(10);
pub(super) const KEEP_MESSAGES: Limits = keep(30);
pub(super) const KEEP_AUDIT: Limits = keep(90);
pub(super) const KEEP_TASKS: Limits = keep(30);
pub(super) const KEEP_ALERTS: Limits = keep(30);

const fn keep(default_days: u64) -> Limits {
    limits(days(default_days), mins(1), TEN_YEARS)
}

/// A renewal may be late twice before the lead is lost.
const CHECKS_PER_LEASE: u32 = 3;

pub(super) fn orchestrator(
    found: &mut Findings,
    raw: &RawSettings,
    origins: &Origins,
) -> OrchestratorSettings {
    OrchestratorSettings {
        watchdog: watchdog(found, &raw.watchdog, origins),
        reassignment: reassignment(found, &raw.reassignment, origins),
        housekeeping: housekeeping(found, &raw.housekeeping, origins),
    }
}

fn watchdog(found: &mut Findings, raw: &RawWatchdog, origins: &Origins) -> WatchdogSettings {
    let place = |key: &str| origins.place(&format!("watchdog.{key}"));
    let before = found.count();
    let mut time = |key: &str, value, limits| found.duration(|| place(key), value, limits);
    let check_interval = time("check_interval", raw.check_interval, CHECK_INTERVAL);
    let default_ttl = time("default_ttl", raw.default_ttl, DEFAULT_TTL);
    let idle_after = time("idle_after", raw.idle_after, IDLE_AFTER);
    let stalled_after = time("stalled_after", raw.stalled_after, STALLED_AFTER);
    let revoke_after = time("revoke_after", raw.revoke_after, REVOKE_AFTER);
    let starting_for = time("starting_for", raw.starting_for, STARTING_FOR);
    let correlated_hold = time("correlated_hold", raw.correlated_hold, CORRELATED_HOLD);
    let leader_ttl = time("leader_ttl", raw.leader_ttl, LEADER_TTL);
    let mut number = |key: &str, value, range| found.number(|| place(key), value, range);
    let settings = WatchdogSettings {
        check_interval,
        default_ttl,
        idle_after,
        stalled_after,
        revoke_after,
        starting_for,
        correlated_hosts: number("correlated_hosts", raw.correlated_hosts, CORRELATED_HOSTS),
        correlated_percent: number(
            "correlated_percent",
            raw.correlated_percent,
            CORRELATED_PERCENT,
        ),
        correlated_hold,
        leader_ttl,
    };
    if found.count() != before {
        return settings;
    }

    // The error names the key that the operator wrote.
    let written = |key, is_written: bool, otherwise| if is_written { key } else { otherwise };
    if stalled_after < idle_after {
        let key = written("stalled_after", raw.stalled_after.is_some(), "idle_after");
        let [idle, stalled] = [idle_after, stalled_after].map(format_duration);
        found.invalid(
            place(key),
            format!(
                "stalled_after ({stalled}) must not be below idle_after ({idle}); raise stalled_after"
            ),
        );
    }
    let least = check_interval * CHECKS_PER_LEASE;
    if leader_ttl < least {
        let key = written("leader_ttl", raw.leader_ttl.is_some(), "check_interval");
        let [interval, ttl, least] = [check_interval, leader_ttl, least].map(format_duration);
        found.invalid(
            place(key),
            format!(
                "leader_ttl ({ttl}) must be at least 3 x check_interval ({interval}); raise it to {least}"
            ),
        );
    }
    settings
}

fn reassignment(
    found: &mut Findings,
    raw: &RawReassignment,
    origins: &Origins,
) -> ReassignmentSettings {
    let place = |key: &str| origins.place(&format!("reassignment.{key}"));
    ReassignmentSettings {
        capacity: found.number(|| place("capacity"), raw.capacity, CAPACITY),
        match_role: found.word(
            || place("match_role"),
            raw.match_role.as_deref(),
            &[("same", MatchRole::Same), ("any", MatchRole::Any)],
            MatchRole::Same,
        ),
        moves_per_second: found.number(
            || place("moves_per_second"),
            raw.moves_per_second,
            MOVES_PER_SECOND,
        ),
        max_losses: found.number(|| place("max_losses"), raw.max_losses, MAX_LOSSES),
        losses_within: found.duration(|| place("losses_within"), raw.losses_within, LOSSES_WITHIN),
    }
}

fn housekeeping(
    found: &mut Findings,
    raw: &RawHousekeeping,
    origins: &Origins,
) -> HousekeepingSettings {
    let place = |key: &str| origins.place(&format!("housekeeping.{key}"));
    let mut time = |key: &str, value, limits| found.duration(|| place(key), value, limits);
    HousekeepingSettings {
        keep_messages: time("keep_messages", raw.keep_messages, KEEP_MESSAGES),
        keep_audit: time("keep_audit", raw.keep_audit, KEEP_AUDIT),
        keep_tasks: time("keep_tasks", raw.keep_tasks, KEEP_TASKS),
        keep_alerts: time("keep_alerts", raw.keep_alerts, KEEP_ALERTS),
        interval: time("interval", raw.interval, INTERVAL),
    }
}
