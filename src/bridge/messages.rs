//! Messages: sent, fetched, acknowledged.

use super::Bridge;
use crate::clock;
use crate::model::message::{Draft, Message};
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
        self.store.verify(callers, clock::now()).await
    }

    /// Stores a session's messages for its partner, in order, all or none, after
    /// redaction.
    ///
    /// # Errors
    /// Credentials; a broken limit; a task that is not there.
    pub async fn send(&self, from: &Caller, drafts: &[Draft]) -> Result<Vec<Sent>> {
        self.store.send(from, drafts, clock::now()).await
    }

    /// Hands a session at most `limit` of its unread messages, oldest first, and
    /// marks them read. They are handed out again unless [`Self::confirm`] follows.
    ///
    /// # Errors
    /// Credentials.
    pub async fn fetch(&self, caller: &Caller, limit: u32) -> Result<Fetched> {
        self.store.fetch(caller, limit, clock::now()).await
    }

    /// The reply to a fetch was written: the session's next call acknowledges what
    /// was in it.
    ///
    /// # Errors
    /// If the store failed.
    pub async fn confirm(&self, fetch: &FetchId) -> Result<()> {
        self.store.fetch_written(fetch, clock::now()).await
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
        self.store.peek(caller, after, limit, clock::now()).await
    }

    /// Acknowledges messages; returns how many were not acknowledged before.
    ///
    /// # Errors
    /// Credentials; a message that is not for this session: then none is.
    pub async fn acknowledge(&self, caller: &Caller, messages: &[MessageId]) -> Result<u64> {
        self.store.acknowledge(caller, messages, clock::now()).await
    }

    /// Notes that the session did something, and acknowledges nothing.
    ///
    /// # Errors
    /// Credentials.
    pub async fn touch(&self, caller: &Caller) -> Result<()> {
        self.store.touch(caller, clock::now()).await
    }

    /// Unread mail of many sessions, in the order of the question.
    ///
    /// # Errors
    /// If the store failed.
    pub async fn unread(&self, sessions: &[SessionKey]) -> Result<Vec<Mail>> {
        self.store.mail(sessions).await
    }
}
