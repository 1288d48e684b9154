//! From what the observer says of a session to what the store and the log are
//! told of it.

use tracing::{info, warn};

use super::Watchdog;
use super::look::standing;
use crate::duties::words;
use crate::model::alert::AlertKind;
use crate::model::health::Health;
use crate::model::observer::{Change, Standing};
use crate::store::Finding;
use crate::{clock, host, liveness};

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
                info!(
                    event = "session-kept",
                    conversation = %change.key.conversation, session = %change.key,
                    "{} has no daemon that beats for it, but its agent runs", change.key
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
            Standing::NeverStarted => "never_started",
            Standing::Stalled | Standing::Stirred => "stalled",
            Standing::Lost { .. } => "lost",
            Standing::Exited { .. } => "exited",
            Standing::Well => "well",
        };
        // Nobody promised to keep it, and it holds nothing: a person who typed
        // a command is not lost when he types no other.
        if change.to == Health::Lost && known.row.beat.is_none() && known.row.open_tasks == 0 {
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
        let (what, text) = words::of_change(known, change, self.settings.stalled_after);
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
}

pub(super) fn say(change: &Change, finding: &Finding) {
    let (conversation, session) = (&change.key.conversation, &change.key);
    // Named one by one, so that a search for an event finds its place.
    let event = match change.to {
        Health::Lost => "session-lost",
        Health::Exited => "session-exited",
        Health::Stalled => "session-stalled",
        Health::NeverStarted => "session-never-started",
        _ => {
            info!(event = "session-recovered", %conversation, %session, "{}", finding.text);
            return;
        }
    };
    warn!(event, %conversation, %session, "{}", finding.text);
}
