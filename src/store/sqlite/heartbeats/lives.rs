//! Where one life of an agent ends and the next begins. An end is noted by
//! the program that can tell, in one transaction with all that follows from it: what the
//! agent had in its hand is handed out again, and its tasks are given anew.

use std::collections::HashSet;

use jiff::Timestamp;
use serde_json::json;
use sqlx::SqliteConnection;

use super::round::{Successor, as_json, owners, succeeded, upsert};
use crate::model::SessionKey;
use crate::store::sqlite::fault::Fault;
use crate::store::sqlite::fleet::bump;
use crate::store::sqlite::messages::agent_ended;
use crate::store::sqlite::{shared, tasks};
use crate::store::{Beat, BeatRound};

/// Lives that begin in one transaction: each may carry a task with it, and a
/// machine that was started again has thousands.
const LIVES: usize = 100;

/// An agent's life is over, which was not noted yet. `how` is what showed it.
pub(super) async fn ended(
    connection: &mut SqliteConnection,
    session: &SessionKey,
    (daemon, how): (&str, &str),
    now: Timestamp,
) -> Result<(), Fault> {
    bump(connection, session).await?;
    agent_ended(connection, session).await?;
    tasks::agent_ended(connection, session, now).await?;
    shared::audit(
        connection,
        Some(&session.conversation),
        Some(session.side),
        "session_exited",
        json!({ "daemon": daemon, "seen_by": how }),
        now,
    )
    .await
}

/// The next life of a session's agent begins with this heartbeat. The tasks that
/// the last one had are given anew under a new fence: the agent of today has
/// read nothing of them, and what the last one may still write is void.
pub(super) async fn begun(
    connection: &mut SqliteConnection,
    session: &SessionKey,
    successor: Successor,
    daemon: &str,
    now: Timestamp,
) -> Result<(), Fault> {
    if !successor.noted {
        let seen = (daemon, "a heartbeat of another process");
        ended(connection, session, seen, now).await?;
    }
    tasks::give_anew(connection, session, now).await
}

/// What became of the sessions of a round that are not simply the same as before.
#[derive(Default)]
pub(super) struct Rest {
    pub(super) beaten: u64,
    /// Sessions that are not ours, and who has them.
    pub(super) elsewhere: Vec<(SessionKey, String)>,
    /// Sessions whose agent had ended unseen.
    pub(super) succeeded: Vec<SessionKey>,
    pub(super) postponed: Vec<SessionKey>,
    /// A new life began: there may be something to read.
    pub(super) began: bool,
}

/// The heartbeats of sessions that are new to this life of the daemon, whose
/// agent has a successor, or that are not ours. Those that have to wait for
/// another round are taken out of `beats`.
pub(super) async fn beat_rest(
    connection: &mut SqliteConnection,
    round: &BeatRound<'_>,
    beats: &mut Vec<&Beat>,
) -> Result<Rest, Fault> {
    let mut rest = Rest::default();
    let mut listed = as_json(beats);
    let mut successors = succeeded(&mut *connection, round, &listed).await?;
    if successors.len() > LIVES {
        let later: HashSet<usize> = successors
            .drain(LIVES..)
            .map(|successor| successor.place)
            .collect();
        let mut now = Vec::with_capacity(beats.len());
        for (place, beat) in beats.iter().enumerate() {
            if later.contains(&place) {
                rest.postponed.push(beat.session.clone());
            } else {
                now.push(*beat);
            }
        }
        *beats = now;
        listed = as_json(beats);
        successors = succeeded(&mut *connection, round, &listed).await?;
    }
    rest.beaten = upsert(&mut *connection, round, &listed).await?;
    // Rarely any: asked for only here, because ten thousand answers cost more
    // than the heartbeats themselves.
    let owners = owners(&mut *connection, round.daemon, &listed).await?;
    for successor in successors {
        let place = successor.place;
        let Some(beat) = beats.get(place).filter(|_| !owners.contains_key(&place)) else {
            continue;
        };
        let (session, daemon) = (&beat.session, &round.daemon.id);
        begun(&mut *connection, session, successor, daemon, round.now).await?;
        rest.began = true;
        if !successor.noted {
            rest.succeeded.push(session.clone());
        }
    }
    if rest.began {
        tasks::signal(connection).await?;
    }
    for (place, beat) in beats.iter().enumerate() {
        if let Some(owner) = owners.get(&place) {
            rest.elsewhere.push((beat.session.clone(), owner.clone()));
        }
    }
    Ok(rest)
}
