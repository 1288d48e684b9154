//! Daemons, and the heartbeats that they and agents give.

use std::time::Duration;

use jiff::Timestamp;

use crate::model::session::ProofKind;
use crate::store::{Beat, BeatRound, DaemonInfo, Process, ProcessId};

/// A daemon, in its newest life.
#[derive(Debug, Clone)]
pub(super) struct Daemon {
    pub(super) info: DaemonInfo,
    pub(super) pid_ns: i64,
    pub(super) epoch: i64,
    pub(super) started: Timestamp,
    pub(super) stopped: Option<Timestamp>,
    pub(super) change: i64,
}

/// A session's last heartbeat.
#[derive(Debug, Clone)]
pub(super) struct BeatRow {
    pub(super) seq: i64,
    pub(super) daemon: Option<String>,
    pub(super) epoch: i64,
    pub(super) boot_id: String,
    pub(super) pid_ns: i64,
    pub(super) process: Option<ProcessId>,
    pub(super) proof: ProofKind,
    /// On the boot clock of the program that wrote it, and on its wall clock.
    pub(super) at: (Duration, Timestamp),
    pub(super) ttl: Duration,
    pub(super) released: bool,
    pub(super) exited_at: Option<Timestamp>,
}

impl BeatRow {
    /// The first of a session.
    pub(super) fn first(beat: &Beat, round: &BeatRound<'_>) -> Self {
        let daemon = &round.daemon.id;
        Self {
            seq: 1,
            daemon: (!daemon.is_empty()).then(|| daemon.clone()),
            epoch: round.daemon.epoch,
            boot_id: round.boot.id.clone(),
            pid_ns: round.boot.pid_ns,
            process: beat.process,
            proof: beat.proof,
            at: (round.boot.now, round.now),
            ttl: round.ttl,
            released: false,
            exited_at: None,
        }
    }

    /// The one that follows it.
    pub(super) fn next(&self, beat: &Beat, round: &BeatRound<'_>) -> Self {
        let mut next = Self::first(beat, round);
        next.seq = self.seq + 1;
        let goes_on = self.exited_at.is_none() && self.boot_id == next.boot_id;
        if goes_on && next.process.is_none() && self.process.is_some() {
            next.process = self.process;
            next.pid_ns = self.pid_ns;
        }
        next
    }

    pub(super) fn is_of(&self, round: &BeatRound<'_>) -> bool {
        self.daemon.as_ref() == Some(&round.daemon.id) && self.epoch == round.daemon.epoch
    }

    /// Whether the next one may be written by the round's daemon.
    pub(super) fn is_free(&self, beat: &Beat, round: &BeatRound<'_>) -> bool {
        match &self.daemon {
            None => true,
            Some(daemon) if *daemon == round.daemon.id => {
                let another = self.exited_at.is_some() || self.process != beat.process;
                self.epoch < round.daemon.epoch || self.epoch == round.daemon.epoch && another
            }
            Some(_) => {
                self.released
                    || self.boot_id != round.boot.id
                    || self.at.0 + self.ttl < round.boot.now
            }
        }
    }

    /// Whether the agent's life is over when this beat is written.
    pub(super) fn is_over(&self, beat: &Beat, round: &BeatRound<'_>) -> bool {
        if self.exited_at.is_some() {
            return true;
        }
        let Some(known) = self.process else {
            return false;
        };
        if self.boot_id != round.boot.id {
            return true;
        }
        let Some(named) = beat.process else {
            return false;
        };
        if self.pid_ns == round.boot.pid_ns {
            known.pid != named.pid || named.took_the_number_of(&known)
        } else {
            known.start == 0 || known.start != named.start
        }
    }

    /// The process that it names.
    pub(super) fn process(&self) -> Option<Process> {
        Some(Process {
            boot_id: self.boot_id.clone(),
            pid_ns: self.pid_ns,
            id: self.process?,
        })
    }

    /// Whether a daemon keeps the session.
    pub(super) fn is_kept(&self) -> bool {
        self.daemon.is_some() && !self.released
    }
}
