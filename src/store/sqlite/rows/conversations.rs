//! Rows of `conversations` and of ours beside it.

use std::collections::HashMap;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::json;
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};

use crate::model::session::Conversation;
use crate::model::token::TokenStorage;
use crate::model::{ConversationId, Label, SessionKey, Side, timestamp};
use crate::store::rows::{ConversationRows, End, EndSet, Party};
use crate::store::sqlite::engine::SqliteRows;
use crate::store::sqlite::fault::Fault;
use crate::store::sqlite::owed::owed_mail;
use crate::store::sqlite::written::Written as _;
use crate::store::sqlite::{from_millis, millis, odd, shared, times};
use crate::store::{NewConversation, Result};

/// The columns that [`party_of`] reads.
macro_rules! party_columns {
    () => {
        "SELECT c.id, c.session_a_token, c.session_b_token, c.session_a_role, c.session_b_role,
                c.expires_at, l.closed_ms, l.label, l.set_ms, l.set_boot_ms, l.set_boot_id
         FROM conversations c LEFT JOIN bridge_conversation l ON l.conversation_id = c.id "
    };
}

/// See [`ConversationRows::party`].
pub(in crate::store::sqlite) async fn party(
    connection: &mut SqliteConnection,
    session: &SessionKey,
) -> std::result::Result<Option<Party>, Fault> {
    let row = sqlx::query(concat!(party_columns!(), "WHERE c.id = ?1"))
        .bind(session.conversation.as_str())
        .fetch_optional(connection)
        .await?;
    match row {
        Some(row) => Ok(Some(party_of(&row, session.side)?)),
        None => Ok(None),
    }
}

fn party_of(row: &SqliteRow, side: Side) -> std::result::Result<Party, sqlx::Error> {
    let (token, role, partner) = match side {
        Side::A => (1, 3, 4),
        Side::B => (2, 4, 3),
    };
    // What cannot be read is not known.
    let set = (
        row.try_get::<Option<i64>, _>(8).unwrap_or(None),
        row.try_get::<Option<i64>, _>(9).unwrap_or(None),
        row.try_get::<Option<String>, _>(10).unwrap_or(None),
    );
    let set = match set {
        (Some(at), Some(boot), Some(boot_id)) => Some(EndSet {
            at: from_millis(at),
            boot: Duration::from_millis(u64::try_from(boot).unwrap_or(0)),
            boot_id,
        }),
        _ => None,
    };
    Ok(Party {
        token: shared::text(row, token)?.into_owned(),
        role: shared::text(row, role)?.into_owned(),
        partner_role: shared::text(row, partner)?.into_owned(),
        label: label(row.try_get(7)?),
        expires_at: timestamp::from_text(&shared::text(row, 5)?),
        closed: row.try_get::<Option<i64>, _>(6)?.is_some(),
        set,
    })
}

fn label(text: Option<String>) -> Option<Label> {
    text.and_then(|text| text.parse().ok())
}

fn conversation(row: &SqliteRow) -> std::result::Result<Option<Conversation>, sqlx::Error> {
    // A row whose id is no id is some other program's; it cannot be named on our
    // command line either.
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

impl ConversationRows for SqliteRows {
    fn party(&mut self, session: &SessionKey) -> Result<Option<Party>> {
        self.run(async |connection| party(connection, session).await)
    }

    fn parties(&mut self, sessions: &[SessionKey]) -> Result<Vec<Result<Option<Party>>>> {
        let ids: Vec<&str> = sessions.iter().map(|s| s.conversation.as_str()).collect();
        let parties = self.run(async |connection| {
            let rows = sqlx::query(concat!(
                party_columns!(),
                "WHERE c.id IN (SELECT value FROM json_each(?1))"
            ))
            .bind(json!(ids).to_string())
            .fetch_all(connection)
            .await?;
            let mut known = HashMap::with_capacity(rows.len());
            for row in &rows {
                known.insert(shared::text(row, 0)?.into_owned(), row);
            }
            let parties = sessions.iter().map(|session| {
                let row = known.get(session.conversation.as_str());
                row.map(|row| party_of(row, session.side)).transpose()
            });
            Ok(parties.collect::<Vec<_>>())
        })?;
        let parties = parties.into_iter().map(|party| {
            party.map_err(|error| Fault::from(error).explain(self.path(), "verifying credentials"))
        });
        Ok(parties.collect())
    }

    fn conversations(&mut self, only: Option<&ConversationId>) -> Result<Vec<Conversation>> {
        self.run(async |connection| {
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
                 WHERE ?1 IS NULL OR c.id = ?1 ORDER BY c.created_at, c.id",
            ))
            .bind(only.map(ConversationId::as_str))
            .fetch_all(connection)
            .await?;
            if only.is_some() {
                let mut found = Vec::with_capacity(rows.len());
                for row in &rows {
                    found.extend(conversation(row)?);
                }
                return Ok(found);
            }
            Ok(odd::readable_of_ours(&rows, "conversations", conversation))
        })
    }

    fn end(&mut self, id: &ConversationId) -> Result<Option<End>> {
        self.run(async |connection| {
            let row = sqlx::query(
                "SELECT l.closed_ms, c.expires_at FROM conversations c
                 LEFT JOIN bridge_conversation l ON l.conversation_id = c.id WHERE c.id = ?1",
            )
            .bind(id.as_str())
            .fetch_optional(connection)
            .await?;
            Ok(match row {
                Some(row) => Some(End {
                    closed: row.try_get::<Option<i64>, _>(0)?.is_some(),
                    at: timestamp::from_text(&shared::text(&row, 1)?),
                }),
                None => None,
            })
        })
    }

    fn tokens(&mut self, id: &ConversationId) -> Result<Option<[String; 2]>> {
        self.run(async |connection| {
            let row = sqlx::query(
                "SELECT session_a_token, session_b_token FROM conversations WHERE id = ?1",
            )
            .bind(id.as_str())
            .fetch_optional(connection)
            .await?;
            Ok(match row {
                Some(row) => Some([
                    shared::text(&row, 0)?.into_owned(),
                    shared::text(&row, 1)?.into_owned(),
                ]),
                None => None,
            })
        })
    }

    fn insert_conversation(
        &mut self,
        new: &NewConversation,
        storage: TokenStorage,
        now: Timestamp,
    ) -> Result<()> {
        self.run(async |connection| {
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
            for side in Side::BOTH {
                sqlx::query(
                    "INSERT INTO bridge_session (conversation_id, session_id) VALUES (?1, ?2)",
                )
                .bind(new.id.as_str())
                .bind(side.as_str())
                .execute(&mut *connection)
                .await?
                .wrote(1, "bridge_session")?;
            }
            Ok(())
        })
    }

    fn set_label(&mut self, id: &ConversationId, label: &Label) -> Result<bool> {
        self.run(async |connection| {
            // The Python bridge's cleanup takes conversations away and knows nothing
            // of our rows: a label must not stay taken by what is gone.
            sqlx::query(
                "DELETE FROM bridge_conversation WHERE label = ?1 AND closed_ms IS NULL
                   AND conversation_id NOT IN (SELECT id FROM conversations)",
            )
            .bind(label.as_str())
            .execute(&mut *connection)
            .await?;
            // Of the conversation itself, too: an UPSERT names one conflict, and there
            // are two.
            sqlx::query(
                "INSERT INTO bridge_conversation (conversation_id) VALUES (?1)
                 ON CONFLICT (conversation_id) DO NOTHING",
            )
            .bind(id.as_str())
            .execute(&mut *connection)
            .await?;
            let set = sqlx::query(
                "UPDATE bridge_conversation SET label = ?2 WHERE conversation_id = ?1
                   AND NOT EXISTS (SELECT 1 FROM bridge_conversation other
                       WHERE other.label = ?2 AND other.closed_ms IS NULL
                         AND other.conversation_id <> ?1)",
            )
            .bind(id.as_str())
            .bind(label.as_str())
            .execute(&mut *connection)
            .await?
            .rows_affected();
            if set > 0 {
                return Ok(true);
            }
            let taken: bool = sqlx::query_scalar(
                "SELECT EXISTS (SELECT 1 FROM bridge_conversation
                                WHERE label = ?1 AND closed_ms IS NULL)",
            )
            .bind(label.as_str())
            .fetch_one(connection)
            .await?;
            if taken {
                Ok(false)
            } else {
                Err(Fault::Swallowed("bridge_conversation"))
            }
        })
    }

    fn set_end(&mut self, id: &ConversationId, end: Timestamp) -> Result<()> {
        self.run(async |connection| {
            sqlx::query("UPDATE conversations SET expires_at = ?2 WHERE id = ?1")
                .bind(id.as_str())
                .bind(timestamp::to_text(end))
                .execute(connection)
                .await?
                .wrote(1, "conversations")?;
            Ok(())
        })
    }

    fn note_end_set(&mut self, id: &ConversationId, now: Timestamp) -> Result<()> {
        self.run(async |connection| times::set(connection, &[id.as_str()], None, now).await)
    }

    fn close(&mut self, id: &ConversationId, now: Timestamp) -> Result<()> {
        self.run(async |connection| {
            sqlx::query(
                "INSERT INTO bridge_conversation (conversation_id, closed_ms) VALUES (?1, ?2)
                 ON CONFLICT (conversation_id) DO UPDATE SET closed_ms = excluded.closed_ms",
            )
            .bind(id.as_str())
            .bind(millis(now))
            .execute(connection)
            .await?
            .wrote(1, "bridge_conversation")?;
            Ok(())
        })
    }
}
