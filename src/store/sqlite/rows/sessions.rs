//! Rows of ours about sessions.

use jiff::Timestamp;

use crate::model::SessionKey;
use crate::store::Result;
use crate::store::rows::SessionRows;
use crate::store::sqlite::engine::SqliteRows;
use crate::store::sqlite::written::Written as _;
use crate::store::sqlite::{fleet, messages};

impl SessionRows for SqliteRows {
    fn note_call(&mut self, session: &SessionKey, did: Option<Timestamp>) -> Result<()> {
        self.run(async |connection| messages::note(connection, session, did).await)
    }

    fn note_first_fetch(&mut self, session: &SessionKey, now: Timestamp) -> Result<()> {
        self.run(async |connection| messages::fetched(connection, session, now).await)
    }

    fn note_change(&mut self, session: &SessionKey) -> Result<()> {
        self.run(async |connection| fleet::bump(connection, session).await)
    }

    fn set_capacity(&mut self, session: &SessionKey, capacity: Option<u32>) -> Result<()> {
        self.run(async |connection| {
            sqlx::query(
                "UPDATE bridge_session SET capacity = ?3
                 WHERE conversation_id = ?1 AND session_id = ?2",
            )
            .bind(session.conversation.as_str())
            .bind(session.side.as_str())
            .bind(capacity)
            .execute(connection)
            .await?
            .wrote(1, "bridge_session")?;
            Ok(())
        })
    }
}
