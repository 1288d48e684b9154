//! Rows of `messages`, and of ours about them: receipts, client ids, links.

use jiff::Timestamp;

use crate::model::message::{ClientMessageId, Message};
use crate::model::redact::SecretKind;
use crate::model::wake::Mail;
use crate::model::{MessageId, SessionKey, TaskId};
use crate::store::{FetchId, Result};

/// A message as it is kept: without its secrets, metadata as JSON text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Clean {
    /// The text.
    pub text: String,
    /// A JSON object.
    pub metadata: String,
    /// Kinds of secrets that were taken out.
    pub redacted: Vec<SecretKind>,
}

/// The message that a sender's own id stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientMessage {
    /// Its id.
    pub id: MessageId,
    /// Its text; `None` if the row was cleaned away.
    pub text: Option<String>,
}

/// A message that a fetch handed out and that nobody has confirmed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Handed {
    /// Which.
    pub message: MessageId,
    /// By which fetch.
    pub fetch: FetchId,
    /// When.
    pub at: Timestamp,
}

/// Operations on messages.
pub trait MessageRows {
    /// When a session sent its messages, as far as they are not later than `now`:
    /// newest first, `count` of them behind the newest `skip`. `None` for one whose
    /// time cannot be read.
    ///
    /// # Errors
    /// The engine's.
    fn sent_at(
        &mut self,
        from: &SessionKey,
        now: Timestamp,
        skip: u32,
        count: u32,
    ) -> Result<Vec<Option<Timestamp>>>;

    /// The message that a sender's own id stands for.
    ///
    /// # Errors
    /// The engine's.
    fn client_message(
        &mut self,
        from: &SessionKey,
        id: &ClientMessageId,
    ) -> Result<Option<ClientMessage>>;

    /// Notes which message a sender's own id stands for.
    ///
    /// # Errors
    /// The engine's.
    fn name_message(
        &mut self,
        from: &SessionKey,
        id: &ClientMessageId,
        message: MessageId,
    ) -> Result<()>;

    /// Writes messages for a session's partner, in order; returns their ids,
    /// ascending. Few statements for many rows.
    ///
    /// # Errors
    /// The engine's.
    fn insert_messages(
        &mut self,
        from: &SessionKey,
        messages: &[Clean],
        now: Timestamp,
    ) -> Result<Vec<MessageId>>;

    /// Notes that a message is about a task.
    ///
    /// # Errors
    /// The engine's.
    fn link_message(&mut self, task: TaskId, message: MessageId) -> Result<()>;

    /// The messages that a session is owed, oldest first: unread ones, and those
    /// of a fetch whose answer was never written; at most `limit`, and behind
    /// `after`, if one is named.
    ///
    /// # Errors
    /// The engine's.
    fn owed(
        &mut self,
        session: &SessionKey,
        after: Option<MessageId>,
        limit: u32,
    ) -> Result<Vec<Message>>;

    /// Unread mail of many sessions, in the order of the question.
    ///
    /// # Errors
    /// The engine's.
    fn mail(&mut self, sessions: &[SessionKey]) -> Result<Vec<Mail>>;

    /// What was handed to a session between two times, and neither confirmed nor
    /// acknowledged.
    ///
    /// # Errors
    /// The engine's.
    fn handed(
        &mut self,
        session: &SessionKey,
        from: Timestamp,
        to: Timestamp,
    ) -> Result<Vec<Handed>>;

    /// Marks messages read, and notes by which fetch they were handed out.
    ///
    /// # Errors
    /// The engine's.
    fn hand_out(
        &mut self,
        session: &SessionKey,
        messages: &[MessageId],
        fetch: &FetchId,
        now: Timestamp,
    ) -> Result<()>;

    /// The answer to a fetch was written, if it is this session's.
    ///
    /// # Errors
    /// The engine's.
    fn confirm(&mut self, session: &SessionKey, fetch: &FetchId, now: Timestamp) -> Result<()>;

    /// Acknowledges everything of a session's that was handed out and confirmed.
    ///
    /// # Errors
    /// The engine's.
    fn acknowledge_confirmed(&mut self, session: &SessionKey, now: Timestamp) -> Result<()>;

    /// Marks a message read, if it is for this session. Whether it is.
    ///
    /// # Errors
    /// The engine's.
    fn mark_read(&mut self, session: &SessionKey, message: MessageId) -> Result<bool>;

    /// Acknowledges one message. Whether it was not acknowledged before.
    ///
    /// # Errors
    /// The engine's.
    fn acknowledge(
        &mut self,
        session: &SessionKey,
        message: MessageId,
        now: Timestamp,
    ) -> Result<bool>;
}
