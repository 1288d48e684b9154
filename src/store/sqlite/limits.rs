//! How much a session may send, counted where it sends.

use jiff::Timestamp;
use sqlx::SqliteConnection;

use super::fault::Fault;
use crate::model::message::Draft;
use crate::model::rate::RateLimits;
use crate::model::{SessionKey, timestamp};
use crate::store::{Sent, StoreError};

/// Refuses a message that its sender may not send yet.
pub(super) async fn keep(
    connection: &mut SqliteConnection,
    from: &SessionKey,
    limits: RateLimits,
    now: Timestamp,
) -> std::result::Result<(), Fault> {
    for window in limits.windows() {
        let nth_newest: Option<String> = sqlx::query_scalar(
            "SELECT timestamp FROM messages
             WHERE conversation_id = ?1 AND from_session = ?2 AND timestamp <= ?3
             ORDER BY timestamp DESC LIMIT 1 OFFSET ?4",
        )
        .bind(from.conversation.as_str())
        .bind(from.side.as_str())
        .bind(timestamp::to_text(now))
        .bind(i64::from(window.limit) - 1)
        .fetch_optional(&mut *connection)
        .await?;
        window
            .admit(nth_newest.as_deref().and_then(timestamp::from_text), now)
            .map_err(|full| StoreError::RateLimited(from.clone(), full))?;
    }
    Ok(())
}

/// A batch is sent as a whole or not at all, so one that fills a window by
/// itself will be refused whenever it comes: waiting is no remedy for it.
/// `sent` of its `drafts` had found room.
pub(super) fn of_batch(why: Fault, drafts: &[Draft], sent: &[Sent], limits: RateLimits) -> Fault {
    let Fault::Store(StoreError::RateLimited(session, _)) = &why else {
        return why;
    };
    let fresh = sent.iter().filter(|sent| !sent.duplicate).count();
    // One that has an id may be known already, and takes no room then.
    let left = drafts[sent.len()..].iter();
    let new = fresh + left.filter(|draft| draft.client_id.is_none()).count();
    let never = limits
        .windows()
        .find(|window| u32::try_from(new).is_ok_and(|new| new > window.limit));
    match never {
        Some(window) => StoreError::BatchTooBig(session.clone(), drafts.len(), window).into(),
        None => why,
    }
}
