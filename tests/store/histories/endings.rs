//! The checks that need the whole world: who may be lost, and what may stand
//! open at the end.

use mcp_bridge::model::task::TaskState;

use super::Ms;
use super::oracle::Check;
use super::orchestrator::Orchestrator;
use super::store::{SessionRow, Store};
use super::world::{World, is_lost};

impl World {
    pub(crate) fn check_losses(&mut self) {
        let mild = self.mild;
        self.store
            .oracle
            .must(Check::NoFalseLost, self.now, !mild, || {
                "a session was lost although there were only short pauses".into()
            });
        // All hosts fell silent, at least three of them with a live agent: a session
        // that was alive just before is not lost before the hold is over.
        let (since, until) = self.mass;
        if self.now < since || self.now >= until {
            return;
        }
        let fresh = |row: &&SessionRow| row.life + 6_000 >= since && row.kept && !row.exited;
        let mut hosts: Vec<usize> = self
            .store
            .sessions
            .iter()
            .filter(fresh)
            .map(|s| s.host)
            .collect();
        hosts.sort_unstable();
        hosts.dedup();
        let all = hosts.len() == self.daemons.len() && hosts.len() >= 3;
        let too_early = |row: &SessionRow| is_lost(row) && fresh(&row);
        let violated = all
            && self.store.sessions.iter().all(|row| fresh(&row))
            && self.store.sessions.iter().any(too_early);
        self.store
            .oracle
            .must(Check::NoMassExpiry, self.now, !violated, || {
                format!("expired while all are silent since {since}")
            });
    }

    /// What still stands open must have a reason.
    pub(crate) fn check_end(&mut self) {
        let now = self.now;
        let leader = self
            .orchestrators
            .iter()
            .filter_map(|(_, o, _)| o.as_ref())
            .find(|o| o.leads == Some(self.store.leader.epoch));
        // The moves of a second are limited, and the next look may be a second off.
        let parts = self.store.tasks.len().div_ceil(self.limit);
        let patience = 5_000 + 2_000 * Ms::try_from(parts).expect("few");
        let mut lost = None;
        for (at, task) in self.store.tasks.iter().enumerate() {
            let settled = task.changed + 5_000 < now;
            let reason = match task.state {
                TaskState::RetryWait => task.retry_at + 3_000 > now,
                TaskState::Queued => {
                    !settled
                        || self
                            .store
                            .sessions
                            .iter()
                            .zip(&self.keys)
                            .all(|(row, key)| {
                                let health = leader.and_then(|leader| leader.observer.health(key));
                                row.role != task.role
                                    || row.open >= row.capacity
                                    || !row.is_well()
                                    || row.eased + 5_000 > now
                                    || health.is_some_and(|health| !health.takes_work())
                            })
                }
                TaskState::Leased => {
                    let owner = task.owner.expect("leased");
                    let row = &self.store.sessions[owner];
                    // No leader can know yet of a session that no daemon keeps, or that
                    // fell silent together with most others.
                    let known = leader.is_some_and(|leader| {
                        leader.observer.correlated().is_none()
                            && leader.due(owner, row).saturating_add(patience) < now
                    });
                    !settled || self.agents[owner].process.alive || !known
                }
                TaskState::Done | TaskState::Dead | TaskState::Cancelled | TaskState::Unknown => {
                    true
                }
            };
            if !reason {
                lost = Some(format!(
                    "task {at} is {} for no reason: {task:?}",
                    task.state
                ));
            }
        }
        self.store
            .oracle
            .must(Check::NoTaskLost, now, lost.is_none(), || {
                lost.unwrap_or_default()
            });
    }
}

impl Orchestrator {
    /// The oracle's part: when a death can be known at last.
    pub(crate) fn due(&self, session: usize, row: &SessionRow) -> Ms {
        let (_, seen, ttl) = self.life[session];
        let seen = if row.exited {
            row.exited_at
        } else {
            seen + ttl
        };
        let good = self.good_since + if row.exited { 0 } else { ttl };
        seen.max(good).max(self.leads_since)
    }

    /// The oracle's part: each death that could have been found by now was found. What
    /// was due a second before the last look must be written after this one.
    pub(crate) fn check_deaths(
        &mut self,
        store: &mut Store,
        alive: impl Fn(usize) -> bool,
        now: Ms,
    ) {
        let correlated = self.observer.correlated().is_some();
        if self.was_correlated && !correlated {
            self.good_since = now;
        }
        self.was_correlated = correlated;
        let looked = std::mem::replace(&mut self.looked, now);
        let unwritable = self.observer.unwritable_since().is_some();
        let held = correlated || unwritable || store.hold || self.observer.is_held();
        for at in 0..store.sessions.len() {
            let row = &store.sessions[at];
            // No hold keeps an exit back.
            if held && !row.exited {
                continue;
            }
            if !row.is_well() || (self.host == Some(row.host) && alive(at)) {
                continue;
            }
            // A call since the look overtook the verdict: it is judged again.
            if row.activity != self.sightings[at].activity {
                continue;
            }
            let due = self.due(at, row);
            let why = if row.exited { "exited" } else { "silent" };
            let found = due.saturating_add(1_000) >= looked;
            store.oracle.must(Check::DeathsFound, now, found, || {
                format!("session {at} is {why}, which was due at {due}, seen at {looked}")
            });
        }
    }
}
