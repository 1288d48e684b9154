//! Duty *heartbeat*: one statement for all sessions whose agents are proven
//! alive, and a word at once when one has ended.

mod beside;
mod ends;
mod hearing;
mod proofs;
mod renewal;
mod report;
mod time;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::watch;
use tokio::time::Instant;
use tracing::{info, warn};

pub use hearing::RegistrationListener;
pub use report::HeartbeatReport;

use proofs::{ProofOutcomes, Proofs};

use super::alerts::AlertDesk;
use super::leadership::Registration;
use super::links::StoreLink;
use super::roster::{KeptSession, RollCall, Roster, Sessions};
use super::{Bells, Duty, DutyBell, Patience, Round, SessionState, bounded};
use crate::config::{AgentSettings, HeartbeatSettings, Settings};
use crate::liveness::{ProofOutcome, Watcher};
use crate::model::alert::AlertKind;
use crate::model::wall::Wall;
use crate::model::{ConversationId, SessionKey};
use crate::store::{
    Beat, BeatReport, BeatRound, DaemonInfo, DaemonRef, Namesake, Process, SharedStore, StoreError,
    Witness,
};
use crate::{clock, files, host, text};

/// What rows show of the time, and the boot clock then; `None` before a store was open.
pub type Witnessed = watch::Receiver<Option<(Witness, Duration)>>;

/// Between a round that the store kept from its work and the next: heartbeats
/// that could not be written are written as soon as possible.
const AGAIN: Duration = Duration::from_millis(500);

/// The duty.
#[derive(Debug)]
pub struct Heartbeat {
    settings: HeartbeatSettings,
    link: StoreLink,
    bell: DutyBell,
    info: DaemonInfo,
    /// This daemon's row in the store that is open, and which store that is.
    registered: Option<(SharedStore, DaemonRef)>,
    roster: Roster,
    proofs: Proofs,
    published: watch::Sender<Sessions>,
    registration: watch::Sender<Option<DaemonRef>>,
    /// Sessions whose agent ended and has no successor, and whether that is in
    /// the store.
    exits: HashMap<SessionKey, bool>,
    /// Sessions whose heartbeat is ours, to be let go when they are taken out.
    held: HashSet<SessionKey>,
    /// Said once.
    complaints: HashMap<SessionKey, String>,
    /// The clock of this machine, as far as it can be believed, and whether it
    /// could not be a round ago.
    wall: Option<Wall>,
    clock_ahead: bool,
    witnessed: watch::Sender<Option<(Witness, Duration)>>,
    /// Ends that lie farther away than a renewal of today would set them, by
    /// conversation: each was looked into.
    odd_ends: HashMap<ConversationId, Timestamp>,
    /// Another daemon of this name, and when it was looked for.
    namesake: Option<Namesake>,
    namesake_asked: Option<Duration>,
    desk: AlertDesk,
    /// When the probes were asked, and when the shared table was written: since
    /// boot, which goes on in suspend.
    asked: Option<Duration>,
    mirrored: Option<Duration>,
    /// Sessions whose process was compared with what the store says of it: once
    /// for each store.
    compared: HashSet<SessionKey>,
    /// Processes that ended unseen, as the store names them.
    /// Heartbeats that were written since the last report.
    written: u64,
    missed: HashMap<SessionKey, Process>,
}

impl Heartbeat {
    /// The duty, and the sessions that it will publish. A user's own daemon has an owner.
    #[must_use]
    pub fn new(
        settings: &AgentSettings,
        (info, owner): (DaemonInfo, Option<u32>),
        link: StoreLink,
        bells: &Bells,
        desk: AlertDesk,
    ) -> (Self, watch::Receiver<Sessions>) {
        let (published, receiver) = watch::channel(Sessions::default());
        let bell = bells.heartbeat.clone();
        let watcher = Watcher::new(Arc::clone(&bell.0));
        let duty = Self {
            settings: settings.heartbeat.clone(),
            link,
            info,
            registered: None,
            roster: Roster::new(settings, owner),
            proofs: Proofs::new(&settings.sessions, watcher),
            bell,
            published,
            registration: watch::Sender::new(None),
            exits: HashMap::new(),
            held: HashSet::new(),
            complaints: HashMap::new(),
            wall: None,
            clock_ahead: false,
            witnessed: watch::Sender::new(None),
            odd_ends: HashMap::new(),
            namesake: None,
            namesake_asked: None,
            desk,
            asked: None,
            mirrored: None,
            compared: HashSet::new(),
            missed: HashMap::new(),
            written: 0,
        };
        (duty, receiver)
    }

    /// This daemon's row in the store that is open, for the duties that write in its
    /// name.
    #[must_use]
    pub fn registration(&self) -> Registration {
        self.registration.subscribe()
    }

    /// What the rows of the store show of the time before this daemon wrote there, and
    /// how long the machine ran then.
    #[must_use]
    pub fn witness(&self) -> Witnessed {
        self.witnessed.subscribe()
    }

    async fn round(&mut self, store: &SharedStore) -> Result<HeartbeatReport, StoreError> {
        let patience = Patience::begin();
        let now = self.time(store, patience).await?;
        let daemon = self.register(store, now, patience).await?;
        let mut roll = self.roster.call(store, now, patience).await?;
        if self.mend(store, &roll, now, patience).await? {
            roll = self.roster.call(store, now, patience).await?;
        }
        self.forget_those_taken_out(store, &daemon, now, patience)
            .await?;

        let mut verdicts = self.check(&roll);
        self.compare(store, &roll, &mut verdicts, patience).await?;
        if self
            .revive(store, &daemon, (&roll, &verdicts), now, patience)
            .await?
        {
            roll = self.roster.call(store, now, patience).await?;
        }
        let sessions = self.roster.conclude(roll);
        let mut report = HeartbeatReport::default();
        let mut beats = Vec::with_capacity(sessions.len());
        let mut living = Vec::with_capacity(sessions.len());
        let mut ended = Vec::new();
        for session in sessions.iter() {
            // One that came with the last call is looked at in the next round.
            let Some(verdict) = verdicts.get(&session.agent) else {
                self.bell.ring();
                continue;
            };
            match verdict {
                ProofOutcome::Alive(proof, process) => {
                    living.push(session);
                    beats.push(Beat {
                        session: session.key.clone(),
                        proof: *proof,
                        process: *process,
                        renew_until: self.renewal(session, now),
                    });
                }
                ProofOutcome::Exited => ended.push(session),
                ProofOutcome::Unproven(why) => {
                    report.unproven += 1;
                    report.silent.push(without_life(session, why.clone()));
                    self.complain(session, why.clone());
                }
                ProofOutcome::Asked => report.unproven += 1,
            }
        }
        // The living first: a store that is slow today must not cost them.
        let beaten = self.beat(store, &daemon, &beats, now, patience).await?;
        for session in living.iter().filter(|s| beaten.succeeded.contains(&s.key)) {
            ends::tell_succeeded(session);
        }
        let elsewhere: HashMap<&SessionKey, &String> = beaten
            .owned_elsewhere
            .iter()
            .map(|(session, owner)| (session, owner))
            .collect();
        for session in &living {
            // A new agent took the place of one that had ended.
            self.exits.remove(&session.key);
            self.missed.remove(&session.key);
            if let Some(owner) = elsewhere.get(&session.key) {
                self.held.remove(&session.key);
                // One of several daemons of a machine keeps its clients.
                if session.agent.credentials().is_none() {
                    continue;
                }
                let why = format!(
                    "daemon {owner} keeps this session already; only one daemon can keep a session"
                );
                report.silent.push(without_life(session, why.clone()));
                self.complain(session, why);
            } else {
                self.held.insert(session.key.clone());
                self.clear_complaint(session);
            }
        }
        report.silent.extend(beside::in_one_directory(&living));
        self.publish(&sessions, |kept| {
            // A wake for an agent that has ended would reach what stands in its place,
            // such as a shell. Its mail waits for its successor.
            let verdict = verdicts.get(&kept.agent);
            let ended = verdict.is_none_or(|verdict| matches!(verdict, ProofOutcome::Exited))
                || self.exits.contains_key(&kept.key);
            !ended && !elsewhere.contains_key(&kept.key)
        });
        report.exited = ended.len();
        for session in ended {
            if patience.is_over() {
                self.bell.ring();
                break;
            }
            self.tell_exit(store, &daemon, session, now, patience)
                .await?;
        }
        report.elsewhere = elsewhere.len();
        report.alive = beats.len() - report.elsewhere;
        let starved = verdicts
            .values()
            .filter(|verdict| verdict.lacks_files())
            .count();
        if starved > 0 {
            report.trouble = Some(format!(
                "{} without proof: {}",
                text::count(starved as u64, "agent"),
                files::words()
            ));
        }
        self.look_for_namesake(store, &daemon, patience).await?;
        if let Some(other) = &self.namesake {
            report.trouble = Some(format!(
                "another daemon has the same name {}: process {} on host {}, besides process {} here; the name comes from the configuration file: rename one of the two files, or stop one daemon",
                daemon.id, other.pid, other.host, self.info.pid
            ));
        }
        if let Some((refused, why)) = self.roster.trouble() {
            report.refused = refused;
            report.trouble = Some(why.to_owned());
            report.told = true;
        }
        report.complete = true;
        Ok(report)
    }

    /// Looks once a while for a process that registered under this daemon's name
    /// after it: since this one runs, those are two.
    async fn look_for_namesake(
        &mut self,
        store: &SharedStore,
        daemon: &DaemonRef,
        patience: Patience,
    ) -> Result<(), StoreError> {
        let now = clock::since_boot();
        let due = |then| now.saturating_sub(then) >= self.settings.mirror_interval;
        if self.namesake_asked.is_none_or(due) {
            let asking = store.namesake(daemon);
            let found = patience.bounded(store.location(), asking).await?;
            let (kind, subject) = (AlertKind::NameTaken, daemon.id.as_str());
            match &found {
                Some(other) => {
                    let text = format!(
                        "process {} on host {} has the same name as process {} here",
                        other.pid, other.host, self.info.pid
                    );
                    self.desk.raise(kind, subject, text);
                }
                None if self.namesake.is_some() => self.desk.recover(kind, subject),
                None => {}
            }
            self.namesake = found;
            self.namesake_asked = Some(now);
        }
        Ok(())
    }

    /// One verdict for each agent. A process is looked at each time, a
    /// probe asked once an interval, however often the bell rings.
    fn check(&mut self, roll: &RollCall) -> ProofOutcomes {
        let now = clock::since_boot();
        let ask = self
            .asked
            .is_none_or(|then| now.saturating_sub(then) >= self.settings.interval.mul_f64(0.8));
        if ask {
            self.asked = Some(now);
        }
        self.proofs.check(roll, ask)
    }

    /// Lets go of sessions that no file names any more, so that another daemon may take
    /// them at once and the watchdog does not take the silence for a death.
    async fn forget_those_taken_out(
        &mut self,
        store: &SharedStore,
        daemon: &DaemonRef,
        now: Timestamp,
        patience: Patience,
    ) -> Result<(), StoreError> {
        let named = self.roster.named();
        let gone: Vec<SessionKey> = self
            .held
            .iter()
            .filter(|key| !named.contains(key))
            .cloned()
            .collect();
        self.complaints.retain(|key, _| named.contains(key));
        self.compared.retain(|key| named.contains(key));
        self.exits.retain(|key, _| named.contains(key));
        self.missed.retain(|key, _| named.contains(key));
        if !gone.is_empty() {
            let released = store.release(daemon, Some(&gone), now);
            let count = patience.bounded(store.location(), released).await?;
            info!(
                event = "sessions-released",
                "released {}",
                text::count(count, "session")
            );
            self.held.retain(|key| !gone.contains(key));
        }
        Ok(())
    }

    async fn register(
        &mut self,
        store: &SharedStore,
        now: Timestamp,
        patience: Patience,
    ) -> Result<DaemonRef, StoreError> {
        if let Some((known, daemon)) = &self.registered
            && Arc::ptr_eq(known, store)
        {
            return Ok(daemon.clone());
        }
        let daemon = patience
            .bounded(store.location(), store.register_daemon(&self.info, now))
            .await?;
        info!(event = "registered", daemon = %daemon.id, epoch = daemon.epoch, "registered");
        self.registered = Some((Arc::clone(store), daemon.clone()));
        self.registration.send_replace(Some(daemon.clone()));
        for told in self.exits.values_mut() {
            *told = false;
        }
        self.held.clear();
        self.mirrored = None;
        self.compared.clear();
        self.missed.clear();
        Ok(daemon)
    }

    async fn beat(
        &mut self,
        store: &SharedStore,
        daemon: &DaemonRef,
        beats: &[Beat],
        now: Timestamp,
        patience: Patience,
    ) -> Result<BeatReport, StoreError> {
        let boot = host::boot();
        let mirror = self
            .mirrored
            .is_none_or(|then| boot.now.saturating_sub(then) >= self.settings.mirror_interval);
        let round = BeatRound {
            beats,
            daemon,
            ttl: self.settings.ttl,
            mirror,
            boot: &boot,
            now,
            wall: clock::now(),
        };
        let mut report = patience
            .bounded(store.location(), store.beat(&round))
            .await?;
        self.written += report.beaten;
        // A whole machine that begins anew is taken part by part.
        while !report.postponed.is_empty() && !patience.is_over() {
            let rest: HashSet<SessionKey> = report.postponed.drain(..).collect();
            let rest: Vec<Beat> = beats
                .iter()
                .filter(|beat| rest.contains(&beat.session))
                .cloned()
                .collect();
            let part = BeatRound {
                beats: &rest,
                ..round
            };
            let more = patience
                .bounded(store.location(), store.beat(&part))
                .await?;
            self.written += more.beaten;
            report.owned_elsewhere.extend(more.owned_elsewhere);
            report.succeeded.extend(more.succeeded);
            report.postponed = more.postponed;
        }
        if !report.postponed.is_empty() {
            self.bell.ring();
        }
        if mirror {
            self.mirrored = Some(boot.now);
        }
        Ok(report)
    }

    /// Publishes the sessions that are `ours` to wake: one that another daemon
    /// keeps is woken by that one.
    fn publish(&self, sessions: &Sessions, ours: impl Fn(&KeptSession) -> bool) {
        let same = |one: &KeptSession, other: &KeptSession| {
            one.key == other.key && one.label == other.label && Arc::ptr_eq(&one.wake, &other.wake)
        };
        let sessions = if sessions.iter().all(&ours) {
            Arc::clone(sessions)
        } else {
            Arc::new(sessions.iter().filter(|k| ours(k)).cloned().collect())
        };
        self.published.send_if_modified(|published| {
            let changed = published.len() != sessions.len()
                || !published
                    .iter()
                    .zip(sessions.iter())
                    .all(|(a, b)| same(a, b));
            if changed {
                *published = sessions;
            }
            changed
        });
    }

    /// The interval with a tenth of jitter, so that many daemons on one store
    /// do not beat in step.
    fn interval(&self) -> Duration {
        self.settings.interval.mul_f64(0.9 + 0.2 * fastrand::f64())
    }
}

/// What is said of a session that gets no heartbeat.
fn without_life(session: &KeptSession, why: String) -> SessionState {
    SessionState {
        session: session.key.to_string(),
        name: session.name(),
        credentials: session.credentials(),
        life: Some(why),
        wake: None,
        beside: None,
    }
}

impl Duty for Heartbeat {
    type Report = HeartbeatReport;

    fn name(&self) -> &'static str {
        "heartbeat"
    }

    async fn tick(&mut self) -> Round<HeartbeatReport> {
        let store = self.link.borrow_and_update().clone();
        let mut next = self.interval();
        let mut report = match store {
            None => HeartbeatReport {
                waiting: true,
                ..HeartbeatReport::default()
            },
            Some(store) => self.round(&store).await.unwrap_or_else(|error| {
                // The first to write when that is possible again.
                next = next.min(AGAIN);
                HeartbeatReport {
                    trouble: Some(error.to_string()),
                    ..HeartbeatReport::default()
                }
            }),
        };
        report.written = std::mem::take(&mut self.written);
        Round {
            report,
            next: Instant::now() + next,
        }
    }

    fn reload(&mut self, settings: &Arc<Settings>) {
        let agents = &settings.agents;
        self.settings = agents.heartbeat.clone();
        self.roster.reload(agents);
        self.proofs.reload(&agents.sessions);
    }

    async fn stop(&mut self) {
        // An agent outlives our restart: say that the release is ours, so that the
        // watchdog does not take the silence for the agent's death.
        if let Some((store, daemon)) = &self.registered {
            let released = store.release(daemon, None, clock::now());
            match bounded(store.location(), released).await {
                Ok(sessions) => info!(
                    event = "sessions-released",
                    "released {}",
                    text::count(sessions, "session")
                ),
                Err(error) => {
                    warn!(event = "sessions-not-released", %error, "the sessions were not released");
                }
            }
        }
    }
}
