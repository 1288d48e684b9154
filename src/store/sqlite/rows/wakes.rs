//! Wakes.

use jiff::Timestamp;
use rusqlite::params;

use crate::model::wake::WakeOutcome;
use crate::model::{MessageId, SessionKey};
use crate::store::rows::WakeRows;
use crate::store::sqlite::engine::SqliteRows;
use crate::store::sqlite::millis;
use crate::store::sqlite::owed::owed_mail;
use crate::store::sqlite::statements::{Statements as _, text};
use crate::store::{Result, SpentWake, WakeClaim, WakeEnd, WakeRef};
use crate::text::millis as duration_millis;

impl WakeRows for SqliteRows {
    fn claim(&mut self, claim: &WakeClaim<'_>, now: Timestamp) -> Result<Option<WakeRef>> {
        self.run(|connection| {
            let claimed = connection.first(
                "INSERT INTO bridge_wake (conversation_id, session_id, mark, claimant, boot_id,
                     lease_boot_ms, adapter, created_ms)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6 + ?7, ?8, ?9)
                 ON CONFLICT (conversation_id, session_id) WHERE ended_ms IS NULL DO UPDATE SET
                     mark = excluded.mark, claimant = excluded.claimant, claim = claim + 1,
                     boot_id = excluded.boot_id, lease_boot_ms = excluded.lease_boot_ms,
                     adapter = excluded.adapter
                 WHERE bridge_wake.boot_id <> excluded.boot_id OR bridge_wake.lease_boot_ms < ?6
                 RETURNING wake_id, claim",
                params![
                    claim.session.conversation.as_str(),
                    claim.session.side.as_str(),
                    claim.mark.0,
                    claim.claimant,
                    claim.boot.id,
                    duration_millis(claim.boot.now),
                    duration_millis(claim.lease),
                    claim.adapter,
                    millis(now)
                ],
                |row| {
                    Ok(WakeRef {
                        id: row.get(0)?,
                        claim: row.get(1)?,
                    })
                },
            )?;
            Ok(claimed)
        })
    }

    fn verify_wake(&mut self, session: &SessionKey, now: Timestamp) -> Result<bool> {
        self.run(|connection| {
            let changed = connection.change(
                concat!(
                    "UPDATE bridge_wake SET outcome = 'verified', ended_ms = ?3
                     WHERE conversation_id = ?1 AND session_id = ?2 AND ended_ms IS NULL
                       AND NOT (SELECT EXISTS (SELECT 1 FROM (",
                    owed_mail!(),
                    ") WHERE id <= bridge_wake.mark)
                                FROM (SELECT ?1 AS conversation, ?2 AS side) w)"
                ),
                params![
                    session.conversation.as_str(),
                    session.side.as_str(),
                    millis(now)
                ],
            )?;
            Ok(changed > 0)
        })
    }

    fn spent_wakes(&mut self, sessions: &[SessionKey]) -> Result<Vec<Option<SpentWake>>> {
        self.run(|connection| {
            let mut spent = Vec::with_capacity(sessions.len());
            for session in sessions {
                let last = connection.first(
                    "SELECT mark, coalesce(reason, ''), outcome
                     FROM bridge_wake
                     WHERE conversation_id = ?1 AND session_id = ?2 AND ended_ms IS NOT NULL
                       AND outcome IN ('spent', 'verified')
                     ORDER BY wake_id DESC LIMIT 1",
                    params![session.conversation.as_str(), session.side.as_str()],
                    |row| {
                        let outcome = text(row, 2)?;
                        let wake = SpentWake {
                            mark: MessageId(row.get(0)?),
                            reason: text(row, 1)?.into_owned(),
                        };
                        Ok((outcome == WakeOutcome::Spent.as_str()).then_some(wake))
                    },
                )?;
                spent.push(last.flatten());
            }
            Ok(spent)
        })
    }

    fn abandon_wakes(&mut self, claimant: &str, now: Timestamp) -> Result<()> {
        self.run(|connection| {
            connection.change(
                "UPDATE bridge_wake SET outcome = 'abandoned', ended_ms = ?2
                 WHERE claimant = ?1 AND ended_ms IS NULL",
                params![claimant, millis(now)],
            )?;
            Ok(())
        })
    }

    fn end_wake(
        &mut self,
        wake: &WakeRef,
        of: Option<&SessionKey>,
        end: &WakeEnd<'_>,
        now: Timestamp,
    ) -> Result<bool> {
        self.run(|connection| {
            let changed = connection.change(
                "UPDATE bridge_wake SET outcome = ?3, reason = ?4, ended_ms = ?5
                 WHERE wake_id = ?1 AND claim = ?2 AND ended_ms IS NULL
                   AND (?6 IS NULL OR (conversation_id, session_id) = (?6, ?7))",
                params![
                    wake.id,
                    wake.claim,
                    end.outcome.as_str(),
                    end.reason,
                    millis(now),
                    of.map(|session| session.conversation.as_str()),
                    of.map(|session| session.side.as_str()),
                ],
            )?;
            Ok(changed == 1)
        })
    }
}
