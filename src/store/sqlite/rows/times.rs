//! What rows tell of the time, and the ends of conversations that daemons set.

use jiff::Timestamp;
use rusqlite::params;

use crate::host;
use crate::model::{ConversationId, SessionKey, timestamp};
use crate::store::rows::{LastBeat, RenewedEnd, TimeRows};
use crate::store::sqlite::engine::SqliteRows;
use crate::store::sqlite::statements::{Statements as _, json, place, session_list, text};
use crate::store::sqlite::written::Written as _;
use crate::store::sqlite::{from_millis, millis};
use crate::store::{DaemonRef, Result, Witness};
use crate::text::millis as duration_millis;

/// The prune's mark in `bridge_signal`.
const PRUNED: &str = "pruned";

impl TimeRows for SqliteRows {
    fn witness(&mut self) -> Result<Witness> {
        self.run(|connection| {
            let witness = connection.one(
                "SELECT (SELECT timestamp FROM messages
                         WHERE id > (SELECT max(id) FROM messages) - 500
                           AND from_session <> 'system'
                         ORDER BY id DESC LIMIT 1),
                        (SELECT timestamp FROM audit_log
                         WHERE id > (SELECT max(id) FROM audit_log) - 500 AND action IN (
                             'create_conversation', 'send_message', 'get_messages')
                         ORDER BY id DESC LIMIT 1),
                        (SELECT created_at FROM conversations ORDER BY rowid DESC LIMIT 1),
                        (SELECT s.n FROM bridge_daemon d JOIN bridge_signal s
                             ON s.name = 'seen:' || d.daemon_id ORDER BY d.change DESC LIMIT 1),
                        (SELECT n FROM bridge_signal WHERE name = ?1)",
                [PRUNED],
                |row| {
                    // What cannot be read tells no time.
                    let number = |column| row.get::<_, Option<i64>>(column).unwrap_or(None);
                    let mut newest = number(3).map(from_millis);
                    for column in 0..3 {
                        newest = newest.max(timestamp::from_text(&text(row, column)?));
                    }
                    Ok(Witness {
                        newest,
                        pruned: number(4).map(from_millis),
                    })
                },
            )?;
            Ok(witness)
        })
    }

    fn note_pruned(&mut self, now: Timestamp) -> Result<()> {
        self.run(|connection| {
            connection
                .change(
                    "INSERT INTO bridge_signal (name, n) VALUES (?1, ?2)
                     ON CONFLICT (name) DO UPDATE SET n = excluded.n",
                    params![PRUNED, millis(now)],
                )?
                .wrote(1, "bridge_signal")?;
            Ok(())
        })
    }

    fn renewed_beyond(&mut self, beyond: Timestamp) -> Result<Vec<RenewedEnd>> {
        self.run(|connection| {
            let renewed = connection.all(
                "SELECT c.id, c.expires_at, l.renewed_for_ms
                 FROM bridge_conversation l CROSS JOIN conversations c ON c.id = l.conversation_id
                 WHERE l.renewed_to = c.expires_at AND l.renewed_to > ?1
                   AND l.closed_ms IS NULL",
                [timestamp::to_text(beyond)],
                |row| {
                    let (id, end) = (text(row, 0)?.parse(), timestamp::from_text(&text(row, 1)?));
                    let life: Option<i64> = row.get(2).unwrap_or(None);
                    let (Ok(conversation), Some(end)) = (id, end) else {
                        return Ok(None);
                    };
                    Ok(Some(RenewedEnd {
                        conversation,
                        end,
                        life: life.unwrap_or(0),
                    }))
                },
            )?;
            Ok(renewed.into_iter().flatten().collect())
        })
    }

    fn note_renewed(
        &mut self,
        conversations: &[ConversationId],
        until: Timestamp,
        now: Timestamp,
    ) -> Result<()> {
        let boot = host::boot();
        let ids: Vec<&str> = conversations.iter().map(ConversationId::as_str).collect();
        self.run(|connection| {
            connection
                .change(
                    "INSERT INTO bridge_conversation (conversation_id, set_ms, set_boot_ms,
                         set_boot_id, renewed_to, renewed_for_ms)
                     SELECT value, ?2, ?3, ?4, ?5, ?6 FROM json_each(?1) WHERE true
                     ON CONFLICT (conversation_id) DO UPDATE SET
                         set_ms = excluded.set_ms, set_boot_ms = excluded.set_boot_ms,
                         set_boot_id = excluded.set_boot_id, renewed_to = excluded.renewed_to,
                         renewed_for_ms = excluded.renewed_for_ms",
                    params![
                        json(&ids),
                        millis(now),
                        duration_millis(boot.now),
                        boot.id,
                        timestamp::to_text(until),
                        millis(until) - millis(now)
                    ],
                )?
                .wrote(ids.len(), "bridge_conversation")?;
            Ok(())
        })
    }

    fn renew(&mut self, ends: &[(&ConversationId, Timestamp)]) -> Result<Vec<ConversationId>> {
        let ends: Vec<(&str, String)> = ends
            .iter()
            .map(|(id, end)| (id.as_str(), timestamp::to_text(*end)))
            .collect();
        self.run(|connection| {
            let renewed = connection.all(
                // A closed one stays closed, for the Python bridge too, which knows
                // only this column; and texts of two forms do not sort unless the
                // `T` is there.
                "UPDATE conversations SET expires_at = r.value ->> 1
                 FROM json_each(?1) r
                 WHERE conversations.id = r.value ->> 0
                   AND replace(conversations.expires_at, ' ', 'T') < r.value ->> 1
                   AND NOT EXISTS (SELECT 1 FROM bridge_conversation l
                                   WHERE l.conversation_id = conversations.id
                                     AND l.closed_ms IS NOT NULL)
                 RETURNING id",
                [json(&ends)],
                |row| Ok(text(row, 0)?.parse().ok()),
            )?;
            Ok(renewed.into_iter().flatten().collect())
        })
    }

    fn last_beats(&mut self, daemon: &DaemonRef, sessions: &[SessionKey]) -> Result<Vec<LastBeat>> {
        self.run(|connection| {
            let beats = connection.all(
                "SELECT w.key, c.expires_at, h.beat_ms FROM json_each(?1) w
                 CROSS JOIN conversations c ON c.id = w.value ->> 0
                 CROSS JOIN bridge_heartbeat h
                     ON h.conversation_id = c.id AND h.session_id = w.value ->> 1
                 WHERE (h.daemon_id = ?2 OR h.daemon_id IS NULL) AND h.exited_ms IS NULL
                   AND NOT EXISTS (SELECT 1 FROM bridge_conversation l
                                   WHERE l.conversation_id = c.id AND l.closed_ms IS NOT NULL)
                 ORDER BY w.key",
                params![session_list(sessions), daemon.id],
                |row| {
                    let written = text(row, 1)?.into_owned();
                    let beat: Option<i64> = row.get(2).ok();
                    let (Some(beat), Some(end)) = (beat, timestamp::from_text(&written)) else {
                        return Ok(None);
                    };
                    Ok(Some(LastBeat {
                        place: place(row, 0)?,
                        beat: from_millis(beat),
                        end,
                        written,
                    }))
                },
            )?;
            Ok(beats.into_iter().flatten().collect())
        })
    }

    fn move_end(&mut self, id: &ConversationId, written: &str, until: Timestamp) -> Result<bool> {
        self.run(|connection| {
            let moved = connection.change(
                "UPDATE conversations SET expires_at = ?3 WHERE id = ?1 AND expires_at = ?2",
                params![id.as_str(), written, timestamp::to_text(until)],
            )?;
            Ok(moved > 0)
        })
    }
}
