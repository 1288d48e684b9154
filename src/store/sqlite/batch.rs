//! Messages ready to be written, and many of them written at once.

use std::borrow::Cow;

use jiff::Timestamp;
use serde_json::{Value, json};
use sqlx::SqliteConnection;

use super::fault::Fault;
use super::written::Written as _;
use crate::model::message::{Draft, MAX_CHARACTERS};
use crate::model::redact::{SecretKind, redact_json, redact_within};
use crate::model::{MessageId, SessionKey, timestamp};
use crate::store::{Sent, StoreError};

/// A draft without its secrets, in the form that the store keeps.
pub(super) struct Clean<'a> {
    pub(super) text: Cow<'a, str>,
    pub(super) metadata: String,
    pub(super) redacted: Vec<SecretKind>,
}

impl<'a> Clean<'a> {
    pub(super) fn new(draft: &'a Draft) -> Result<Self, StoreError> {
        let mut metadata = draft.metadata().map_err(StoreError::Invalid)?;
        let text = redact_within(draft.body.as_str(), MAX_CHARACTERS);
        let mut redacted = text.kinds;
        for kind in redact_json(&mut metadata) {
            if !redacted.contains(&kind) {
                redacted.push(kind);
            }
        }
        Ok(Self {
            text: text.text,
            metadata: metadata.to_string(),
            redacted,
        })
    }

    /// What the audit log says of it.
    pub(super) fn details(&self, from: &SessionKey, id: i64) -> Value {
        json!({
            "to": from.side.other(),
            "message_id": id,
            "message_length": self.text.chars().count(),
            "redacted": !self.redacted.is_empty(),
            "redacted_kinds": self.redacted,
        })
    }
}

/// Writes messages that nothing else hangs on, in order. Two statements for all of
/// them, so that other writers wait as long as for a few: one statement a row takes
/// as long as all else that a batch does.
pub(super) async fn insert(
    connection: &mut SqliteConnection,
    from: &SessionKey,
    clean: Vec<Clean<'_>>,
    now: Timestamp,
) -> Result<Vec<Sent>, Fault> {
    let rows: Vec<_> = clean
        .iter()
        .map(|clean| (&clean.text, &clean.metadata))
        .collect();
    let ids: Vec<i64> = sqlx::query_scalar(
        "INSERT INTO messages (conversation_id, from_session, to_session, message, metadata, timestamp)
         SELECT ?1, ?2, ?3, value ->> 0, value ->> 1, ?4 FROM json_each(?5) ORDER BY key
         RETURNING id",
    )
    .bind(from.conversation.as_str())
    .bind(from.side.as_str())
    .bind(from.side.other().as_str())
    .bind(timestamp::to_text(now))
    .bind(json!(rows).to_string())
    .fetch_all(&mut *connection)
    .await?;
    // Ids ascend in the order of writing; SQLite promises nothing of that of RETURNING.
    let mut ids = ids.wrote(clean.len(), "messages")?;
    ids.sort_unstable();
    let details: Vec<_> = clean
        .iter()
        .zip(&ids)
        .map(|(clean, id)| clean.details(from, *id))
        .collect();
    sqlx::query(
        "INSERT INTO audit_log (conversation_id, session_id, action, details, timestamp)
         SELECT ?1, ?2, 'send_message', value, ?3 FROM json_each(?4) ORDER BY key",
    )
    .bind(from.conversation.as_str())
    .bind(from.side.as_str())
    .bind(timestamp::to_text(now))
    .bind(json!(details).to_string())
    .execute(connection)
    .await?
    .wrote(details.len(), "audit_log")?;
    let sent = clean.into_iter().zip(ids).map(|(clean, id)| Sent {
        id: MessageId(id),
        redacted: clean.redacted,
        duplicate: false,
    });
    Ok(sent.collect())
}
