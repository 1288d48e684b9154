//! What `status` shows of a store.

use std::collections::HashMap;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{AlertRow, Control, DaemonView, Lease};
use crate::model::session::SessionView;

/// What is true of a store at one moment: all of it as of one commit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Status {
    /// The moment, on the clock of the one who read it.
    pub at: Timestamp,
    /// The sessions of conversations that are open, or ended in the last 15 minutes.
    pub sessions: Vec<SessionView>,
    /// Daemons that are known, by name.
    pub daemons: Vec<DaemonView>,
    /// Which orchestrator acts, as it stands written; none if there never was one.
    pub lease: Option<Lease>,
    /// Operators' orders that hold.
    pub orders: Vec<Control>,
    /// How many tasks there are, by state.
    pub tasks: HashMap<String, u64>,
    /// Alerts, in numbers.
    pub alerts: AlertsNow,
}

/// How many alerts there are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AlertsNow {
    /// Raised in the last 24 hours, of the newest 1000.
    pub in_24h: u64,
    /// Open now.
    pub open: u64,
    /// Overdue: not sent yet.
    pub overdue: u64,
    /// Whether one that is open says that no orchestrator acts.
    pub leaderless: bool,
    /// The newest of the last 24 hours.
    pub last: Option<AlertRow>,
}

impl AlertsNow {
    /// The most that are counted.
    pub const MOST: u32 = 1_000;
}
