//! Rows of heartbeats: one for each session, which the next one replaces. Most
//! operations are as coarse as one statement for all sessions of a daemon.

use std::collections::HashMap;

use jiff::Timestamp;

use crate::model::SessionKey;
use crate::store::{BeatRound, DaemonInfo, DaemonRef, Process, Result};

/// A session whose agent is about to begin another life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Successor {
    /// Its place in the round.
    pub place: usize,
    /// Whether the end of the life before was noted already.
    pub noted: bool,
}

/// Operations on heartbeats.
pub trait HeartbeatRows {
    /// Writes the heartbeats of sessions that this life of the daemon has already, by
    /// the same process, which is nearly all of them nearly always, and returns how
    /// many those were. Boot and namespace are those of the daemon's life. One whose
    /// agent's exit is noted is not written.
    ///
    /// # Errors
    /// The engine's.
    fn advance(&mut self, round: &BeatRound<'_>) -> Result<u64>;

    /// Writes the heartbeats of other sessions that may be written and returns how
    /// many those were. A session is free if no daemon had it, its daemon let go,
    /// went silent for its whole ttl, or lived in another boot; one and the same
    /// daemon may only go forward in its epochs, or from one life of the agent to the
    /// next. A beat that names no process leaves the one that is known, with the
    /// namespace in which its number means something.
    ///
    /// # Errors
    /// The engine's.
    fn take_over(&mut self, round: &BeatRound<'_>) -> Result<u64>;

    /// The sessions whose agent's last life is over when this round is written: its
    /// end was noted, or the round names another process than the heartbeat before,
    /// no matter which program wrote that one. No process outlives its boot. A number
    /// means something only in its namespace: seen from another one, the same process
    /// has another number and the same start. A start that is not known tells nothing.
    ///
    /// # Errors
    /// The engine's.
    fn successors(&mut self, round: &BeatRound<'_>) -> Result<Vec<Successor>>;

    /// The sessions of a round that are not this life of the daemon's, by their
    /// place, and who has them.
    ///
    /// # Errors
    /// The engine's.
    fn owners(&mut self, round: &BeatRound<'_>) -> Result<HashMap<usize, String>>;

    /// Copies the sign of life into the table that the Python bridge reads, which
    /// calls a session dead after two minutes. The rows there are other programs':
    /// only the time of those that mean the session is touched.
    ///
    /// # Errors
    /// The engine's.
    fn mirror(&mut self, sessions: &[&SessionKey], now: Timestamp) -> Result<()>;

    /// The processes that the last heartbeats named, in the order of the question.
    ///
    /// # Errors
    /// The engine's.
    fn processes(&mut self, sessions: &[SessionKey]) -> Result<Vec<Option<Process>>>;

    /// The places of those of the sessions whose agent's exit is noted.
    ///
    /// # Errors
    /// The engine's.
    fn ended(&mut self, sessions: &[SessionKey]) -> Result<Vec<usize>>;

    /// Notes an exit in a heartbeat of this life of the daemon, or in any that names
    /// the process `missed`, but for one of a later life of the daemon. Whether it is
    /// news.
    ///
    /// # Errors
    /// The engine's.
    fn note_exit(
        &mut self,
        session: &SessionKey,
        daemon: &DaemonRef,
        missed: Option<&Process>,
        now: Timestamp,
    ) -> Result<bool>;

    /// Notes the exits of sessions, at most `most`, that this daemon kept by their
    /// processes in an earlier boot; of conversations that are open. Returns them.
    ///
    /// # Errors
    /// The engine's.
    fn note_exits_of_another_boot(
        &mut self,
        daemon: &DaemonInfo,
        most: u32,
        now: Timestamp,
    ) -> Result<Vec<SessionKey>>;

    /// Lets go of these sessions of a daemon's life, or of all of them; returns how
    /// many those were. It counts as a sign: a watcher looks again before it calls
    /// one of them lost.
    ///
    /// # Errors
    /// The engine's.
    fn release(&mut self, daemon: &DaemonRef, sessions: Option<&[SessionKey]>) -> Result<u64>;
}
