//! What was sent, held against what the actors themselves say they have in
//! hand. That the store calls a message read proves nothing: it may be wrong.

use std::collections::{HashMap, HashSet};

use serde::{Deserialize, Serialize};

use crate::model::message::Message;
use crate::model::{Fence, TaskId};

/// A task and the fence that came with it.
pub(super) type Claim = (i64, i64);

/// A message as it stands in the store.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stored {
    pub(super) id: i64,
    /// The task that it hands out.
    pub(super) claim: Option<Claim>,
    /// A reminder: it is taken back, unread, when its recipient moves.
    pub(super) reminder: bool,
}

/// A message in an actor's hand.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(super) struct InHand {
    id: i64,
    claim: Option<Claim>,
    /// The message to a session that is gone that this one hands on.
    instead_of: Option<i64>,
}

impl From<&Message> for InHand {
    fn from(message: &Message) -> Self {
        let metadata = &message.metadata;
        Self {
            id: message.id.0,
            claim: claim(metadata),
            instead_of: (metadata["event"] == "handed-over")
                .then(|| metadata["message_id"].as_i64())
                .flatten(),
        }
    }
}

impl InHand {
    /// The task that it hands out.
    pub(super) fn task(&self) -> Option<(TaskId, Fence)> {
        let (task, fence) = self.claim?;
        Some((TaskId(task), Fence(fence)))
    }
}

/// The task that a message with this metadata hands out.
pub(super) fn claim(metadata: &serde_json::Value) -> Option<Claim> {
    if metadata["event"] != "task" {
        return None;
    }
    Some((metadata["task_id"].as_i64()?, metadata["fence"].as_i64()?))
}

/// Who sent and who got what, in their own words.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    sent: HashSet<i64>,
    /// The processes that had each, as often as they had it.
    got: HashMap<i64, Vec<u32>>,
    instead: HashSet<i64>,
    /// The newest fence under which each task came into a hand.
    fences: HashMap<i64, i64>,
    killed: HashSet<u32>,
}

/// What came of the messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(super) struct Tally {
    pub(super) messages: u64,
    /// Read by their recipients.
    pub(super) read: u64,
    /// For a session that was gone, and with the new owner of the task now.
    pub(super) handed_on: u64,
    pub(super) lost: u64,
    /// Once more to a process that lived.
    pub(super) twice: u64,
}

impl Ledger {
    pub(super) fn sent(&mut self, id: i64) {
        self.sent.insert(id);
    }

    pub(super) fn got(&mut self, process: u32, messages: &[InHand]) {
        for message in messages {
            self.got.entry(message.id).or_default().push(process);
            self.instead.extend(message.instead_of);
            if let Some((task, fence)) = message.claim {
                let newest = self.fences.entry(task).or_insert(fence);
                *newest = fence.max(*newest);
            }
        }
    }

    /// What a process had in hand is handed out again after that.
    pub(super) fn killed(&mut self, process: u32) {
        self.killed.insert(process);
    }

    pub(super) fn tally(&self, stored: &[Stored]) -> Tally {
        let claims: HashMap<i64, Option<Claim>> =
            stored.iter().map(|one| (one.id, one.claim)).collect();
        // What a sender was promised counts, whether or not the store has it.
        let all: HashSet<i64> = claims.keys().chain(&self.sent).copied().collect();
        let (read, missing): (Vec<i64>, Vec<i64>) =
            all.into_iter().partition(|id| self.got.contains_key(id));
        let reminders: HashSet<i64> = stored
            .iter()
            .filter(|one| one.reminder)
            .map(|one| one.id)
            .collect();
        let missing: Vec<i64> = missing
            .into_iter()
            .filter(|id| !reminders.contains(id))
            .collect();
        let handed_on = missing.iter().filter(|id| {
            let claim = claims.get(id).copied().flatten();
            let moved = claim.is_some_and(|(task, fence)| {
                self.fences.get(&task).is_some_and(|newest| *newest > fence)
            });
            moved || self.instead.contains(id)
        });
        let handed_on = handed_on.count() as u64;
        let (read, missing) = (read.len() as u64, missing.len() as u64);
        Tally {
            messages: read + missing,
            read,
            handed_on,
            lost: missing - handed_on,
            twice: self.got.values().map(|had| self.too_often(had)).sum(),
        }
    }

    fn too_often(&self, had: &[u32]) -> u64 {
        let (killed, lived): (Vec<u32>, Vec<u32>) = had
            .iter()
            .partition(|process| self.killed.contains(process));
        let each: HashSet<&u32> = killed.iter().collect();
        (killed.len() - each.len() + lived.len().saturating_sub(1)) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(id: i64, claim: Option<Claim>) -> Stored {
        Stored {
            id,
            claim,
            reminder: false,
        }
    }

    fn hand(id: i64, claim: Option<Claim>, instead_of: Option<i64>) -> InHand {
        InHand {
            id,
            claim,
            instead_of,
        }
    }

    fn tally(ledger: &Ledger, stored: &[Stored]) -> [u64; 5] {
        let t = ledger.tally(stored);
        [t.messages, t.read, t.handed_on, t.lost, t.twice]
    }

    #[test]
    fn message_in_no_hand_counts_as_lost() {
        let mut ledger = Ledger::default();
        ledger.sent(1);
        ledger.sent(2);
        ledger.got(7, &[hand(1, None, None)]);
        let all = [stored(1, None), stored(2, None)];
        assert_eq!(tally(&ledger, &all), [2, 1, 0, 1, 0]);
        // Promised to its sender, and gone from the store.
        assert_eq!(tally(&ledger, &all[..1]), [2, 1, 0, 1, 0]);
        // Of the system, which the ledger does not count.
        assert_eq!(tally(&ledger, &[all[0], stored(3, None)]), [3, 1, 0, 2, 0]);
        ledger.got(8, &[hand(2, None, None)]);
        assert_eq!(tally(&ledger, &all), [2, 2, 0, 0, 0]);
        // What was taken back had no recipient in the end.
        let mut reminder = stored(4, None);
        reminder.reminder = true;
        assert_eq!(tally(&ledger, &[all[0], all[1], reminder]), [2, 2, 0, 0, 0]);
    }

    #[test]
    fn a_successor_has_it_instead() {
        let mut ledger = Ledger::default();
        let all = [
            stored(1, Some((5, 1))),
            stored(2, None),
            stored(3, Some((6, 1))),
        ];
        ledger.got(8, &[hand(4, Some((5, 2)), None), hand(9, None, Some(2))]);
        // The third task went nowhere: the same fence is no newer one.
        ledger.got(8, &[hand(10, Some((6, 1)), None)]);
        assert_eq!(tally(&ledger, &all), [3, 0, 2, 1, 0]);
    }

    #[test]
    fn only_who_was_killed_may_be_followed_by_another() {
        let mut ledger = Ledger::default();
        let one = [hand(1, None, None)];
        ledger.got(7, &one);
        ledger.got(8, &one);
        assert_eq!(ledger.tally(&[stored(1, None)]).twice, 1);
        ledger.killed(7);
        assert_eq!(ledger.tally(&[stored(1, None)]).twice, 0);
        ledger.got(7, &one);
        assert_eq!(ledger.tally(&[stored(1, None)]).twice, 1, "itself, again");
        ledger.got(8, &one);
        assert_eq!(ledger.tally(&[stored(1, None)]).twice, 2);
    }
}
