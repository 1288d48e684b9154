//! Agents that have ended, or whose life nothing proves: each is told once.

use jiff::Timestamp;
use tracing::{debug, info, warn};

use super::Heartbeat;
use crate::duties::Patience;
use crate::duties::roster::{Kept, RollCall};
use crate::host;
use crate::model::SessionKey;
use crate::store::{DaemonRef, Process, SharedStore, StoreError};

impl Heartbeat {
    /// What an earlier life of this daemon, or another daemon on this host, knew
    /// of the agents. Returns those whose pid file names a number that another
    /// process has by now: the last heartbeat knew the same number with another
    /// start. Agents whose end was noted have ended until somebody is proven.
    pub(super) async fn compare(
        &mut self,
        store: &SharedStore,
        roll: &RollCall,
        patience: Patience,
    ) -> Result<Vec<usize>, StoreError> {
        let (keys, agents): (Vec<SessionKey>, Vec<usize>) = roll
            .known()
            .filter(|(key, _)| !self.compared.contains(key))
            .map(|(key, agent)| (key.clone(), agent))
            .unzip();
        if keys.is_empty() {
            return Ok(Vec::new());
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
        let mut mistaken = Vec::new();
        for (agent, known) in agents.into_iter().zip(known) {
            let here = |known: &Process| known.boot_id == boot.id && known.pid_ns == boot.pid_ns;
            let (Some(known), Some(found)) = (known.filter(here), self.proofs[agent].process())
            else {
                continue;
            };
            if found.took_the_number_of(&known.id) {
                self.proofs[agent].mistaken();
                mistaken.push(agent);
            }
        }
        self.compared.extend(keys);
        Ok(mistaken)
    }

    pub(super) async fn tell_exit(
        &mut self,
        store: &SharedStore,
        daemon: &DaemonRef,
        session: &Kept,
        now: Timestamp,
        patience: Patience,
    ) -> Result<(), StoreError> {
        let told = match self.exits.get(&session.key) {
            Some(told) => *told,
            None => {
                warn!(
                    event = "session-exited",
                    conversation = %session.key.conversation, session = %session.key,
                    "the agent of {} has ended", name(session)
                );
                self.exits.insert(session.key.clone(), false);
                self.complaints.remove(&session.key);
                false
            }
        };
        if !told {
            let exit = store.record_exit(&session.key, daemon, now);
            if !patience.bounded(store.location(), exit).await? {
                debug!(session = %session.key, "its heartbeat is not ours");
            }
            self.exits.insert(session.key.clone(), true);
        }
        Ok(())
    }

    pub(super) fn complain(&mut self, session: &Kept, why: String) {
        if self.complaints.get(&session.key) != Some(&why) {
            warn!(
                event = "session-unproven",
                conversation = %session.key.conversation, session = %session.key,
                "no heartbeat for {}: {why}", name(session)
            );
            self.complaints.insert(session.key.clone(), why);
        }
    }

    pub(super) fn settle(&mut self, session: &Kept) {
        if self.complaints.remove(&session.key).is_some() {
            info!(
                event = "session-alive",
                conversation = %session.key.conversation, session = %session.key,
                "{} is alive", name(session)
            );
        }
    }
}

fn name(session: &Kept) -> String {
    match &session.label {
        Some(label) => format!("{label}/{}", session.key.side),
        None => session.key.to_string(),
    }
}
