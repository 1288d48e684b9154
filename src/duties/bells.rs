//! The bells of the duties, by name: a duty takes them all and keeps those that it
//! rings.

use std::sync::Arc;

use tokio::sync::Notify;

/// Wakes one duty from anywhere; several rings before its next round are one.
#[derive(Debug, Clone, Default)]
pub struct DutyBell(pub Arc<Notify>);

impl DutyBell {
    /// Makes the duty run soon.
    pub fn ring(&self) {
        self.0.notify_one();
    }
}

/// One bell for each duty. Clones ring the same duties.
#[derive(Debug, Clone, Default)]
pub struct Bells {
    /// Of the duty *store keeper*.
    pub keeper: DutyBell,
    /// Of the duty *heartbeat*.
    pub heartbeat: DutyBell,
    /// Of the duty *message watch*.
    pub message_watch: DutyBell,
    /// Of the duty *alerts*.
    pub alerts: DutyBell,
    /// Of an orchestrator's duty *leadership*.
    pub leadership: DutyBell,
    /// Of an orchestrator's duty *watchdog*.
    pub watchdog: DutyBell,
    /// Of an orchestrator's duty *reassignment*.
    pub reassignment: DutyBell,
    /// Of an orchestrator's duty *housekeeping*.
    pub housekeeping: DutyBell,
}
