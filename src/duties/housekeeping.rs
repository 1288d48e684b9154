//! Duty *housekeeping*: takes away what ended long ago, a part at a time.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tracing::{info, warn};

use super::heartbeat::Witnessed;
use super::links::{LeaderLink, StoreLink};
use super::{Bells, Duty, DutyBell, Figure, Patience, Report, Round};
use crate::config::{HousekeepingSettings, OrchestratorSettings, RoleSettings, Settings};
use crate::model::wall::{Judged, Wall};
use crate::store::{Leader, Pruned, Retention, SharedStore, StoreError, Witness};
use crate::{clock, text};

/// Between two parts of one round: others want the lock, too.
const BREATH: Duration = Duration::from_millis(20);
/// How long a clock that is far ahead of the last prune must go on steadily before
/// something is deleted by it.
const TRIAL: Duration = Duration::from_secs(4 * 3_600);
/// The next look of one that is not allowed to work.
const STANDBY: Duration = Duration::from_secs(60);

/// The duty.
#[derive(Debug)]
pub struct Housekeeping {
    settings: HousekeepingSettings,
    link: StoreLink,
    leader: LeaderLink,
    /// Rung when another daemon seems to lead.
    leadership: DutyBell,
    /// What rows show of the time before this daemon wrote any.
    witness: Witnessed,
    /// The clock of this machine, as far as it can be believed.
    wall: Option<Wall>,
    /// Rows that were taken away since the last report.
    removed: u64,
}

/// What a round did.
#[derive(Debug, Default)]
pub struct HousekeepingReport {
    /// What was taken away.
    pub pruned: Pruned,
    /// Whether there may be more.
    pub more: bool,
    trouble: Option<String>,
    /// Rows that were taken away, also by a round that failed after that.
    removed: u64,
    /// For the clock, which is looked at often then.
    waits: bool,
}

impl Housekeeping {
    /// The duty.
    #[must_use]
    pub fn new(
        settings: &OrchestratorSettings,
        (link, leader): (StoreLink, LeaderLink),
        bells: &Bells,
        witness: Witnessed,
    ) -> Self {
        Self {
            settings: settings.housekeeping.clone(),
            link,
            leader,
            leadership: bells.leadership.clone(),
            witness,
            wall: None,
            removed: 0,
        }
    }

    /// The time by which something may be deleted: time that nothing but a clock
    /// far ahead claims has not passed.
    fn time(&mut self) -> Judged {
        let boot = clock::since_boot();
        let wall = self.wall.get_or_insert_with(|| {
            let (witness, boot) = self.witness.borrow().unwrap_or((Witness::default(), boot));
            Wall::new(witness.pruned.or(witness.newest), boot, TRIAL)
        });
        wall.judge(clock::now(), boot)
    }

    async fn round(
        &mut self,
        store: &SharedStore,
        leader: &Leader,
    ) -> Result<HousekeepingReport, StoreError> {
        let judged = self.time();
        if let Some(ahead) = judged.ahead {
            return Ok(HousekeepingReport {
                waits: true,
                trouble: Some(format!(
                    "the clock of this machine jumped {} ahead; nothing is deleted until the clock is steady for {}\n  if it is wrong, set it",
                    text::days(ahead),
                    humantime::format_duration(TRIAL)
                )),
                ..HousekeepingReport::default()
            });
        }
        let patience = Patience::begin();
        let mending = store.mend_renewals(judged.now);
        let mended = patience.bounded(store.location(), mending).await?;
        if mended > 0 {
            warn!(
                event = "renewals-taken-back",
                "reverted the renewals of {}: a clock was far ahead",
                text::count(mended, "conversation")
            );
        }
        let retention = Retention {
            messages: self.settings.keep_messages,
            audit: self.settings.keep_audit,
            tasks: self.settings.keep_tasks,
            alerts: self.settings.keep_alerts,
        };
        let mut report = HousekeepingReport::default();
        loop {
            let part = store.prune(Some(leader), &retention, judged.now);
            let part = patience.bounded(store.location(), part).await?;
            self.removed += part.total();
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
        let mut report = match self.round(&store, &leader).await {
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
        report.removed = std::mem::take(&mut self.removed);
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
                messages, conversations, audit, tasks, alerts, wakes, "deleted old rows"
            );
        }
        let pause = if report.more {
            Duration::from_secs(1)
        } else if report.waits || report.trouble.is_some() {
            STANDBY.min(self.settings.interval)
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

    fn figures(&self) -> Vec<Figure> {
        vec![Figure::counter("rows_removed", self.removed)]
    }
}
