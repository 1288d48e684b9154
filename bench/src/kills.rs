//! Processes that are killed at random, all along, and started anew with the
//! same job: what each of them had acknowledged must hold.

use std::collections::HashMap;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use super::agents::{Progress, ReceiverJob, Resume, SenderJob};
use super::child::{Child, Job};
use super::journal::{self, Record};
use super::scratch::Scratch;
use mcp_bridge::clock;

/// How long between two kills: any time of this range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Every {
    pub(super) from: Duration,
    pub(super) to: Duration,
}

impl FromStr for Every {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let time = |text: &str| humantime::parse_duration(text).map_err(|error| error.to_string());
        let (from, to) = match text.split_once('-') {
            Some((from, to)) => (time(from)?, time(to)?),
            // About so often.
            None => (time(text)? / 2, time(text)? * 3 / 2),
        };
        if from > to || to.is_zero() {
            return Err("such as 200ms, or 50ms-500ms".into());
        }
        Ok(Self { from, to })
    }
}

impl Every {
    pub(super) fn random(self) -> Duration {
        self.from + (self.to - self.from).mul_f64(fastrand::f64())
    }
}

/// Tells a process's keeper to kill it.
pub(super) type Trigger = mpsc::Sender<()>;

/// What a process does, and what its successor needs to go on.
#[derive(Debug, Clone)]
pub(super) enum Work {
    Sender(SenderJob),
    Receiver(ReceiverJob),
}

/// One place in the fleet, and the process that has it now.
pub(super) struct Place {
    name: String,
    work: Work,
    pub(super) child: Child,
    pub(super) journals: Vec<PathBuf>,
    resume: HashMap<u32, Resume>,
    kills: mpsc::Receiver<()>,
    /// Nanoseconds from each kill until a new process works.
    restarts: mpsc::UnboundedSender<u64>,
    /// Dropped after the process that works in it.
    _scratch: Scratch,
}

impl Place {
    pub(super) async fn start(
        name: String,
        scratch: &Scratch,
        mut work: Work,
        restarts: &mpsc::UnboundedSender<u64>,
    ) -> anyhow::Result<(Self, Trigger)> {
        let journal = scratch.path().join(format!("{name}.jsonl"));
        work.set_journal(journal.clone());
        let (trigger, kills) = mpsc::channel(1);
        let child = Child::start(&work.job()).await?;
        let place = Self {
            name,
            work,
            child,
            journals: vec![journal],
            resume: HashMap::new(),
            kills,
            restarts: restarts.clone(),
            _scratch: scratch.clone(),
        };
        Ok((place, trigger))
    }

    /// The next word of its process; `None` if it is to be killed. Nothing is
    /// lost if this is given up half-way.
    pub(super) async fn hear(&mut self) -> anyhow::Result<Option<Progress>> {
        tokio::select! {
            said = self.child.hear() => said.map(Some),
            Some(()) = self.kills.recv() => Ok(None),
        }
    }

    /// Kills the process and starts its successor; returns its first word. Must
    /// be let finish.
    pub(super) async fn begin_anew(&mut self, until: Instant) -> anyhow::Result<Progress> {
        let begun = clock::monotonic_nanos();
        self.child.kill().await?;
        let life = self.journals.len();
        if let Some(last) = self.journals.last() {
            note_sent(&journal::read(last)?, &mut self.resume);
            let next = last.with_file_name(format!("{}.{life}.jsonl", self.name));
            self.work.set_journal(next.clone());
            self.journals.push(next);
        }
        self.work.go_on(&self.resume, until);
        self.child = Child::start(&self.work.job()).await?;
        let said = self.child.hear().await?;
        // The counter may be gone already.
        let _ = self.restarts.send(clock::monotonic_nanos() - begun);
        Ok(said)
    }
}

impl Work {
    fn set_journal(&mut self, path: PathBuf) {
        match self {
            Self::Sender(job) => job.journal = path,
            Self::Receiver(job) => job.journal = path,
        }
    }

    fn go_on(&mut self, resume: &HashMap<u32, Resume>, until: Instant) {
        match self {
            Self::Sender(job) => {
                job.resume = resume.iter().map(|(pair, at)| (*pair, *at)).collect();
                job.duration = until.saturating_duration_since(Instant::now());
            }
            // It forgets once in a run.
            Self::Receiver(job) => job.lose_one = false,
        }
    }

    fn job(&self) -> Job {
        match self.clone() {
            Self::Sender(job) => Job::Sender(job),
            Self::Receiver(job) => Job::Receiver(job),
        }
    }
}

/// How far a sender came, by its own word.
fn note_sent(records: &[Record], resume: &mut HashMap<u32, Resume>) {
    for record in records {
        match *record {
            Record::Intent { pair, seq } => {
                let begun = Resume {
                    last: seq,
                    acknowledged: false,
                };
                resume.insert(pair, begun);
            }
            Record::Sent { pair, seq, .. } => {
                if let Some(known) = resume.get_mut(&pair).filter(|known| known.last == seq) {
                    known.acknowledged = true;
                }
            }
            _ => {}
        }
    }
}

/// Kills a random process at random times, until the time is over.
pub(super) async fn kill_at_random(every: Every, triggers: Vec<Trigger>, until: Instant) {
    while !triggers.is_empty() {
        let next = Instant::now() + every.random();
        if next >= until {
            return;
        }
        sleep_until(next).await;
        // One that is being killed already, or has ended, is left alone.
        let _ = triggers[fastrand::usize(..triggers.len())].try_send(());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sender_goes_on_where_it_was_killed() {
        let (pair, mut resume) = (3, HashMap::new());
        let sent = |seq| Record::Sent {
            pair,
            seq,
            id: 1,
            committed_at: 1,
            again: false,
        };
        note_sent(
            &[Record::Began, Record::Intent { pair, seq: 1 }, sent(1)],
            &mut resume,
        );
        assert_eq!((resume[&pair].last, resume[&pair].acknowledged), (1, true));
        note_sent(
            &[Record::Began, Record::Intent { pair, seq: 2 }],
            &mut resume,
        );
        assert_eq!((resume[&pair].last, resume[&pair].acknowledged), (2, false));
        // The next one sends the second again, and dies with the third.
        let third = Record::Intent { pair, seq: 3 };
        note_sent(&[Record::Began, sent(2), third], &mut resume);
        assert_eq!((resume[&pair].last, resume[&pair].acknowledged), (3, false));
    }

    #[test]
    fn a_time_is_one_or_a_range() {
        let every = |text: &str| text.parse::<Every>().map(|every| (every.from, every.to));
        let ms = Duration::from_millis;
        assert_eq!(every("50ms-500ms"), Ok((ms(50), ms(500))));
        assert_eq!(every("200ms"), Ok((ms(100), ms(300))));
        for wrong in ["", "soon", "2s-1s", "0s"] {
            assert!(every(wrong).is_err(), "{wrong}");
        }
    }
}
