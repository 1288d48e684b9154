//! Messages: sent with their limits kept, handed out at least once.

use async_trait::async_trait;
use jiff::Timestamp;
use serde_json::json;
use sqlx::{Row, SqliteConnection};

use super::batch::{self, Clean};
use super::fault::Fault;
use super::limits::{self, Room};
use super::owed::{mail_of, owed};
use super::shared::session_change;
use super::written::Written as _;
use super::{Durability, Ring, SqliteStore, fetchers, millis, notices, reports, shared, tasks};
use crate::model::message::{Draft, Message};
use crate::model::wake::Mail;
use crate::model::{MessageId, SessionKey, timestamp};
use crate::store::{Caller, FetchId, Fetched, Messages, Result, Sent, StoreError};

/// In the place of the heartbeat that a verdict rests on: the session did
/// something since, and no task is taken from it for that verdict.
pub(super) const OVERTAKEN: i64 = -1;

#[async_trait]
impl Messages for SqliteStore {
    async fn send(&self, from: &Caller, drafts: &[Draft], now: Timestamp) -> Result<Vec<Sent>> {
        self.run("sending", async {
            // Before the lock is taken: redaction may take longer than all the rest,
            // and no other writer waits for it.
            let clean = drafts.iter().map(Clean::new);
            let clean = clean.collect::<std::result::Result<Vec<_>, _>>()?;
            let mut write = self.write(Durability::Full).await?;
            let connection = write.connection();
            let now = self.authenticate(connection, from, now).await?.now;
            came_back(connection, &from.session, now).await?;
            let allowed = reports::rate_limits(connection).await?;
            let mut room =
                Room::measure(connection, &from.session, allowed, drafts.len(), now).await?;
            let plain = |draft: &Draft| draft.client_id.is_none() && draft.task.is_none();
            let mut sent: Vec<Sent> = Vec::with_capacity(drafts.len());
            if drafts.len() > 1 && drafts.iter().all(plain) {
                for _ in drafts {
                    room.take(&from.session).map_err(|why| {
                        // All of them are new.
                        limits::of_batch(why, drafts, &sent, allowed)
                    })?;
                }
                sent = batch::insert(connection, &from.session, clean, now).await?;
            } else {
                for (draft, clean) in drafts.iter().zip(clean) {
                    let one =
                        send_one(connection, &from.session, draft, clean, &mut room, now).await;
                    sent.push(one.map_err(|why| limits::of_batch(why, drafts, &sent, allowed))?);
                }
            }
            touch(connection, &from.session, now).await?;
            let ring = if sent.iter().all(|sent| sent.duplicate) {
                Ring::No
            } else {
                Ring::Yes
            };
            write.commit(ring).await?;
            Ok(sent)
        })
        .await
    }

    async fn fetch(&self, caller: &Caller, limit: u32, now: Timestamp) -> Result<Fetched> {
        self.run("fetching messages", async {
            let mut write = self.write(Durability::Full).await?;
            let connection = write.connection();
            self.authenticate(connection, caller, now).await?;
            came_back(connection, &caller.session, now).await?;
            let held = fetchers::held(connection, &caller.session, now).await?;
            let more = u32::try_from(held.len()).unwrap_or(u32::MAX);
            let page = limit.saturating_add(more);
            let mut messages = owed(connection, &caller.session, None, page).await?;
            messages.retain(|message| !held.contains(&message.id.0));
            messages.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
            let id = if messages.is_empty() {
                None
            } else {
                Some(hand_out(connection, &caller.session, &messages, now).await?)
            };
            fetched(connection, &caller.session, now).await?;
            touch(connection, &caller.session, now).await?;
            let left = mail_of(connection, std::slice::from_ref(&caller.session)).await?;
            write.commit(Ring::No).await?;
            // What this very fetch hands out is not confirmed yet, and still
            // counts as owed.
            let handed_out = u64::try_from(messages.len()).unwrap_or(u64::MAX);
            let remaining = left
                .first()
                .map_or(0, |mail| mail.unread.saturating_sub(handed_out));
            Ok(Fetched {
                id,
                messages,
                remaining,
            })
        })
        .await
    }

    async fn peek(
        &self,
        caller: &Caller,
        after: Option<MessageId>,
        limit: u32,
        now: Timestamp,
    ) -> Result<Vec<Message>> {
        self.run("looking at messages", async {
            let mut connection = self.reader().await?;
            self.authenticate(&mut connection, caller, now).await?;
            owed(&mut connection, &caller.session, after, limit).await
        })
        .await
    }

    async fn fetch_written(&self, fetch: &FetchId, now: Timestamp) -> Result<()> {
        self.run("confirming a fetch", async {
            // Losing this to a power failure hands the messages out twice,
            // which is what at-least-once means; it needs no fsync.
            let mut write = self.write(Durability::Normal).await?;
            sqlx::query(
                "UPDATE bridge_receipt SET written_ms = ?2
                 WHERE fetch_id = ?1 AND written_ms IS NULL",
            )
            .bind(&fetch.0)
            .bind(millis(now))
            .execute(write.connection())
            .await?;
            write.commit(Ring::No).await
        })
        .await
    }

    async fn acknowledge(
        &self,
        caller: &Caller,
        messages: &[MessageId],
        now: Timestamp,
    ) -> Result<u64> {
        self.run("acknowledging messages", async {
            let mut write = self.write(Durability::Full).await?;
            let connection = write.connection();
            self.authenticate(connection, caller, now).await?;
            let mut acknowledged = 0;
            for id in messages {
                acknowledged += acknowledge_one(connection, &caller.session, *id, now).await?;
            }
            touch(connection, &caller.session, now).await?;
            write.commit(Ring::No).await?;
            Ok(acknowledged)
        })
        .await
    }

    async fn mail(&self, sessions: &[SessionKey]) -> Result<Vec<Mail>> {
        self.run("looking for mail", async {
            let mut connection = self.reader().await?;
            mail_of(&mut connection, sessions).await
        })
        .await
    }
}

async fn send_one(
    connection: &mut SqliteConnection,
    from: &SessionKey,
    draft: &Draft,
    clean: Clean<'_>,
    room: &mut Room,
    now: Timestamp,
) -> std::result::Result<Sent, Fault> {
    if let Some(client_id) = &draft.client_id
        && let Some(row) = sqlx::query(
            "SELECT c.message_id, m.message FROM bridge_client_message c
             LEFT JOIN messages m ON m.id = c.message_id
             WHERE c.conversation_id = ?1 AND c.session_id = ?2 AND c.client_id = ?3",
        )
        .bind(from.conversation.as_str())
        .bind(from.side.as_str())
        .bind(client_id.as_str())
        .fetch_optional(&mut *connection)
        .await?
    {
        let id = MessageId(row.try_get(0)?);
        // Its text may have been cleaned up by now; then the id alone counts.
        return match row.try_get::<Option<&str>, _>(1)? {
            Some(stored) if stored != clean.text => Err(StoreError::ClientIdReused {
                id: client_id.as_str().to_owned(),
                message: id,
            }
            .into()),
            _ => Ok(Sent {
                id,
                redacted: clean.redacted,
                duplicate: true,
            }),
        };
    }
    if let Some(task) = draft.task {
        // A message about a task that never was would go nowhere with it.
        tasks::get(connection, task).await?;
    }
    room.take(from)?;
    let id = sqlx::query(
        "INSERT INTO messages (conversation_id, from_session, to_session, message, metadata, timestamp)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )
    .bind(from.conversation.as_str())
    .bind(from.side.as_str())
    .bind(from.side.other().as_str())
    .bind(&*clean.text)
    .bind(&clean.metadata)
    .bind(timestamp::to_text(now))
    .execute(&mut *connection)
    .await?
    .wrote(1, "messages")?
    .last_insert_rowid();
    if let Some(client_id) = &draft.client_id {
        sqlx::query(
            "INSERT INTO bridge_client_message (conversation_id, session_id, client_id, message_id)
             VALUES (?1, ?2, ?3, ?4)",
        )
        .bind(from.conversation.as_str())
        .bind(from.side.as_str())
        .bind(client_id.as_str())
        .bind(id)
        .execute(&mut *connection)
        .await?
        .wrote(1, "bridge_client_message")?;
    }
    if let Some(task) = draft.task {
        notices::link(connection, task, Some(MessageId(id))).await?;
    }
    let details = clean.details(from, id);
    shared::audit(
        connection,
        Some(&from.conversation),
        Some(from.side),
        "send_message",
        details,
        now,
    )
    .await?;
    Ok(Sent {
        id: MessageId(id),
        redacted: clean.redacted,
        duplicate: false,
    })
}

/// The agent itself called again, so it has seen what an earlier fetch wrote
/// to it: that is acknowledged now.
pub(super) async fn came_back(
    connection: &mut SqliteConnection,
    session: &SessionKey,
    now: Timestamp,
) -> std::result::Result<(), Fault> {
    sqlx::query(
        "UPDATE bridge_receipt SET acked_ms = ?3
         WHERE conversation_id = ?1 AND session_id = ?2
           AND acked_ms IS NULL AND written_ms IS NOT NULL",
    )
    .bind(session.conversation.as_str())
    .bind(session.side.as_str())
    .bind(millis(now))
    .execute(connection)
    .await?;
    Ok(())
}

/// The agent ended. It may not have acted on the messages in its hand: whoever
/// comes back for the session gets them again. And a turn that it was in is
/// nobody's, or its successor would be busy for ever.
pub(super) async fn agent_ended(
    connection: &mut SqliteConnection,
    session: &SessionKey,
) -> std::result::Result<(), Fault> {
    sqlx::query(
        "UPDATE bridge_receipt SET written_ms = NULL
         WHERE conversation_id = ?1 AND session_id = ?2
           AND acked_ms IS NULL AND written_ms IS NOT NULL",
    )
    .bind(session.conversation.as_str())
    .bind(session.side.as_str())
    .execute(&mut *connection)
    .await?;
    sqlx::query(concat!(
        "UPDATE bridge_session SET turn = NULL, change = 1 + (",
        session_change!(),
        ")
             WHERE conversation_id = ?1 AND session_id = ?2 AND turn IS NOT NULL"
    ))
    .bind(session.conversation.as_str())
    .bind(session.side.as_str())
    .execute(connection)
    .await?;
    Ok(())
}

async fn hand_out(
    connection: &mut SqliteConnection,
    session: &SessionKey,
    messages: &[Message],
    now: Timestamp,
) -> std::result::Result<FetchId, Fault> {
    let ids: Vec<MessageId> = messages.iter().map(|message| message.id).collect();
    let ids = json!(ids).to_string();
    let fetch = fetchers::name();
    sqlx::query("UPDATE messages SET read = 1 WHERE id IN (SELECT value FROM json_each(?1))")
        .bind(&ids)
        .execute(&mut *connection)
        .await?
        .wrote(messages.len(), "messages")?;
    sqlx::query(
        "INSERT INTO bridge_receipt (message_id, conversation_id, session_id, fetch_id, fetched_ms)
         SELECT value, ?2, ?3, ?4, ?5 FROM json_each(?1) WHERE true
         ON CONFLICT (message_id) DO UPDATE SET fetch_id = excluded.fetch_id,
             fetched_ms = excluded.fetched_ms",
    )
    .bind(&ids)
    .bind(session.conversation.as_str())
    .bind(session.side.as_str())
    .bind(&fetch.0)
    .bind(millis(now))
    .execute(&mut *connection)
    .await?
    .wrote(messages.len(), "bridge_receipt")?;
    shared::audit(
        connection,
        Some(&session.conversation),
        Some(session.side),
        "get_messages",
        json!({ "count": messages.len() }),
        now,
    )
    .await?;
    Ok(fetch)
}

async fn acknowledge_one(
    connection: &mut SqliteConnection,
    session: &SessionKey,
    id: MessageId,
    now: Timestamp,
) -> std::result::Result<u64, Fault> {
    let mine = sqlx::query(
        "UPDATE messages SET read = 1
         WHERE id = ?1 AND conversation_id = ?2 AND to_session IN (?3, 'session_' || ?3)",
    )
    .bind(id.0)
    .bind(session.conversation.as_str())
    .bind(session.side.as_str())
    .execute(&mut *connection)
    .await?
    .rows_affected();
    if mine == 0 {
        return Err(StoreError::NoMessage(id, session.clone()).into());
    }
    let changed = sqlx::query(
        "INSERT INTO bridge_receipt (message_id, conversation_id, session_id, fetch_id,
             fetched_ms, written_ms, acked_ms)
         VALUES (?1, ?2, ?3, 'ack', ?4, ?4, ?4)
         ON CONFLICT (message_id) DO UPDATE SET acked_ms = excluded.acked_ms,
             written_ms = coalesce(written_ms, excluded.written_ms)
         WHERE bridge_receipt.acked_ms IS NULL",
    )
    .bind(id.0)
    .bind(session.conversation.as_str())
    .bind(session.side.as_str())
    .bind(millis(now))
    .execute(&mut *connection)
    .await?
    .rows_affected();
    if changed == 0 {
        // Acknowledged before, or kept out.
        sqlx::query_scalar::<_, i64>(
            "SELECT 1 FROM bridge_receipt WHERE message_id = ?1 AND acked_ms IS NOT NULL",
        )
        .bind(id.0)
        .fetch_optional(&mut *connection)
        .await?
        .wrote(1, "bridge_receipt")?;
    }
    Ok(changed)
}

/// Notes an authenticated call of the agent itself. A verdict that rests on its
/// silence is overtaken by that at once, before whoever found it looks again; an
/// end of its process is not.
pub(super) async fn touch(
    connection: &mut SqliteConnection,
    session: &SessionKey,
    now: Timestamp,
) -> std::result::Result<(), Fault> {
    note(connection, session, Some(now)).await
}

/// Notes that a session asked for its mail: something acts for it.
async fn fetched(
    connection: &mut SqliteConnection,
    session: &SessionKey,
    now: Timestamp,
) -> std::result::Result<(), Fault> {
    // Once: the first one tells, and later calls write no more for it.
    sqlx::query(
        "INSERT INTO bridge_session (conversation_id, session_id, fetched_ms) VALUES (?1, ?2, ?3)
         ON CONFLICT (conversation_id, session_id) DO UPDATE SET fetched_ms = excluded.fetched_ms
             WHERE bridge_session.fetched_ms IS NULL",
    )
    .bind(session.conversation.as_str())
    .bind(session.side.as_str())
    .bind(millis(now))
    .execute(connection)
    .await?;
    Ok(())
}

/// The same of a bare heartbeat, which a script may give in a loop: it counts
/// as a call, and is nothing that the agent did.
pub(super) async fn called(
    connection: &mut SqliteConnection,
    session: &SessionKey,
) -> std::result::Result<(), Fault> {
    note(connection, session, None).await
}

async fn note(
    connection: &mut SqliteConnection,
    session: &SessionKey,
    did: Option<Timestamp>,
) -> std::result::Result<(), Fault> {
    sqlx::query(
        concat!(
        "INSERT INTO bridge_session (conversation_id, session_id, activity_seq, activity_ms, change)
         VALUES (?1, ?2, 1, ?3, 1 + (",
        session_change!(),
        "))
         ON CONFLICT (conversation_id, session_id) DO UPDATE SET
             activity_seq = activity_seq + 1,
             activity_ms = coalesce(excluded.activity_ms, activity_ms),
             change = excluded.change,
             standing_seq = iif(standing IN ('lost', 'stalled'), ?4, standing_seq)"),
    )
    .bind(session.conversation.as_str())
    .bind(session.side.as_str())
    .bind(did.map(millis))
    .bind(OVERTAKEN)
    .execute(connection)
    .await?
    .wrote(1, "bridge_session")?;
    Ok(())
}
