//! Reading the mail of several sessions at once.
//!
//! What was fetched is confirmed only after the reply was written: if that fails,
//! or the process dies before, the messages are handed out again.

use super::{Acting, Member, Result, SessionError};
use crate::bridge::Bridge;
use crate::model::MessageId;
use crate::model::message::Message;
use crate::store::{Caller, FetchId, StoreError, Verified};
use crate::wake;

/// A session whose credentials hold, and what the store knows of it.
#[derive(Debug, Clone)]
pub struct Live {
    /// The session.
    pub member: Member,
    /// What the store knows.
    pub verified: Verified,
}

/// A session that the store refuses, and why.
#[derive(Debug)]
pub struct Refusal {
    /// The session.
    pub member: Member,
    /// Why.
    pub error: StoreError,
}

/// One session's mail.
#[derive(Debug)]
pub struct Mail {
    /// Whose.
    pub live: Live,
    /// The messages, oldest first.
    pub messages: Vec<Message>,
}

/// The mail of all sessions.
#[derive(Debug, Default)]
pub struct Fetched {
    /// For each session that has some.
    pub mail: Vec<Mail>,
    /// Messages that are still unread.
    pub remaining: u64,
    /// The sessions that the store refuses since they were verified: a conversation may
    /// end at any time.
    pub refused: Vec<Refusal>,
    fetches: Vec<(Caller, FetchId)>,
}

impl Fetched {
    /// The reply that holds this mail was written.
    ///
    /// # Errors
    /// If the store failed.
    pub async fn confirm(&self, bridge: &Bridge) -> Result<()> {
        for (caller, fetch) in &self.fetches {
            bridge.confirm(caller, fetch).await?;
        }
        Ok(())
    }
}

/// Tells the sessions that may read from those that may not: of several, one that is
/// refused does not stand in the way of the others.
///
/// # Errors
/// The refusal of a session that is alone; if the store failed.
pub async fn verify(bridge: &Bridge, acting: Acting) -> Result<(Vec<Live>, Vec<Refusal>)> {
    let verdicts = bridge.verify(&acting.callers()).await?;
    let alone = acting.members.len() == 1;
    let (mut live, mut refused) = (Vec::new(), Vec::new());
    for (mut member, verdict) in acting.members.into_iter().zip(verdicts) {
        match verdict {
            Ok(verified) => {
                member.label = verified.label.clone().or(member.label);
                live.push(Live { member, verified });
            }
            Err(error) if alone => return Err(error.into()),
            Err(error) => refused.push(Refusal { member, error }),
        }
    }
    Ok((live, refused))
}

/// Fetches at most `limit` messages of these sessions, to be confirmed.
///
/// # Errors
/// Credentials; if the store failed.
pub async fn fetch(bridge: &Bridge, live: Vec<Live>, limit: u32) -> Result<Fetched> {
    read(bridge, live, limit, false).await
}

/// Shows at most `limit` messages of these sessions, and leaves them unread.
///
/// # Errors
/// Credentials; if the store failed.
pub async fn peek(bridge: &Bridge, live: Vec<Live>, limit: u32) -> Result<Fetched> {
    read(bridge, live, limit, true).await
}

async fn read(bridge: &Bridge, live: Vec<Live>, limit: u32, peek: bool) -> Result<Fetched> {
    let keys = live.iter().map(|one| one.member.caller.session.clone());
    let waiting = bridge.unread(&keys.collect::<Vec<_>>()).await?;
    let mut fetched = Fetched::default();
    let alone = live.len() == 1;
    let mut room = limit;
    for (live, waiting) in live.into_iter().zip(waiting) {
        if room == 0 {
            fetched.remaining += waiting.unread;
            continue;
        }
        let Page {
            messages,
            remaining,
            fetch,
        } = match page(bridge, &live.member.caller, (room, peek), waiting.unread).await {
            Ok(page) => page,
            Err(error) if alone || error.is_outage() => return Err(error.into()),
            Err(error) => {
                let member = live.member;
                fetched.refused.push(Refusal { member, error });
                continue;
            }
        };
        fetched.remaining += remaining;
        let caller = live.member.caller.clone();
        fetched.fetches.extend(fetch.map(|id| (caller, id)));
        room = room.saturating_sub(u32::try_from(messages.len()).unwrap_or(u32::MAX));
        if !messages.is_empty() {
            fetched.mail.push(Mail { live, messages });
        }
    }
    Ok(fetched)
}

/// What one session has, as far as there is room for it.
struct Page {
    messages: Vec<Message>,
    remaining: u64,
    fetch: Option<FetchId>,
}

async fn page(
    bridge: &Bridge,
    caller: &Caller,
    (room, peek): (u32, bool),
    unread: u64,
) -> std::result::Result<Page, StoreError> {
    if peek {
        let messages = bridge.peek(caller, None, room).await?;
        let shown = u64::try_from(messages.len()).unwrap_or(u64::MAX);
        return Ok(Page {
            messages,
            remaining: unread.saturating_sub(shown),
            fetch: None,
        });
    }
    let fetched = bridge.fetch(caller, room).await?;
    Ok(Page {
        messages: fetched.messages,
        remaining: fetched.remaining,
        fetch: fetched.id,
    })
}

/// Notes a look that leaves no other trace, if a wake's command has it: what that
/// prints is logged unless its agent did something meanwhile, and mail never is.
///
/// # Errors
/// Credentials; if the store failed.
pub async fn note_look(bridge: &Bridge, live: &[Live]) -> Result<()> {
    if std::env::var_os(wake::SESSION_VARIABLE).is_some() {
        for one in live {
            bridge.touch(&one.member.caller).await?;
        }
    }
    Ok(())
}

/// Acknowledges messages of these sessions; returns how many were not acknowledged
/// before.
///
/// # Errors
/// A message of none of them; credentials; if the store failed.
pub async fn acknowledge(bridge: &Bridge, acting: &Acting, ids: &[MessageId]) -> Result<u64> {
    if let [only] = acting.members.as_slice() {
        return Ok(bridge.acknowledge(&only.caller, ids).await?);
    }
    let mut acknowledged = 0;
    for id in ids {
        acknowledged += acknowledge_as_one_of(bridge, &acting.members, *id).await?;
    }
    Ok(acknowledged)
}

/// The id does not tell whose message it is: the sessions are tried in turn.
async fn acknowledge_as_one_of(bridge: &Bridge, members: &[Member], id: MessageId) -> Result<u64> {
    let mut first = None;
    for member in members {
        match bridge.acknowledge(&member.caller, &[id]).await {
            Ok(count) => return Ok(count),
            Err(error) if error.is_outage() => return Err(error.into()),
            Err(error) => {
                first.get_or_insert(error);
            }
        }
    }
    match first {
        Some(StoreError::NoMessage(..)) | None => Err(SessionError::NoSuchMessage(id)),
        Some(error) => Err(error.into()),
    }
}
