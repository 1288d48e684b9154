//! `[api]`: whether the daemon answers programs, and what it takes from them.

use std::time::Duration;

use super::raw::RawApi;
use crate::setting::{Findings, Limits, Origins, Range, limits, mins, range, secs};

pub(super) const CONNECTIONS: Range = range(4_096, 1, 65_536);
pub(super) const CONNECTIONS_PER_USER: Range = range(1_024, 1, 65_536);
pub(super) const MAX_BODY: Range = range(4 * 1024 * 1024, 64 * 1024, 256 * 1024 * 1024);
// A program of ours waits for an answer a minute, and not longer.
pub(super) const TIME_LIMIT: Limits = limits(secs(30), secs(1), mins(1));
pub(super) const CONVERSATIONS_PER_HOUR: Range = range(200, 0, 1_000_000);
pub(super) const TASKS_PER_HOUR: Range = range(2_000, 0, 1_000_000);
pub(super) const STORED_MIB_PER_DAY: Range = range(1_024, 0, 1_000_000);

/// The daemon's API on its sockets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiSettings {
    /// Whether there are sockets at all.
    pub enabled: bool,
    /// Connections of all users at once, 1 to 65,536.
    pub connections: u32,
    /// Connections of one user at once, 1 to 65,536; root and the daemon's own user
    /// have no such limit.
    pub connections_per_user: u32,
    /// Bytes of a request's body, 64 KiB to 256 MiB.
    pub max_body: u32,
    /// How long a request may take to arrive, and as long to be worked on; 1 s to 1 min.
    pub time_limit: Duration,
    /// Conversations that one user makes in an hour.
    pub conversations_per_hour: u32,
    /// Tasks that one user adds in an hour.
    pub tasks_per_hour: u32,
    /// Mebibytes that one user has stored in a day; root and the daemon's own user have
    /// no such limit.
    pub stored_mib_per_day: u32,
}

impl Default for ApiSettings {
    fn default() -> Self {
        Self {
            enabled: true,
            connections: CONNECTIONS.default,
            connections_per_user: CONNECTIONS_PER_USER.default,
            max_body: MAX_BODY.default,
            time_limit: TIME_LIMIT.default,
            conversations_per_hour: CONVERSATIONS_PER_HOUR.default,
            tasks_per_hour: TASKS_PER_HOUR.default,
            stored_mib_per_day: STORED_MIB_PER_DAY.default,
        }
    }
}

pub(super) fn api(found: &mut Findings, raw: &RawApi, origins: &Origins) -> ApiSettings {
    let place = |key: &str| origins.place(&format!("api.{key}"));
    let mut number = |key: &str, value, range| found.number(|| place(key), value, range);
    ApiSettings {
        enabled: raw.enabled.unwrap_or(true),
        connections: number("connections", raw.connections, CONNECTIONS),
        connections_per_user: number(
            "connections_per_user",
            raw.connections_per_user,
            CONNECTIONS_PER_USER,
        ),
        max_body: number("max_body", raw.max_body, MAX_BODY),
        conversations_per_hour: number(
            "conversations_per_hour",
            raw.conversations_per_hour,
            CONVERSATIONS_PER_HOUR,
        ),
        tasks_per_hour: number("tasks_per_hour", raw.tasks_per_hour, TASKS_PER_HOUR),
        stored_mib_per_day: number(
            "stored_mib_per_day",
            raw.stored_mib_per_day,
            STORED_MIB_PER_DAY,
        ),
        time_limit: found.duration(|| place("time_limit"), raw.time_limit, TIME_LIMIT),
    }
}
