//! What the actors reported, added up: nothing lost, nothing twice, how fast.

use std::collections::{BTreeMap, HashMap, HashSet};

use serde::Serialize;

use super::actors::DemoEvent;
use super::mail::{Ledger, Tally};
use crate::store::{Task, TaskEvent};

/// All events that arrived.
#[derive(Debug, Default)]
pub(super) struct Record {
    /// All tasks.
    pub(super) added: Vec<i64>,
    /// When they were added.
    pub(super) added_at: u64,
    /// When an agent first had a task.
    pub(super) taken: BTreeMap<i64, u64>,
    /// Ends that were acknowledged, of each task.
    done: BTreeMap<i64, Vec<String>>,
    /// Ends that were refused.
    pub(super) refused: usize,
    /// When a message, or the end of a task, was committed.
    sent: HashMap<i64, u64>,
    ended: HashMap<i64, u64>,
    /// When it was read.
    heard: HashMap<i64, u64>,
    heard_end: HashMap<i64, u64>,
    /// Who has which message.
    pub(super) ledger: Ledger,
    /// Times that the play took, in nanoseconds.
    pub(super) noticed: Vec<u64>,
    pub(super) exit_to_owner: Vec<u64>,
    pub(super) silence_to_owner: Vec<u64>,
}

/// The figures of the summary. Times are milliseconds.
#[derive(Debug, Serialize)]
pub(super) struct Summary {
    pub(super) tasks: usize,
    pub(super) done_once: usize,
    pub(super) done_twice: usize,
    /// Late words that were refused: of the agent that stalled, one for each
    /// task that it had.
    pub(super) refused: usize,
    #[serde(flatten)]
    pub(super) mail: Tally,
    /// COMMIT returned to the line in a process that follows.
    pub(super) commit_to_reader: Option<Percentiles>,
    pub(super) exit_to_noticed: Option<Percentiles>,
    pub(super) exit_to_owner: Option<Percentiles>,
    pub(super) silence_to_owner: Option<Percentiles>,
    pub(super) each: Vec<Each>,
}

/// One task at the end.
#[derive(Debug, Serialize)]
pub(super) struct Each {
    pub(super) id: i64,
    pub(super) state: String,
    pub(super) done_by: Option<String>,
    pub(super) attempts: i64,
    pub(super) fence: i64,
    /// Why it changed hands.
    pub(super) why: Vec<String>,
}

/// Milliseconds.
#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct Percentiles {
    pub(super) p50: f64,
    pub(super) p99: f64,
    pub(super) max: f64,
}

impl Summary {
    /// Whether everything went as it should.
    pub(super) fn is_clean(&self) -> bool {
        let mail = self.mail.lost == 0 && self.mail.twice == 0;
        self.done_once == self.tasks && self.done_twice == 0 && mail && self.refused > 0
    }
}

impl Record {
    pub(super) fn hear(&mut self, told: &DemoEvent) {
        match told {
            DemoEvent::Added { tasks, at } => (self.added, self.added_at) = (tasks.clone(), *at),
            DemoEvent::Taken { task, at, .. } => {
                self.taken.entry(*task).or_insert(*at);
            }
            DemoEvent::Sent { id, at } => {
                self.sent.insert(*id, *at);
                self.ledger.sent(*id);
            }
            DemoEvent::Got { process, messages } => self.ledger.got(*process, messages),
            DemoEvent::Done { task, who, at, .. } => {
                self.done.entry(*task).or_default().push(who.clone());
                self.ended.insert(*task, *at);
            }
            DemoEvent::Refused { .. } => self.refused += 1,
            DemoEvent::Heard { id, task, at } => {
                self.heard.entry(*id).or_insert(*at);
                if let Some(task) = task {
                    self.heard_end.entry(*task).or_insert(*at);
                }
            }
        }
    }

    /// Tasks that are done.
    pub(super) fn done(&self) -> usize {
        self.done.len()
    }

    /// Ends of tasks that the orchestrator has heard of.
    pub(super) fn ends_heard(&self) -> usize {
        self.heard_end.len()
    }

    /// The figures, with each task as the store has it, and what came of the
    /// messages.
    pub(super) fn summary(&self, tasks: &[(Task, Vec<TaskEvent>)], mail: Tally) -> Summary {
        let paired = |from: &HashMap<i64, u64>, to: &HashMap<i64, u64>| -> Vec<u64> {
            let pairs = from
                .iter()
                .filter_map(|(id, from)| Some((from, to.get(id)?)));
            pairs.map(|(from, to)| to.saturating_sub(*from)).collect()
        };
        let mut to_reader = paired(&self.sent, &self.heard);
        to_reader.extend(paired(&self.ended, &self.heard_end));
        // What the agents believe, and what the store does.
        let ends = |task: &Task, history: &[TaskEvent]| {
            let stored = history.iter().filter(|event| event.event == "done").count();
            let told = self.done.get(&task.id.0).map_or(0, Vec::len);
            stored.max(told)
        };
        let each: Vec<Each> = tasks
            .iter()
            .map(|(task, history)| each(task, history))
            .collect();
        let ended: Vec<usize> = tasks
            .iter()
            .map(|(task, history)| ends(task, history))
            .collect();
        Summary {
            tasks: self.added.len(),
            done_once: ended.iter().filter(|ends| **ends == 1).count(),
            done_twice: ended.iter().filter(|ends| **ends > 1).count(),
            refused: self.refused,
            mail,
            commit_to_reader: percentiles(&to_reader),
            exit_to_noticed: percentiles(&self.noticed),
            exit_to_owner: percentiles(&self.exit_to_owner),
            silence_to_owner: percentiles(&self.silence_to_owner),
            each,
        }
    }
}

fn each(task: &Task, history: &[TaskEvent]) -> Each {
    let done = history.iter().find(|event| event.event == "done");
    let causes: HashSet<&str> = ["lost", "exited", "stalled", "failed"].into();
    let why = history
        .iter()
        .filter(|event| causes.contains(event.event.as_str()))
        .map(|event| match &event.session {
            Some(session) => format!("{session} {}", event.event),
            None => event.event.clone(),
        });
    Each {
        id: task.id.0,
        state: task.state.as_str().to_owned(),
        done_by: done.and_then(|event| event.session.clone()),
        attempts: task.attempts,
        fence: task.fence.0,
        why: why.collect(),
    }
}

fn percentiles(nanos: &[u64]) -> Option<Percentiles> {
    let mut nanos = nanos.to_vec();
    nanos.sort_unstable();
    // The smallest value that this share of the values does not exceed.
    let at = |hundredths: usize| {
        let nth = (nanos.len() * hundredths).div_ceil(100);
        let value = nanos.get(nth.checked_sub(1)?)?;
        #[expect(clippy::cast_precision_loss, reason = "nanoseconds of a few seconds")]
        Some(*value as f64 / 1e6)
    };
    Some(Percentiles {
        p50: at(50)?,
        p99: at(99)?,
        max: at(100)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_that_were_measured() {
        let of = |nanos: &[u64]| percentiles(nanos).map(|at| [at.p50, at.p99, at.max]);
        assert_eq!(of(&[]), None);
        assert_eq!(
            of(&[3_000_000, 1_000_000, 2_000_000]),
            Some([2.0, 3.0, 3.0])
        );
        let hundred: Vec<u64> = (1..=100).rev().map(|ms| ms * 1_000_000).collect();
        assert_eq!(of(&hundred), Some([50.0, 99.0, 100.0]));
    }
}
