//! The statements of a round of heartbeats: each one for all of its sessions.

use std::collections::HashMap;

use jiff::Timestamp;
use serde_json::json;
use sqlx::{Row as _, SqliteConnection};

use crate::model::{SessionKey, timestamp};
use crate::store::sqlite::fault::Fault;
use crate::store::sqlite::shared::daemon_change;
use crate::store::sqlite::written::Written as _;
use crate::store::sqlite::{millis, shared, times};
use crate::store::{Beat, BeatRound, DaemonRef};
use crate::text::millis as duration_millis;

/// Conversation, side, proof, and the process and its start.
type Row<'a> = (&'a str, &'a str, &'a str, Option<i64>, Option<i64>);

/// The beats as statements take them: a list of [`Row`].
pub(super) fn as_json(beats: &[&Beat]) -> String {
    let beats: Vec<Row<'_>> = beats
        .iter()
        .map(|beat| {
            let (pid, start) = beat.process.map(|p| (p.pid, p.start)).unzip();
            (
                beat.session.conversation.as_str(),
                beat.session.side.as_str(),
                beat.proof.as_str(),
                pid,
                start,
            )
        })
        .collect();
    json!(beats).to_string()
}

/// Something about a daemon's sessions is new. `false` if the daemon is not
/// registered, so that nobody would hear of it.
pub(super) async fn changed(
    connection: &mut SqliteConnection,
    daemon: &DaemonRef,
) -> std::result::Result<bool, Fault> {
    let changed = sqlx::query(concat!(
        "UPDATE bridge_daemon SET change = 1 + (",
        daemon_change!(),
        ") WHERE daemon_id = ?1"
    ))
    .bind(&daemon.id)
    .execute(connection)
    .await?
    .rows_affected();
    Ok(changed > 0)
}

/// A daemon runs, also one that keeps nobody: for people, and for whoever takes
/// away the rows of those that do not come back.
pub(super) async fn seen(
    connection: &mut SqliteConnection,
    daemon: &DaemonRef,
    now: Timestamp,
) -> std::result::Result<(), Fault> {
    sqlx::query(
        "INSERT INTO bridge_signal (name, n) VALUES ('seen:' || ?1, ?2)
         ON CONFLICT (name) DO UPDATE SET n = excluded.n",
    )
    .bind(&daemon.id)
    .bind(millis(now))
    .execute(connection)
    .await?
    .wrote(1, "bridge_signal")?;
    Ok(())
}

/// Writes the heartbeats of sessions that this life of the daemon has already, by
/// the same process, which is nearly all of them nearly always, and returns how
/// many those were. It names no column of an index: an index entry that is written
/// anew costs as much as the row. Boot and namespace are those of the daemon's
/// life. A session whose agent has ended begins a new life, which is more than a
/// heartbeat.
pub(super) async fn advance(
    connection: &mut SqliteConnection,
    round: &BeatRound<'_>,
    beats: &str,
) -> std::result::Result<u64, Fault> {
    let written = sqlx::query(
        // `+`: not by the daemon's index. The sessions are named one by one.
        "UPDATE bridge_heartbeat SET
             seq = seq + 1, beat_boot_ms = ?2, beat_ms = ?3, ttl_ms = ?4,
             proof = b.value ->> 2, released = 0
         FROM json_each(?1) b
         WHERE conversation_id = b.value ->> 0 AND session_id = b.value ->> 1
           AND +daemon_id = ?5 AND daemon_epoch = ?6 AND exited_ms IS NULL
           AND (b.value ->> 3 IS NULL
                OR pid = b.value ->> 3 AND pid_start = b.value ->> 4)",
    )
    .bind(beats)
    .bind(duration_millis(round.boot.now))
    .bind(millis(round.now))
    .bind(duration_millis(round.ttl))
    .bind(&round.daemon.id)
    .bind(round.daemon.epoch)
    .execute(connection)
    .await?
    .rows_affected();
    Ok(written)
}

/// Writes the heartbeats of other sessions that may be written and returns how
/// many those were. A session is free if nobody had it, its daemon let go, went
/// silent for its whole ttl, or lived in another boot; one and the same daemon
/// may only go forward in its epochs, or from one life of the agent to the next.
/// A beat that names no process, such as a call of the agent itself, leaves the
/// one that is known, with the namespace in which its number means something.
pub(super) async fn upsert(
    connection: &mut SqliteConnection,
    round: &BeatRound<'_>,
    beats: &str,
) -> std::result::Result<u64, Fault> {
    let written = sqlx::query(
        "INSERT INTO bridge_heartbeat (conversation_id, session_id, seq, boot_id, pid_ns,
             beat_boot_ms, beat_ms, ttl_ms, proof, daemon_id, daemon_epoch, pid, pid_start)
         SELECT value ->> 0, value ->> 1, 1, ?2, ?3, ?4, ?5, ?6, value ->> 2,
                nullif(?7, ''), nullif(?8, 0), value ->> 3, value ->> 4
         FROM json_each(?1) WHERE true
         ON CONFLICT (conversation_id, session_id) DO UPDATE SET
             seq = seq + 1, boot_id = excluded.boot_id,
             pid_ns = iif(bridge_heartbeat.pid IS NOT NULL AND excluded.pid IS NULL
                              AND exited_ms IS NULL AND bridge_heartbeat.boot_id = excluded.boot_id,
                          bridge_heartbeat.pid_ns, excluded.pid_ns),
             pid = iif(excluded.pid IS NULL AND exited_ms IS NULL
                           AND bridge_heartbeat.boot_id = excluded.boot_id,
                       bridge_heartbeat.pid, excluded.pid),
             pid_start = iif(excluded.pid IS NULL AND exited_ms IS NULL
                                 AND bridge_heartbeat.boot_id = excluded.boot_id,
                             bridge_heartbeat.pid_start, excluded.pid_start),
             beat_boot_ms = excluded.beat_boot_ms, beat_ms = excluded.beat_ms,
             ttl_ms = excluded.ttl_ms, proof = excluded.proof,
             daemon_id = excluded.daemon_id, daemon_epoch = excluded.daemon_epoch,
             released = 0, exited_ms = NULL
         WHERE CASE
             WHEN bridge_heartbeat.daemon_id IS NULL THEN true
             -- One of this epoch and this life was written a moment ago.
             WHEN bridge_heartbeat.daemon_id IS excluded.daemon_id
                 THEN bridge_heartbeat.daemon_epoch < excluded.daemon_epoch
                     OR bridge_heartbeat.daemon_epoch = excluded.daemon_epoch
                         AND (bridge_heartbeat.exited_ms IS NOT NULL
                             OR bridge_heartbeat.pid IS NOT excluded.pid
                             OR bridge_heartbeat.pid_start IS NOT excluded.pid_start)
             ELSE bridge_heartbeat.released
                 OR bridge_heartbeat.boot_id <> excluded.boot_id
                 OR bridge_heartbeat.beat_boot_ms + bridge_heartbeat.ttl_ms
                    < excluded.beat_boot_ms
             END",
    )
    .bind(beats)
    .bind(&round.boot.id)
    .bind(round.boot.pid_ns)
    .bind(duration_millis(round.boot.now))
    .bind(millis(round.now))
    .bind(duration_millis(round.ttl))
    .bind(&round.daemon.id)
    .bind(round.daemon.epoch)
    .execute(connection)
    .await?
    .rows_affected();
    Ok(written)
}

/// A session whose agent is about to begin another life.
#[derive(Debug, Clone, Copy)]
pub(super) struct Successor {
    /// Its place in the round.
    pub(super) place: usize,
    /// Whether the end of the life before was noted already.
    pub(super) noted: bool,
}

/// The sessions whose agent's last life is over when this round is written: its
/// end was noted, or the round names another process than the heartbeat before,
/// no matter which program wrote that one. No process outlives its boot. A number means something
/// only in its namespace: seen from another one, the same process has another
/// number and the same start. A start that is not known tells nothing.
pub(super) async fn succeeded(
    connection: &mut SqliteConnection,
    round: &BeatRound<'_>,
    beats: &str,
) -> std::result::Result<Vec<Successor>, Fault> {
    let rows = sqlx::query(
        "SELECT b.key, h.exited_ms IS NOT NULL FROM json_each(?1) b CROSS JOIN bridge_heartbeat h
         ON h.conversation_id = b.value ->> 0 AND h.session_id = b.value ->> 1
         WHERE h.exited_ms IS NOT NULL
            OR h.pid IS NOT NULL
               AND (h.boot_id <> ?2
                    OR b.value ->> 3 IS NOT NULL
                       AND CASE WHEN h.pid_ns = ?3
                               THEN h.pid <> b.value ->> 3
                                   OR 0 NOT IN (h.pid_start, b.value ->> 4)
                                      AND h.pid_start <> b.value ->> 4
                               ELSE h.pid_start = 0 OR h.pid_start <> b.value ->> 4 END)
         ORDER BY b.key",
    )
    .bind(beats)
    .bind(&round.boot.id)
    .bind(round.boot.pid_ns)
    .fetch_all(connection)
    .await?;
    let mut successors = Vec::with_capacity(rows.len());
    for row in &rows {
        successors.push(Successor {
            place: usize::try_from(row.try_get::<i64, _>(0)?).unwrap_or(usize::MAX),
            noted: row.try_get(1)?,
        });
    }
    Ok(successors)
}

/// The sessions that were not ours to beat, by their place in the round, and
/// who has them: after the beat, whatever does not carry our name.
pub(super) async fn owners(
    connection: &mut SqliteConnection,
    daemon: &DaemonRef,
    beats: &str,
) -> std::result::Result<HashMap<usize, String>, Fault> {
    let rows = sqlx::query(
        "SELECT b.key, h.daemon_id FROM json_each(?1) b CROSS JOIN bridge_heartbeat h
         ON h.conversation_id = b.value ->> 0 AND h.session_id = b.value ->> 1
         WHERE h.daemon_id IS NOT ?2 OR h.daemon_epoch <> ?3",
    )
    .bind(beats)
    .bind(&daemon.id)
    .bind(daemon.epoch)
    .fetch_all(connection)
    .await?;
    let mut owners = HashMap::with_capacity(rows.len());
    for row in &rows {
        let place = usize::try_from(row.try_get::<i64, _>(0)?).unwrap_or(usize::MAX);
        owners.insert(place, shared::text(row, 1)?.into_owned());
    }
    Ok(owners)
}

pub(super) async fn renew(
    connection: &mut SqliteConnection,
    beats: impl Iterator<Item = &Beat>,
    now: Timestamp,
) -> std::result::Result<(), Fault> {
    let mut until = now;
    let renewals: Vec<[String; 2]> = beats
        .filter_map(|beat| {
            let end = beat.renew_until?;
            until = until.max(end);
            Some([
                beat.session.conversation.to_string(),
                timestamp::to_text(end),
            ])
        })
        .collect();
    if renewals.is_empty() {
        return Ok(());
    }
    let renewed: Vec<String> = sqlx::query_scalar(
        // A closed one stays closed, for the Python bridge too, which knows only
        // this column; and texts of two forms do not sort unless the `T` is
        // there.
        "UPDATE conversations SET expires_at = r.value ->> 1
         FROM json_each(?1) r
         WHERE conversations.id = r.value ->> 0
           AND replace(conversations.expires_at, ' ', 'T') < r.value ->> 1
           AND NOT EXISTS (SELECT 1 FROM bridge_conversation l
                           WHERE l.conversation_id = conversations.id AND l.closed_ms IS NOT NULL)
         RETURNING id",
    )
    .bind(json!(renewals).to_string())
    .fetch_all(&mut *connection)
    .await?;
    let renewed: Vec<&str> = renewed.iter().map(String::as_str).collect();
    // One daemon renews all of its conversations to the same end.
    times::set(connection, &renewed, Some((until, now)), now).await
}

/// Copies the sign of life into the table that the Python bridge reads, which
/// calls a session dead after two minutes. The rows there are other programs':
/// only the time of those that mean the session is touched, under the id that
/// they have (`b`, or `session_b` as scripts spell it).
pub(super) async fn mirror(
    connection: &mut SqliteConnection,
    sessions: impl Iterator<Item = &SessionKey>,
    now: Timestamp,
) -> std::result::Result<(), Fault> {
    let sessions: Vec<[&str; 2]> = sessions
        .map(|session| [session.conversation.as_str(), session.side.as_str()])
        .collect();
    let (sessions, now) = (json!(sessions).to_string(), timestamp::to_text(now));
    for statement in [
        // So that a change by another program can be told from ours.
        "UPDATE bridge_heartbeat SET mirrored = ?2 FROM json_each(?1) w
         WHERE conversation_id = w.value ->> 0 AND session_id = w.value ->> 1",
        "UPDATE session_status SET last_heartbeat = ?2 FROM json_each(?1) w
         WHERE conversation_id = w.value ->> 0
           AND session_id IN (w.value ->> 1, 'session_' || (w.value ->> 1))",
        // A session without a row gets one where the table's key leaves room. An
        // older table has one row for a whole conversation, which is the
        // worker's: side a takes no room there, and no row is replaced.
        "INSERT OR IGNORE INTO session_status
             (conversation_id, session_id, status, last_heartbeat)
         SELECT w.value ->> 0, w.value ->> 1, 'active', ?2
         FROM json_each(?1) w
         WHERE NOT EXISTS (
                 SELECT 1 FROM session_status s
                 WHERE s.conversation_id = w.value ->> 0
                   AND s.session_id IN (w.value ->> 1, 'session_' || (w.value ->> 1)))
           AND (w.value ->> 1 = 'b'
                OR (SELECT count(*) FROM pragma_table_info('session_status') WHERE pk > 0) <> 1)",
    ] {
        sqlx::query(statement)
            .bind(&sessions)
            .bind(&now)
            .execute(&mut *connection)
            .await?;
    }
    Ok(())
}
