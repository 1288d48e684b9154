//! The daemons of a store, and what became of them.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;

use crate::cli::output::{shown, width};
use crate::cli::table::{BAD, BOLD, Cell, DIM, GOOD, Narrower, Table, WARN};
use crate::store::DaemonView;
use crate::{host, text};

/// A daemon writes about once a minute that it runs. Beyond this it is not said
/// of one elsewhere; with room for clocks that differ.
const HEARD: Duration = Duration::from_mins(5);

/// What became of a daemon, as far as this machine can tell. Of a daemon on another
/// machine only its last report is known.
pub(super) fn fate(daemon: &DaemonView, now: Timestamp) -> (&'static str, anstyle::Style) {
    if daemon.stopped_at.is_some() {
        return ("stopped", DIM);
    }
    if is_elsewhere(daemon) {
        return match text::elapsed(daemon.seen_at, now) > HEARD {
            true => ("silent", WARN),
            false => ("running", GOOD),
        };
    }
    // Not by the boot id as well: a container gives itself one, and the sandbox
    // of a service in it has the machine's.
    if !is_running(daemon.pid) {
        return ("gone", BAD);
    }
    ("running", GOOD)
}

/// Whether its process cannot be looked at from here: it is on another machine, or
/// its number is of another namespace.
pub(super) fn is_elsewhere(daemon: &DaemonView) -> bool {
    let other = daemon.pid_ns.is_some_and(|ns| ns != host::boot().pid_ns);
    daemon.host != host::name() || other
}

/// `last heard 3h ago`.
pub(super) fn heard(daemon: &DaemonView, now: Timestamp) -> String {
    let ago = text::short_duration(text::elapsed(daemon.seen_at, now));
    format!("last heard {ago} ago")
}

/// Whether a process of this id is there, and is a daemon of ours.
fn is_running(pid: u32) -> bool {
    #[cfg(target_os = "linux")]
    let program = std::fs::read_to_string(format!("/proc/{pid}/comm")).ok();
    #[cfg(not(target_os = "linux"))]
    let program = i32::try_from(pid).ok().and_then(crate::ps::program);
    // The demo's daemons are this very program, without the `d`.
    program.is_some_and(|name| name.starts_with("mcp-bridge"))
}

/// What the table of daemons gives up on a narrow screen, the least important first.
const NARROWER: [Narrower; 4] = [
    Narrower::Drop("VERSION"),
    Narrower::Cut("STATE", 7),
    Narrower::Drop("SINCE"),
    Narrower::Cut("DAEMON", 20),
];

/// The table of daemons, as it fits the screen.
pub(super) fn table(daemons: &[DaemonView], now: Timestamp) -> Table {
    let mut table = Table::new(&[
        "DAEMON", "ROLE", "STATE", "SINCE", "SESSIONS", "PID", "VERSION",
    ]);
    for daemon in daemons {
        let (state, style) = fate(daemon, now);
        let since = daemon.stopped_at.unwrap_or(daemon.started_at);
        let note = match state {
            "gone" => "gone (it did not stop cleanly)".to_owned(),
            "silent" => heard(daemon, now),
            state => state.to_owned(),
        };
        table.row([
            Cell::new(shown(&daemon.id).into_owned(), BOLD),
            Cell::from(daemon.role.as_str()),
            Cell::new(note, style),
            Cell::from(text::short_duration(text::elapsed(since, now))),
            Cell::from(daemon.sessions.to_string()),
            Cell::from(daemon.pid.to_string()),
            Cell::from(daemon.version.as_str()),
        ]);
    }
    table.fit(width(), &NARROWER);
    table
}

/// A daemon as JSON, with its fate in a word.
pub(super) fn json(daemon: &DaemonView, now: Timestamp) -> Result<Value, serde_json::Error> {
    let mut object = serde_json::to_value(daemon)?;
    object["state"] = fate(daemon, now).0.into();
    Ok(object)
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;
    use crate::clock;

    #[test]
    fn daemon_of_another_namespace_is_judged_by_its_state() {
        let now = clock::now();
        let own = host::boot();
        let mut daemon = DaemonView {
            id: "x:orchestrator".into(),
            epoch: 1,
            role: "orchestrator".into(),
            host: host::name(),
            boot_id: own.id,
            // No daemon of ours has this number here.
            pid: 1,
            pid_ns: Some(own.pid_ns + 1),
            version: "1".into(),
            started_at: now,
            stopped_at: None,
            seen_at: now,
            sessions: 0,
        };
        assert_eq!(fate(&daemon, now).0, "running");
        let later = now + SignedDuration::from_mins(6);
        assert_eq!(fate(&daemon, later).0, "silent");
        for own_ns in [Some(own.pid_ns), None] {
            daemon.pid_ns = own_ns;
            assert_eq!(fate(&daemon, now).0, "gone");
        }
    }
}
