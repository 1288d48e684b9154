//! Duty *housekeeping*: takes away what ended long ago, a part at a time.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tracing::info;

use super::leadership::LeaderLink;
use super::store_keeper::StoreLink;
use super::{Duty, DutyBell, Patience, Report, Round};
use crate::clock;
use crate::config::{HousekeepingSettings, OrchestratorSettings, RoleSettings, Settings};
use crate::store::{Leader, Pruned, Retention, SharedStore, StoreError};

/// Between two parts of one round: others want the lock, too.
const BREATH: Duration = Duration::from_millis(20);
/// The next look of one that is not allowed to work.
const STANDBY: Duration = Duration::from_secs(60);

/// The duty.
#[derive(Debug)]
pub struct Housekeeping {
    settings: HousekeepingSettings,
    link: StoreLink,
    leader: LeaderLink,
    /// Rung when somebody else seems to act.
    leadership: DutyBell,
}

/// What a round did.
#[derive(Debug, Default)]
pub struct HousekeepingReport {
    /// What was taken away.
    pub pruned: Pruned,
    /// Whether there may be more.
    pub more: bool,
    trouble: Option<String>,
}

impl Housekeeping {
    /// The duty.
    #[must_use]
    pub fn new(
        settings: &OrchestratorSettings,
        (link, leader): (StoreLink, LeaderLink),
        leadership: DutyBell,
    ) -> Self {
        Self {
            settings: settings.housekeeping.clone(),
            link,
            leader,
            leadership,
        }
    }

    async fn round(
        &self,
        store: &SharedStore,
        leader: &Leader,
    ) -> Result<HousekeepingReport, StoreError> {
        let patience = Patience::begin();
        let retention = Retention {
            messages: self.settings.keep_messages,
            audit: self.settings.keep_audit,
            tasks: self.settings.keep_tasks,
            alerts: self.settings.keep_alerts,
        };
        let mut report = HousekeepingReport::default();
        loop {
            let part = store.prune(Some(leader), &retention, clock::now());
            let part = patience.bounded(store.location(), part).await?;
            report.pruned += part;
            report.more = part.total() > 0;
            if !report.more || patience.is_over() {
                return Ok(report);
            }
            tokio::time::sleep(BREATH).await;
        }
    }
}

impl Duty for Housekeeping {
    type Report = HousekeepingReport;

    fn name(&self) -> &'static str {
        "housekeeping"
    }

    async fn tick(&mut self) -> Round<HousekeepingReport> {
        let store = self.link.borrow().clone();
        let leader = self.leader.borrow().clone();
        let Some((store, leader)) = store.zip(leader) else {
            return Round {
                report: HousekeepingReport::default(),
                next: Instant::now() + STANDBY.min(self.settings.interval),
            };
        };
        let report = match self.round(&store, &leader).await {
            Ok(report) => report,
            Err(StoreError::NotLeading(_)) => {
                self.leadership.ring();
                HousekeepingReport::default()
            }
            Err(error) => HousekeepingReport {
                trouble: Some(error.to_string()),
                ..HousekeepingReport::default()
            },
        };
        let Pruned {
            messages,
            conversations,
            audit,
            tasks,
            alerts,
            wakes,
        } = report.pruned;
        if report.pruned.total() > 0 {
            info!(
                event = "housekeeping",
                messages,
                conversations,
                audit,
                tasks,
                alerts,
                wakes,
                "took away what ended long ago"
            );
        }
        let pause = if report.more {
            Duration::from_secs(1)
        } else {
            self.settings.interval
        };
        Round {
            report,
            next: Instant::now() + pause,
        }
    }

    fn reload(&mut self, settings: &Arc<Settings>) {
        if let RoleSettings::Orchestrator(own) = &settings.role {
            self.settings = own.housekeeping.clone();
        }
    }
}

impl Report for HousekeepingReport {
    fn summary(&self) -> String {
        String::new()
    }

    fn trouble(&self) -> Option<String> {
        self.trouble.clone()
    }
}
