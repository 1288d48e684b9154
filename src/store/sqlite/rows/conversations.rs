//! Rows of `conversations` and of ours beside it.

use std::time::Duration;

use sqlx::Row;

use crate::model::{SessionKey, Side, timestamp};
use crate::store::Result;
use crate::store::rows::{ConversationRows, EndSet, Party};
use crate::store::sqlite::engine::SqliteRows;
use crate::store::sqlite::{from_millis, shared};

impl ConversationRows for SqliteRows {
    fn party(&mut self, session: &SessionKey) -> Result<Option<Party>> {
        self.run(async |connection| {
            let row = sqlx::query(
                "SELECT c.session_a_token, c.session_b_token, c.session_a_role, c.session_b_role,
                        c.expires_at, l.closed_ms, l.label, l.set_ms, l.set_boot_ms, l.set_boot_id
                 FROM conversations c LEFT JOIN bridge_conversation l ON l.conversation_id = c.id
                 WHERE c.id = ?1",
            )
            .bind(session.conversation.as_str())
            .fetch_optional(connection)
            .await?;
            let Some(row) = row else {
                return Ok(None);
            };
            let (token, role, partner) = match session.side {
                Side::A => (0, 2, 3),
                Side::B => (1, 3, 2),
            };
            // What cannot be read is not known.
            let set = (
                row.try_get::<Option<i64>, _>(7).unwrap_or(None),
                row.try_get::<Option<i64>, _>(8).unwrap_or(None),
                row.try_get::<Option<String>, _>(9).unwrap_or(None),
            );
            let set = match set {
                (Some(at), Some(boot), Some(boot_id)) => Some(EndSet {
                    at: from_millis(at),
                    boot: Duration::from_millis(u64::try_from(boot).unwrap_or(0)),
                    boot_id,
                }),
                _ => None,
            };
            let label: Option<String> = row.try_get(6)?;
            Ok(Some(Party {
                token: shared::text(&row, token)?.into_owned(),
                role: shared::text(&row, role)?.into_owned(),
                partner_role: shared::text(&row, partner)?.into_owned(),
                label: label.and_then(|label| label.parse().ok()),
                expires_at: timestamp::from_text(&shared::text(&row, 4)?),
                closed: row.try_get::<Option<i64>, _>(5)?.is_some(),
                set,
            }))
        })
    }
}
