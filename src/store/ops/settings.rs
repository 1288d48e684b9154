//! Settings that all programs on a store share.

use std::str::FromStr;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::alerts::ensure_acts;
use super::{audit, callers};
use crate::model::SessionKey;
use crate::model::rate::RateLimits;
use crate::model::token::TokenStorage;
use crate::store::executor::Transaction;
use crate::store::rows::{Audit, Rows};
use crate::store::{Leader, Result, Signal};

/// The setting that lets housekeeping delete rows of the shared tables.
pub(crate) const PRUNE_FOREIGN: &str = "prune_foreign";

/// The limits that every sender keeps.
///
/// # Errors
/// The engine's.
pub(crate) fn rate_limits(rows: &mut dyn Rows) -> Result<RateLimits> {
    let mut limits = RateLimits::default();
    for (key, value) in rows.settings("rate.")? {
        let Ok(limit) = value.parse() else {
            continue;
        };
        match &*key {
            "rate.per_minute" => limits.per_minute = limit,
            "rate.per_hour" => limits.per_hour = limit,
            "rate.per_day" => limits.per_day = limit,
            _ => {}
        }
    }
    Ok(limits)
}

/// How tokens of new conversations are kept.
///
/// # Errors
/// The engine's.
pub(crate) fn token_storage(rows: &mut dyn Rows) -> Result<TokenStorage> {
    let words = rows.settings("token_storage")?;
    let known = words
        .iter()
        .find_map(|(_, word)| TokenStorage::from_word(word));
    Ok(known.unwrap_or(TokenStorage::Hashed))
}

/// A key and its value.
pub(crate) type Setting = (&'static str, String);

/// A setting that is a number; `None` if it is not set.
///
/// # Errors
/// The engine's.
pub(super) fn number<T: FromStr>(rows: &mut dyn Rows, key: &'static str) -> Result<Option<T>> {
    let found = rows
        .settings(key)?
        .into_iter()
        .find(|(name, _)| name == key);
    Ok(found.and_then(|(_, value)| value.parse().ok()))
}

/// Settings that a program keeps for itself and others.
///
/// # Errors
/// [`crate::store::StoreError::NotLeading`].
pub(crate) fn set(
    transaction: &mut Transaction<'_>,
    leader: Option<&Leader>,
    settings: &[Setting],
) -> Result<()> {
    let rows = transaction.rows();
    ensure_acts(rows, leader)?;
    settings
        .iter()
        .try_for_each(|(key, value)| rows.set_setting(key, value))
}

/// Settings that an operator orders.
///
/// # Errors
/// The engine's.
pub(crate) fn order(
    transaction: &mut Transaction<'_>,
    settings: &[Setting],
    now: Timestamp,
) -> Result<()> {
    set(transaction, None, settings)?;
    let details = settings
        .iter()
        .map(|(key, value)| ((*key).to_owned(), value.as_str().into()))
        .collect();
    audit::order(
        transaction.rows(),
        None,
        "settings",
        Value::Object(details),
        now,
    )
}

/// How many tasks a session may have at once, as an operator orders it.
///
/// # Errors
/// [`crate::store::StoreError::NoConversation`].
pub(crate) fn order_capacity(
    transaction: &mut Transaction<'_>,
    session: &SessionKey,
    capacity: Option<u32>,
    now: Timestamp,
) -> Result<()> {
    let rows = transaction.rows();
    if rows.end(&session.conversation)?.is_none() {
        return Err(callers::nowhere(rows.store(), &session.conversation));
    }
    rows.note_change(session)?;
    rows.set_capacity(session, capacity)?;
    let ordered = Audit {
        conversation: Some(session.conversation.clone()),
        side: Some(session.side),
        action: "capacity".into(),
        details: json!({ "capacity": capacity }),
    };
    audit::by_operator(rows, ordered, now)?;
    rows.signal(Signal::Work)?;
    transaction.ring();
    Ok(())
}
