//! Rows of heartbeats: each statement for all sessions of a round.

use std::collections::HashMap;

use jiff::Timestamp;
use rusqlite::{Row, params};

use crate::model::{SessionKey, timestamp};
use crate::store::rows::{HeartbeatRows, Successor};
use crate::store::sqlite::engine::SqliteRows;
use crate::store::sqlite::millis;
use crate::store::sqlite::statements::{
    Statements as _, json, place, session_at, session_list, text,
};
use crate::store::{Beat, BeatRound, DaemonInfo, DaemonRef, Process, ProcessId, Result};
use crate::text::millis as duration_millis;

/// Conversation, side, proof, and the process and its start.
type Listed<'a> = (&'a str, &'a str, &'a str, Option<i64>, Option<i64>);

/// The beats as statements take them: a list of [`Listed`].
fn beat_list(beats: &[Beat]) -> String {
    let beats: Vec<Listed<'_>> = beats
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
    json(&beats)
}

impl HeartbeatRows for SqliteRows {
    fn advance(&mut self, round: &BeatRound<'_>) -> Result<u64> {
        self.run(|connection| {
            let written = connection.change(
                // It names no column of an index: an index entry that is written anew
                // costs as much as the row. `+`: not by the daemon's index. The
                // sessions are named one by one.
                "UPDATE bridge_heartbeat SET
                     seq = seq + 1, beat_boot_ms = ?2, beat_ms = ?3, ttl_ms = ?4,
                     proof = b.value ->> 2, released = 0
                 FROM json_each(?1) b
                 WHERE conversation_id = b.value ->> 0 AND session_id = b.value ->> 1
                   AND +daemon_id = ?5 AND daemon_epoch = ?6 AND exited_ms IS NULL
                   AND (b.value ->> 3 IS NULL
                        OR pid = b.value ->> 3 AND pid_start = b.value ->> 4)",
                params![
                    beat_list(round.beats),
                    duration_millis(round.boot.now),
                    millis(round.now),
                    duration_millis(round.ttl),
                    round.daemon.id,
                    round.daemon.epoch
                ],
            )?;
            Ok(u64::try_from(written).unwrap_or(u64::MAX))
        })
    }

    fn take_over(&mut self, round: &BeatRound<'_>) -> Result<u64> {
        self.run(|connection| {
            let written = connection.change(
                "INSERT INTO bridge_heartbeat (conversation_id, session_id, seq, boot_id, pid_ns,
                     beat_boot_ms, beat_ms, ttl_ms, proof, daemon_id, daemon_epoch, pid, pid_start)
                 SELECT value ->> 0, value ->> 1, 1, ?2, ?3, ?4, ?5, ?6, value ->> 2,
                        nullif(?7, ''), nullif(?8, 0), value ->> 3, value ->> 4
                 FROM json_each(?1) WHERE true
                 ON CONFLICT (conversation_id, session_id) DO UPDATE SET
                     seq = seq + 1, boot_id = excluded.boot_id,
                     pid_ns = iif(bridge_heartbeat.pid IS NOT NULL AND excluded.pid IS NULL
                                      AND exited_ms IS NULL
                                      AND bridge_heartbeat.boot_id = excluded.boot_id,
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
                params![
                    beat_list(round.beats),
                    round.boot.id,
                    round.boot.pid_ns,
                    duration_millis(round.boot.now),
                    millis(round.now),
                    duration_millis(round.ttl),
                    round.daemon.id,
                    round.daemon.epoch
                ],
            )?;
            Ok(u64::try_from(written).unwrap_or(u64::MAX))
        })
    }

    fn successors(&mut self, round: &BeatRound<'_>) -> Result<Vec<Successor>> {
        self.run(|connection| {
            let successors = connection.all(
                "SELECT b.key, h.exited_ms IS NOT NULL
                 FROM json_each(?1) b CROSS JOIN bridge_heartbeat h
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
                params![beat_list(round.beats), round.boot.id, round.boot.pid_ns],
                |row| {
                    Ok(Successor {
                        place: place(row, 0)?,
                        noted: row.get(1)?,
                    })
                },
            )?;
            Ok(successors)
        })
    }

    fn owners(&mut self, round: &BeatRound<'_>) -> Result<HashMap<usize, String>> {
        self.run(|connection| {
            let owners = connection.all(
                "SELECT b.key, h.daemon_id FROM json_each(?1) b CROSS JOIN bridge_heartbeat h
                 ON h.conversation_id = b.value ->> 0 AND h.session_id = b.value ->> 1
                 WHERE h.daemon_id IS NOT ?2 OR h.daemon_epoch <> ?3",
                params![beat_list(round.beats), round.daemon.id, round.daemon.epoch],
                |row| Ok((place(row, 0)?, text(row, 1)?.into_owned())),
            )?;
            Ok(owners.into_iter().collect())
        })
    }

    fn mirror(&mut self, sessions: &[&SessionKey], now: Timestamp) -> Result<()> {
        let list: Vec<[&str; 2]> = sessions
            .iter()
            .map(|session| [session.conversation.as_str(), session.side.as_str()])
            .collect();
        let (sessions, now) = (json(&list), timestamp::to_text(now));
        self.run(|connection| {
            for statement in [
                // Distinguishes a change by another program from ours.
                "UPDATE bridge_heartbeat SET mirrored = ?2 FROM json_each(?1) w
                 WHERE conversation_id = w.value ->> 0 AND session_id = w.value ->> 1",
                // Under the id that the row has: `b`, or `session_b` as scripts spell it.
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
                        OR (SELECT count(*) FROM pragma_table_info('session_status')
                            WHERE pk > 0) <> 1)",
            ] {
                connection.change(statement, [&sessions, &now])?;
            }
            Ok(())
        })
    }

    fn processes(&mut self, sessions: &[SessionKey]) -> Result<Vec<Option<Process>>> {
        self.run(|connection| {
            let processes = connection.all(
                "SELECT h.boot_id, h.pid_ns, h.pid, h.pid_start FROM json_each(?1) w
                 LEFT JOIN bridge_heartbeat h
                     ON h.conversation_id = w.value ->> 0 AND h.session_id = w.value ->> 1
                 ORDER BY w.key",
                [session_list(sessions)],
                // One that cannot be read is not known; each has its place.
                |row| Ok(process(row, [0, 1, 2, 3]).unwrap_or(None)),
            )?;
            Ok(processes)
        })
    }

    fn ended(&mut self, sessions: &[SessionKey]) -> Result<Vec<usize>> {
        self.run(|connection| {
            let places = connection.all(
                "SELECT w.key FROM json_each(?1) w CROSS JOIN bridge_heartbeat h
                 ON h.conversation_id = w.value ->> 0 AND h.session_id = w.value ->> 1
                 WHERE h.exited_ms IS NOT NULL",
                [session_list(sessions)],
                |row| place(row, 0),
            )?;
            Ok(places)
        })
    }

    fn note_exit(
        &mut self,
        session: &SessionKey,
        daemon: &DaemonRef,
        missed: Option<&Process>,
        now: Timestamp,
    ) -> Result<bool> {
        self.run(|connection| {
            let noted = connection.change(
                "UPDATE bridge_heartbeat SET exited_ms = ?5, seq = seq + 1
                 WHERE conversation_id = ?1 AND session_id = ?2 AND exited_ms IS NULL
                   AND iif(?6 IS NULL, daemon_id = ?3 AND daemon_epoch = ?4,
                           (daemon_id IS NOT ?3 OR daemon_epoch <= ?4) AND boot_id = ?6
                           AND pid_ns = ?7 AND pid = ?8 AND pid_start = ?9)",
                params![
                    session.conversation.as_str(),
                    session.side.as_str(),
                    daemon.id,
                    daemon.epoch,
                    millis(now),
                    missed.map(|process| &process.boot_id),
                    missed.map(|process| process.pid_ns),
                    missed.map(|process| process.id.pid),
                    missed.map(|process| process.id.start)
                ],
            )?;
            Ok(noted > 0)
        })
    }

    fn note_exits_of_another_boot(
        &mut self,
        daemon: &DaemonInfo,
        most: u32,
        now: Timestamp,
    ) -> Result<Vec<SessionKey>> {
        self.run(|connection| {
            let ended = connection.all(
                "UPDATE bridge_heartbeat SET exited_ms = ?3, seq = seq + 1
                 WHERE (conversation_id, session_id) IN (
                     SELECT h.conversation_id, h.session_id FROM bridge_heartbeat h
                     JOIN conversations c ON c.id = h.conversation_id
                     LEFT JOIN bridge_conversation l ON l.conversation_id = h.conversation_id
                     WHERE h.daemon_id = ?1 AND h.boot_id <> ?2 AND h.pid IS NOT NULL
                       AND h.exited_ms IS NULL AND l.closed_ms IS NULL
                       AND replace(c.expires_at, ' ', 'T') > ?4 LIMIT ?5)
                 RETURNING conversation_id, session_id",
                params![
                    daemon.id,
                    daemon.boot_id,
                    millis(now),
                    timestamp::to_text(now),
                    most
                ],
                |row| session_at(row, 0),
            )?;
            Ok(ended.into_iter().flatten().collect())
        })
    }

    fn release(&mut self, daemon: &DaemonRef, sessions: Option<&[SessionKey]>) -> Result<u64> {
        let named = sessions.map(|sessions| {
            let names: Vec<String> = sessions.iter().map(SessionKey::to_string).collect();
            json(&names)
        });
        self.run(|connection| {
            let released = connection.change(
                "UPDATE bridge_heartbeat SET released = 1, seq = seq + 1
                 WHERE daemon_id = ?1 AND daemon_epoch = ?2 AND released = 0
                   AND (?3 IS NULL OR conversation_id || '/' || session_id
                                      IN (SELECT value FROM json_each(?3)))",
                params![daemon.id, daemon.epoch, named],
            )?;
            Ok(u64::try_from(released).unwrap_or(u64::MAX))
        })
    }
}

/// The process that a heartbeat named, by the columns of its boot, namespace, number
/// and start.
pub(super) fn process(row: &Row<'_>, columns: [usize; 4]) -> rusqlite::Result<Option<Process>> {
    let [boot_id, pid_ns, pid, start] = columns;
    Ok(match (row.get(pid)?, row.get(start)?) {
        (Some(pid), Some(start)) => Some(Process {
            boot_id: row.get(boot_id)?,
            pid_ns: row.get(pid_ns)?,
            id: ProcessId { pid, start },
        }),
        _ => None,
    })
}
