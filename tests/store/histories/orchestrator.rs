//! One orchestrator: a real `Observer` and the real `plan`, driven as the duty
//! drives them. It looks first and writes later, and anything may happen in
//! between.

use std::time::Duration;

use mcp_bridge::model::assignment::{
    Action, AssignmentPolicy, Candidate, MoveBudget, OpenTask, TaskPlace, plan,
};
use mcp_bridge::model::health::{Health, HealthPolicy};
use mcp_bridge::model::observer::{Beat, Change, CorrelationPolicy, Observer, OwnWrites, Sighting};
use mcp_bridge::model::task::TaskState;
use mcp_bridge::model::{Fence, SessionKey, TaskId};

use super::oracle::Check;
use super::store::{Acting, DEFAULT_TTL, Refused, Store, TTL};
use super::{Ms, Sabotage};

/// How often it looks at least.
const INTERVAL: Ms = 1_000;
/// A look that is later than this says something about us. Measured from look
/// to look: we may have stood still between a look and its writes.
const LATE: Ms = 3_000;
/// A leader that did not renew for so long is taken over from.
const LEASE: Ms = 10_000;
/// How long most hosts may be silent before they are believed to be dead.
pub(crate) const CORRELATION_HOLD: Ms = 12_000;

pub(crate) const ROLES: [&str; 2] = ["backend", "frontend"];

pub(crate) fn millis(ms: Ms) -> Duration {
    Duration::from_millis(ms)
}

fn policy() -> HealthPolicy {
    HealthPolicy {
        idle_after: millis(10_000),
        stalled_after: millis(20_000),
        revoke_after: millis(15_000),
        starting_for: millis(20_000),
        default_ttl: millis(DEFAULT_TTL),
    }
}

/// What it decided in a look, to be written.
#[derive(Debug)]
enum Write {
    Lead { seen: (i64, u64) },
    Verdict { change: Change, session: usize },
    Act { action: Action },
    Unwait { task: usize, fence: Fence },
}

#[derive(Debug)]
pub(crate) struct Orchestrator {
    who: usize,
    /// The host whose processes it can see.
    pub(crate) host: Option<usize>,
    /// Its boot clock is ahead of the world's by so much.
    boot: Ms,
    pub(crate) observer: Observer,
    budget: MoveBudget,
    pub(crate) sightings: Vec<Sighting>,
    /// It has looked and not written yet: one round at a time. A bell that rings
    /// meanwhile calls for the next one.
    pub(crate) in_round: bool,
    pub(crate) rung: bool,
    /// Whose process ran when it looked.
    ran: u64,
    cursor: usize,
    /// The epoch that it acts in.
    pub(crate) leads: Option<i64>,
    renewal: (u64, Ms),
    writes: Vec<Write>,
    last_look: Ms,
    /// For the oracle: the last life of each session, when a look saw it, and
    /// the ttl that it saw.
    pub(crate) life: Vec<(Ms, Ms, Ms)>,
    outage: bool,
    /// When its own writes last got through, began to fail, and got through again
    /// after that.
    wrote: (Ms, Option<Ms>, Option<Ms>),
    full_look: Ms,
    /// Sessions from which tasks may be taken.
    revoked: u64,
    // The oracle's own idea of what it could have seen.
    pub(crate) good_since: Ms,
    pub(crate) leads_since: Ms,
    pub(crate) looked: Ms,
    pub(crate) was_correlated: bool,
}

impl Orchestrator {
    pub(crate) fn new(
        who: usize,
        host: Option<usize>,
        boot: Ms,
        limit: usize,
        keys: &[SessionKey],
        store: &Store,
        now: Ms,
    ) -> Self {
        let mut correlation = CorrelationPolicy {
            hold: millis(CORRELATION_HOLD),
            ..CorrelationPolicy::default()
        };
        if store.sabotage == Sabotage::NoCorrelation {
            correlation.min_hosts = usize::MAX;
        }
        let limit = if store.sabotage == Sabotage::Unlimited {
            usize::MAX
        } else {
            limit
        };
        let sightings = keys
            .iter()
            .zip(&store.sessions)
            .map(|(key, row)| Sighting {
                host: Some(format!("host-{}", row.host)),
                ..Sighting::new(key.clone())
            })
            .collect();
        Self {
            who,
            host,
            boot,
            observer: Observer::new(policy(), correlation, millis(now + boot)),
            budget: MoveBudget::new(limit),
            sightings,
            in_round: false,
            rung: false,
            ran: 0,
            cursor: 0,
            leads: None,
            renewal: (u64::MAX, now),
            writes: Vec::new(),
            last_look: now,
            life: vec![(0, now, DEFAULT_TTL); store.sessions.len()],
            outage: false,
            wrote: (now, None, None),
            full_look: now,
            revoked: 0,
            good_since: now,
            leads_since: Ms::MAX,
            looked: now,
            was_correlated: false,
        }
    }

    fn clock(&self, now: Ms) -> Duration {
        millis(now + self.boot)
    }

    /// Looks at the store and decides. Returns whether there is something to
    /// write.
    pub(crate) fn look(&mut self, store: &Store, alive: impl Fn(usize) -> bool, now: Ms) -> bool {
        let late = now - std::mem::replace(&mut self.last_look, now) > INTERVAL + LATE;
        let running = (0..store.sessions.len()).filter(|session| alive(*session));
        self.ran = running.fold(0, |ran, session| ran | 1 << session);
        if store.is_out(now) {
            self.outage = true;
            return false;
        }
        if late || self.outage {
            self.outage = false;
            self.good_since = now;
            self.observer.interrupted(self.clock(now));
        }
        if store.sabotage == Sabotage::NeverGood {
            self.observer.interrupted(self.clock(now));
        }
        let hold = store.hold && store.sabotage != Sabotage::IgnoreHold;
        if self.observer.is_held() && !hold {
            self.good_since = now;
        }
        self.observer.set_hold(hold, self.clock(now));
        self.sight(store, now);
        let (last, failing, regained) = self.wrote;
        let writes = OwnWrites {
            last: Some(self.clock(last)),
            failing_since: failing.map(|since| self.clock(since)),
            regained: regained.map(|at| self.clock(at)),
        };
        if store.sabotage != Sabotage::IgnoreLock
            && self.observer.own_writes(&writes, self.clock(now))
        {
            self.good_since = now;
        }
        match self.leads {
            Some(epoch) if store.leader.epoch == epoch => self.decide(store, alive, now),
            _ => self.seek_to_lead(store, now),
        }
        !self.writes.is_empty() || self.leads.is_some()
    }

    fn sight(&mut self, store: &Store, now: Ms) {
        let mut changed = 0_u64;
        for &session in &store.changes[self.cursor..] {
            changed |= 1 << session;
        }
        self.cursor = store.changes.len();
        if now >= self.full_look {
            // All rows again: those that are known already say nothing new.
            self.full_look = now + 30_000;
            changed = u64::MAX;
        }
        let clock = self.clock(now);
        for (at, row) in store.sessions.iter().enumerate() {
            if changed & (1 << at) == 0 {
                continue;
            }
            let ttl = if store.sabotage == Sabotage::HalfTtl {
                TTL / 2
            } else {
                TTL
            };
            let (life, seen, _) = self.life[at];
            let seen = if life == row.life { seen } else { now };
            self.life[at] = (row.life, seen, row.ttl());
            let sighting = &mut self.sightings[at];
            sighting.beat = (row.seq > 0).then(|| Beat {
                seq: row.seq,
                ttl: millis(ttl),
                kept: row.kept,
                exited: row.exited,
            });
            sighting.activity = row.activity;
            sighting.unread = row.unread;
            sighting.open_tasks = row.open;
            sighting.turn = row.turn;
            sighting.standing = row.standing;
            self.observer.sighted(sighting, clock);
        }
    }

    fn seek_to_lead(&mut self, store: &Store, now: Ms) {
        self.leads = None;
        self.leads_since = Ms::MAX;
        self.observer.stand_by();
        let leader = &store.leader;
        if self.renewal.0 != leader.renewed {
            self.renewal = (leader.renewed, now);
        }
        let unrenewed_since = self.renewal.1.max(self.good_since);
        let free = leader.holder.is_none_or(|holder| holder == self.who);
        if free || now - unrenewed_since >= LEASE {
            let seen = (leader.epoch, leader.renewed);
            self.writes.push(Write::Lead { seen });
        }
    }

    fn session(&self, key: &SessionKey) -> usize {
        let at = self.sightings.iter().position(|s| s.key == *key);
        at.expect("one of ours")
    }

    fn decide(&mut self, store: &Store, alive: impl Fn(usize) -> bool, now: Ms) {
        let clock = self.clock(now);
        let mut changes = self.observer.due(clock);
        // On this host it sees for itself.
        changes.retain(|change| {
            let at = self.session(&change.key);
            let here = self.host == Some(store.sessions[at].host);
            let lives = change.to == Health::Lost && here && alive(at);
            if lives {
                self.life[at].1 = now;
            }
            !(lives && self.observer.process_alive(&change.key, clock))
        });
        changes.extend(self.observer.due(clock));
        for change in changes {
            let session = self.session(&change.key);
            self.revoked &= !(1 << session);
            self.revoked |= u64::from(change.may_revoke) << session;
            if !change.is_news_to(self.sightings[session].standing) {
                continue;
            }
            self.writes.push(Write::Verdict { change, session });
        }
        for (at, task) in store.tasks.iter().enumerate() {
            if task.state == TaskState::RetryWait && task.retry_at <= now {
                let fence = task.fence;
                self.writes.push(Write::Unwait { task: at, fence });
            }
        }
        let actions = self.plan(store, clock);
        let acts = actions.into_iter().map(|action| Write::Act { action });
        self.writes.extend(acts);
    }

    fn plan(&mut self, store: &Store, clock: Duration) -> Vec<Action> {
        let place = |owner: Option<usize>| match owner {
            None => Some(TaskPlace::Queued),
            Some(_) if store.sabotage == Sabotage::ForgetOrphans => None,
            Some(owner) => {
                let taken = self.revoked & (1 << owner) != 0;
                (taken || !store.sessions[owner].is_well()).then_some(TaskPlace::Orphaned)
            }
        };
        let tasks: Vec<OpenTask> = (1..)
            .zip(&store.tasks)
            .filter(|(_, task)| matches!(task.state, TaskState::Queued | TaskState::Leased))
            .filter_map(|(id, task)| {
                Some(OpenTask {
                    id: TaskId(id),
                    role: ROLES[task.role].into(),
                    place: place(task.owner)?,
                    fence: task.fence,
                    last_owner: task.last.map(|last| self.sightings[last].key.clone()),
                    losses: match store.sabotage {
                        Sabotage::ForgetLosses => 0,
                        Sabotage::CountUnread => task.takings,
                        _ => {
                            let other = |owner: usize| task.lost & !(1 << owner);
                            task.owner.map_or(task.lost, other).count_ones()
                        }
                    },
                    fetched: store.sabotage == Sabotage::CountUnread
                        || task.known
                        || task
                            .owner
                            .is_some_and(|owner| task.lost & (1 << owner) != 0),
                })
            })
            .collect();
        if tasks.is_empty() {
            return Vec::new();
        }
        let blind = store.sabotage == Sabotage::IgnoreCapacity;
        let candidates: Vec<Candidate> = store
            .sessions
            .iter()
            .zip(&self.sightings)
            .filter(|(row, _)| row.is_well())
            .filter_map(|(row, sighting)| {
                Some(Candidate {
                    key: sighting.key.clone(),
                    role: ROLES[row.role].into(),
                    health: self.observer.health(&sighting.key)?,
                    draining: false,
                    paused: false,
                    open: if blind { 0 } else { row.open },
                    capacity: row.capacity,
                })
            })
            .collect();
        let budget = self.budget.left(clock);
        plan(&tasks, &candidates, &AssignmentPolicy::default(), budget)
    }

    /// Writes what was decided, however long ago that was. Returns whether
    /// anything was written that calls for another look at once.
    pub(crate) fn write(
        &mut self,
        store: &mut Store,
        alive: impl Fn(usize) -> bool,
        now: Ms,
    ) -> bool {
        let writes = std::mem::take(&mut self.writes);
        if !store.takes_writes(now) {
            self.outage |= store.is_out(now);
            self.wrote.1 = self.wrote.1.or(Some(now));
            for write in writes {
                if let Write::Verdict { change, .. } = write {
                    self.observer.take_back(&change);
                }
            }
            return false;
        }
        if self.wrote.1.take().is_some_and(|since| now - since >= LATE) {
            self.wrote.2 = Some(now);
        }
        self.wrote.0 = now;
        let mut eager = false;
        let mut moves = 0;
        for write in writes {
            let acting = Acting {
                who: self.who,
                epoch: self.leads.unwrap_or(-1),
            };
            let result = match write {
                Write::Lead { seen } => {
                    if let Ok(epoch) = store.lead(self.who, seen) {
                        self.leads = Some(epoch);
                        self.leads_since = now;
                        eager = true;
                    }
                    Ok(())
                }
                Write::Verdict { change, session } => {
                    let result = self.verdict(store, acting, &change, session, &alive, now);
                    eager |= result.is_ok() && change.to.is_gone();
                    if result.is_err() {
                        self.observer.take_back(&change);
                    }
                    result
                }
                Write::Unwait { task, fence } => {
                    store.unassign(acting, (task, fence), TaskState::Queued, false, now)
                }
                Write::Act { action } => {
                    let result = self.act(store, acting, &action, now);
                    moves += usize::from(result.is_ok());
                    result
                }
            };
            if result == Err(Refused::NotLeader) {
                self.leads = None;
            }
        }
        let clock = self.clock(now);
        self.budget.spend(moves, clock);
        if let Some(epoch) = self.leads {
            let acting = Acting {
                who: self.who,
                epoch,
            };
            match store.renew(acting, now) {
                Ok(()) => self.check_deaths(store, &alive, now),
                Err(_) => self.leads = None,
            }
        }
        eager
    }

    fn verdict(
        &mut self,
        store: &mut Store,
        acting: Acting,
        change: &Change,
        session: usize,
        alive: impl Fn(usize) -> bool,
        now: Ms,
    ) -> Result<(), Refused> {
        // Suspicion stays within the observer.
        let Some(standing) = change.standing() else {
            return Ok(());
        };
        let seq = change.seq.unwrap_or(0);
        store.judge(acting, session, (seq, change.activity), standing, now)?;
        if change.to == Health::Lost {
            let row = &store.sessions[session];
            let (silent, ttl) = (now - row.life, row.ttl());
            let (from, until) = store.locked;
            let before = row.life + ttl <= from;
            // An observer that began just before the end saw no write fail for long.
            let good = until.saturating_sub(LATE + INTERVAL);
            let holds = until == 0 || until - from < 8_000 || before || now >= good + ttl;
            store.oracle.must(Check::NoLossWhileLocked, now, holds, || {
                format!(
                    "session {session} was lost, and no write got through from {from} to {until}"
                )
            });
            let row = &store.sessions[session];
            // One that began since is not the one that was lost.
            let ran = self.ran & (1 << session) != 0 && alive(session);
            let here = self.host == Some(row.host) && ran;
            store
                .oracle
                .must(Check::NoFalseLost, now, silent >= ttl && !here, || {
                    format!("session {session} was lost after {silent} ms of silence")
                });
        }
        Ok(())
    }

    fn act(
        &self,
        store: &mut Store,
        acting: Acting,
        action: &Action,
        now: Ms,
    ) -> Result<(), Refused> {
        let row = |task: TaskId| usize::try_from(task.0 - 1).expect("one of ours");
        match action {
            Action::Assign {
                task,
                fence,
                from,
                to,
            } => {
                let to = self.session(to);
                store.assign(acting, (row(*task), *fence), to, from.is_some(), now)
            }
            Action::Requeue { task, fence, .. } => {
                store.unassign(acting, (row(*task), *fence), TaskState::Queued, true, now)
            }
            Action::Bury {
                task, fence, from, ..
            } => {
                let taken = from.is_some();
                store.unassign(acting, (row(*task), *fence), TaskState::Dead, taken, now)
            }
        }
    }

    /// When to look again.
    pub(crate) fn plan_next(&mut self, eager: bool, now: Ms) -> Ms {
        let mut next = now + if eager { 20 } else { INTERVAL };
        if self.leads.is_some()
            && let Some(due) = self.observer.next()
        {
            let due = u64::try_from(due.as_micros().div_ceil(1_000)).expect("short");
            next = next.min(due.saturating_sub(self.boot)).max(now + 5);
        }
        next
    }
}
