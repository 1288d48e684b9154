//! From what the observer says of a session to what the store and the log get to hold.

use tracing::{info, warn};

use super::Watchdog;
use super::look::standing;
use crate::duties::fleet::Known;
use crate::duties::{Patience, finding_text};
use crate::model::SessionKey;
use crate::model::alert::AlertKind;
use crate::model::health::Health;
use crate::model::observer::{Change, Held};
use crate::model::standing::Standing;
use crate::store::{Finding, Leader, SharedStore, StoreError};
use crate::{clock, host, liveness};

/// Findings of one transaction.
const FINDINGS: usize = 500;

impl Watchdog {
    /// On this very host the process itself can be asked: a daemon that died is
    /// not its agents' death.
    pub(super) fn spare_the_living(&mut self, changes: Vec<Change>) -> Vec<Change> {
        let boot = host::boot();
        let mut rest = Vec::with_capacity(changes.len());
        for change in changes {
            let lives = change.to == Health::Lost && {
                let fleet = self.fleet.lock();
                let row = fleet.sessions.get(&change.key).map(|known| &known.row);
                let process = row
                    .and_then(|row| row.beat.as_ref())
                    .and_then(|beat| beat.process.as_ref());
                process.is_some_and(|process| {
                    process.boot_id == boot.id
                        && process.pid_ns == boot.pid_ns
                        && liveness::runs(process.id)
                })
            };
            if lives {
                self.observer
                    .process_alive(&change.key, clock::since_boot());
                let name = self.name_of(&change.key);
                info!(
                    event = "session-kept",
                    conversation = %change.key.conversation, session = %change.key, label = name,
                    "{name} has no daemon that sends its heartbeat, but its agent runs"
                );
            } else {
                rest.push(change);
            }
        }
        rest
    }

    /// Notes a change, and makes the finding of it if the store has to know.
    pub(super) fn note(&mut self, change: &Change) -> Option<Finding> {
        let mut fleet = self.fleet.lock();
        let known = fleet.sessions.get_mut(&change.key)?;
        self.unsaid.remove(&change.key);
        known.health = change.to;
        known.revocable = change.may_revoke;
        let standing = change
            .standing()
            .filter(|_| change.is_news_to(standing(&known.row)))?;
        let standing = match standing {
            Held::NeverStarted => Standing::NeverStarted,
            Held::Stalled | Held::Stirred => Standing::Stalled,
            Held::Lost { .. } => Standing::Lost,
            Held::Exited { .. } => Standing::Exited,
            Held::Well => Standing::Well,
        };
        // Nothing promised to keep it, and it holds nothing: a person who typed a
        // command is not lost when no other follows. An agent of the other bridge
        // that was heard is.
        let unkept = known.row.beat.is_none() && known.row.open_tasks == 0;
        if change.to == Health::Lost && unkept && !change.heard {
            self.unsaid.insert(change.key.clone(), change.clone());
            return None;
        }
        let kind = match change.to {
            Health::NeverStarted => Some(AlertKind::NeverStarted),
            Health::Stalled => Some(AlertKind::Stalled),
            Health::Lost => Some(AlertKind::Lost),
            Health::Exited => Some(AlertKind::Exited),
            _ => None,
        };
        let (what, text) = finding_text::of_change(known, change, self.settings.stalled_after);
        Some(Finding {
            session: change.key.clone(),
            standing,
            seq: change.seq,
            activity: change.activity,
            foreign: known.row.foreign.clone().unwrap_or_default(),
            // What an operator planned is no incident.
            alert: kind.filter(|_| !known.draining),
            what,
            text,
        })
    }

    /// Writes what the store has to know of these, part by part.
    pub(super) async fn write(
        &mut self,
        store: &SharedStore,
        leader: &Leader,
        changes: Vec<Change>,
        patience: Patience,
    ) -> Result<(), StoreError> {
        let (mut judged, mut findings) = (Vec::new(), Vec::new());
        for change in changes {
            if let Some(finding) = self.note(&change) {
                judged.push(change);
                findings.push(finding);
            }
        }
        let mut outcome = Ok(());
        let parts = judged.chunks(FINDINGS).zip(findings.chunks(FINDINGS));
        for (part, (judged, findings)) in parts.enumerate() {
            // A first part is written in any case, so that every round gets on.
            self.unwritten |= outcome.is_ok() && part > 0 && patience.is_over();
            if self.unwritten {
                for change in judged {
                    self.observer.take_back(change);
                    self.touched.insert(change.key.clone());
                }
                continue;
            }
            let settled = match outcome {
                Ok(()) => {
                    let settled = store.write_findings(leader, findings, clock::now());
                    patience.bounded(store.location(), settled).await
                }
                // The rest would fail as well.
                Err(_) => Ok(vec![false; findings.len()]),
            };
            let settled = settled.unwrap_or_else(|error| {
                outcome = Err(error);
                vec![false; findings.len()]
            });
            for ((change, finding), settled) in judged.iter().zip(findings).zip(settled) {
                if settled {
                    self.round.settled += 1;
                    say(change, finding, &self.name_of(&change.key));
                    self.written(finding);
                } else {
                    // Not written, or it gave a sign of life in the last
                    // moment: it is judged again, on the row as it is then.
                    self.observer.take_back(change);
                    self.reread.push(change.key.clone());
                }
            }
        }
        outcome
    }

    /// What people call a session.
    fn name_of(&self, session: &SessionKey) -> String {
        let fleet = self.fleet.lock();
        let known = fleet.sessions.get(session);
        known.map_or_else(|| session.to_string(), Known::name)
    }

    fn written(&self, finding: &Finding) {
        if let Some(known) = self.fleet.lock().sessions.get_mut(&finding.session) {
            known.row.standing = Some(finding.standing);
            known.row.standing_seq = finding.seq;
        }
    }
}

fn say(change: &Change, finding: &Finding, label: &str) {
    let (conversation, session) = (&change.key.conversation, &change.key);
    // Named one by one, so that a search for an event finds its place.
    let event = match change.to {
        Health::Lost => "session-lost",
        Health::Exited => "session-exited",
        Health::Stalled => "session-stalled",
        Health::NeverStarted => "session-never-started",
        _ => {
            info!(event = "session-recovered", %conversation, %session, label, "{}", finding.text);
            return;
        }
    };
    warn!(event, %conversation, %session, label, "{}", finding.text);
}
