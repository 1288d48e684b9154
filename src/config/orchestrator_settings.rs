//! What only the role `orchestrator` has: watching, handing on, tidying up.

use std::time::Duration;

/// The settings of the role `orchestrator`.
#[derive(Debug, Clone, PartialEq)]
pub struct OrchestratorSettings {
    /// `[watchdog]`.
    pub watchdog: WatchdogSettings,
    /// `[reassignment]`.
    pub reassignment: ReassignmentSettings,
    /// `[housekeeping]`.
    pub housekeeping: HousekeepingSettings,
}

/// The duty *watchdog*: which sessions are lost, which are stalled, and when not to
/// trust the look.
#[derive(Debug, Clone, PartialEq)]
pub struct WatchdogSettings {
    /// The longest sleep between two looks, 100 ms to 10 s.
    pub check_interval: Duration,
    /// How long a session without a daemon may be silent, 1 s to 24 h.
    pub default_ttl: Duration,
    /// Without activity for so long, a session that owes nothing is idle, 1 s to 24 h.
    pub idle_after: Duration,
    /// The same for one that owes is stalled, up to 24 h and never below `idle_after`.
    pub stalled_after: Duration,
    /// How long the owner of a task stays stalled until the task is moved, where
    /// the client reports turns, 1 s to 24 h.
    pub revoke_after: Duration,
    /// How long a new session has for its first sign of life, 1 s to 24 h.
    pub starting_for: Duration,
    /// From how many hosts on silence may be the watchdog's own fault, 1 to 10,000.
    pub correlated_hosts: u32,
    /// How many of 100 hosts go silent together when it is, 1 to 100.
    pub correlated_percent: u32,
    /// For how long no session expires then, up to 24 h; zero turns it off.
    pub correlated_hold: Duration,
    /// How long an orchestrator leads without renewing, 1 s to 60 s and at least
    /// three times `check_interval`.
    pub leader_ttl: Duration,
}

/// The duty *reassignment*: which agent gets a task, and how fast.
#[derive(Debug, Clone, PartialEq)]
pub struct ReassignmentSettings {
    /// Open tasks of one session, 1 to 100; its own number in the store wins.
    pub capacity: u32,
    /// Who may take a task.
    pub match_role: MatchRole,
    /// Moves of one second, 1 to 10,000.
    pub moves_per_second: u32,
    /// Owners that a task may lose before it is given up, 1 to 100.
    pub max_losses: u32,
    /// Only losses so recent count, 1 min to a year.
    pub losses_within: Duration,
}

/// Who may take a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MatchRole {
    /// Sessions of the task's role.
    Same,
    /// Every session.
    Any,
}

/// The duty *housekeeping*: what is deleted, and when. Ages are 1 min to 10 years.
#[derive(Debug, Clone, PartialEq)]
pub struct HousekeepingSettings {
    /// Between two rounds, 1 s to 24 h.
    pub interval: Duration,
    /// Read and acknowledged messages of conversations that ended.
    pub keep_messages: Duration,
    /// Lines of the audit log.
    pub keep_audit: Duration,
    /// Finished tasks.
    pub keep_tasks: Duration,
    /// Alerts that are over.
    pub keep_alerts: Duration,
}
