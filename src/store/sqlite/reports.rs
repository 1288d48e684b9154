//! What people ask about: sessions, daemons, the audit log, settings.

use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use super::owed::owed_mail;
use super::shared::{foreign_mark, reported, spoken_mark};
use super::{SqliteStore, from_millis, odd, shared};
use crate::model::health::Turn;
use crate::model::session::{Heartbeat, ProofKind, SessionView};
use crate::model::token::TokenStorage;
use crate::model::{ConversationId, SessionKey, Side, timestamp};
use crate::store::unmoved::Reports;
use crate::store::{AuditEntry, AuditFilter, DaemonView, Result, StoreCheck};

#[async_trait]
impl Reports for SqliteStore {
    async fn sessions(&self, since: Timestamp) -> Result<Vec<SessionView>> {
        self.run("listing sessions", async {
            let rows = sqlx::query(concat!(
                "SELECT c.id, w.side AS side, l.label,
                        iif(w.side = 'a', c.session_a_role, c.session_b_role) AS role,
                        c.expires_at, h.seq, h.beat_ms, h.ttl_ms, h.proof, h.exited_ms,
                        h.daemon_id, h.released, h.pid, s.activity_ms, ",
                reported!(),
                " AS status, ",
                foreign_mark!(),
                " AS foreign_mark, ",
                spoken_mark!(),
                " AS spoken_mark,
                        s.capacity, s.standing, s.standing_ms, s.turn, s.busy_until_ms, d.host,
                        g.client || coalesce(' ' || g.client_version, '') AS client,
                        (SELECT count(*) FROM bridge_task t INDEXED BY bridge_task_owner
                         WHERE t.owner_conversation = c.id AND t.owner_session = w.side
                           AND t.state = 'leased') AS open_tasks,
                        (SELECT count(*) FROM (",
                owed_mail!(),
                ")) AS unread,
                        (SELECT k.adapter || ': ' || coalesce(k.outcome, 'waiting') ||
                                coalesce(' (' || k.reason || ')', '')
                         FROM bridge_wake k
                         WHERE k.conversation_id = c.id AND k.session_id = w.side
                         ORDER BY k.wake_id DESC LIMIT 1) AS wake
                 FROM (SELECT id AS conversation, side FROM conversations
                       CROSS JOIN (SELECT 'a' AS side UNION ALL SELECT 'b')) w
                 CROSS JOIN conversations c ON c.id = w.conversation
                 LEFT JOIN bridge_conversation l ON l.conversation_id = c.id
                 LEFT JOIN bridge_heartbeat h
                     ON h.conversation_id = c.id AND h.session_id = w.side
                 LEFT JOIN bridge_session s
                     ON s.conversation_id = c.id AND s.session_id = w.side
                 LEFT JOIN session_status st
                     ON st.conversation_id = c.id AND st.session_id = w.side
                 LEFT JOIN session_status so
                     ON so.conversation_id = c.id AND so.session_id = 'session_' || w.side
                 LEFT JOIN bridge_daemon d ON d.daemon_id = h.daemon_id
                 LEFT JOIN bridge_agent g ON g.agent_id = s.agent_id
                 WHERE replace(c.expires_at, ' ', 'T') >= ?1 AND l.closed_ms IS NULL
                 ORDER BY l.label IS NULL, l.label, c.created_at, c.id, w.side",
            ))
            .bind(timestamp::to_text(since))
            .fetch_all(&mut *self.reader().await?)
            .await?;
            Ok(odd::readable_of_ours(&rows, "sessions", session))
        })
        .await
    }

    async fn daemons(&self) -> Result<Vec<DaemonView>> {
        self.run("listing daemons", async {
            let rows = sqlx::query(
                "SELECT daemon_id, epoch, role, host, boot_id, pid, version, started_ms, stopped_ms,
                        (SELECT count(*) FROM bridge_heartbeat h
                         WHERE h.daemon_id = d.daemon_id AND h.daemon_epoch = d.epoch
                           AND NOT h.released),
                        max(started_ms, coalesce(stopped_ms, 0), coalesce(
                            (SELECT n FROM bridge_signal WHERE name = 'seen:' || d.daemon_id), 0)), pid_ns
                 FROM bridge_daemon d ORDER BY daemon_id",
            )
            .fetch_all(&mut *self.reader().await?)
            .await?;
            Ok(odd::readable(&rows, "daemons", |row| {
                Ok(DaemonView {
                    id: row.try_get(0)?,
                    epoch: row.try_get(1)?,
                    role: row.try_get(2)?,
                    host: row.try_get(3)?,
                    boot_id: row.try_get(4)?,
                    pid: row.try_get(5)?,
                    version: row.try_get(6)?,
                    started_at: from_millis(row.try_get(7)?),
                    stopped_at: row.try_get::<Option<i64>, _>(8)?.map(from_millis),
                    sessions: row.try_get(9)?,
                    seen_at: from_millis(row.try_get(10)?),
                    pid_ns: row.try_get(11)?,
                })
            }))
        })
        .await
    }

    async fn audit(&self, filter: &AuditFilter) -> Result<Vec<AuditEntry>> {
        self.run("reading the audit log", async {
            let rows = sqlx::query(
                "SELECT * FROM (
                     SELECT id, timestamp, conversation_id, session_id, action, details
                     FROM audit_log
                     WHERE (?1 IS NULL OR conversation_id = ?1)
                       AND (?2 IS NULL OR session_id IN (?2, 'session_' || ?2))
                       AND (?3 IS NULL OR action = ?3)
                     ORDER BY id DESC LIMIT ?4
                 ) ORDER BY id",
            )
            .bind(filter.conversation.as_ref().map(ConversationId::as_str))
            .bind(filter.side.map(Side::as_str))
            .bind(&filter.action)
            .bind(filter.limit)
            .fetch_all(&mut *self.reader().await?)
            .await?;
            rows.iter()
                .map(|row| {
                    let named = |column: usize| {
                        let text = shared::text(row, column)?.into_owned();
                        Ok::<_, sqlx::Error>(Some(text).filter(|text| !text.is_empty()))
                    };
                    Ok(AuditEntry {
                        id: row.try_get(0)?,
                        at: timestamp::from_text(&shared::text(row, 1)?),
                        conversation: named(2)?,
                        session: named(3)?,
                        action: shared::text(row, 4)?.into_owned(),
                        details: named(5)?
                            .and_then(|text| serde_json::from_str(&text).ok())
                            .unwrap_or(serde_json::Value::Null),
                    })
                })
                .collect()
        })
        .await
    }

    async fn check(&self) -> Result<StoreCheck> {
        self.run("checking it", async {
            let mut connection = self.reader().await?;
            let problems: Vec<String> = sqlx::query_scalar("PRAGMA integrity_check(20)")
                .fetch_all(&mut *connection)
                .await?;
            let journal_mode: String = sqlx::query_scalar("PRAGMA journal_mode")
                .fetch_one(&mut *connection)
                .await?;
            let row = sqlx::query(
                "SELECT (SELECT count(*) FROM conversations), (SELECT count(*) FROM messages),
                        (SELECT count(*) FROM messages WHERE read = 0)
                            + (SELECT count(*) FROM bridge_receipt r
                               WHERE r.acked_ms IS NULL AND r.written_ms IS NULL),
                        (SELECT version FROM bridge_schema), sqlite_version(),
                        (SELECT value FROM bridge_setting WHERE key = 'token_storage'),
                        (SELECT value FROM bridge_setting WHERE key = 'origin')",
            )
            .fetch_one(&mut *connection)
            .await?;
            let storage = TokenStorage::from_word(&shared::text(&row, 5)?);
            let storage = storage.unwrap_or(TokenStorage::Hashed);
            Ok(StoreCheck {
                location: self.path().to_owned(),
                engine: format!("sqlite {}", row.try_get::<&str, _>(4)?),
                schema: row.try_get(3)?,
                token_storage: storage.as_str(),
                adopted: shared::text(&row, 6)? == "adopted",
                journal_mode,
                problems: problems.into_iter().filter(|line| line != "ok").collect(),
                conversations: row.try_get(0)?,
                messages: row.try_get(1)?,
                unread: row.try_get(2)?,
                bytes: size(&self.files.database),
                log_bytes: size(&self.files.beside("-wal")),
            })
        })
        .await
    }
}

/// Bytes of a file; 0 if it is not there.
pub(super) fn size(path: &std::path::Path) -> u64 {
    std::fs::metadata(path).map_or(0, |meta| meta.len())
}

fn session(row: &SqliteRow) -> std::result::Result<Option<SessionView>, sqlx::Error> {
    let (Ok(conversation), Ok(side)) = (
        shared::text(row, "id")?.parse(),
        shared::text(row, "side")?.parse(),
    ) else {
        return Ok(None);
    };
    let time = |column: &str| {
        Ok::<_, sqlx::Error>(row.try_get::<Option<i64>, _>(column)?.map(from_millis))
    };
    let heartbeat = match row.try_get::<Option<i64>, _>("seq")? {
        None => None,
        Some(seq) => Some(Heartbeat {
            seq,
            at: from_millis(row.try_get("beat_ms")?),
            ttl: Duration::from_millis(
                u64::try_from(row.try_get::<i64, _>("ttl_ms")?).unwrap_or(0),
            ),
            proof: ProofKind::from_word(row.try_get("proof")?).unwrap_or(ProofKind::None),
            exited_at: time("exited_ms")?,
            daemon: row.try_get("daemon_id")?,
            released: row.try_get("released")?,
        }),
    };
    let label: Option<&str> = row.try_get("label")?;
    Ok(Some(SessionView {
        key: SessionKey::new(conversation, side),
        label: label.and_then(|label| label.parse().ok()),
        role: shared::text(row, "role")?.into_owned(),
        expires_at: timestamp::from_text(&shared::text(row, "expires_at")?),
        heartbeat,
        // What it did through the other bridge is its doing, too.
        activity_at: time("activity_ms")?
            .max(timestamp::from_text(&shared::text(row, "spoken_mark")?))
            .max(
                shared::text(row, "foreign_mark")?
                    .rsplit_once(' ')
                    .and_then(|(at, _)| timestamp::from_text(at)),
            ),
        reported: Some(shared::text(row, "status")?.into_owned()).filter(|word| !word.is_empty()),
        unread: row.try_get("unread")?,
        wake: row.try_get("wake")?,
        open_tasks: row.try_get("open_tasks")?,
        capacity: row.try_get("capacity")?,
        standing: row.try_get("standing")?,
        standing_at: time("standing_ms")?,
        turn: row
            .try_get::<Option<&str>, _>("turn")?
            .and_then(Turn::from_word)
            .unwrap_or_default(),
        busy_until: time("busy_until_ms")?,
        host: row.try_get("host")?,
        pid: row.try_get("pid")?,
        client: row.try_get("client")?,
    }))
}
