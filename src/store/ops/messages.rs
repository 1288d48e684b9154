//! Messages: sent with their limits kept, handed out at least once.

use jiff::Timestamp;
use serde_json::json;

use super::callers::{authenticate, came_back};
use super::limits::{self, Room};
use super::{audit, settings};
use crate::model::message::{Draft, MAX_CHARACTERS, Message};
use crate::model::redact::{redact_json, redact_within};
use crate::model::session::Status;
use crate::model::{MessageId, SessionKey};
use crate::store::executor::Transaction;
use crate::store::fetches::{self, Reader};
use crate::store::rows::{Audit, Clean, Page, Rows};
use crate::store::{Caller, FetchId, Fetched, Result, Sent, StoreError, TaskError};

/// Takes the secrets out of drafts. Before the transaction: it may take longer
/// than all the rest, and no other writer waits for it.
///
/// # Errors
/// [`StoreError::Invalid`].
pub(crate) fn clean(drafts: &[Draft]) -> Result<Vec<Clean>> {
    let each = drafts.iter().map(|draft| {
        let mut metadata = draft.metadata().map_err(StoreError::Invalid)?;
        let text = redact_within(draft.body.as_str(), MAX_CHARACTERS);
        let mut redacted = text.kinds;
        for kind in redact_json(&mut metadata) {
            if !redacted.contains(&kind) {
                redacted.push(kind);
            }
        }
        Ok(Clean {
            text: text.text.into_owned(),
            metadata: metadata.to_string(),
            redacted,
        })
    });
    each.collect()
}

/// Stores messages for the partner of a session, all or none. `clean` is what
/// [`clean`] made of the drafts.
///
/// # Errors
/// As [`crate::store::Store::send`].
pub(crate) fn send(
    transaction: &mut Transaction<'_>,
    from: &Caller,
    drafts: &[Draft],
    clean: &[Clean],
    now: Timestamp,
) -> Result<Vec<Sent>> {
    let rows = transaction.rows();
    let now = authenticate(rows, from, now)?.now;
    came_back(rows, from, now)?;
    let from = &from.session;
    let allowed = settings::rate_limits(rows)?;
    let mut room = Room::measure(rows, from, allowed, drafts.len(), now)?;
    let plain = |draft: &Draft| draft.client_id.is_none() && draft.task.is_none();
    let mut sent: Vec<Sent> = Vec::with_capacity(drafts.len());
    if drafts.iter().all(plain) {
        for _ in drafts {
            room.take(from)
                .map_err(|why| limits::of_batch(why, rows, drafts, &[], allowed))?;
        }
        sent = store(rows, from, clean, now)?;
    } else {
        for (draft, clean) in drafts.iter().zip(clean) {
            let one = send_one(rows, from, draft, clean, &mut room, now);
            sent.push(one.map_err(|why| limits::of_batch(why, rows, drafts, &sent, allowed))?);
        }
    }
    rows.note_call(from, Some(now))?;
    if sent.iter().any(|sent| !sent.duplicate) {
        transaction.ring();
    }
    Ok(sent)
}

fn send_one(
    rows: &mut dyn Rows,
    from: &SessionKey,
    draft: &Draft,
    clean: &Clean,
    room: &mut Room,
    now: Timestamp,
) -> Result<Sent> {
    if let Some(id) = &draft.client_id
        && let Some(known) = rows.client_message(from, id)?
    {
        // Its text may have been cleaned away by now; then the id alone counts.
        return match known.text {
            Some(stored) if stored != clean.text => Err(StoreError::ClientIdReused {
                id: id.as_str().to_owned(),
                message: known.id,
            }),
            _ => Ok(Sent {
                id: known.id,
                redacted: clean.redacted.clone(),
                duplicate: true,
            }),
        };
    }
    if let Some(task) = draft.task
        && !rows.has_task(task)?
    {
        // A message about a task that never was would go nowhere with it.
        return Err(StoreError::Task(TaskError::NoTask(task)));
    }
    room.take(from)?;
    let mut sent = store(rows, from, std::slice::from_ref(clean), now)?;
    let Some(one) = sent.pop() else {
        return Err(StoreError::Stopped);
    };
    if let Some(id) = &draft.client_id {
        rows.name_message(from, id, one.id)?;
    }
    if let Some(task) = draft.task {
        rows.link_message(task, one.id)?;
    }
    Ok(one)
}

/// Writes the messages, and the audit row of each.
fn store(
    rows: &mut dyn Rows,
    from: &SessionKey,
    clean: &[Clean],
    now: Timestamp,
) -> Result<Vec<Sent>> {
    let ids = rows.insert_messages(from, clean, now)?;
    let audit: Vec<_> = clean
        .iter()
        .zip(&ids)
        .map(|(clean, id)| told(clean, from, *id))
        .collect();
    audit::write(rows, audit, now)?;
    let sent = clean.iter().zip(ids).map(|(clean, id)| Sent {
        id,
        redacted: clean.redacted.clone(),
        duplicate: false,
    });
    Ok(sent.collect())
}

/// What the audit log says of a message.
fn told(clean: &Clean, from: &SessionKey, id: MessageId) -> Audit {
    Audit {
        conversation: Some(from.conversation.clone()),
        side: Some(from.side),
        action: "send_message".into(),
        details: json!({
            "to": from.side.other(),
            "message_id": id,
            "message_length": clean.text.chars().count(),
            "redacted": !clean.redacted.is_empty(),
            "redacted_kinds": clean.redacted,
        }),
    }
}

/// Hands a session its mail, which `reader` is about to show, and marks it read.
///
/// # Errors
/// As [`crate::store::Store::fetch`].
pub(crate) fn fetch(
    transaction: &mut Transaction<'_>,
    caller: &Caller,
    limit: u32,
    reader: &Reader,
    now: Timestamp,
) -> Result<Fetched> {
    let rows = transaction.rows();
    authenticate(rows, caller, now)?;
    came_back(rows, caller, now)?;
    let session = &caller.session;
    // What another process is about to show is not handed out as well.
    let (from, to) = fetches::window(now);
    let held = fetches::held(&rows.handed(session, from, to)?, reader, now);
    let messages = rows.owed(session, None, Page::of(limit).but(&held))?;
    let mut id = None;
    if !messages.is_empty() {
        let ids: Vec<MessageId> = messages.iter().map(|message| message.id).collect();
        let fetch = reader.name();
        rows.hand_out(session, &ids, &fetch, now)?;
        let audit = Audit {
            conversation: Some(session.conversation.clone()),
            side: Some(session.side),
            action: "get_messages".into(),
            details: json!({ "count": ids.len() }),
        };
        audit::write(rows, vec![audit], now)?;
        id = Some(fetch);
    }
    rows.note_first_fetch(session, now)?;
    rows.note_call(session, Some(now))?;
    let left = rows.mail(std::slice::from_ref(session))?;
    // What this very fetch hands out is not confirmed yet, and still counts as
    // owed.
    let handed_out = u64::try_from(messages.len()).unwrap_or(u64::MAX);
    let remaining = left
        .first()
        .map_or(0, |mail| mail.unread.saturating_sub(handed_out));
    Ok(Fetched {
        id,
        messages,
        remaining,
    })
}

/// The answer to a session's fetch reached its reader. A wake for this mail has done what
/// it was for, also one whose program was killed.
///
/// # Errors
/// The engine's.
pub(crate) fn confirm(
    transaction: &mut Transaction<'_>,
    by: &SessionKey,
    fetch: &FetchId,
    now: Timestamp,
) -> Result<()> {
    let rows = transaction.rows();
    rows.confirm(by, fetch, now)?;
    rows.verify_wake(by, now)?;
    Ok(())
}

/// Shows a session its mail and marks nothing.
///
/// # Errors
/// As [`crate::store::Store::peek`].
pub(crate) fn peek(
    rows: &mut dyn Rows,
    caller: &Caller,
    after: Option<MessageId>,
    limit: u32,
    now: Timestamp,
) -> Result<Vec<Message>> {
    authenticate(rows, caller, now)?;
    rows.owed(&caller.session, after, Page::of(limit))
}

/// Notes that an agent did something.
///
/// # Errors
/// As [`crate::store::Store::touch`].
pub(crate) fn touch(
    transaction: &mut Transaction<'_>,
    caller: &Caller,
    now: Timestamp,
) -> Result<()> {
    let rows = transaction.rows();
    authenticate(rows, caller, now)?;
    rows.note_call(&caller.session, Some(now))
}

/// Notes what an agent says of itself.
///
/// # Errors
/// As [`crate::store::Store::say_status`].
pub(crate) fn say_status(
    transaction: &mut Transaction<'_>,
    caller: &Caller,
    status: Status,
    now: Timestamp,
) -> Result<()> {
    let rows = transaction.rows();
    authenticate(rows, caller, now)?;
    rows.note_call(&caller.session, Some(now))?;
    rows.set_status(&caller.session, status, now)
}

/// Acknowledges messages by id.
///
/// # Errors
/// As [`crate::store::Store::acknowledge`].
pub(crate) fn acknowledge(
    transaction: &mut Transaction<'_>,
    caller: &Caller,
    messages: &[MessageId],
    now: Timestamp,
) -> Result<u64> {
    let rows = transaction.rows();
    authenticate(rows, caller, now)?;
    let session = &caller.session;
    let mut acknowledged = 0;
    for id in messages {
        if !rows.mark_read(session, *id)? {
            return Err(StoreError::NoMessage(*id, session.clone()));
        }
        acknowledged += u64::from(rows.acknowledge(session, *id, now)?);
    }
    rows.verify_wake(session, now)?;
    rows.note_call(session, Some(now))?;
    Ok(acknowledged)
}
