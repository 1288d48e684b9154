//! Who is alive.

use std::collections::HashSet;
use std::time::Duration;

use jiff::Timestamp;

use crate::model::SessionKey;
use crate::model::health::{Turn, TurnSaid};
use crate::model::wake::Mail;
use crate::store::ops::heartbeats::{self, Round};
use crate::store::ops::times;
use crate::store::{
    BeatReport, BeatRound, Boot, Caller, DaemonInfo, DaemonRef, Namesake, Process, Result, Store,
    Witness,
};

impl Store {
    /// What the rows tell of the time. Asked before a daemon writes its own first
    /// row, which proves nothing.
    pub async fn witness(&self) -> Result<Witness> {
        self.reads
            .read("reading the times of its rows", |rows| rows.witness())
            .await
    }

    /// Takes back the renewals of daemons whose clock was far ahead: an end that
    /// one wrote and that none could write at `now` becomes the one that it could.
    /// Returns how many conversations that were.
    pub async fn mend_renewals(&self, now: Timestamp) -> Result<u64> {
        self.full
            .write("reverting renewals", move |transaction| {
                times::mend(transaction, now)
            })
            .await
    }

    /// Enters a daemon, with an epoch above all that it had before, and ends
    /// the wakes that its earlier life left open: it died in the middle of
    /// them, and must not wait for its own lease.
    pub async fn register_daemon(&self, daemon: &DaemonInfo, now: Timestamp) -> Result<DaemonRef> {
        let daemon = daemon.clone();
        self.full
            .write("registering the daemon", move |transaction| {
                heartbeats::register(transaction, &daemon, now)
            })
            .await
    }

    /// Another process that registered under a daemon's name after it, and has not
    /// stopped: for a daemon that runs, one too many.
    pub async fn namesake(&self, daemon: &DaemonRef) -> Result<Option<Namesake>> {
        let daemon = daemon.clone();
        self.reads
            .read("looking for a daemon of the same name", move |rows| {
                rows.namesake(&daemon)
            })
            .await
    }

    /// One heartbeat for many sessions, in one statement. A session that
    /// another live daemon owns is left alone and named in the report. Where the
    /// heartbeat names another process than the last one, or follows an end that
    /// was noted, the agent has a successor: the end is noted, the unacknowledged
    /// mail is handed out again, and the tasks are given anew, in one transaction.
    pub async fn beat(&self, round: &BeatRound<'_>) -> Result<BeatReport> {
        if round.beats.is_empty() && !round.mirror {
            return Ok(BeatReport::default());
        }
        let round = Round::of(round);
        self.normal
            .write("writing heartbeats", move |transaction| {
                heartbeats::beat(transaction, &round)
            })
            .await
    }

    /// The processes that the last heartbeats named, in the order of the
    /// question.
    pub async fn processes(&self, sessions: &[SessionKey]) -> Result<Vec<Option<Process>>> {
        let sessions = sessions.to_vec();
        self.reads
            .read("looking at heartbeats", move |rows| {
                rows.processes(&sessions)
            })
            .await
    }

    /// Those of the sessions whose agent's end was noted, and that had no heartbeat
    /// since.
    pub async fn ended(&self, sessions: &[SessionKey]) -> Result<HashSet<SessionKey>> {
        let asked = sessions.to_vec();
        let places = self
            .reads
            .read("looking at ends", move |rows| rows.ended(&asked))
            .await?;
        let ended = places.into_iter();
        Ok(ended.filter_map(|at| sessions.get(at).cloned()).collect())
    }

    /// Renews the expired conversations of these sessions, as far as they were kept
    /// alive to their end: the last heartbeat before it is this daemon's, of this life
    /// or an earlier one, or a call of the agent itself while no daemon was there, and
    /// no exit was noted since. Returns the sessions of those that were renewed. What
    /// was closed, what another daemon kept and what expired before its first heartbeat
    /// stays as it is.
    pub async fn renew_expired(
        &self,
        daemon: &DaemonRef,
        sessions: &[SessionKey],
        until: Timestamp,
        now: Timestamp,
    ) -> Result<Vec<SessionKey>> {
        let doing = "renewing expired conversations";
        let (daemon, sessions) = (daemon.clone(), sessions.to_vec());
        let asked = (daemon.clone(), sessions.clone());
        let found = self.reads.read(doing, move |rows| {
            times::any_expired(rows, &asked.0, &asked.1, now)
        });
        if !found.await? {
            return Ok(Vec::new());
        }
        self.full
            .write(doing, move |transaction| {
                times::renew_expired(transaction, &daemon, &sessions, (until, now))
            })
            .await
    }

    /// Notes that a session's agent process ended. `false` if this daemon does
    /// not own the session any more.
    pub async fn record_exit(
        &self,
        session: &SessionKey,
        daemon: &DaemonRef,
        now: Timestamp,
    ) -> Result<bool> {
        self.note_exit(session, daemon, None, now).await
    }

    /// Notes that this process of a session's agent ended while its daemon was
    /// down. It does not matter who wrote the heartbeat that names it: an end that is certain is
    /// noted by any daemon. `false` if the heartbeat names another process, or a
    /// later life of the same daemon wrote it.
    pub async fn record_missed_exit(
        &self,
        session: &SessionKey,
        daemon: &DaemonRef,
        process: &Process,
        now: Timestamp,
    ) -> Result<bool> {
        self.note_exit(session, daemon, Some(process), now).await
    }

    /// A clean stop: lets go of sessions without calling them dead. With no
    /// sessions named, of all of them, and notes the daemon as stopped.
    pub async fn release(
        &self,
        daemon: &DaemonRef,
        sessions: Option<&[SessionKey]>,
        now: Timestamp,
    ) -> Result<u64> {
        let (daemon, sessions) = (daemon.clone(), sessions.map(<[SessionKey]>::to_vec));
        self.normal
            .write("releasing sessions", move |transaction| {
                heartbeats::release(transaction, &daemon, sessions.as_deref(), now)
            })
            .await
    }

    /// A single authenticated heartbeat by an agent or a script. With a turn,
    /// the agent's client says that one begins or ends; without, nothing is
    /// changed of what it said before, and nothing counts as the agent's doing.
    ///
    /// # Errors
    /// Wrong, missing or expired credentials.
    pub async fn call_in(
        &self,
        caller: &Caller,
        ttl: Duration,
        turn: Option<Turn>,
        boot: &Boot,
        now: Timestamp,
    ) -> Result<Mail> {
        let at = boot.now;
        let said = turn.map(|turn| TurnSaid { turn, at });
        self.call_in_with(caller, (ttl, said), boot, now).await
    }

    /// The same, with what the client said of its turns on this boot: not the last word if
    /// that is in the store already.
    ///
    /// # Errors
    /// As [`Self::call_in`].
    pub async fn call_in_with(
        &self,
        caller: &Caller,
        (ttl, said): (Duration, Option<TurnSaid>),
        boot: &Boot,
        now: Timestamp,
    ) -> Result<Mail> {
        let (caller, boot) = (caller.clone(), boot.clone());
        self.normal
            .write("writing a heartbeat", move |transaction| {
                heartbeats::call_in(transaction, &caller, (ttl, said), &boot, now)
            })
            .await
    }

    async fn note_exit(
        &self,
        session: &SessionKey,
        daemon: &DaemonRef,
        missed: Option<&Process>,
        now: Timestamp,
    ) -> Result<bool> {
        let (session, daemon, missed) = (session.clone(), daemon.clone(), missed.cloned());
        self.full
            .write("noting an exit", move |transaction| {
                heartbeats::note_exit(transaction, &session, &daemon, missed.as_ref(), now)
            })
            .await
    }
}
