//! Delivery: to every adapter once, and again what could not be delivered.
//!
//! What an adapter failed to deliver is owed to that adapter, in memory, and tried
//! again ever less often until it is delivered or there is newer state of the same
//! matter: of each matter, an adapter is owed the newest state alone. In the store an
//! edge counts as announced when no adapter is owed it any more, so that after a
//! restart, or by another orchestrator, it is announced again: at least once. What was
//! announced and could not be written down is kept until it can be.

use std::collections::{HashMap, HashSet, VecDeque};
use std::time::Duration;

use tokio::task::{Id, JoinSet};
use tracing::{Instrument as _, error};

use crate::alert::{self, Failure};
use crate::config::{AlertAdapterSettings, AlertSettings};
use crate::duties::{DutyBell, Patience};
use crate::model::alert::{Alert, AlertKind, Edge};
use crate::store::{AlertNote, AlertRef, Leader, Noted, SharedStore, StoreError, ToldEdge};
use crate::{clock, text};

/// The longest pause before the first retry; it doubles.
const FIRST_PAUSE: Duration = Duration::from_secs(30);
/// The longest pause of all.
const LONGEST_PAUSE: Duration = Duration::from_mins(10);
/// Second tries at the same time: an adapter that hangs takes its time for each.
const RETRIES: usize = 4;
/// Notes of one transaction.
const NOTES: usize = 500;

/// One word about one matter.
#[derive(Debug)]
struct Job {
    alert: Alert,
    /// The alerts of the store that it is about; none for what this daemon sees
    /// by itself.
    rows: HashSet<AlertRef>,
    /// To which adapters; `None` is all of them, and the journal.
    to: Option<Vec<&'static str>>,
    /// How often it failed, and why the last time.
    failures: u32,
    why: Option<Failure>,
}

#[derive(Debug)]
struct Owed {
    job: Job,
    due: Duration,
}

/// Where an alert of the store stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// It is being delivered.
    Busy,
    /// An adapter is owed an alert: whether it is its end.
    Owed(bool),
    /// It was announced, which is not written down yet.
    Told(ToldEdge),
}

/// Tells, and keeps what came of it.
#[derive(Debug)]
pub(super) struct Telling {
    settings: AlertSettings,
    bell: DutyBell,
    tasks: JoinSet<Vec<Failure>>,
    underway: HashMap<Id, Job>,
    /// What follows an alert about the same matter that is being delivered: no adapter
    /// gets an end before the beginning.
    waiting: VecDeque<Job>,
    owed: Vec<Owed>,
    notes: VecDeque<AlertNote>,
    /// Since it was taken last.
    tally: Tally,
}

/// How telling went.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Tally {
    /// Alerts, recoveries and reminders that reached all they were for.
    pub(super) told: u64,
    /// Tries of one adapter that failed.
    pub(super) failed: u64,
}

impl Job {
    fn new(alert: Alert, rows: HashSet<AlertRef>) -> Self {
        Self {
            alert,
            rows,
            to: None,
            failures: 0,
            why: None,
        }
    }

    fn is_about_the_same_as(&self, other: &Self) -> bool {
        if self.rows.is_empty() || other.rows.is_empty() {
            return self.rows.is_empty()
                && other.rows.is_empty()
                && self.alert.id == other.alert.id;
        }
        !self.rows.is_disjoint(&other.rows)
    }

    /// Takes out what `newer` says better; `false` if nothing is left.
    fn outlives(&mut self, newer: &Self) -> bool {
        if !self.is_about_the_same_as(newer) {
            return true;
        }
        self.rows.retain(|row| !newer.rows.contains(row));
        !self.rows.is_empty()
    }
}

impl Telling {
    pub(super) fn new(settings: &AlertSettings, bell: DutyBell) -> Self {
        Self {
            settings: settings.clone(),
            bell,
            tasks: JoinSet::new(),
            underway: HashMap::new(),
            waiting: VecDeque::new(),
            owed: Vec::new(),
            notes: VecDeque::new(),
            tally: Tally::default(),
        }
    }

    /// Changed settings may have mended what failed: it is tried at once.
    pub(super) fn reload(&mut self, settings: &AlertSettings) {
        self.settings = settings.clone();
        for owed in &mut self.owed {
            owed.due = Duration::ZERO;
        }
    }

    /// Delivers to every adapter; [`Telling::reap`] takes the results.
    pub(super) fn tell(&mut self, alert: Alert, rows: HashSet<AlertRef>) {
        let job = Job::new(alert, rows);
        self.owed.retain_mut(|owed| owed.job.outlives(&job));
        self.waiting.retain_mut(|waiting| waiting.outlives(&job));
        if self.is_busy_with(&job) {
            self.waiting.push_back(job);
        } else {
            self.begin(job);
        }
    }

    /// No adapter is owed anything of it any more.
    pub(super) fn forget(&mut self, alert: Alert, rows: HashSet<AlertRef>) {
        let over = Job::new(alert, rows);
        self.owed.retain_mut(|owed| owed.job.outlives(&over));
        self.waiting.retain_mut(|waiting| waiting.outlives(&over));
    }

    /// To be written down.
    pub(super) fn note(&mut self, alert: AlertRef, told: Noted) {
        self.notes.push_back(AlertNote { alert, told });
    }

    fn is_busy_with(&self, job: &Job) -> bool {
        self.underway
            .values()
            .any(|underway| underway.is_about_the_same_as(job))
    }

    fn begin(&mut self, job: Job) {
        let (settings, bell) = (self.settings.clone(), self.bell.clone());
        let (alert, to) = (job.alert.clone(), job.to.clone());
        let work = async move {
            let told = match &to {
                None => alert::deliver(&settings, &alert).await,
                Some(to) => alert::deliver_again(&settings, &alert, to).await,
            };
            bell.ring();
            told.err().unwrap_or_default()
        };
        let task = self.tasks.spawn(work.in_current_span());
        self.underway.insert(task.id(), job);
    }

    /// How many are being delivered for the first time.
    pub(super) fn begun(&self) -> usize {
        let jobs = self.underway.values();
        jobs.filter(|job| job.failures == 0).count() + self.waiting.len()
    }

    /// Takes what came of telling.
    pub(super) fn reap(&mut self) {
        while let Some(ended) = self.tasks.try_join_next_with_id() {
            let (id, failures) = match ended {
                Ok((id, failures)) => (id, Some(failures)),
                Err(died) => {
                    error!(event = "alert-not-told", error = %died, "sending an alert failed unexpectedly");
                    (died.id(), None)
                }
            };
            if let Some(job) = self.underway.remove(&id) {
                let failures = failures.unwrap_or_else(|| {
                    let why = "sending it failed unexpectedly".to_owned();
                    let all = self.addressees(&job).into_iter();
                    all.map(|adapter| Failure {
                        adapter,
                        why: why.clone(),
                    })
                    .collect()
                });
                self.ended(job, failures);
            }
        }
        for _ in 0..self.waiting.len() {
            if let Some(job) = self.waiting.pop_front() {
                if self.is_busy_with(&job) {
                    self.waiting.push_back(job);
                } else {
                    self.begin(job);
                }
            }
        }
    }

    fn ended(&mut self, job: Job, failures: Vec<Failure>) {
        for failure in &failures {
            error!(
                event = "alert-not-told",
                adapter = failure.adapter,
                "{failure}; it was about: {}",
                alert::one_line(&job.alert)
            );
        }
        self.tally.failed += failures.len() as u64;
        let now = clock::since_boot();
        let failed: Vec<&'static str> = failures.iter().map(|failure| failure.adapter).collect();
        let mut reached = self.addressees(&job);
        reached.retain(|adapter| !failed.contains(adapter));
        // An adapter that takes one takes the others as well.
        for owed in &mut self.owed {
            let to = owed.job.to.iter().flatten();
            if to.into_iter().any(|adapter| reached.contains(adapter)) {
                owed.due = now;
            }
        }
        let Some(why) = failures.into_iter().next() else {
            self.tally.told += 1;
            self.told(&job);
            return;
        };
        let mut job = Job {
            to: Some(failed),
            failures: job.failures + 1,
            why: Some(why),
            ..job
        };
        // Newer state of it is queued already.
        if self.waiting.iter().all(|newer| job.outlives(newer)) {
            let due = now + pause(job.failures, fastrand::f64());
            self.owed.push(Owed { job, due });
        }
    }

    fn told(&mut self, job: &Job) {
        let told = match job.alert.edge {
            Edge::Raised | Edge::Reminder => Noted::Raised,
            Edge::Recovered => Noted::Recovered,
        };
        let notes = job.rows.iter().map(|&alert| AlertNote { alert, told });
        self.notes.extend(notes);
    }

    fn addressees(&self, job: &Job) -> Vec<&'static str> {
        let configured = self.settings.adapters.iter();
        let configured = configured.map(AlertAdapterSettings::name);
        let to = job.to.as_ref();
        configured
            .filter(|name| to.is_none_or(|to| to.contains(name)))
            .collect()
    }

    /// Tries again what is due; of the store's alerts only if this daemon `acts`.
    pub(super) fn retry(&mut self, acts: bool, muted: impl Fn(AlertKind) -> bool) {
        let now = clock::since_boot();
        let running = self.underway.values().filter(|job| job.failures > 0);
        let mut free = RETRIES.saturating_sub(running.count());
        self.owed.sort_by_key(|owed| owed.due);
        let mut rest = Vec::with_capacity(self.owed.len());
        for mut owed in std::mem::take(&mut self.owed) {
            let ours = acts || owed.job.rows.is_empty();
            if free == 0 || owed.due > now || !ours || muted(owed.job.alert.kind) {
                rest.push(owed);
                continue;
            }
            let to = self.addressees(&owed.job);
            if to.is_empty() {
                // It was taken out of the configuration.
                self.told(&owed.job);
            } else {
                owed.job.to = Some(to);
                self.begin(owed.job);
                free -= 1;
            }
        }
        self.owed = rest;
    }

    /// Gives up what is owed of alerts of the store that `still` does not list as due:
    /// another daemon announced them, or they are gone.
    pub(super) fn keep_rows(&mut self, still: impl Fn(AlertRef, Edge) -> bool) {
        self.owed.retain_mut(|Owed { job, .. }| {
            let edge = job.alert.edge;
            let own = job.rows.is_empty();
            job.rows.retain(|row| still(*row, edge));
            own || !job.rows.is_empty()
        });
    }

    /// Where the alerts of the store stand that there is anything to say of.
    pub(super) fn standings(&self) -> HashMap<AlertRef, Standing> {
        let mut standings = HashMap::new();
        for note in &self.notes {
            let told = match note.told {
                Noted::Raised => ToldEdge::Raised,
                Noted::Recovered => ToldEdge::All,
                Noted::Reminder => continue,
            };
            standings
                .entry(note.alert)
                .and_modify(|standing| {
                    if *standing == Standing::Told(ToldEdge::Raised) {
                        *standing = Standing::Told(told);
                    }
                })
                .or_insert(Standing::Told(told));
        }
        for Owed { job, .. } in &self.owed {
            let owed = Standing::Owed(job.alert.edge == Edge::Recovered);
            standings.extend(job.rows.iter().map(|row| (*row, owed)));
        }
        for job in self.underway.values().chain(&self.waiting) {
            standings.extend(job.rows.iter().map(|row| (*row, Standing::Busy)));
        }
        standings
    }

    /// How telling went since the last time.
    pub(super) fn tally(&mut self) -> Tally {
        std::mem::take(&mut self.tally)
    }

    /// What could not be delivered, for the status.
    pub(super) fn trouble(&self) -> Option<String> {
        let owed = self.owed.iter().map(|owed| &owed.job);
        // One that is being retried has not been delivered yet.
        let failed: Vec<&Job> = owed
            .chain(self.underway.values().filter(|job| job.failures > 0))
            .collect();
        let oldest = failed
            .iter()
            .min_by_key(|job| (job.alert.since, &job.alert.id))?;
        let by = oldest.why.as_ref().map(|why| format!(" by {why}"));
        let by = by.unwrap_or_default();
        Some(match failed.len() {
            1 => format!("an alert was not sent{by}"),
            more => format!(
                "{} were not sent, the oldest{by}",
                text::count(more as u64, "alert")
            ),
        })
    }

    /// Writes down what was announced. What the store does not take is kept.
    pub(super) async fn write(
        &mut self,
        store: &SharedStore,
        leader: &Leader,
        patience: Patience,
    ) -> Result<(), StoreError> {
        while !self.notes.is_empty() {
            let part: Vec<AlertNote> = self.notes.iter().take(NOTES).copied().collect();
            let noting = store.note_alerts(leader, &part);
            patience.bounded(store.location(), noting).await?;
            self.notes.drain(..part.len());
        }
        Ok(())
    }

    /// Ends deliveries under way; the next leader repeats those that stand in the
    /// store.
    pub(super) async fn stop(&mut self) {
        self.tasks.shutdown().await;
    }
}

/// The pause before a retry after this number of failures; `random` from 0 to 1.
fn pause(failures: u32, random: f64) -> Duration {
    let doubled = FIRST_PAUSE.saturating_mul(2_u32.saturating_pow(failures.saturating_sub(1)));
    doubled.min(LONGEST_PAUSE).mul_f64(0.75 + 0.25 * random)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_the_longest_and_differ() {
        let seconds = |failures, random| pause(failures, random).as_secs_f64();
        let longest: Vec<f64> = [1, 2, 3, 5, 6, u32::MAX].map(|n| seconds(n, 1.0)).into();
        assert_eq!(longest, [30.0, 60.0, 120.0, 480.0, 600.0, 600.0]);
        for failures in [1, 4, 99] {
            let (least, most) = (seconds(failures, 0.0), seconds(failures, 1.0));
            assert!(least < most && least >= 20.0, "{least} {most}");
        }
    }
}
