//! Heartbeats: who is alive, whose agent has a successor, and who has ended.

use std::borrow::Cow;
use std::collections::HashSet;
use std::time::Duration;

use jiff::Timestamp;

use super::callers::authenticate;
use super::{lives, times};
use crate::model::health::TurnSaid;
use crate::model::session::ProofKind;
use crate::model::wake::Mail;
use crate::model::{ConversationId, SessionKey};
use crate::store::executor::Transaction;
use crate::store::rows::Rows;
use crate::store::{
    Beat, BeatReport, BeatRound, Boot, Caller, DaemonInfo, DaemonRef, Process, Result, Signal,
};

/// Lives that begin in one transaction: each may carry a task with it, and a
/// machine that was started again has thousands.
const LIVES: usize = 100;

/// Agents that ended with their boot, of which one registration notes the end; the
/// ends of the others are found when their sessions go on.
const OF_ANOTHER_BOOT: u32 = 1_000;

/// Enters a daemon, and ends what its earlier life left open.
///
/// # Errors
/// The engine's.
pub(crate) fn register(
    transaction: &mut Transaction<'_>,
    daemon: &DaemonInfo,
    now: Timestamp,
) -> Result<DaemonRef> {
    let rows = transaction.rows();
    let epoch = rows.enter_daemon(daemon, now)?;
    rows.abandon_wakes(&daemon.id, now)?;
    // No process outlives its boot, and its successor may read before the first
    // heartbeat that names it. A conversation that expired meanwhile hands nothing
    // out; its agent's end is found when it goes on.
    let ended = rows.note_exits_of_another_boot(daemon, OF_ANOTHER_BOOT, now)?;
    for session in &ended {
        lives::ended(rows, session, (&daemon.id, "another boot"), now)?;
    }
    if !ended.is_empty() {
        rows.signal(Signal::Work)?;
        transaction.ring();
    }
    Ok(DaemonRef {
        id: daemon.id.clone(),
        epoch,
    })
}

/// A round of heartbeats that can be kept.
#[derive(Debug)]
pub(crate) struct Round {
    beats: Vec<Beat>,
    daemon: DaemonRef,
    ttl: Duration,
    mirror: bool,
    boot: Boot,
    now: Timestamp,
    wall: Timestamp,
}

impl Round {
    /// The same without what it borrows.
    pub(crate) fn of(round: &BeatRound<'_>) -> Self {
        let mut beats = round.beats.to_vec();
        // In the order of the rows: ids are random, and with thousands of them a
        // page is written once instead of once a row.
        beats.sort_unstable_by(|one, other| one.session.cmp(&other.session));
        Self {
            beats,
            daemon: round.daemon.clone(),
            ttl: round.ttl,
            mirror: round.mirror,
            boot: round.boot.clone(),
            now: round.now,
            wall: round.wall,
        }
    }

    fn with<'a>(&'a self, beats: &'a [Beat]) -> BeatRound<'a> {
        BeatRound {
            beats,
            daemon: &self.daemon,
            ttl: self.ttl,
            mirror: self.mirror,
            boot: &self.boot,
            now: self.now,
            wall: self.wall,
        }
    }
}

/// Writes a round of heartbeats. A power failure may undo it without harm: what it
/// handed out is safe once the session has fetched it, and that fetch is a commit of
/// its own that waits for the disk.
///
/// # Errors
/// The engine's.
pub(crate) fn beat(transaction: &mut Transaction<'_>, round: &Round) -> Result<BeatReport> {
    let rows = transaction.rows();
    if round.mirror {
        rows.note_daemon_seen(&round.daemon, round.now)?;
    }
    if round.beats.is_empty() {
        return Ok(BeatReport::default());
    }
    let beaten = rows.advance(&round.with(&round.beats))?;
    let all = u64::try_from(round.beats.len()).unwrap_or(u64::MAX);
    let rest = match beaten < all {
        true => rest(rows, round)?,
        false => Rest::nothing(round),
    };
    if !rows.note_daemon_change(&round.daemon)? {
        for beat in &round.beats {
            rows.note_change(&beat.session)?;
        }
    }
    let elsewhere = rest.report.owned_elsewhere.iter();
    let elsewhere: HashSet<&SessionKey> = elsewhere.map(|(session, _)| session).collect();
    let beats = rest.beats.iter();
    let mine: Vec<&Beat> = beats
        .filter(|beat| !elsewhere.contains(&beat.session))
        .collect();
    let ends: Vec<(&ConversationId, Timestamp)> = mine
        .iter()
        .filter_map(|beat| Some((&beat.session.conversation, beat.renew_until?)))
        .collect();
    times::renew(rows, &ends, round.now)?;
    if round.mirror {
        let sessions: Vec<&SessionKey> = mine.iter().map(|beat| &beat.session).collect();
        rows.mirror(&sessions, round.wall)?;
    }
    if rest.began {
        transaction.ring();
    }
    Ok(BeatReport {
        beaten: beaten + rest.report.beaten,
        ..rest.report
    })
}

/// What became of the sessions of a round that are not simply the same as before.
struct Rest<'a> {
    /// The round without what is put off.
    beats: Cow<'a, [Beat]>,
    report: BeatReport,
    /// A new life began: there may be something to read.
    began: bool,
}

impl<'a> Rest<'a> {
    fn nothing(round: &'a Round) -> Self {
        Self {
            beats: Cow::Borrowed(&round.beats),
            report: BeatReport::default(),
            began: false,
        }
    }
}

/// The heartbeats of sessions that are new to this life of the daemon, whose agent
/// has a successor, or that are not ours.
fn rest<'a>(rows: &mut dyn Rows, round: &'a Round) -> Result<Rest<'a>> {
    let mut rest = Rest::nothing(round);
    let mut successors = rows.successors(&round.with(&rest.beats))?;
    if successors.len() > LIVES {
        let later = successors.drain(LIVES..).map(|successor| successor.place);
        let later: HashSet<usize> = later.collect();
        let mut kept = Vec::with_capacity(round.beats.len());
        for (place, beat) in round.beats.iter().enumerate() {
            if later.contains(&place) {
                rest.report.postponed.push(beat.session.clone());
            } else {
                kept.push(beat.clone());
            }
        }
        rest.beats = Cow::Owned(kept);
        successors = rows.successors(&round.with(&rest.beats))?;
    }
    rest.report.beaten = rows.take_over(&round.with(&rest.beats))?;
    // Rarely any: asked for only here, because ten thousand answers cost more than
    // the heartbeats themselves.
    let owners = rows.owners(&round.with(&rest.beats))?;
    for successor in successors {
        let place = successor.place;
        let Some(beat) = rest
            .beats
            .get(place)
            .filter(|_| !owners.contains_key(&place))
        else {
            continue;
        };
        let session = &beat.session;
        lives::begun(rows, session, successor.noted, &round.daemon.id, round.now)?;
        rest.began = true;
        if !successor.noted {
            rest.report.succeeded.push(session.clone());
        }
    }
    if rest.began {
        rows.signal(Signal::Work)?;
    }
    for (place, beat) in rest.beats.iter().enumerate() {
        if let Some(owner) = owners.get(&place) {
            let session = beat.session.clone();
            rest.report.owned_elsewhere.push((session, owner.clone()));
        }
    }
    Ok(rest)
}

/// Notes that a session's agent ended, as this daemon saw, or found: then `missed`
/// is the process that ended. Whether that is news.
///
/// # Errors
/// The engine's.
pub(crate) fn note_exit(
    transaction: &mut Transaction<'_>,
    session: &SessionKey,
    daemon: &DaemonRef,
    missed: Option<&Process>,
    now: Timestamp,
) -> Result<bool> {
    let rows = transaction.rows();
    if !rows.note_exit(session, daemon, missed, now)? {
        return Ok(false);
    }
    lives::ended(rows, session, (&daemon.id, "its daemon"), now)?;
    // The orchestrator waits for this as a reader waits for mail.
    rows.signal(Signal::Work)?;
    transaction.ring();
    Ok(true)
}

/// A daemon lets go of these sessions, or of all of them, and stops. Returns how
/// many those were.
///
/// # Errors
/// The engine's.
pub(crate) fn release(
    transaction: &mut Transaction<'_>,
    daemon: &DaemonRef,
    sessions: Option<&[SessionKey]>,
    now: Timestamp,
) -> Result<u64> {
    let rows = transaction.rows();
    let released = rows.release(daemon, sessions)?;
    rows.note_daemon_change(daemon)?;
    if sessions.is_none() {
        rows.note_daemon_stopped(daemon, now)?;
    }
    Ok(released)
}

/// A single heartbeat by an agent or a script.
///
/// # Errors
/// Wrong, missing or expired credentials.
pub(crate) fn call_in(
    transaction: &mut Transaction<'_>,
    caller: &Caller,
    (ttl, said): (Duration, Option<TurnSaid>),
    boot: &Boot,
    now: Timestamp,
) -> Result<Mail> {
    let rows = transaction.rows();
    authenticate(rows, caller, now)?;
    let session = &caller.session;
    // No daemon: a session that a live daemon keeps stays that daemon's.
    let no_daemon = DaemonRef {
        id: String::new(),
        epoch: 0,
    };
    let beat = Beat {
        session: session.clone(),
        proof: ProofKind::Call,
        process: None,
        renew_until: None,
    };
    let round = BeatRound {
        beats: std::slice::from_ref(&beat),
        daemon: &no_daemon,
        ttl,
        mirror: true,
        boot,
        now,
        wall: now,
    };
    let successors = rows.successors(&round)?;
    let written = rows.take_over(&round)? > 0;
    let successor = successors.first().filter(|_| written);
    if let Some(successor) = successor {
        lives::begun(rows, session, successor.noted, "", now)?;
        rows.signal(Signal::Work)?;
    }
    rows.mirror(&[session], now)?;
    rows.note_call(session, said.map(|_| now))?;
    if let Some(said) = said {
        // One that is yet to come would stand until then.
        let at = said.at.min(boot.now);
        rows.set_turn(session, TurnSaid { at, ..said }, &boot.id)?;
    }
    let mail = rows.mail(std::slice::from_ref(session))?;
    if successor.is_some() {
        transaction.ring();
    }
    Ok(mail.first().copied().unwrap_or_default())
}
