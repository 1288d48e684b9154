//! The checker of `bench delivery`: what the journals prove. Pure.

use std::collections::{HashMap, HashSet};

use serde::Serialize;

use super::journal::{Cause, Record};
use super::stats::Histogram;

/// A message: the pair, and its number there.
pub(super) type Name = (u32, u64);

/// How many messages a list of examples names.
const EXAMPLES: usize = 10;

/// What became of all messages.
#[derive(Debug, Default, Serialize)]
pub(super) struct MessageTally {
    /// Messages that the store acknowledged.
    pub(super) sent: u64,
    /// Messages that a reader has, each counted once.
    pub(super) delivered: u64,
    /// Acknowledged, and with no reader.
    pub(super) lost: u64,
    /// Handed out again although its reader lived on or had confirmed it: every
    /// time after the first.
    pub(super) duplicate: u64,
    /// Handed out again to a reader whose process was killed before it had
    /// confirmed it. That is how it must be; its effect is one.
    pub(super) redelivered: u64,
    /// Handed out after a later one of the same pair.
    pub(super) out_of_order: u64,
    /// Handed out, and never sent by anyone.
    pub(super) invented: u64,
    /// Meant to be sent, but it is not known whether they were: the sender ended before
    /// the store had answered. Delivered or not, both is right.
    pub(super) in_doubt: u64,
    /// Delivered by a periodic look, and the doorbell never reported it.
    pub(super) without_ring: u64,
    /// Refusals by the store; the sender sent the same message again.
    pub(super) refused: u64,
    /// Some messages that were lost, twice, out of order or invented.
    pub(super) examples: Vec<String>,
}

/// How long it took.
pub(super) struct Latencies {
    /// From COMMIT to the reader's process knowing of it.
    pub(super) seen: Histogram,
    /// Those of them that were known before COMMIT had returned to the
    /// sender's task; they count as 0.
    pub(super) early: u64,
    /// From COMMIT to the reader having it: fetched, and marked as read.
    pub(super) got: Histogram,
}

impl MessageTally {
    /// Whether every message came once and in order.
    pub(super) fn is_clean(&self) -> bool {
        self.lost + self.duplicate + self.out_of_order + self.invented == 0
    }

    fn example(&mut self, what: &str, (pair, seq): Name) {
        if self.examples.len() < EXAMPLES {
            self.examples
                .push(format!("{what}: message {seq} of pair {pair}"));
        }
    }
}

/// Reads the journals. The records of one reader stand in the order in which
/// it had them; journals of different processes may come in any order.
pub(super) fn check(records: &[Record]) -> (MessageTally, Latencies) {
    let mut verdict = MessageTally::default();
    let mut latencies = Latencies {
        seen: Histogram::new(),
        early: 0,
        got: Histogram::new(),
    };
    let (mut intended, mut commits) = (HashMap::<Name, bool>::new(), HashMap::new());
    for record in records {
        match *record {
            Record::Intent { pair, seq } => {
                intended.entry((pair, seq)).or_insert(false);
            }
            Record::Sent {
                pair,
                seq,
                id,
                committed_at,
                again,
            } => {
                intended.insert((pair, seq), true);
                if !again {
                    commits.insert(id, committed_at);
                }
            }
            Record::Refused { .. } => verdict.refused += 1,
            Record::Began | Record::Seen { .. } | Record::Got { .. } | Record::Confirmed { .. } => {
            }
        }
    }

    let told: HashSet<i64> = records
        .iter()
        .filter_map(|record| match record {
            Record::Seen { id, .. } => Some(*id),
            _ => None,
        })
        .collect();
    // By name: in which of its reader's lives it was had last, and whether that
    // was confirmed.
    let mut had = HashMap::<Name, (u64, bool)>::new();
    let mut newest = HashMap::<u32, u64>::new();
    let mut newest_of_life = HashMap::<u32, (u64, u64)>::new();
    let mut life = 0_u64;
    for record in records {
        match *record {
            Record::Began => life += 1,
            Record::Confirmed { pair, seq } => {
                had.insert((pair, seq), (life, true));
            }
            Record::Seen { id, at } => {
                if let Some(commit) = commits.get(&id) {
                    latencies.early += u64::from(at < *commit);
                    latencies.seen.record(at.saturating_sub(*commit));
                }
            }
            Record::Got {
                pair,
                seq,
                id,
                at,
                by,
            } => {
                let name = (pair, seq);
                if !intended.contains_key(&name) {
                    verdict.invented += 1;
                    verdict.example("invented", name);
                    continue;
                }
                let before = had.insert(name, (life, false));
                if let Some((then, confirmed)) = before {
                    if confirmed || then == life {
                        // What was confirmed once stays so.
                        had.insert(name, (life, confirmed));
                        verdict.duplicate += 1;
                        verdict.example("duplicate", name);
                        continue;
                    }
                    verdict.redelivered += 1;
                }
                // What is handed out again keeps its order, too.
                let of_life = newest_of_life.entry(pair).or_insert((life, 0));
                if of_life.0 != life {
                    *of_life = (life, 0);
                }
                let unordered = seq < of_life.1;
                of_life.1 = of_life.1.max(seq);
                if before.is_some() {
                    if unordered {
                        verdict.out_of_order += 1;
                        verdict.example("out of order", name);
                    }
                    continue;
                }
                verdict.delivered += 1;
                verdict.without_ring += u64::from(by != Cause::Ring && !told.contains(&id));
                if let Some(commit) = commits.get(&id) {
                    latencies.got.record(at.saturating_sub(*commit));
                }
                let newest = newest.entry(pair).or_default();
                if seq < *newest {
                    verdict.out_of_order += 1;
                    verdict.example("out of order", name);
                }
                *newest = seq.max(*newest);
            }
            _ => {}
        }
    }

    let mut names: Vec<_> = intended.into_iter().collect();
    names.sort_unstable();
    for (name, acknowledged) in names {
        if !acknowledged {
            verdict.in_doubt += 1;
            continue;
        }
        verdict.sent += 1;
        if !had.contains_key(&name) {
            verdict.lost += 1;
            verdict.example("lost", name);
        }
    }
    (verdict, latencies)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(seq: u64) -> [Record; 2] {
        let (pair, id) = (0, i64::try_from(seq).expect("small"));
        [
            Record::Intent { pair, seq },
            Record::Sent {
                pair,
                seq,
                id,
                committed_at: 1_000,
                again: false,
            },
        ]
    }

    fn got(seq: u64) -> Record {
        Record::Got {
            pair: 0,
            seq,
            id: i64::try_from(seq).expect("small"),
            at: 51_000,
            by: Cause::Ring,
        }
    }

    fn verdict(sent_up_to: u64, had: &[u64]) -> MessageTally {
        let mut records: Vec<Record> = had.iter().map(|&seq| got(seq)).collect();
        records.extend((1..=sent_up_to).flat_map(sent));
        check(&records).0
    }

    #[test]
    fn each_once_and_in_order_is_clean() {
        let verdict = verdict(4, &[1, 2, 3, 4]);
        assert!(verdict.is_clean(), "{verdict:?}");
        assert_eq!((verdict.sent, verdict.delivered), (4, 4));
    }

    #[test]
    fn a_dropped_message_is_lost() {
        let verdict = verdict(4, &[1, 2, 4]);
        assert_eq!((verdict.lost, verdict.delivered), (1, 3));
        assert_eq!(verdict.examples, ["lost: message 3 of pair 0"]);
        assert!(!verdict.is_clean());
    }

    #[test]
    fn repeated_message_is_a_duplicate_and_counted_once() {
        let verdict = verdict(2, &[1, 1, 2, 1]);
        assert_eq!((verdict.duplicate, verdict.delivered), (2, 2));
        assert_eq!(verdict.out_of_order, 0, "a repetition is no wrong order");
        assert!(!verdict.is_clean());
    }

    #[test]
    fn message_after_a_later_one_is_out_of_order() {
        let verdict = verdict(4, &[1, 3, 2, 4]);
        assert_eq!((verdict.out_of_order, verdict.lost), (1, 0));
        assert!(!verdict.is_clean());
    }

    #[test]
    fn message_without_sender_counts_as_invented() {
        assert_eq!(verdict(1, &[1, 9]).invented, 1);
    }

    #[test]
    fn unacknowledged_message_is_in_doubt_and_not_lost() {
        let records = [Record::Intent { pair: 0, seq: 1 }];
        let (verdict, _) = check(&records);
        assert_eq!((verdict.in_doubt, verdict.lost, verdict.sent), (1, 0, 0));
        let records = [Record::Intent { pair: 0, seq: 1 }, got(1)];
        let (verdict, _) = check(&records);
        assert_eq!((verdict.in_doubt, verdict.delivered), (1, 1));
        assert!(verdict.is_clean());
    }

    #[test]
    fn unconfirmed_message_after_a_kill_is_redelivered() {
        let confirmed = |seq| Record::Confirmed { pair: 0, seq };
        let mut records: Vec<Record> = (1..=3).flat_map(sent).collect();
        // Killed after it had noted 1 and 2 and confirmed 1.
        records.extend([Record::Began, got(1), got(2), confirmed(1), Record::Began]);
        let mut clean = records.clone();
        clean.extend([got(2), got(3), confirmed(2), confirmed(3)]);
        let (verdict, _) = check(&clean);
        assert_eq!((verdict.redelivered, verdict.delivered), (1, 3));
        assert!(verdict.is_clean(), "{verdict:?}");
        // What was confirmed must not come again.
        let mut twice = records.clone();
        twice.extend([got(1), got(2), got(3)]);
        let (verdict, _) = check(&twice);
        assert_eq!((verdict.duplicate, verdict.redelivered), (1, 1));
        // Nor may the rest come in another order.
        records.extend([got(3), got(2)]);
        let (verdict, _) = check(&records);
        assert_eq!((verdict.out_of_order, verdict.redelivered), (1, 1));
    }

    #[test]
    fn message_sent_again_after_a_restart_counts_once() {
        let again = |again| Record::Sent {
            pair: 0,
            seq: 1,
            id: 1,
            committed_at: 30_000,
            again,
        };
        let intent = Record::Intent { pair: 0, seq: 1 };
        let records = [Record::Began, intent, Record::Began, again(true), got(1)];
        let (verdict, latencies) = check(&records);
        assert_eq!(
            (verdict.sent, verdict.delivered, verdict.in_doubt),
            (1, 1, 0)
        );
        assert!(verdict.is_clean());
        assert_eq!(latencies.got.len(), 0, "its commit was not timed");
    }

    #[test]
    fn latencies_begin_at_the_commit() {
        let mut records = sent(1).to_vec();
        records.extend([Record::Seen { id: 1, at: 31_000 }, got(1)]);
        let (_, latencies) = check(&records);
        let p50 = |histogram: Histogram| histogram.micros().expect("recorded").p50;
        assert!((p50(latencies.seen) - 30.0).abs() < 0.2);
        assert!((p50(latencies.got) - 50.0).abs() < 0.2);
    }
}
