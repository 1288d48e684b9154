//! Conversations: made, named, renewed, given other tokens, closed.

use jiff::Timestamp;
use serde_json::json;

use super::{audit, callers, settings};
use crate::model::session::Conversation;
use crate::model::token::{Token, TokenStorage};
use crate::model::{ConversationId, Label, SessionKey, Side, timestamp};
use crate::store::executor::Transaction;
use crate::store::rows::{Audit, Rows};
use crate::store::{Caller, NewConversation, Result, Signal, StoreError};

/// Makes conversations, all or none.
///
/// # Errors
/// [`StoreError::LabelTaken`], [`StoreError::IdTaken`].
pub(crate) fn create(
    transaction: &mut Transaction<'_>,
    new: &[NewConversation],
    now: Timestamp,
) -> Result<TokenStorage> {
    let rows = transaction.rows();
    let storage = settings::token_storage(rows)?;
    for conversation in new {
        let NewConversation { id, label, .. } = conversation;
        if rows.tokens(id)?.is_some() {
            return Err(StoreError::IdTaken(id.clone()));
        }
        rows.insert_conversation(conversation, storage, now)?;
        if let Some(label) = label {
            set_label(rows, id, label)?;
        }
        rows.note_end_set(id, now)?;
        let roles = [&conversation.role_a, &conversation.role_b];
        let details = json!({ "roles": roles, "label": label });
        audit::write(
            rows,
            vec![audit::of(Some(id), "create_conversation", details)],
            now,
        )?;
    }
    Ok(storage)
}

/// Gives an open conversation a label in the place of the one that it has.
///
/// # Errors
/// As [`crate::store::Store::label_conversation`].
pub(crate) fn label(
    transaction: &mut Transaction<'_>,
    id: &ConversationId,
    label: &Label,
    now: Timestamp,
) -> Result<()> {
    let rows = transaction.rows();
    open_until(rows, id)?;
    set_label(rows, id, label)?;
    let details = json!({ "label": label });
    audit::write(
        rows,
        vec![audit::of(Some(id), "label_conversation", details)],
        now,
    )?;
    // Programs that show these sessions show the new name.
    note_change(rows, id)
}

/// The tokens of both sides, if they are kept in the clear.
///
/// # Errors
/// As [`crate::store::Store::plain_tokens`].
pub(crate) fn plain_tokens(rows: &mut dyn Rows, id: &ConversationId) -> Result<Option<[Token; 2]>> {
    open_until(rows, id)?;
    let Some([a, b]) = rows.tokens(id)? else {
        return Err(callers::nowhere(rows.store(), id));
    };
    // A digest is no token.
    let tokens = Token::parse(&a).ok().zip(Token::parse(&b).ok());
    Ok(tokens.map(|(a, b)| [a, b]))
}

/// One conversation, by id.
///
/// # Errors
/// [`StoreError::NoConversation`].
pub(crate) fn show(rows: &mut dyn Rows, id: &ConversationId) -> Result<Conversation> {
    let found = rows.conversations(Some(id))?.pop();
    found.ok_or_else(|| callers::nowhere(rows.store(), id))
}

/// Moves the end of a conversation, never to an earlier time.
///
/// # Errors
/// As [`crate::store::Store::renew_conversation`].
pub(crate) fn renew(
    transaction: &mut Transaction<'_>,
    id: &ConversationId,
    until: Timestamp,
    now: Timestamp,
) -> Result<Timestamp> {
    let rows = transaction.rows();
    let end = open_until(rows, id)?;
    // Compared as times: another program may have written the text in another
    // form, and texts of two forms do not sort.
    let holds = end.map_or(until, |end| end.max(until));
    if end != Some(holds) {
        rows.set_end(id, holds)?;
    }
    rows.note_end_set(id, now)?;
    let details = json!({ "expires_at": timestamp::to_text(holds) });
    audit::order(rows, Some(id), "renew_conversation", details, now)?;
    Ok(holds)
}

/// Closes a conversation for good.
///
/// # Errors
/// As [`crate::store::Store::close_conversation`].
pub(crate) fn close(
    transaction: &mut Transaction<'_>,
    id: &ConversationId,
    now: Timestamp,
) -> Result<()> {
    let rows = transaction.rows();
    let end = open_until(rows, id)?;
    // The shared column is what makes the Python bridge refuse it too.
    if end.is_none_or(|end| end > now) {
        rows.set_end(id, now)?;
    }
    rows.close(id, now)?;
    audit::order(rows, Some(id), "close_conversation", json!({}), now)?;
    // Their daemon keeps neither any more: a watchdog must not take that for
    // silence.
    note_change(rows, id)?;
    rows.signal(Signal::Work)?;
    rows.signal(Signal::Access)?;
    transaction.ring();
    Ok(())
}

/// Puts another token in the place of a session's. The session itself presents the
/// token that ends; of an operator none is asked.
///
/// # Errors
/// As [`crate::store::Store::rekey_session`].
pub(crate) fn rekey(
    transaction: &mut Transaction<'_>,
    session: &SessionKey,
    presented: Option<&Token>,
    token: &Token,
    now: Timestamp,
) -> Result<TokenStorage> {
    let rows = transaction.rows();
    match presented {
        Some(presented) => {
            let caller = Caller {
                session: session.clone(),
                token: presented.clone(),
            };
            callers::authenticate(rows, &caller, now)?;
        }
        None => callers::ensure_open(rows, session, now)?,
    }
    let storage = settings::token_storage(rows)?;
    rows.set_token(session, &token.stored(storage))?;
    // Whose client that was, the new token's holder says anew.
    rows.forget_registration(session)?;
    rows.signal(Signal::Agents)?;
    let row = Audit {
        conversation: Some(session.conversation.clone()),
        side: Some(session.side),
        action: "rekey_session".into(),
        details: json!({ "storage": storage.as_str() }),
    };
    match presented {
        Some(_) => audit::write(rows, vec![row], now)?,
        None => audit::by_operator(rows, row, now)?,
    }
    // Programs that follow the session's mail verify their token again.
    rows.signal(Signal::Access)?;
    transaction.ring();
    Ok(storage)
}

/// The end of a conversation that was not closed; `None` if it cannot be read.
fn open_until(rows: &mut dyn Rows, id: &ConversationId) -> Result<Option<Timestamp>> {
    let Some(end) = rows.end(id)? else {
        return Err(callers::nowhere(rows.store(), id));
    };
    if end.closed {
        return Err(StoreError::Closed(id.clone()));
    }
    Ok(end.at)
}

fn set_label(rows: &mut dyn Rows, id: &ConversationId, label: &Label) -> Result<()> {
    if rows.set_label(id, label)? {
        return Ok(());
    }
    Err(StoreError::LabelTaken(label.clone()))
}

fn note_change(rows: &mut dyn Rows, id: &ConversationId) -> Result<()> {
    for side in Side::BOTH {
        rows.note_change(&SessionKey::new(id.clone(), side))?;
    }
    Ok(())
}
