//! Duty *alerts*: tells the operator, once when something turns for the worse,
//! once when it is well again, and now and then in between.
//!
//! What concerns the fleet stands in the store and is told by the orchestrator
//! that acts, also what its predecessor had no time to tell. What a daemon sees
//! by itself (its store, its wakes, nobody who acts) it tells itself, because
//! the store may be the very thing that is broken.

mod desk;
mod leaderless;
mod rows;

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tracing::{Instrument as _, error, field, info};

use super::leadership::LeaderLink;
use super::store_keeper::StoreLink;
use super::{Duty, DutyBell, Patience, Report, Round};
use crate::config::{AlertSettings, Settings};
use crate::model::SessionKey;
use crate::model::alert::{Alert, AlertKind, Edge, ReminderPolicy, next_reminder};
use crate::store::{ControlKind, NewAlert, SharedStore, StoreError, ToldEdge};
use crate::{alert, clock};

/// Between two looks that nobody rang for.
const LOOK: Duration = Duration::from_secs(5);
/// Own troubles that are remembered while the store cannot be written.
const UNRECORDED: usize = 1_000;

use desk::Said;
pub use desk::{AlertDesk, AlertPost, desk};
use leaderless::Watched;

/// The duty.
pub struct Alerts {
    settings: AlertSettings,
    link: StoreLink,
    /// Of an orchestrator; a worker never acts.
    leader: Option<LeaderLink>,
    daemon: String,
    bell: DutyBell,
    said: mpsc::UnboundedReceiver<Said>,
    /// Troubles that this daemon sees by itself.
    own: HashMap<(AlertKind, String), Own>,
    /// What of them is not in the store yet, in order.
    unrecorded: VecDeque<Record>,
    /// Whether what an earlier life left open in the store was closed.
    tidied: bool,
    /// When each alert of the store is to be told again.
    reminders: HashMap<i64, Duration>,
    /// Edges that are being told: alert, and whether it is its end.
    telling: HashSet<(i64, bool)>,
    tasks: JoinSet<Told>,
    /// What could not be told, until something can.
    failed: Option<String>,
    watched: Watched,
    numbers: u64,
}

#[derive(Debug)]
struct Own {
    alert: Alert,
    remind: Duration,
}

/// What became of telling one alert.
struct Told {
    /// The rows in the store, and whether it was their end.
    rows: Vec<(i64, bool)>,
    failures: Vec<alert::Failure>,
    about: String,
}

/// An own trouble, on its way into the store.
#[derive(Debug)]
enum Record {
    Raised(NewAlert, Timestamp),
    Recovered(AlertKind, String, Timestamp),
}

/// What a round found.
#[derive(Debug, Clone, Default)]
pub struct AlertsReport {
    /// Alerts that are open.
    pub open: usize,
    trouble: Option<String>,
}

impl Alerts {
    /// The duty. `leader` is an orchestrator's; `bell` its own.
    #[must_use]
    pub fn new(
        settings: &AlertSettings,
        link: StoreLink,
        leader: Option<LeaderLink>,
        daemon: String,
        (bell, post): (DutyBell, AlertPost),
    ) -> Self {
        Self {
            settings: settings.clone(),
            link,
            leader,
            daemon,
            bell,
            said: post.0,
            own: HashMap::new(),
            unrecorded: VecDeque::new(),
            tidied: false,
            reminders: HashMap::new(),
            telling: HashSet::new(),
            tasks: JoinSet::new(),
            failed: None,
            watched: Watched::default(),
            numbers: 0,
        }
    }

    fn policy(&self) -> ReminderPolicy {
        alert::reminders(&self.settings)
    }

    /// Takes what other duties said since the last round.
    fn listen(&mut self, muted: &HashSet<String>) {
        while let Ok(said) = self.said.try_recv() {
            match said {
                Said::Raise {
                    kind,
                    subject,
                    session,
                    text,
                } => self.raise(kind, subject, session, text, muted),
                Said::Recover { kind, subject } => self.recover(kind, subject, muted),
            }
        }
    }

    fn raise(
        &mut self,
        kind: AlertKind,
        subject: String,
        session: Option<SessionKey>,
        text: String,
        muted: &HashSet<String>,
    ) {
        let key = (kind, subject.clone());
        if self.own.contains_key(&key) {
            return;
        }
        let now = clock::now();
        self.numbers += 1;
        let alert = Alert {
            id: format!("{}/{}/{}", self.daemon, now.as_millisecond(), self.numbers),
            kind,
            edge: Edge::Raised,
            subject,
            session,
            task: None,
            text,
            since: now,
            at: now,
            reminders: 0,
            daemon: self.daemon.clone(),
        };
        let record = NewAlert {
            kind,
            subject: alert.subject.clone(),
            session: alert.session.clone(),
            text: alert.text.clone(),
            by: self.daemon.clone(),
            told: true,
        };
        self.record(Record::Raised(record, now));
        self.tell(alert.clone(), Vec::new(), muted);
        let remind = clock::since_boot() + next_reminder(0, &self.policy());
        self.own.insert(key, Own { alert, remind });
    }

    fn recover(&mut self, kind: AlertKind, subject: String, muted: &HashSet<String>) {
        let Some(Own { alert, .. }) = self.own.remove(&(kind, subject.clone())) else {
            return;
        };
        let now = clock::now();
        self.record(Record::Recovered(kind, subject, now));
        let over = Alert {
            edge: Edge::Recovered,
            at: now,
            ..alert
        };
        self.tell(over, Vec::new(), muted);
    }

    fn record(&mut self, record: Record) {
        if self.unrecorded.len() < UNRECORDED {
            self.unrecorded.push_back(record);
        }
    }

    /// Reminds of own troubles that last.
    fn remind(&mut self, muted: &HashSet<String>) {
        let (now, policy) = (clock::since_boot(), self.policy());
        let mut due = Vec::new();
        for own in self.own.values_mut().filter(|own| own.remind <= now) {
            own.alert.reminders += 1;
            own.remind = now + next_reminder(own.alert.reminders, &policy);
            due.push(Alert {
                edge: Edge::Reminder,
                at: clock::now(),
                ..own.alert.clone()
            });
        }
        for alert in due {
            self.tell(alert, Vec::new(), muted);
        }
    }

    /// Starts to tell; what came of it is taken by a later round.
    fn tell(&mut self, alert: Alert, rows: Vec<(i64, bool)>, muted: &HashSet<String>) {
        self.telling.extend(rows.iter().copied());
        let about = alert.line();
        if muted.contains(alert.kind.as_str()) {
            let session = alert.session.as_ref();
            info!(
                event = "alert-muted",
                alert = alert.kind.as_str(),
                alert_id = alert.id,
                task = alert.task,
                conversation = session.map(|session| field::display(&session.conversation)),
                session = session.map(field::display),
                "muted: {about}"
            );
            let told = Told {
                rows,
                failures: Vec::new(),
                about,
            };
            self.tasks.spawn(std::future::ready(told));
        } else {
            let (settings, bell) = (self.settings.clone(), self.bell.clone());
            let work = async move {
                let failures = alert::deliver(&settings, &alert).await.err();
                bell.ring();
                Told {
                    rows,
                    failures: failures.unwrap_or_default(),
                    about,
                }
            };
            self.tasks.spawn(work.in_current_span());
        }
    }

    /// Takes what came of telling, and writes it down.
    async fn reap(
        &mut self,
        store: Option<&SharedStore>,
        patience: Patience,
    ) -> Result<(), StoreError> {
        while let Some(ended) = self.tasks.try_join_next() {
            let told = match ended {
                Ok(told) => told,
                Err(error) => {
                    error!(event = "alert-not-told", %error, "telling an alert died");
                    continue;
                }
            };
            self.failed = told
                .failures
                .first()
                .map(|failure| format!("an alert was not told by {failure}"));
            for failure in &told.failures {
                error!(
                    event = "alert-not-told",
                    adapter = failure.adapter,
                    "{failure}; it was about: {}",
                    told.about
                );
            }
            for (id, recovered) in told.rows {
                if let Some(store) = store {
                    let noting = store.alert_told(id, recovered);
                    patience.bounded(store.location(), noting).await?;
                }
                self.telling.remove(&(id, recovered));
            }
        }
        Ok(())
    }

    /// Writes own troubles down, so that `status` knows them.
    async fn flush(&mut self, store: &SharedStore, patience: Patience) -> Result<(), StoreError> {
        if !self.tidied {
            let open = store.open_alerts();
            let open = patience.bounded(store.location(), open).await?;
            for row in open {
                if row.raised_by == self.daemon && row.told == ToldEdge::All {
                    let closing = store.recover_alert(row.kind, &row.subject, clock::now());
                    patience.bounded(store.location(), closing).await?;
                }
            }
            self.tidied = true;
        }
        while let Some(record) = self.unrecorded.front() {
            match record {
                Record::Raised(alert, at) => {
                    let raising = store.raise_alert(alert, *at);
                    patience.bounded(store.location(), raising).await?;
                }
                Record::Recovered(kind, subject, at) => {
                    let ending = store.recover_alert(*kind, subject, *at);
                    patience.bounded(store.location(), ending).await?;
                }
            }
            self.unrecorded.pop_front();
        }
        Ok(())
    }

    async fn round(&mut self, store: &SharedStore) -> Result<usize, StoreError> {
        let patience = Patience::begin();
        let controls = store.controls(clock::now());
        let controls = patience.bounded(store.location(), controls).await?;
        let mutes = controls.into_iter().filter(|c| c.kind == ControlKind::Mute);
        let muted: HashSet<String> = mutes.map(|control| control.subject).collect();
        self.listen(&muted);
        self.remind(&muted);
        self.reap(Some(store), patience).await?;
        self.flush(store, patience).await?;
        let acts = self.leader.as_ref().map(|leader| leader.borrow().is_some());
        match acts {
            None => self.watch_leader(store, patience, &muted).await?,
            Some(false) => {}
            Some(true) => {
                let rows = store.open_alerts();
                let rows = patience.bounded(store.location(), rows).await?;
                let lasting: Vec<i64> = rows
                    .iter()
                    .filter(|row| {
                        self.reminders
                            .get(&row.id)
                            .is_some_and(|due| *due <= clock::since_boot())
                    })
                    .map(|row| row.id)
                    .collect();
                let open = rows.iter().filter(|row| row.recovered_at.is_none()).count();
                self.tell_rows(rows, &muted);
                for id in lasting {
                    let noting = store.alert_reminded(id);
                    patience.bounded(store.location(), noting).await?;
                }
                return Ok(open);
            }
        }
        Ok(self.own.len())
    }
}

impl Duty for Alerts {
    type Report = AlertsReport;

    fn name(&self) -> &'static str {
        "alerts"
    }

    async fn tick(&mut self) -> Round<AlertsReport> {
        let store = self.link.borrow_and_update().clone();
        let outcome = match &store {
            Some(store) => self.round(store).await,
            None => Ok(self.own.len()),
        };
        if store.is_none() || outcome.is_err() {
            // The store is what is broken: the operator hears of it all the same.
            let nothing = HashSet::new();
            self.listen(&nothing);
            self.remind(&nothing);
            // Rows cannot be noted as told, and are told again.
            if let Err(error) = self.reap(None, Patience::begin()).await {
                error!(event = "alert-not-told", %error, "what came of an alert is unknown");
            }
        }
        let report = AlertsReport {
            open: outcome.as_ref().map_or(self.own.len(), |open| *open),
            trouble: outcome
                .err()
                .map(|error| error.to_string())
                .or_else(|| self.failed.clone()),
        };
        Round {
            report,
            next: Instant::now() + LOOK,
        }
    }

    fn reload(&mut self, settings: &Arc<Settings>) {
        self.settings = settings.alert.clone();
    }

    async fn stop(&mut self) {
        // What is being told is told by whoever acts next, if it stands in the
        // store.
        self.tasks.shutdown().await;
    }
}

impl Report for AlertsReport {
    fn summary(&self) -> String {
        match self.open {
            0 => String::new(),
            open => crate::text::count(open as u64, "open alert"),
        }
    }

    fn trouble(&self) -> Option<String> {
        self.trouble.clone()
    }
}

impl std::fmt::Debug for Alerts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Alerts")
            .field("daemon", &self.daemon)
            .field("own", &self.own)
            .field("failed", &self.failed)
            .finish_non_exhaustive()
    }
}
