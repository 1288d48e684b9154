//! Duty *alerts*: tells the operator, once when something turns for the worse,
//! once when it is well again, and now and then in between.
//!
//! What concerns the fleet stands in the store and is announced by the orchestrator
//! that leads, also what its predecessor had no time to announce. What a daemon sees by
//! itself (its store, its wakes, a fleet without a leader) it announces itself, because
//! the store may be the very thing that is broken. Such an alert never waits for the
//! store: it ends a round that does, and is written down when that is possible again.

mod desk;
mod leaderless;
mod mutes;
mod own;
mod rows;
mod telling;

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::sync::{Notify, mpsc};
use tokio::time::Instant;
use tracing::{field, info};

use super::links::{LeaderLink, StoreLink};
use super::{Bells, Duty, DutyBell, Figure, Patience, Report, Round};
use crate::config::{AlertSettings, Settings};
use crate::model::alert::{Alert, AlertKind, ReminderPolicy};
use crate::store::{AlertRow, Leader, SharedStore, StoreError};
use crate::{alert, clock};

/// Between two looks without a bell.
const LOOK: Duration = Duration::from_secs(5);

use desk::AlertRequest;
pub use desk::{AlertDesk, AlertInbox, desk};
use leaderless::Watched;
use mutes::Mutes;
use own::Own;
use rows::Rows;
use telling::{Tally, Telling};

/// The duty.
pub struct Alerts {
    settings: AlertSettings,
    link: StoreLink,
    /// Of an orchestrator, with the bell of the duty that finds out who leads; a worker
    /// never leads.
    leader: Option<(LeaderLink, DutyBell)>,
    daemon: String,
    requests: mpsc::UnboundedReceiver<AlertRequest>,
    urgent: Arc<Notify>,
    own: Own,
    rows: Rows,
    telling: Telling,
    mutes: Mutes,
    /// Whether the store has yet to say what is muted.
    mutes_are_due: bool,
    watched: Watched,
}

/// What a round found.
#[derive(Debug, Clone, Default)]
pub struct AlertsReport {
    /// Alerts that are open.
    pub open: usize,
    /// What could not be delivered, and is tried again.
    untold: Option<String>,
    trouble: Option<String>,
    tally: Tally,
}

impl Alerts {
    /// The duty. `leader` is an orchestrator's; `inbox` is what is said at the desk.
    #[must_use]
    pub fn new(
        settings: &AlertSettings,
        link: StoreLink,
        leader: Option<LeaderLink>,
        daemon: String,
        bells: &Bells,
        inbox: AlertInbox,
    ) -> Self {
        Self {
            settings: settings.clone(),
            link,
            leader: leader.map(|leader| (leader, bells.leadership.clone())),
            daemon,
            requests: inbox.requests,
            urgent: inbox.urgent,
            own: Own::default(),
            rows: Rows::default(),
            telling: Telling::new(settings, bells.alerts.clone()),
            mutes: Mutes::default(),
            mutes_are_due: true,
            watched: Watched::default(),
        }
    }

    fn policy(&self) -> ReminderPolicy {
        alert::reminders(&self.settings)
    }

    fn acting(&self) -> Option<Leader> {
        let (link, _) = self.leader.as_ref()?;
        link.borrow().clone()
    }

    /// What needs no store.
    fn tell_own(&mut self) {
        self.announce();
        self.listen();
        self.remind();
        self.telling.reap();
    }

    fn retry(&mut self, acts: bool) {
        self.telling.retry(acts, |kind| self.mutes.hold(kind));
    }

    async fn round(&mut self, store: &SharedStore) -> Result<usize, StoreError> {
        let patience = Patience::begin();
        let controls = store.controls(clock::now());
        self.mutes
            .read(patience.bounded(store.location(), controls).await?);
        self.mutes_are_due = false;
        self.tell_own();
        let leader = self.acting();
        let mut open = self.own.len();
        let mut leaderless = false;
        if leader.is_some() {
            let rows = store.open_alerts();
            let rows = patience.bounded(store.location(), rows).await?;
            let is_open = |row: &&AlertRow| row.recovered_at.is_none();
            open = rows.iter().filter(is_open).count();
            leaderless = rows
                .iter()
                .filter(is_open)
                .any(|row| row.kind == AlertKind::NoActingLeader);
            self.tell_rows(rows);
        } else {
            self.rows.stand_by();
        }
        self.retry(leader.is_some());
        // Writing comes last: a store that cannot be written delays no alert.
        let mut written = Ok(());
        if let Some(leader) = &leader {
            written = self.telling.write(store, leader, patience).await;
            if written.is_ok() && leaderless {
                written = self.end_leaderless(leader, store, patience).await;
            }
        }
        self.flush(store, patience).await?;
        if self.leader.is_none() {
            self.watch_leader(store, patience).await?;
        }
        match written {
            Err(StoreError::NotLeading(_)) => {
                // It is kept: if no other daemon announced it, it is still ours to
                // note.
                if let Some((_, leadership)) = &self.leader {
                    leadership.ring();
                }
            }
            other => other?,
        }
        Ok(open)
    }
}

/// Instead of telling it.
fn say_muted(alert: &Alert) {
    let session = alert.session.as_ref();
    info!(
        event = "alert-muted",
        alert = alert.kind.as_str(),
        alert_id = alert.id,
        task = alert.task,
        conversation = session.map(|session| field::display(&session.conversation)),
        session = session.map(field::display),
        label = alert.session_name(),
        "muted: {}",
        crate::alert::one_line(alert)
    );
}

impl Duty for Alerts {
    type Report = AlertsReport;

    fn name(&self) -> &'static str {
        "alerts"
    }

    async fn tick(&mut self) -> Round<AlertsReport> {
        let store = self.link.borrow_and_update().clone();
        let urgent = Arc::clone(&self.urgent);
        // What it was rung for so far is announced here.
        let _ = urgent.notified().now_or_never();
        self.mutes_are_due &= store.is_some();
        self.tell_own();
        let outcome = match &store {
            Some(store) => tokio::select! {
                outcome = self.round(store) => outcome,
                // The bell was rung as well: the next round begins at once.
                () = urgent.notified() => Ok(self.own.len()),
            },
            None => Ok(self.own.len()),
        };
        if store.is_none() || outcome.is_err() {
            // The store is what is broken: the operator hears of it all the same.
            self.mutes_are_due = false;
            self.tell_own();
            self.retry(false);
        }
        let report = AlertsReport {
            open: outcome.as_ref().map_or(self.own.len(), |open| *open),
            untold: self.telling.trouble(),
            trouble: outcome.err().map(|error| error.to_string()),
            tally: self.telling.tally(),
        };
        Round {
            report,
            next: Instant::now() + LOOK,
        }
    }

    fn reload(&mut self, settings: &Arc<Settings>) {
        self.settings = settings.alert.clone();
        self.telling.reload(&self.settings);
    }

    async fn stop(&mut self) {
        self.telling.reap();
        let (store, leader) = (self.link.borrow().clone(), self.acting());
        if let Some((store, leader)) = store.zip(leader) {
            let written = self.telling.write(&store, &leader, Patience::begin());
            if let Err(error) = written.await {
                info!(
                    event = "alerts-not-noted", %error,
                    "the store did not record which alerts were sent; they may be sent again"
                );
            }
        }
        self.telling.stop().await;
    }
}

impl Report for AlertsReport {
    fn summary(&self) -> String {
        let open = match self.open {
            0 => None,
            open => Some(crate::text::count(open as u64, "open alert")),
        };
        // Beside others, a trouble is shown only where there is no summary.
        let untold = self.untold.clone().filter(|_| open.is_some());
        let words: Vec<String> = open.into_iter().chain(untold).collect();
        words.join(", ")
    }

    fn trouble(&self) -> Option<String> {
        self.trouble.clone().or_else(|| self.untold.clone())
    }

    fn figures(&self) -> Vec<Figure> {
        let mut figures = vec![
            Figure::counter("alerts_told", self.tally.told),
            Figure::counter("tries_failed", self.tally.failed),
        ];
        if self.trouble.is_none() {
            figures.push(Figure::gauge("alerts_open", self.open as u64));
        }
        figures
    }
}

impl std::fmt::Debug for Alerts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Alerts")
            .field("daemon", &self.daemon)
            .field("own", &self.own)
            .field("telling", &self.telling)
            .finish_non_exhaustive()
    }
}
