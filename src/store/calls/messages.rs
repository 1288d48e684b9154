//! Sending and reading.

use jiff::Timestamp;

use crate::model::message::{Draft, Message};
use crate::model::session::Status;
use crate::model::wake::Mail;
use crate::model::{MessageId, SessionKey};
use crate::store::fetches::Reader;
use crate::store::ops::messages;
use crate::store::{Caller, FetchId, Fetched, Result, Sent, Store};
#[cfg(doc)]
use crate::store::{StoreError, TaskError};

impl Store {
    /// Stores one caller's messages for its partner, in order, all or none,
    /// after redaction; rings the doorbell.
    ///
    /// # Errors
    /// Wrong, missing or expired credentials; a broken limit;
    /// [`TaskError::NoTask`].
    pub async fn send(&self, from: &Caller, drafts: &[Draft], now: Timestamp) -> Result<Vec<Sent>> {
        let clean = messages::clean(drafts)?;
        let (from, drafts) = (from.clone(), drafts.to_vec());
        self.full
            .write("sending", move |transaction| {
                messages::send(transaction, &from, &drafts, &clean, now)
            })
            .await
    }

    /// Hands a session its unread messages, oldest first, and marks them read.
    /// Acknowledges what an earlier fetch handed out, if that fetch's reply
    /// was written; what was fetched by a call that died is handed out again.
    ///
    /// # Errors
    /// Wrong, missing or expired credentials.
    pub async fn fetch(&self, caller: &Caller, limit: u32, now: Timestamp) -> Result<Fetched> {
        self.fetch_for(&Reader::own(), caller, limit, now).await
    }

    /// The same for another process, which asked this one.
    pub(crate) async fn fetch_for(
        &self,
        reader: &Reader,
        caller: &Caller,
        limit: u32,
        now: Timestamp,
    ) -> Result<Fetched> {
        let (reader, caller) = (reader.clone(), caller.clone());
        self.full
            .write("fetching messages", move |transaction| {
                messages::fetch(transaction, &caller, limit, &reader, now)
            })
            .await
    }

    /// Like [`Store::fetch`], but marks nothing; only what came behind the
    /// message `after`, if one is named.
    ///
    /// # Errors
    /// Wrong, missing or expired credentials.
    pub async fn peek(
        &self,
        caller: &Caller,
        after: Option<MessageId>,
        limit: u32,
        now: Timestamp,
    ) -> Result<Vec<Message>> {
        let caller = caller.clone();
        self.reads
            .read("looking at messages", move |rows| {
                messages::peek(rows, &caller, after, limit, now)
            })
            .await
    }

    /// The reply to a fetch of this session reached its reader. Another session's
    /// fetch is not touched by that.
    pub async fn fetch_written(
        &self,
        by: &SessionKey,
        fetch: &FetchId,
        now: Timestamp,
    ) -> Result<()> {
        let (by, fetch) = (by.clone(), fetch.clone());
        // Losing this to a power failure hands the messages out twice, which is
        // what at-least-once means; it needs no fsync.
        self.normal
            .write("confirming a fetch", move |transaction| {
                messages::confirm(transaction, &by, &fetch, now)
            })
            .await
    }

    /// Acknowledges messages by id; returns how many were not acknowledged
    /// before.
    ///
    /// # Errors
    /// [`StoreError::NoMessage`] if one is not for this session; then none is.
    pub async fn acknowledge(
        &self,
        caller: &Caller,
        messages: &[MessageId],
        now: Timestamp,
    ) -> Result<u64> {
        let (caller, messages) = (caller.clone(), messages.to_vec());
        self.full
            .write("acknowledging messages", move |transaction| {
                messages::acknowledge(transaction, &caller, &messages, now)
            })
            .await
    }

    /// The agent did something, and nothing else is to be written.
    ///
    /// # Errors
    /// Wrong, missing or expired credentials.
    pub async fn touch(&self, caller: &Caller, now: Timestamp) -> Result<()> {
        let caller = caller.clone();
        self.normal
            .write("noting a call", move |transaction| {
                messages::touch(transaction, &caller, now)
            })
            .await
    }

    /// Notes what the agent says of itself.
    ///
    /// # Errors
    /// Wrong, missing or expired credentials.
    pub async fn say_status(&self, caller: &Caller, status: Status, now: Timestamp) -> Result<()> {
        let caller = caller.clone();
        self.normal
            .write("noting a status", move |transaction| {
                messages::say_status(transaction, &caller, status, now)
            })
            .await
    }

    /// Unread mail of many sessions, in the order of the question.
    pub async fn mail(&self, sessions: &[SessionKey]) -> Result<Vec<Mail>> {
        let sessions = sessions.to_vec();
        self.reads
            .read("looking for messages", move |rows| rows.mail(&sessions))
            .await
    }
}
