//! Rows of ours about sessions.

use jiff::Timestamp;
use rusqlite::params;

use crate::model::health::{Turn, TurnSaid};
use crate::model::session::Status;
use crate::model::{SessionKey, timestamp};
use crate::store::Result;
use crate::store::rows::{SUPERSEDED, SessionRows};
use crate::store::sqlite::engine::SqliteRows;
use crate::store::sqlite::millis;
use crate::store::sqlite::shared::session_change;
use crate::store::sqlite::statements::Statements as _;
use crate::store::sqlite::written::Written as _;
use crate::text::millis as duration_millis;

impl SessionRows for SqliteRows {
    fn note_call(&mut self, session: &SessionKey, did: Option<Timestamp>) -> Result<()> {
        self.run(|connection| {
            connection
                .change(
                    concat!(
                        "INSERT INTO bridge_session
                             (conversation_id, session_id, activity_seq, activity_ms, change)
                         VALUES (?1, ?2, 1, ?3, 1 + (",
                        session_change!(),
                        "))
                         ON CONFLICT (conversation_id, session_id) DO UPDATE SET
                             activity_seq = activity_seq + 1,
                             activity_ms = coalesce(excluded.activity_ms, activity_ms),
                             change = excluded.change,
                             standing_seq = iif(standing IN ('lost', 'stalled'), ?4, standing_seq)"
                    ),
                    params![
                        session.conversation.as_str(),
                        session.side.as_str(),
                        did.map(millis),
                        SUPERSEDED
                    ],
                )?
                .wrote(1, "bridge_session")?;
            Ok(())
        })
    }

    fn set_status(&mut self, session: &SessionKey, status: Status, now: Timestamp) -> Result<()> {
        let said = params![
            session.conversation.as_str(),
            session.side.as_str(),
            status.as_str(),
            timestamp::to_text(now)
        ];
        self.run(|connection| {
            // Under the id that the row has; a session without one gets it where the
            // table's key leaves room, as for the mirror of heartbeats.
            let changed = connection.change(
                "UPDATE session_status SET status = ?3, last_heartbeat = ?4
                 WHERE conversation_id = ?1 AND session_id IN (?2, 'session_' || ?2)",
                said,
            )?;
            if changed == 0 {
                connection.change(
                    "INSERT OR IGNORE INTO session_status
                         (conversation_id, session_id, status, last_heartbeat)
                     SELECT ?1, ?2, ?3, ?4
                     WHERE ?2 = 'b'
                        OR (SELECT count(*) FROM pragma_table_info('session_status')
                            WHERE pk > 0) <> 1",
                    said,
                )?;
            }
            Ok(())
        })
    }

    fn note_first_fetch(&mut self, session: &SessionKey, now: Timestamp) -> Result<()> {
        self.run(|connection| {
            // Once: the first one tells, and later calls write no more for it.
            connection.change(
                "INSERT INTO bridge_session (conversation_id, session_id, fetched_ms)
                 VALUES (?1, ?2, ?3)
                 ON CONFLICT (conversation_id, session_id) DO UPDATE SET
                     fetched_ms = excluded.fetched_ms
                     WHERE bridge_session.fetched_ms IS NULL",
                params![
                    session.conversation.as_str(),
                    session.side.as_str(),
                    millis(now)
                ],
            )?;
            Ok(())
        })
    }

    fn note_change(&mut self, session: &SessionKey) -> Result<()> {
        self.run(|connection| {
            connection
                .change(
                    concat!(
                        "INSERT INTO bridge_session (conversation_id, session_id, change)
                         VALUES (?1, ?2, 1 + (",
                        session_change!(),
                        "))
                         ON CONFLICT (conversation_id, session_id) DO UPDATE SET
                             change = excluded.change"
                    ),
                    [session.conversation.as_str(), session.side.as_str()],
                )?
                .wrote(1, "bridge_session")?;
            Ok(())
        })
    }

    fn set_turn(&mut self, session: &SessionKey, said: TurnSaid, boot: &str) -> Result<()> {
        let word = match said.turn {
            Turn::Unknown => None,
            known => Some(known.as_str()),
        };
        self.run(|connection| {
            connection
                .change(
                    "UPDATE bridge_session SET
                         turn = iif(turn_boot = ?4 AND turn_boot_ms > ?5, turn, ?3),
                         turn_boot_ms = iif(turn_boot = ?4, max(turn_boot_ms, ?5), ?5),
                         turn_boot = ?4
                     WHERE conversation_id = ?1 AND session_id = ?2",
                    params![
                        session.conversation.as_str(),
                        session.side.as_str(),
                        word,
                        boot,
                        duration_millis(said.at),
                    ],
                )?
                .wrote(1, "bridge_session")?;
            Ok(())
        })
    }

    fn set_capacity(&mut self, session: &SessionKey, capacity: Option<u32>) -> Result<()> {
        self.run(|connection| {
            connection
                .change(
                    "UPDATE bridge_session SET capacity = ?3
                     WHERE conversation_id = ?1 AND session_id = ?2",
                    params![
                        session.conversation.as_str(),
                        session.side.as_str(),
                        capacity
                    ],
                )?
                .wrote(1, "bridge_session")?;
            Ok(())
        })
    }
}
