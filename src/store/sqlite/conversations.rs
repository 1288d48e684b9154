//! Who calls, for the calls that still hold their own SQL.

use std::time::Duration;

use jiff::Timestamp;
use sqlx::sqlite::SqliteRow;
use sqlx::{Row as _, SqliteConnection};

use super::SqliteStore;
use super::fault::Fault;
use super::{from_millis, shared};
use crate::model::{Label, SessionKey, Side, timestamp};
use crate::store::ops::callers;
use crate::store::rows::{EndSet, Party};
use crate::store::{Caller, Verified};

impl SqliteStore {
    /// [`callers::authenticate`] for the calls that still hold their own SQL.
    pub(super) async fn authenticate(
        &self,
        connection: &mut SqliteConnection,
        caller: &Caller,
        now: Timestamp,
    ) -> std::result::Result<Verified, Fault> {
        let party = party(connection, &caller.session)
            .await?
            .ok_or_else(|| callers::nowhere(self.path(), &caller.session.conversation))?;
        let now = match callers::set_time(&party, now) {
            Some(now) => now,
            None => callers::row_time(newest_audit(connection).await?, now),
        };
        Ok(callers::judge(party, caller, now)?)
    }
}

/// The columns that [`party_of`] reads.
macro_rules! party_columns {
    () => {
        "SELECT c.id, c.session_a_token, c.session_b_token, c.session_a_role, c.session_b_role,
                c.expires_at, l.closed_ms, l.label, l.set_ms, l.set_boot_ms, l.set_boot_id
         FROM conversations c LEFT JOIN bridge_conversation l ON l.conversation_id = c.id "
    };
}

/// What a caller is judged by.
async fn party(
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

async fn newest_audit(
    connection: &mut SqliteConnection,
) -> std::result::Result<Option<Timestamp>, Fault> {
    let row =
        sqlx::query("SELECT timestamp FROM audit_log WHERE id = (SELECT max(id) FROM audit_log)")
            .fetch_optional(connection)
            .await?;
    Ok(match &row {
        Some(row) => timestamp::from_text(&shared::text(row, 0)?),
        None => None,
    })
}
