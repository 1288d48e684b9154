//! What the store says of the time: when its rows were written, and when the
//! ends of its conversations were set.

use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use sqlx::{Row, SqliteConnection};

use super::fault::Fault;
use super::written::Written as _;
use super::{from_millis, millis, shared};
use crate::host;
use crate::model::timestamp;
use crate::store::Witness;
use crate::text::millis as duration_millis;

/// Where no end was set in this boot the newest row tells the time, if it is not
/// itself of a clock that ran ahead.
const PLAUSIBLE: SignedDuration = SignedDuration::from_mins(5);

/// An end that a renewal wrote lies this much beyond what it may: the clock was
/// wrong.
const BEYOND: SignedDuration = SignedDuration::from_hours(24);

/// The prune's mark in `bridge_signal`.
const PRUNED: &str = "pruned";

/// What agents and operators wrote last, each by the place of the row: one row of
/// a clock that ran ahead tells nothing after the next. What daemons write about
/// themselves is not among it, but for the sign of life of the last one.
pub(super) async fn witness(connection: &mut SqliteConnection) -> Result<Witness, Fault> {
    let row = sqlx::query(
        "SELECT (SELECT timestamp FROM messages
                 WHERE id > (SELECT max(id) FROM messages) - 500 AND from_session <> 'system'
                 ORDER BY id DESC LIMIT 1),
                (SELECT timestamp FROM audit_log
                 WHERE id > (SELECT max(id) FROM audit_log) - 500 AND action IN (
                     'create_conversation', 'send_message', 'get_messages')
                 ORDER BY id DESC LIMIT 1),
                (SELECT created_at FROM conversations ORDER BY rowid DESC LIMIT 1),
                (SELECT s.n FROM bridge_daemon d JOIN bridge_signal s
                     ON s.name = 'seen:' || d.daemon_id ORDER BY d.change DESC LIMIT 1),
                (SELECT n FROM bridge_signal WHERE name = ?1)",
    )
    .bind(PRUNED)
    .fetch_one(connection)
    .await?;
    // What cannot be read tells no time.
    let number = |column: usize| row.try_get::<Option<i64>, _>(column).unwrap_or(None);
    let mut newest = number(3).map(from_millis);
    for column in 0..3 {
        newest = newest.max(timestamp::from_text(&shared::text(&row, column)?));
    }
    Ok(Witness {
        newest,
        pruned: number(4).map(from_millis),
    })
}

/// Notes that what ended long ago was taken away by this time.
pub(super) async fn pruned(connection: &mut SqliteConnection, now: Timestamp) -> Result<(), Fault> {
    sqlx::query(
        "INSERT INTO bridge_signal (name, n) VALUES (?1, ?2)
         ON CONFLICT (name) DO UPDATE SET n = excluded.n",
    )
    .bind(PRUNED)
    .bind(millis(now))
    .execute(connection)
    .await?
    .wrote(1, "bridge_signal")?;
    Ok(())
}

/// Notes the two clocks beside the ends of conversations that were just set, and
/// by which renewal, if a daemon did it.
pub(super) async fn set(
    connection: &mut SqliteConnection,
    conversations: &[&str],
    renewed: Option<(Timestamp, Timestamp)>,
    now: Timestamp,
) -> Result<(), Fault> {
    let boot = host::boot();
    let life = renewed.map(|(until, now)| until.as_millisecond() - now.as_millisecond());
    sqlx::query(
        "INSERT INTO bridge_conversation (conversation_id, set_ms, set_boot_ms, set_boot_id,
             renewed_to, renewed_for_ms)
         SELECT value, ?2, ?3, ?4, ?5, ?6 FROM json_each(?1) WHERE true
         ON CONFLICT (conversation_id) DO UPDATE SET
             set_ms = excluded.set_ms, set_boot_ms = excluded.set_boot_ms,
             set_boot_id = excluded.set_boot_id, renewed_to = excluded.renewed_to,
             renewed_for_ms = excluded.renewed_for_ms",
    )
    .bind(json!(conversations).to_string())
    .bind(millis(now))
    .bind(duration_millis(boot.now))
    .bind(&boot.id)
    .bind(renewed.map(|(until, _)| timestamp::to_text(until)))
    .bind(life)
    .execute(connection)
    .await?
    .wrote(conversations.len(), "bridge_conversation")?;
    Ok(())
}

/// Takes back what daemons wrote while their clock was far ahead: an end that a
/// renewal set and that no renewal could set today. Not by a clock that is behind
/// what was written last. Returns how many conversations that were.
pub(super) async fn mend(connection: &mut SqliteConnection, now: Timestamp) -> Result<u64, Fault> {
    let newest = witness(&mut *connection).await?.newest;
    if newest.is_some_and(|newest| newest.duration_since(now) > PLAUSIBLE) {
        return Ok(0);
    }
    let beyond = millis(now.checked_add(BEYOND).unwrap_or(Timestamp::MAX));
    let rows = sqlx::query(
        "SELECT c.id, c.expires_at, l.renewed_for_ms
         FROM bridge_conversation l CROSS JOIN conversations c ON c.id = l.conversation_id
         WHERE l.renewed_to = c.expires_at AND l.renewed_to > ?1 AND l.closed_ms IS NULL",
    )
    .bind(timestamp::to_text(from_millis(beyond)))
    .fetch_all(&mut *connection)
    .await?;
    let mut mended = 0;
    for row in &rows {
        let life = row
            .try_get::<Option<i64>, _>(2)
            .unwrap_or(None)
            .unwrap_or(0);
        let end = timestamp::from_text(&shared::text(row, 1)?);
        if end.is_none_or(|end| millis(end) <= beyond.saturating_add(life)) {
            continue;
        }
        let id = shared::text(row, 0)?;
        let until = from_millis(millis(now).saturating_add(life));
        sqlx::query("UPDATE conversations SET expires_at = ?2 WHERE id = ?1")
            .bind(&*id)
            .bind(timestamp::to_text(until))
            .execute(&mut *connection)
            .await?
            .wrote(1, "conversations")?;
        set(&mut *connection, &[&id], Some((until, now)), now).await?;
        let conversation = id.parse().ok();
        let details =
            json!({ "expires_at": timestamp::to_text(until), "instead_of": shared::text(row, 1)? });
        shared::audit(
            &mut *connection,
            conversation.as_ref(),
            None,
            "renewal_taken_back",
            details,
            now,
        )
        .await?;
        mended += 1;
    }
    Ok(mended)
}
