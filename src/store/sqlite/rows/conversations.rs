//! Rows of `conversations` and of ours beside it.

use std::collections::HashMap;
use std::time::Duration;

use jiff::Timestamp;
use rusqlite::{Row, params};
use serde_json::json;

use crate::host;
use crate::model::session::Conversation;
use crate::model::token::TokenStorage;
use crate::model::{ConversationId, Label, SessionKey, Side, timestamp};
use crate::store::rows::{ConversationRows, End, EndSet, Party};
use crate::store::sqlite::engine::SqliteRows;
use crate::store::sqlite::fault::{Fault, explain_rusqlite};
use crate::store::sqlite::owed::owed_mail;
use crate::store::sqlite::statements::{Statements as _, count, readable, text};
use crate::store::sqlite::written::Written as _;
use crate::store::sqlite::{from_millis, millis};
use crate::store::{NewConversation, Result};
use crate::text::millis as duration_millis;

/// The columns that [`party`] reads.
macro_rules! party_columns {
    () => {
        "SELECT c.id, c.session_a_token, c.session_b_token, c.session_a_role, c.session_b_role,
                c.expires_at, l.closed_ms, l.label, l.set_ms, l.set_boot_ms, l.set_boot_id
         FROM conversations c LEFT JOIN bridge_conversation l ON l.conversation_id = c.id "
    };
}

fn party(row: &Row<'_>, side: Side) -> rusqlite::Result<Party> {
    let (token, role, partner) = match side {
        Side::A => (1, 3, 4),
        Side::B => (2, 4, 3),
    };
    // What cannot be read is not known.
    let set = (
        row.get::<_, Option<i64>>(8).unwrap_or(None),
        row.get::<_, Option<i64>>(9).unwrap_or(None),
        row.get::<_, Option<String>>(10).unwrap_or(None),
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
        token: text(row, token)?.into_owned(),
        role: text(row, role)?.into_owned(),
        partner_role: text(row, partner)?.into_owned(),
        label: label(row.get(7)?),
        expires_at: timestamp::from_text(&text(row, 5)?),
        closed: row.get::<_, Option<i64>>(6)?.is_some(),
        set,
    })
}

fn label(text: Option<String>) -> Option<Label> {
    text.and_then(|text| text.parse().ok())
}

fn conversation(row: &Row<'_>) -> rusqlite::Result<Option<Conversation>> {
    // A row whose id is no id is some other program's; it cannot be named on our
    // command line either.
    let Ok(id) = text(row, 0)?.parse() else {
        return Ok(None);
    };
    Ok(Some(Conversation {
        id,
        label: label(row.get(1)?),
        role_a: text(row, 2)?.into_owned(),
        role_b: text(row, 3)?.into_owned(),
        created_at: timestamp::from_text(&text(row, 4)?),
        expires_at: timestamp::from_text(&text(row, 5)?),
        closed_at: row.get::<_, Option<i64>>(6)?.map(from_millis),
        messages: count(row, 7)?,
        unread: count(row, 8)?,
    }))
}

impl ConversationRows for SqliteRows {
    fn party(&mut self, session: &SessionKey) -> Result<Option<Party>> {
        self.run(|connection| {
            let party = connection.first(
                concat!(party_columns!(), "WHERE c.id = ?1"),
                [session.conversation.as_str()],
                |row| party(row, session.side),
            )?;
            Ok(party)
        })
    }

    fn parties(&mut self, sessions: &[SessionKey]) -> Result<Vec<Result<Option<Party>>>> {
        let ids: Vec<&str> = sessions.iter().map(|s| s.conversation.as_str()).collect();
        let ids = json!(ids).to_string();
        let store = self.path().to_owned();
        self.run(|connection| {
            let known: HashMap<_, _> = connection
                .all(
                    concat!(
                        party_columns!(),
                        "WHERE c.id IN (SELECT value FROM json_each(?1))"
                    ),
                    [ids],
                    |row| {
                        let sides = Side::BOTH.map(|side| party(row, side));
                        Ok((text(row, 0)?.into_owned(), sides))
                    },
                )?
                .into_iter()
                .collect();
            let parties = sessions.iter().map(|session| {
                let Some([a, b]) = known.get(session.conversation.as_str()) else {
                    return Ok(None);
                };
                let party = match session.side {
                    Side::A => a,
                    Side::B => b,
                };
                party
                    .as_ref()
                    .map(|party| Some(party.clone()))
                    .map_err(|odd| explain_rusqlite(odd, &store, "verifying credentials"))
            });
            Ok(parties.collect())
        })
    }

    fn conversations(&mut self, only: Option<&ConversationId>) -> Result<Vec<Conversation>> {
        self.run(|connection| {
            let conversations = connection.all(
                concat!(
                    "SELECT c.id, l.label, c.session_a_role, c.session_b_role, c.created_at,
                            c.expires_at, l.closed_ms,
                            (SELECT count(*) FROM messages m WHERE m.conversation_id = c.id),
                            (SELECT sum((SELECT count(*) FROM (",
                    owed_mail!(),
                    ")))
                             FROM (SELECT c.id AS conversation, 'a' AS side
                                   UNION ALL SELECT c.id, 'b') w)
                     FROM conversations c
                     LEFT JOIN bridge_conversation l ON l.conversation_id = c.id
                     WHERE ?1 IS NULL OR c.id = ?1 ORDER BY c.created_at, c.id",
                ),
                [only.map(ConversationId::as_str)],
                |row| match only {
                    Some(_) => conversation(row),
                    None => Ok(readable("conversations", conversation(row)).flatten()),
                },
            )?;
            Ok(conversations.into_iter().flatten().collect())
        })
    }

    fn has_conversation(&mut self, id: &ConversationId) -> Result<bool> {
        self.run(|connection| {
            let there = connection.one(
                "SELECT EXISTS (SELECT 1 FROM conversations WHERE id = ?1)",
                [id.as_str()],
                |row| row.get(0),
            )?;
            Ok(there)
        })
    }

    fn label(&mut self, id: &ConversationId) -> Result<Option<Label>> {
        self.run(|connection| {
            let found = connection.first(
                "SELECT label FROM bridge_conversation WHERE conversation_id = ?1",
                [id.as_str()],
                |row| row.get(0),
            )?;
            Ok(label(found.flatten()))
        })
    }

    fn end(&mut self, id: &ConversationId) -> Result<Option<End>> {
        self.run(|connection| {
            let end = connection.first(
                "SELECT l.closed_ms, c.expires_at FROM conversations c
                 LEFT JOIN bridge_conversation l ON l.conversation_id = c.id WHERE c.id = ?1",
                [id.as_str()],
                |row| {
                    Ok(End {
                        closed: row.get::<_, Option<i64>>(0)?.is_some(),
                        at: timestamp::from_text(&text(row, 1)?),
                    })
                },
            )?;
            Ok(end)
        })
    }

    fn tokens(&mut self, id: &ConversationId) -> Result<Option<[String; 2]>> {
        self.run(|connection| {
            let tokens = connection.first(
                "SELECT session_a_token, session_b_token FROM conversations WHERE id = ?1",
                [id.as_str()],
                |row| Ok([text(row, 0)?.into_owned(), text(row, 1)?.into_owned()]),
            )?;
            Ok(tokens)
        })
    }

    fn set_token(&mut self, session: &SessionKey, stored: &str) -> Result<()> {
        let sql = match session.side {
            Side::A => "UPDATE conversations SET session_a_token = ?2 WHERE id = ?1",
            Side::B => "UPDATE conversations SET session_b_token = ?2 WHERE id = ?1",
        };
        self.run(|connection| {
            connection
                .change(sql, [session.conversation.as_str(), stored])?
                .wrote(1, "conversations")?;
            Ok(())
        })
    }

    fn insert_conversation(
        &mut self,
        new: &NewConversation,
        storage: TokenStorage,
        now: Timestamp,
    ) -> Result<()> {
        self.run(|connection| {
            connection
                .change(
                    "INSERT INTO conversations (id, session_a_role, session_b_role,
                         session_a_token, session_b_token, created_at, expires_at)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
                    params![
                        new.id.as_str(),
                        new.role_a,
                        new.role_b,
                        new.token_a.stored(storage),
                        new.token_b.stored(storage),
                        timestamp::to_text(now),
                        timestamp::to_text(new.expires_at)
                    ],
                )?
                .wrote(1, "conversations")?;
            for side in Side::BOTH {
                connection
                    .change(
                        "INSERT INTO bridge_session (conversation_id, session_id) VALUES (?1, ?2)",
                        [new.id.as_str(), side.as_str()],
                    )?
                    .wrote(1, "bridge_session")?;
            }
            Ok(())
        })
    }

    fn set_label(&mut self, id: &ConversationId, label: &Label) -> Result<bool> {
        let (id, label) = (id.as_str(), label.as_str());
        self.run(|connection| {
            // The Python bridge's cleanup removes conversations and does not know our
            // rows: a label must not stay taken by what is gone.
            connection.change(
                "DELETE FROM bridge_conversation WHERE label = ?1 AND closed_ms IS NULL
                   AND conversation_id NOT IN (SELECT id FROM conversations)",
                [label],
            )?;
            // Of the conversation itself, too: an UPSERT names one conflict, and there
            // are two.
            connection.change(
                "INSERT INTO bridge_conversation (conversation_id) VALUES (?1)
                 ON CONFLICT (conversation_id) DO NOTHING",
                [id],
            )?;
            let set = connection.change(
                "UPDATE bridge_conversation SET label = ?2 WHERE conversation_id = ?1
                   AND NOT EXISTS (SELECT 1 FROM bridge_conversation other
                       WHERE other.label = ?2 AND other.closed_ms IS NULL
                         AND other.conversation_id <> ?1)",
                [id, label],
            )?;
            if set > 0 {
                return Ok(true);
            }
            let taken = connection.one(
                "SELECT EXISTS (SELECT 1 FROM bridge_conversation
                                WHERE label = ?1 AND closed_ms IS NULL)",
                [label],
                |row| row.get(0),
            )?;
            if taken {
                Ok(false)
            } else {
                Err(Fault::Swallowed("bridge_conversation"))
            }
        })
    }

    fn set_end(&mut self, id: &ConversationId, end: Timestamp) -> Result<()> {
        self.run(|connection| {
            connection
                .change(
                    "UPDATE conversations SET expires_at = ?2 WHERE id = ?1",
                    params![id.as_str(), timestamp::to_text(end)],
                )?
                .wrote(1, "conversations")?;
            Ok(())
        })
    }

    fn note_end_set(&mut self, id: &ConversationId, now: Timestamp) -> Result<()> {
        let boot = host::boot();
        self.run(|connection| {
            connection
                .change(
                    "INSERT INTO bridge_conversation
                         (conversation_id, set_ms, set_boot_ms, set_boot_id)
                     VALUES (?1, ?2, ?3, ?4)
                     ON CONFLICT (conversation_id) DO UPDATE SET
                         set_ms = excluded.set_ms, set_boot_ms = excluded.set_boot_ms,
                         set_boot_id = excluded.set_boot_id, renewed_to = NULL,
                         renewed_for_ms = NULL",
                    params![id.as_str(), millis(now), duration_millis(boot.now), boot.id],
                )?
                .wrote(1, "bridge_conversation")?;
            Ok(())
        })
    }

    fn close(&mut self, id: &ConversationId, now: Timestamp) -> Result<()> {
        self.run(|connection| {
            connection
                .change(
                    "INSERT INTO bridge_conversation (conversation_id, closed_ms) VALUES (?1, ?2)
                     ON CONFLICT (conversation_id) DO UPDATE SET closed_ms = excluded.closed_ms",
                    params![id.as_str(), millis(now)],
                )?
                .wrote(1, "bridge_conversation")?;
            Ok(())
        })
    }
}
