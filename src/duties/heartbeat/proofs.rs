//! What proves that each agent lives: what its `[[session]]` names, or the process of
//! its client that registered.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::config::SessionSettings;
use crate::duties::roster::{Agent, RollCall};
use crate::liveness::{Proof, ProofOutcome, Registered, Watcher};
use crate::model::process::ProcessId;

/// How each agent is.
pub(super) type ProofOutcomes = HashMap<Agent, ProofOutcome>;

/// One proof for each agent.
#[derive(Debug)]
pub(super) struct Proofs {
    configured: HashMap<Agent, Proof>,
    registered: HashMap<ProcessId, Registered>,
    watcher: Watcher,
}

impl Proofs {
    pub(super) fn new(sessions: &[SessionSettings], watcher: Watcher) -> Self {
        let mut proofs = Self {
            configured: HashMap::new(),
            registered: HashMap::new(),
            watcher,
        };
        proofs.reload(sessions);
        proofs
    }

    /// Other settings. A proof that did not change goes on: its process stays watched.
    pub(super) fn reload(&mut self, sessions: &[SessionSettings]) {
        let mut old = std::mem::take(&mut self.configured);
        for session in sessions {
            let agent = Agent::Configured(Arc::from(&*session.credentials));
            let same = |proof: &Proof| *proof.settings() == session.proof;
            let known = match old.get(&agent) {
                Some(proof) if same(proof) => Some(agent.clone()),
                _ => old.iter().find(|(_, p)| same(p)).map(|(a, _)| a.clone()),
            };
            let kept = known.and_then(|known| old.remove(&known));
            let proof = kept.unwrap_or_else(|| Proof::new(&session.proof, &self.watcher));
            self.configured.insert(agent, proof);
        }
    }

    /// One verdict for each agent. A process is looked at each time, a probe asked where
    /// it is time to `ask`. Clients that are on no roll are not watched any more.
    pub(super) fn check(&mut self, roll: &RollCall, ask: bool) -> ProofOutcomes {
        let here: HashSet<ProcessId> = roll
            .known()
            .filter_map(|(_, agent)| match agent {
                Agent::Registered(process) => Some(*process),
                Agent::Configured(_) => None,
            })
            .collect();
        self.registered.retain(|process, _| here.contains(process));
        for process in here {
            let (known, watcher) = (self.registered.entry(process), &self.watcher);
            known.or_insert_with(|| Registered::new(process, watcher));
        }
        let configured = self.configured.iter_mut();
        let configured = configured.map(|(agent, proof)| (agent.clone(), proof.check(ask)));
        let registered = self.registered.iter_mut();
        let registered =
            registered.map(|(process, proof)| (Agent::Registered(*process), proof.check()));
        configured.chain(registered).collect()
    }

    /// The proof of a `[[session]]`.
    pub(super) fn configured(&mut self, agent: &Agent) -> Option<&mut Proof> {
        self.configured.get_mut(agent)
    }
}
