//! Conversations: made, found, renewed, closed, and who may use them.

use std::collections::HashMap;

use async_trait::async_trait;
use jiff::Timestamp;
use serde_json::json;
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};

use super::fault::Fault;
use super::fleet::bump;
use super::owed::owed_mail;
use super::tasks::signal;
use super::written::Written as _;
use super::{Durability, Ring, SqliteStore, from_millis, millis, odd, shared, times};
use crate::model::session::Conversation;
use crate::model::token::{Token, TokenStorage};
use crate::model::{ConversationId, Label, SessionKey, Side, timestamp};
use crate::store::{Caller, Conversations, NewConversation, Result, StoreError, Verified};

#[async_trait]
impl Conversations for SqliteStore {
    async fn create_conversations(
        &self,
        new: &[NewConversation],
        now: Timestamp,
    ) -> Result<TokenStorage> {
        self.run("making conversations", async {
            let mut write = self.write(Durability::Full).await?;
            let storage = token_storage(write.connection()).await?;
            for conversation in new {
                insert(write.connection(), conversation, storage, now).await?;
            }
            write.commit(Ring::No).await?;
            Ok(storage)
        })
        .await
    }

    async fn label_conversation(
        &self,
        id: &ConversationId,
        label: &Label,
        now: Timestamp,
    ) -> Result<()> {
        self.run("labelling a conversation", async {
            let mut write = self.write(Durability::Full).await?;
            self.open_until(write.connection(), id).await?;
            free_label(write.connection(), label).await?;
            // Of the conversation itself, too: an UPSERT names one conflict, and
            // there are two.
            sqlx::query(
                "INSERT INTO bridge_conversation (conversation_id) VALUES (?1)
                 ON CONFLICT (conversation_id) DO NOTHING",
            )
            .bind(id.as_str())
            .execute(write.connection())
            .await?;
            let set = sqlx::query(
                "UPDATE bridge_conversation SET label = ?2 WHERE conversation_id = ?1
                   AND NOT EXISTS (SELECT 1 FROM bridge_conversation other
                       WHERE other.label = ?2 AND other.closed_ms IS NULL
                         AND other.conversation_id <> ?1)",
            )
            .bind(id.as_str())
            .bind(label.as_str())
            .execute(write.connection())
            .await?
            .rows_affected();
            if set == 0 {
                return Err(not_labelled(write.connection(), label).await?);
            }
            let details = json!({ "label": label });
            shared::audit(
                write.connection(),
                Some(id),
                None,
                "label_conversation",
                details,
                now,
            )
            .await?;
            // Programs that show these sessions show the new name.
            for side in Side::BOTH {
                let session = SessionKey::new(id.clone(), side);
                bump(write.connection(), &session).await?;
            }
            write.commit(Ring::No).await
        })
        .await
    }

    async fn plain_tokens(&self, id: &ConversationId) -> Result<Option<[Token; 2]>> {
        self.run("reading the tokens of a conversation", async {
            let mut connection = self.reader().await?;
            self.open_until(&mut connection, id).await?;
            let row = sqlx::query(
                "SELECT session_a_token, session_b_token FROM conversations WHERE id = ?1",
            )
            .bind(id.as_str())
            .fetch_optional(&mut *connection)
            .await?
            .ok_or_else(|| self.no_conversation(id))?;
            let [a, b] = [shared::text(&row, 0)?, shared::text(&row, 1)?];
            // A digest is no token.
            Ok(Token::parse(&a)
                .ok()
                .zip(Token::parse(&b).ok())
                .map(|(a, b)| [a, b]))
        })
        .await
    }

    async fn conversations(&self) -> Result<Vec<Conversation>> {
        self.run("listing conversations", async {
            let rows = sqlx::query(concat!(
                "SELECT c.id, l.label, c.session_a_role, c.session_b_role, c.created_at,
                        c.expires_at, l.closed_ms,
                        (SELECT count(*) FROM messages m WHERE m.conversation_id = c.id),
                        (SELECT sum((SELECT count(*) FROM (",
                owed_mail!(),
                ")))
                         FROM (SELECT c.id AS conversation, 'a' AS side
                               UNION ALL SELECT c.id, 'b') w)
                 FROM conversations c LEFT JOIN bridge_conversation l ON l.conversation_id = c.id
                 ORDER BY c.created_at, c.id",
            ))
            .fetch_all(&mut *self.reader().await?)
            .await?;
            // A row whose id is no id is some other program's; it cannot be
            // named on our command line either.
            Ok(odd::readable_of_ours(&rows, "conversations", conversation))
        })
        .await
    }

    async fn conversation(&self, id: &ConversationId) -> Result<Conversation> {
        self.run("reading a conversation", async {
            sqlx::query(concat!(
                "SELECT c.id, l.label, c.session_a_role, c.session_b_role, c.created_at,
                        c.expires_at, l.closed_ms,
                        (SELECT count(*) FROM messages m WHERE m.conversation_id = c.id),
                        (SELECT sum((SELECT count(*) FROM (",
                owed_mail!(),
                ")))
                         FROM (SELECT c.id AS conversation, 'a' AS side
                               UNION ALL SELECT c.id, 'b') w)
                 FROM conversations c LEFT JOIN bridge_conversation l ON l.conversation_id = c.id
                 WHERE c.id = ?1",
            ))
            .bind(id.as_str())
            .fetch_optional(&mut *self.reader().await?)
            .await?
            .and_then(|row| conversation(&row).transpose())
            .ok_or_else(|| self.no_conversation(id))?
            .map_err(Fault::from)
        })
        .await
    }

    async fn renew_conversation(
        &self,
        id: &ConversationId,
        until: Timestamp,
        now: Timestamp,
    ) -> Result<Timestamp> {
        self.run("renewing a conversation", async {
            let mut write = self.write(Durability::Full).await?;
            let end = self.open_until(write.connection(), id).await?;
            // Compared as times: whoever wrote the text may have had other
            // habits than ours, and texts of two forms do not sort.
            let holds = end.map_or(until, |end| end.max(until));
            if end != Some(holds) {
                set_end(write.connection(), id, holds).await?;
            }
            times::set(write.connection(), &[id.as_str()], None, now).await?;
            let details = json!({ "expires_at": timestamp::to_text(holds) });
            shared::audit_order(
                write.connection(),
                Some(id),
                None,
                "renew_conversation",
                details,
                now,
            )
            .await?;
            write.commit(Ring::No).await?;
            Ok(holds)
        })
        .await
    }

    async fn close_conversation(&self, id: &ConversationId, now: Timestamp) -> Result<()> {
        self.run("closing a conversation", async {
            let mut write = self.write(Durability::Full).await?;
            let end = self.open_until(write.connection(), id).await?;
            // The shared column is what makes the Python bridge refuse it too.
            if end.is_none_or(|end| end > now) {
                set_end(write.connection(), id, now).await?;
            }
            sqlx::query(
                "INSERT INTO bridge_conversation (conversation_id, closed_ms) VALUES (?1, ?2)
                 ON CONFLICT (conversation_id) DO UPDATE SET closed_ms = excluded.closed_ms",
            )
            .bind(id.as_str())
            .bind(millis(now))
            .execute(write.connection())
            .await?
            .wrote(1, "bridge_conversation")?;
            shared::audit_order(
                write.connection(),
                Some(id),
                None,
                "close_conversation",
                json!({}),
                now,
            )
            .await?;
            // Their daemon keeps neither any more: whoever watches must not
            // take that for silence.
            for side in Side::BOTH {
                let session = SessionKey::new(id.clone(), side);
                bump(write.connection(), &session).await?;
            }
            signal(write.connection()).await?;
            write.commit(Ring::Yes).await
        })
        .await
    }

    async fn verify(&self, callers: &[Caller], now: Timestamp) -> Result<Vec<Result<Verified>>> {
        self.run("verifying credentials", async {
            let ids: Vec<&str> = callers
                .iter()
                .map(|c| c.session.conversation.as_str())
                .collect();
            let mut reader = self.reader().await?;
            let rows = sqlx::query(concat!(
                "SELECT c.id, c.session_a_token, c.session_b_token, c.expires_at, l.closed_ms,
                        l.label, c.session_a_role, c.session_b_role, ",
                times::set_columns!(),
                " FROM conversations c LEFT JOIN bridge_conversation l ON l.conversation_id = c.id
                 WHERE c.id IN (SELECT value FROM json_each(?1))",
            ))
            .bind(json!(ids).to_string())
            .fetch_all(&mut *reader)
            .await?;
            let mut known = HashMap::with_capacity(rows.len());
            let mut by_rows = None;
            for row in &rows {
                // What cannot be read is not known.
                let at = match (times::now_of(row, SET, now).unwrap_or(None), by_rows) {
                    (Some(at), _) | (None, Some(at)) => at,
                    (None, None) => *by_rows.insert(times::now_by_rows(&mut reader, now).await?),
                };
                known.insert(shared::text(row, 0)?.into_owned(), (row, at));
            }
            callers
                .iter()
                .map(
                    |caller| match known.get(caller.session.conversation.as_str()) {
                        Some((row, at)) => Ok(judge(row, caller, *at).unwrap_or_else(|error| {
                            Err(Fault::from(error).explain(self.path(), "verifying credentials"))
                        })),
                        None => Ok(Err(self.no_conversation(&caller.session.conversation))),
                    },
                )
                .collect()
        })
        .await
    }
}

impl SqliteStore {
    pub(super) fn no_conversation(&self, id: &ConversationId) -> StoreError {
        StoreError::NoConversation(id.clone(), self.path().to_owned())
    }

    /// Refuses a caller that is not who it says; inside a transaction, so that
    /// what follows rests on it. `now` is the caller's own clock, which may be
    /// behind: what follows goes by the time that comes back.
    pub(super) async fn authenticate(
        &self,
        connection: &mut SqliteConnection,
        caller: &Caller,
        now: Timestamp,
    ) -> std::result::Result<Verified, Fault> {
        let row = sqlx::query(concat!(
            "SELECT c.id, c.session_a_token, c.session_b_token, c.expires_at, l.closed_ms,
                    l.label, c.session_a_role, c.session_b_role, ",
            times::set_columns!(),
            " FROM conversations c LEFT JOIN bridge_conversation l ON l.conversation_id = c.id
             WHERE c.id = ?1",
        ))
        .bind(caller.session.conversation.as_str())
        .fetch_optional(&mut *connection)
        .await?
        .ok_or_else(|| self.no_conversation(&caller.session.conversation))?;
        let now = match times::now_of(&row, SET, now).unwrap_or(None) {
            Some(now) => now,
            None => times::now_by_rows(connection, now).await?,
        };
        Ok(judge(&row, caller, now)??)
    }

    /// The end of a conversation that nobody closed; `None` if it cannot be
    /// read.
    async fn open_until(
        &self,
        connection: &mut SqliteConnection,
        id: &ConversationId,
    ) -> std::result::Result<Option<Timestamp>, Fault> {
        let row = sqlx::query(
            "SELECT l.closed_ms, c.expires_at FROM conversations c
             LEFT JOIN bridge_conversation l ON l.conversation_id = c.id WHERE c.id = ?1",
        )
        .bind(id.as_str())
        .fetch_optional(connection)
        .await?
        .ok_or_else(|| self.no_conversation(id))?;
        if row.try_get::<Option<i64>, _>(0)?.is_some() {
            return Err(StoreError::Closed(id.clone()).into());
        }
        Ok(timestamp::from_text(&shared::text(&row, 1)?))
    }
}

async fn set_end(
    connection: &mut SqliteConnection,
    id: &ConversationId,
    end: Timestamp,
) -> std::result::Result<(), Fault> {
    sqlx::query("UPDATE conversations SET expires_at = ?2 WHERE id = ?1")
        .bind(id.as_str())
        .bind(timestamp::to_text(end))
        .execute(connection)
        .await?
        .wrote(1, "conversations")?;
    Ok(())
}

/// Where [`times::set_columns`] begin in a row that [`judge`] reads.
const SET: usize = 8;

/// The row: id, token a, token b, expires_at, closed, label, role a, role b.
/// The token is checked first: who does not have it learns nothing else.
fn judge(
    row: &SqliteRow,
    caller: &Caller,
    now: Timestamp,
) -> std::result::Result<Result<Verified>, sqlx::Error> {
    let (token, role, partner) = match caller.session.side {
        Side::A => (1, 6, 7),
        Side::B => (2, 7, 6),
    };
    if !caller.token.matches(&shared::text(row, token)?) {
        return Ok(Err(StoreError::WrongToken(caller.session.clone())));
    }
    let id = &caller.session.conversation;
    if row.try_get::<Option<i64>, _>(4)?.is_some() {
        return Ok(Err(StoreError::Closed(id.clone())));
    }
    // An end that cannot be read is an end that has passed: fail closed.
    let expires_at = timestamp::from_text(&shared::text(row, 3)?).unwrap_or(Timestamp::UNIX_EPOCH);
    if expires_at <= now {
        return Ok(Err(StoreError::Expired {
            id: id.clone(),
            expired_at: expires_at,
            now,
        }));
    }
    Ok(Ok(Verified {
        now,
        expires_at,
        label: label(row.try_get(5)?),
        role: shared::text(row, role)?.into_owned(),
        partner_role: shared::text(row, partner)?.into_owned(),
    }))
}

fn label(text: Option<String>) -> Option<Label> {
    text.and_then(|text| text.parse().ok())
}

fn conversation(row: &SqliteRow) -> std::result::Result<Option<Conversation>, sqlx::Error> {
    let Ok(id) = shared::text(row, 0)?.parse() else {
        return Ok(None);
    };
    Ok(Some(Conversation {
        id,
        label: label(row.try_get(1)?),
        role_a: shared::text(row, 2)?.into_owned(),
        role_b: shared::text(row, 3)?.into_owned(),
        created_at: timestamp::from_text(&shared::text(row, 4)?),
        expires_at: timestamp::from_text(&shared::text(row, 5)?),
        closed_at: row.try_get::<Option<i64>, _>(6)?.map(from_millis),
        messages: row.try_get(7)?,
        unread: row.try_get(8)?,
    }))
}

async fn insert(
    connection: &mut SqliteConnection,
    new: &NewConversation,
    storage: TokenStorage,
    now: Timestamp,
) -> std::result::Result<(), Fault> {
    sqlx::query(
        "INSERT INTO conversations (id, session_a_role, session_b_role, session_a_token,
             session_b_token, created_at, expires_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    )
    .bind(new.id.as_str())
    .bind(&new.role_a)
    .bind(&new.role_b)
    .bind(new.token_a.stored(storage))
    .bind(new.token_b.stored(storage))
    .bind(timestamp::to_text(now))
    .bind(timestamp::to_text(new.expires_at))
    .execute(&mut *connection)
    .await?
    .wrote(1, "conversations")?;
    if let Some(label) = &new.label {
        free_label(connection, label).await?;
    }
    let taken = sqlx::query(
        "INSERT INTO bridge_conversation (conversation_id, label) VALUES (?1, ?2)
         ON CONFLICT (label) WHERE closed_ms IS NULL DO NOTHING",
    )
    .bind(new.id.as_str())
    .bind(new.label.as_ref().map(Label::as_str))
    .execute(&mut *connection)
    .await?
    .rows_affected()
        == 0;
    match (taken, &new.label) {
        (true, Some(label)) => return Err(not_labelled(connection, label).await?),
        (true, None) => return Err(Fault::Swallowed("bridge_conversation")),
        (false, _) => {}
    }
    times::set(&mut *connection, &[new.id.as_str()], None, now).await?;
    for side in Side::BOTH {
        sqlx::query("INSERT INTO bridge_session (conversation_id, session_id) VALUES (?1, ?2)")
            .bind(new.id.as_str())
            .bind(side.as_str())
            .execute(&mut *connection)
            .await?
            .wrote(1, "bridge_session")?;
    }
    let details = json!({ "roles": [new.role_a, new.role_b], "label": new.label });
    shared::audit(
        connection,
        Some(&new.id),
        None,
        "create_conversation",
        details,
        now,
    )
    .await
}

/// The Python bridge's cleanup takes conversations away and knows nothing of our
/// rows: a label must not stay taken by what is gone.
async fn free_label(
    connection: &mut SqliteConnection,
    label: &Label,
) -> std::result::Result<(), Fault> {
    sqlx::query(
        "DELETE FROM bridge_conversation WHERE label = ?1 AND closed_ms IS NULL
           AND conversation_id NOT IN (SELECT id FROM conversations)",
    )
    .bind(label.as_str())
    .execute(connection)
    .await?;
    Ok(())
}

/// Why a conversation did not get its label: another one has it, or the row was
/// kept out.
async fn not_labelled(
    connection: &mut SqliteConnection,
    label: &Label,
) -> std::result::Result<Fault, Fault> {
    let taken: bool = sqlx::query_scalar(
        "SELECT EXISTS (SELECT 1 FROM bridge_conversation WHERE label = ?1 AND closed_ms IS NULL)",
    )
    .bind(label.as_str())
    .fetch_one(connection)
    .await?;
    Ok(if taken {
        StoreError::LabelTaken(label.clone()).into()
    } else {
        Fault::Swallowed("bridge_conversation")
    })
}

async fn token_storage(
    connection: &mut SqliteConnection,
) -> std::result::Result<TokenStorage, Fault> {
    let word: Option<String> =
        sqlx::query_scalar("SELECT value FROM bridge_setting WHERE key = 'token_storage'")
            .fetch_optional(connection)
            .await?;
    Ok(word
        .and_then(|word| TokenStorage::from_word(&word))
        .unwrap_or(TokenStorage::Hashed))
}
