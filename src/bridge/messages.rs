//! Messages: sent, fetched, acknowledged.

use super::Bridge;
use crate::api::operations::{
    Acknowledge, Confirm, Credential, Fetch, MOST_SESSIONS, Peek, Send, Touch, Unread, Verdict,
    Verify,
};
use crate::model::message::{ClientMessageId, Draft, Message};
use crate::model::session::Status;
use crate::model::wake::Mail;
use crate::model::{MessageId, SessionKey};
use crate::store::{Caller, FetchId, Fetched, Result, Sent, Verified};

impl Bridge {
    /// Verifies callers; the answers stand in the order of the question. Counts as
    /// no session's activity.
    ///
    /// # Errors
    /// Only if the store itself failed.
    pub async fn verify(&self, callers: &[Caller]) -> Result<Vec<Result<Verified>>> {
        let mut all = Vec::with_capacity(callers.len());
        for some in callers.chunks(MOST_SESSIONS) {
            let sessions = some.iter().cloned().map(Credential::from).collect();
            let verdicts = self.ask_openly(Verify { sessions }).await?;
            all.extend(verdicts.into_iter().map(|verdict| match verdict {
                Verdict::Verified(verified) => Ok(verified),
                Verdict::Refused(error) => Err(*error),
            }));
        }
        Ok(all)
    }

    /// Stores a session's messages for its partner, in order, all or none, after
    /// redaction.
    ///
    /// # Errors
    /// Credentials; a broken limit; a task that is not there.
    pub async fn send(&self, from: &Caller, drafts: &[Draft]) -> Result<Vec<Sent>> {
        let mut messages = drafts.to_vec();
        let own = match self.is_door() {
            true => name_all(&mut messages),
            false => Vec::new(),
        };
        let mut sent = self.ask_as(from, Send { messages }).await?;
        // Stored by the first of two tries, whose answer was lost: that is one send.
        for place in own {
            if let Some(sent) = sent.get_mut(place) {
                sent.duplicate = false;
            }
        }
        Ok(sent)
    }

    /// Hands a session at most `limit` of its unread messages, oldest first, and
    /// marks them read. They are handed out again unless [`Self::confirm`] follows.
    ///
    /// # Errors
    /// Credentials.
    pub async fn fetch(&self, caller: &Caller, limit: u32) -> Result<Fetched> {
        self.ask_as(caller, Fetch { limit }).await
    }

    /// The reply to a fetch was written: the session's next call acknowledges what
    /// was in it.
    ///
    /// # Errors
    /// If the store failed.
    pub async fn confirm(&self, caller: &Caller, fetch: &FetchId) -> Result<()> {
        let fetch = fetch.clone();
        self.ask_as(caller, Confirm { fetch }).await
    }

    /// Shows a session its unread messages that came behind `after`, and marks
    /// nothing.
    ///
    /// # Errors
    /// Credentials.
    pub async fn peek(
        &self,
        caller: &Caller,
        after: Option<MessageId>,
        limit: u32,
    ) -> Result<Vec<Message>> {
        self.ask_as(caller, Peek { after, limit }).await
    }

    /// Acknowledges messages; returns how many were not acknowledged before.
    ///
    /// # Errors
    /// Credentials; a message that is not for this session: then none is.
    pub async fn acknowledge(&self, caller: &Caller, messages: &[MessageId]) -> Result<u64> {
        let messages = messages.to_vec();
        self.ask_as(caller, Acknowledge { messages }).await
    }

    /// Notes that the session did something, and acknowledges nothing.
    ///
    /// # Errors
    /// Credentials.
    pub async fn touch(&self, caller: &Caller) -> Result<()> {
        self.ask_as(caller, Touch { status: None }).await
    }

    /// Notes what the agent of the session says of itself.
    ///
    /// # Errors
    /// Credentials.
    pub async fn say_status(&self, caller: &Caller, status: Status) -> Result<()> {
        let status = Some(status);
        self.ask_as(caller, Touch { status }).await
    }

    /// Unread mail of many sessions, in the order of the question.
    ///
    /// # Errors
    /// If the store failed.
    pub async fn unread(&self, sessions: &[SessionKey]) -> Result<Vec<Mail>> {
        let mut all = Vec::with_capacity(sessions.len());
        for some in sessions.chunks(MOST_SESSIONS) {
            let sessions = some.to_vec();
            all.extend(self.ask_openly(Unread { sessions }).await?);
        }
        Ok(all)
    }
}

/// Gives the messages an id that have none, so that a send that was cut off can be
/// repeated; returns which.
fn name_all(messages: &mut [Draft]) -> Vec<usize> {
    let ids = messages.iter_mut().map(|draft| &mut draft.client_id);
    name_each(ids)
}

/// Fills in the ids that are missing, at random; returns which they were.
pub(super) fn name_each<'a>(
    ids: impl Iterator<Item = &'a mut Option<ClientMessageId>>,
) -> Vec<usize> {
    let missing = ids.enumerate().filter(|(_, id)| id.is_none());
    missing
        .map(|(place, id)| {
            let name = format!("auto-{:016x}{:016x}", fastrand::u64(..), fastrand::u64(..));
            *id = name.parse().ok();
            place
        })
        .collect()
}
