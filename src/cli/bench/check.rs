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
pub(super) struct Verdict {
    /// Messages that the store acknowledged.
    pub(super) sent: u64,
    /// Messages that a reader has, each counted once.
    pub(super) delivered: u64,
    /// Acknowledged, and with no reader.
    pub(super) lost: u64,
    /// Handed out more than once: every time after the first.
    pub(super) duplicate: u64,
    /// Handed out after a later one of the same pair.
    pub(super) out_of_order: u64,
    /// Handed out, and never sent by anyone.
    pub(super) invented: u64,
    /// Meant to be sent, but nobody knows whether they were: the sender ended
    /// before the store had answered. Delivered or not, both is right.
    pub(super) in_doubt: u64,
    /// Delivered by a periodic look, and the doorbell never told of it.
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

impl Verdict {
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
pub(super) fn check(records: &[Record]) -> (Verdict, Latencies) {
    let mut verdict = Verdict::default();
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
            } => {
                intended.insert((pair, seq), true);
                commits.insert(id, committed_at);
            }
            Record::Refused { .. } => verdict.refused += 1,
            Record::Seen { .. } | Record::Got { .. } => {}
        }
    }

    let told: HashSet<i64> = records
        .iter()
        .filter_map(|record| match record {
            Record::Seen { id, .. } => Some(*id),
            _ => None,
        })
        .collect();
    let mut times_had = HashMap::<Name, u64>::new();
    let mut newest = HashMap::<u32, u64>::new();
    for record in records {
        match *record {
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
                let times = times_had.entry(name).or_default();
                *times += 1;
                if *times > 1 {
                    verdict.duplicate += 1;
                    verdict.example("duplicate", name);
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
        if !times_had.contains_key(&name) {
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

    fn verdict(sent_up_to: u64, had: &[u64]) -> Verdict {
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
    fn a_repeated_message_is_a_duplicate_and_counted_once() {
        let verdict = verdict(2, &[1, 1, 2, 1]);
        assert_eq!((verdict.duplicate, verdict.delivered), (2, 2));
        assert_eq!(verdict.out_of_order, 0, "a repetition is no wrong order");
        assert!(!verdict.is_clean());
    }

    #[test]
    fn a_message_after_a_later_one_is_out_of_order() {
        let verdict = verdict(4, &[1, 3, 2, 4]);
        assert_eq!((verdict.out_of_order, verdict.lost), (1, 0));
        assert!(!verdict.is_clean());
    }

    #[test]
    fn what_nobody_sent_is_invented() {
        assert_eq!(verdict(1, &[1, 9]).invented, 1);
    }

    #[test]
    fn what_was_never_acknowledged_is_in_doubt_and_not_lost() {
        let records = [Record::Intent { pair: 0, seq: 1 }];
        let (verdict, _) = check(&records);
        assert_eq!((verdict.in_doubt, verdict.lost, verdict.sent), (1, 0, 0));
        let records = [Record::Intent { pair: 0, seq: 1 }, got(1)];
        let (verdict, _) = check(&records);
        assert_eq!((verdict.in_doubt, verdict.delivered), (1, 1));
        assert!(verdict.is_clean());
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
