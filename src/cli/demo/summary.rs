//! What the actors told, added up: nothing lost, nothing twice, how fast.

use std::collections::HashMap;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

use super::actors::Told;

/// Everything that was told.
#[derive(Debug, Default)]
pub(super) struct Record {
    sent: HashMap<i64, u64>,
    /// When each work message was first in an agent's hand.
    read: HashMap<i64, u64>,
    /// Work by the answers to it.
    answers: HashMap<i64, Vec<i64>>,
    answered: HashMap<i64, u64>,
    heard: HashMap<i64, u64>,
}

/// The figures of the summary. Times are milliseconds.
#[derive(Debug, Serialize)]
pub(super) struct Summary {
    pub(super) sent: usize,
    pub(super) read: usize,
    pub(super) answered: usize,
    pub(super) lost: usize,
    pub(super) twice: usize,
    /// COMMIT returned to the message in a woken agent's hand.
    pub(super) commit_to_agent: Option<Percentiles>,
    /// COMMIT returned to the line in a process that follows.
    pub(super) commit_to_line: Option<Percentiles>,
}

/// Milliseconds.
#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct Percentiles {
    pub(super) p50: f64,
    pub(super) p99: f64,
    pub(super) max: f64,
}

impl Record {
    pub(super) fn hear(&mut self, told: &Told) {
        match *told {
            Told::Listening => {}
            Told::Sent { id, at } => {
                self.sent.insert(id, at);
            }
            Told::Read { id, at } => {
                self.read.entry(id).or_insert(at);
            }
            Told::Answered { id, at, .. } => {
                self.answered.insert(id, at);
            }
            Told::Answer { id, work, at } => {
                self.heard.entry(id).or_insert(at);
                self.answers.entry(work).or_default().push(id);
            }
        }
    }

    pub(super) fn sent(&self) -> usize {
        self.sent.len()
    }

    pub(super) fn heard(&self) -> usize {
        self.answers.len()
    }

    /// The first work message that reached an agent: how long that took.
    pub(super) fn first_read(&self) -> Option<Duration> {
        let (id, read) = self.read.iter().min_by_key(|(_, at)| **at)?;
        Some(Duration::from_nanos(
            read.saturating_sub(*self.sent.get(id)?),
        ))
    }

    /// The figures. Messages to a worker that was down on purpose are left out
    /// of the times, not out of the counts.
    pub(super) fn summary(&self, down: &[(u64, u64)]) -> Summary {
        let up = |at: u64| !down.iter().any(|&(from, to)| (from..=to).contains(&at));
        let read = self
            .sent
            .iter()
            .filter(|(_, at)| up(**at))
            .filter_map(|(id, sent)| Some(self.read.get(id)?.saturating_sub(*sent)));
        let heard = self
            .answered
            .iter()
            .filter_map(|(id, sent)| Some(self.heard.get(id)?.saturating_sub(*sent)));
        let answered = self
            .sent
            .keys()
            .filter(|id| self.answers.contains_key(id))
            .count();
        Summary {
            sent: self.sent.len(),
            read: self
                .sent
                .keys()
                .filter(|id| self.read.contains_key(id))
                .count(),
            answered,
            lost: self.sent.len() - answered,
            twice: self.answers.values().map(|answers| answers.len() - 1).sum(),
            commit_to_agent: percentiles(read),
            commit_to_line: percentiles(heard),
        }
    }
}

fn percentiles(nanos: impl Iterator<Item = u64>) -> Option<Percentiles> {
    let mut histogram = Histogram::<u64>::new(3).ok()?;
    for value in nanos {
        // It grows with its values; only memory could end that.
        let _ = histogram.record(value);
    }
    #[expect(clippy::cast_precision_loss, reason = "nanoseconds of a few seconds")]
    let at = |quantile| histogram.value_at_quantile(quantile) as f64 / 1e6;
    (!histogram.is_empty()).then(|| Percentiles {
        p50: at(0.5),
        p99: at(0.99),
        max: at(1.0),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_lost_or_done_twice_is_counted() {
        let mut record = Record::default();
        for told in [
            Told::Sent {
                id: 1,
                at: 1_000_000,
            },
            Told::Sent {
                id: 2,
                at: 2_000_000,
            },
            Told::Sent {
                id: 3,
                at: 3_000_000,
            },
            Told::Read {
                id: 1,
                at: 1_500_000,
            },
            Told::Read {
                id: 1,
                at: 9_000_000,
            },
            Told::Read {
                id: 2,
                at: 2_500_000,
            },
            Told::Answered {
                id: 10,
                work: 1,
                at: 4_000_000,
            },
            Told::Answer {
                id: 10,
                work: 1,
                at: 4_100_000,
            },
            Told::Answer {
                id: 11,
                work: 1,
                at: 4_200_000,
            },
        ] {
            record.hear(&told);
        }
        let summary = record.summary(&[]);
        assert_eq!((summary.sent, summary.read, summary.answered), (3, 2, 1));
        assert_eq!((summary.lost, summary.twice), (2, 1));
        let read = summary.commit_to_agent.expect("two were read");
        assert!((read.p50 - 0.5).abs() < 0.01, "{read:?}");
    }
}
