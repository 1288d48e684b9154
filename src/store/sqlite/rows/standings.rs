//! What was found of a session, and what it can carry.

use std::time::Duration;

use jiff::Timestamp;
use rusqlite::params;

use crate::model::{SessionKey, timestamp};
use crate::store::Result;
use crate::store::rows::{Ability, Judged, NewStanding, StandingRows, StoredVerdict};
use crate::store::sqlite::engine::SqliteRows;
use crate::store::sqlite::shared::{foreign_mark, session_change};
use crate::store::sqlite::statements::{Statements as _, standing_at, text};
use crate::store::sqlite::written::Written as _;
use crate::store::sqlite::{from_millis, millis};
use crate::text::millis as duration_millis;

impl StandingRows for SqliteRows {
    fn verdict(&mut self, session: &SessionKey) -> Result<StoredVerdict> {
        self.run(|connection| {
            let verdict = connection.first(
                "SELECT s.standing, s.standing_seq, h.seq, h.exited_ms IS NOT NULL
                 FROM bridge_session s
                 LEFT JOIN bridge_heartbeat h USING (conversation_id, session_id)
                 WHERE s.conversation_id = ?1 AND s.session_id = ?2",
                [session.conversation.as_str(), session.side.as_str()],
                |row| {
                    Ok(StoredVerdict {
                        standing: standing_at(row, 0)?,
                        standing_seq: row.get(1)?,
                        seq: row.get(2)?,
                        exited: row.get(3)?,
                    })
                },
            )?;
            Ok(verdict.unwrap_or_default())
        })
    }

    fn judged(&mut self, session: &SessionKey, now: Timestamp) -> Result<Judged> {
        self.run(|connection| {
            let judged = connection.one(
                concat!(
                    "SELECT s.standing, s.standing_seq, h.seq, h.exited_ms IS NOT NULL,
                            s.standing_ms, coalesce(s.activity_seq, 0), ",
                    foreign_mark!(),
                    ",
                            -- Whether it is in the fleet, as `seen` has it.
                            EXISTS (
                                SELECT 1 FROM conversations c
                                LEFT JOIN bridge_conversation l ON l.conversation_id = c.id
                                WHERE c.id = ?1
                                  AND ((replace(c.expires_at, ' ', 'T') > ?3
                                        AND l.closed_ms IS NULL)
                                       OR EXISTS (
                                           SELECT 1 FROM bridge_task t INDEXED BY bridge_task_owner
                                           WHERE t.owner_conversation = ?1
                                             AND t.owner_session = ?2 AND t.state = 'leased')))
                     FROM (SELECT 1)
                     LEFT JOIN session_status st ON st.conversation_id = ?1 AND st.session_id = ?2
                     LEFT JOIN session_status so
                         ON so.conversation_id = ?1 AND so.session_id = 'session_' || ?2
                     LEFT JOIN bridge_heartbeat h ON h.conversation_id = ?1 AND h.session_id = ?2
                     LEFT JOIN bridge_session s ON s.conversation_id = ?1 AND s.session_id = ?2",
                ),
                params![
                    session.conversation.as_str(),
                    session.side.as_str(),
                    timestamp::to_text(now)
                ],
                |row| {
                    Ok(Judged {
                        verdict: StoredVerdict {
                            standing: standing_at(row, 0)?,
                            standing_seq: row.get(1)?,
                            seq: row.get(2)?,
                            exited: row.get(3)?,
                        },
                        since: row.get::<_, Option<i64>>(4)?.map(from_millis),
                        activity: row.get(5)?,
                        foreign: text(row, 6)?.into_owned(),
                        watched: row.get(7)?,
                    })
                },
            )?;
            Ok(judged)
        })
    }

    fn set_standing(&mut self, session: &SessionKey, standing: &NewStanding) -> Result<()> {
        self.run(|connection| {
            connection
                .change(
                    "UPDATE bridge_session SET standing = ?3, standing_seq = ?4,
                         standing_ms = ?5, epoch = epoch + ?6
                     WHERE conversation_id = ?1 AND session_id = ?2",
                    params![
                        session.conversation.as_str(),
                        session.side.as_str(),
                        standing.standing.as_str(),
                        standing.seq,
                        millis(standing.since),
                        standing.returned
                    ],
                )?
                .wrote(1, "bridge_session")?;
            Ok(())
        })
    }

    fn ability(&mut self, session: &SessionKey, now: Timestamp) -> Result<Ability> {
        self.run(|connection| {
            let ability = connection.one(
                "SELECT c.id IS NULL OR replace(c.expires_at, ' ', 'T') <= ?3,
                        l.closed_ms IS NOT NULL, h.exited_ms IS NOT NULL, s.standing, s.capacity,
                        (SELECT count(*) FROM bridge_task t WHERE t.state = 'leased'
                             AND t.owner_conversation = ?1 AND t.owner_session = ?2)
                 FROM (SELECT 1) LEFT JOIN conversations c ON c.id = ?1
                 LEFT JOIN bridge_heartbeat h ON h.conversation_id = ?1 AND h.session_id = ?2
                 LEFT JOIN bridge_conversation l ON l.conversation_id = ?1
                 LEFT JOIN bridge_session s ON s.conversation_id = ?1 AND s.session_id = ?2",
                params![
                    session.conversation.as_str(),
                    session.side.as_str(),
                    timestamp::to_text(now)
                ],
                |row| {
                    Ok(Ability {
                        ended: row.get(0)?,
                        closed: row.get(1)?,
                        exited: row.get(2)?,
                        standing: standing_at(row, 3)?,
                        capacity: row.get(4)?,
                        open: row.get(5)?,
                    })
                },
            )?;
            Ok(ability)
        })
    }

    fn crashes(&mut self, session: &SessionKey) -> Result<i64> {
        self.run(|connection| {
            let crashes = connection.first(
                "SELECT crashes FROM bridge_session
                 WHERE conversation_id = ?1 AND session_id = ?2",
                [session.conversation.as_str(), session.side.as_str()],
                |row| row.get(0),
            )?;
            Ok(crashes.unwrap_or(0))
        })
    }

    fn count_crash(&mut self, session: &SessionKey) -> Result<()> {
        self.run(|connection| {
            connection.change(
                "UPDATE bridge_session SET crashes = crashes + 1
                 WHERE conversation_id = ?1 AND session_id = ?2",
                [session.conversation.as_str(), session.side.as_str()],
            )?;
            Ok(())
        })
    }

    fn forget_crashes(&mut self, session: &SessionKey) -> Result<()> {
        self.run(|connection| {
            connection.change(
                "UPDATE bridge_session SET crashes = 0
                 WHERE conversation_id = ?1 AND session_id = ?2 AND crashes > 0",
                [session.conversation.as_str(), session.side.as_str()],
            )?;
            Ok(())
        })
    }

    fn note_busy(&mut self, session: &SessionKey, time: Duration, now: Timestamp) -> Result<()> {
        self.run(|connection| {
            connection
                .change(
                    "INSERT INTO bridge_session
                         (conversation_id, session_id, busy_seq, busy_for_ms, busy_until_ms)
                     VALUES (?1, ?2, 1, ?3, ?3 + ?4)
                     ON CONFLICT (conversation_id, session_id) DO UPDATE SET
                         busy_seq = busy_seq + 1, busy_for_ms = excluded.busy_for_ms,
                         busy_until_ms = excluded.busy_until_ms",
                    params![
                        session.conversation.as_str(),
                        session.side.as_str(),
                        duration_millis(time),
                        millis(now)
                    ],
                )?
                .wrote(1, "bridge_session")?;
            Ok(())
        })
    }

    fn end_turn(&mut self, session: &SessionKey) -> Result<()> {
        self.run(|connection| {
            connection.change(
                concat!(
                    "UPDATE bridge_session SET turn = NULL, change = 1 + (",
                    session_change!(),
                    ")
                     WHERE conversation_id = ?1 AND session_id = ?2 AND turn IS NOT NULL"
                ),
                [session.conversation.as_str(), session.side.as_str()],
            )?;
            Ok(())
        })
    }
}
