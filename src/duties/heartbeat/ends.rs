//! Agents that have ended, or whose life nothing proves: each is reported once.

use jiff::Timestamp;
use tracing::{debug, info, warn};

use super::Heartbeat;
use super::proofs::ProofOutcomes;
use crate::duties::Patience;
use crate::duties::roster::{Agent, KeptSession, RollCall};
use crate::liveness::ProofOutcome;
use crate::model::SessionKey;
use crate::store::{Boot, DaemonRef, Process, SharedStore, StoreError};
use crate::{host, liveness};

impl Heartbeat {
    /// Compares sessions that are new with the processes that an earlier life of
    /// this daemon, or another daemon of this machine, knew of them. A configured
    /// number that another process has by now proves no life. An agent that ended while no
    /// daemon watched has ended none the less, with its boot at the latest: that is
    /// certain, and need not wait until its silence is over. Agents whose end was
    /// noted have ended until another process is proven.
    pub(super) async fn compare(
        &mut self,
        store: &SharedStore,
        roll: &RollCall,
        verdicts: &mut ProofOutcomes,
        patience: Patience,
    ) -> Result<(), StoreError> {
        let (keys, agents): (Vec<SessionKey>, Vec<Agent>) = roll
            .known()
            .filter(|(key, _)| !self.compared.contains(key))
            .map(|(key, agent)| (key.clone(), agent.clone()))
            .unzip();
        if keys.is_empty() {
            return Ok(());
        }
        let known = patience
            .bounded(store.location(), store.processes(&keys))
            .await?;
        let ended = patience
            .bounded(store.location(), store.ended(&keys))
            .await?;
        for key in ended {
            self.exits.entry(key).or_insert(true);
        }
        let boot = host::boot();
        for ((key, agent), known) in keys.into_iter().zip(agents).zip(known) {
            // A process of another namespace cannot be looked at from here.
            let Some(known) = known.filter(|k| is_here(k, &boot) || k.boot_id != boot.id) else {
                self.compared.insert(key);
                continue;
            };
            let ended = has_ended(&known, &boot);
            let Some(proof) = self.proofs.configured(&agent) else {
                // Its own process was named when it registered.
                if ended {
                    self.missed.insert(key.clone(), known);
                }
                self.compared.insert(key);
                continue;
            };
            let Some(verdict) = verdicts.get_mut(&agent) else {
                continue;
            };
            if is_here(&known, &boot)
                && let Some(found) = proof.process()
                && found.took_the_number_of(&known.id)
                && proof.mistaken()
            {
                *verdict = ProofOutcome::Exited;
            }
            if !ended && is_here(&known, &boot) && proof.believe(known.id) {
                *verdict = proof.check(false);
            }
            if ended && matches!(verdict, ProofOutcome::Unproven(_)) && proof.missed() {
                *verdict = ProofOutcome::Exited;
            }
            if ended {
                self.missed.insert(key.clone(), known);
            }
            // One that runs and that nothing names yet is looked at again.
            if ended || !matches!(verdict, ProofOutcome::Unproven(_)) {
                self.compared.insert(key);
            }
        }
        Ok(())
    }

    pub(super) async fn tell_exit(
        &mut self,
        store: &SharedStore,
        daemon: &DaemonRef,
        session: &KeptSession,
        now: Timestamp,
        patience: Patience,
    ) -> Result<(), StoreError> {
        let told = match self.exits.get(&session.key) {
            Some(told) => *told,
            None => {
                warn!(
                                   event = "session-exited",
                                   conversation = %session.key.conversation, session = %session.key,
                label = session.name(),
                                   "the agent of {} has ended", session.name()
                               );
                self.exits.insert(session.key.clone(), false);
                self.complaints.remove(&session.key);
                false
            }
        };
        if !told {
            let missed = self.missed.get(&session.key);
            let exit = async {
                match missed {
                    Some(process) => {
                        let key = &session.key;
                        store.record_missed_exit(key, daemon, process, now).await
                    }
                    None => store.record_exit(&session.key, daemon, now).await,
                }
            };
            if !patience.bounded(store.location(), exit).await?
                && !self
                    .end_of_an_earlier_life(store, daemon, session, now, patience)
                    .await?
            {
                debug!(session = %session.key, "its heartbeat belongs to another daemon");
            }
            self.exits.insert(session.key.clone(), true);
        }
        Ok(())
    }

    /// The agent ended before this life of the daemon had written a heartbeat of
    /// it: the last one is of an earlier life, and names the process.
    async fn end_of_an_earlier_life(
        &self,
        store: &SharedStore,
        daemon: &DaemonRef,
        session: &KeptSession,
        now: Timestamp,
        patience: Patience,
    ) -> Result<bool, StoreError> {
        let known = store.processes(std::slice::from_ref(&session.key));
        let known = patience.bounded(store.location(), known).await?;
        let boot = host::boot();
        let ended = |known: &Process| has_ended(known, &boot);
        let Some(process) = known.into_iter().flatten().next().filter(ended) else {
            return Ok(false);
        };
        let exit = store.record_missed_exit(&session.key, daemon, &process, now);
        patience.bounded(store.location(), exit).await
    }

    pub(super) fn complain(&mut self, session: &KeptSession, why: String) {
        if self.complaints.get(&session.key) != Some(&why) {
            warn!(
                           event = "session-unproven",
                           conversation = %session.key.conversation, session = %session.key,
            label = session.name(),
                           "no heartbeat for {}: {why}", session.name()
                       );
            self.complaints.insert(session.key.clone(), why);
        }
    }

    pub(super) fn clear_complaint(&mut self, session: &KeptSession) {
        if self.complaints.remove(&session.key).is_some() {
            info!(
                           event = "session-alive",
                           conversation = %session.key.conversation, session = %session.key,
            label = session.name(),
                           "{} is alive", session.name()
                       );
        }
    }
}

/// The store found that an agent had ended unseen, and did what follows from it.
pub(super) fn tell_succeeded(session: &KeptSession) {
    warn!(
           event = "session-exited",
           conversation = %session.key.conversation, session = %session.key,
    label = session.name(),
           "a new process acts for {}: the old one ended unnoticed; its tasks and unacknowledged messages go to the new one", session.name()
       );
}

/// Whether the process is known to have ended: none outlives its boot.
fn has_ended(process: &Process, boot: &Boot) -> bool {
    process.boot_id != boot.id || is_here(process, boot) && liveness::has_ended(process.id)
}

/// Whether the number means a process that could be asked about here.
fn is_here(process: &Process, boot: &Boot) -> bool {
    process.boot_id == boot.id && process.pid_ns == boot.pid_ns
}
