//! Messages of the system, and what happens to a session's mail when its tasks
//! move. What such a message is about stands in its metadata, as `event`.

use jiff::Timestamp;
use serde_json::Value;

use crate::model::task::TaskId;
use crate::model::{MessageId, SessionKey, Side};
use crate::store::Result;

/// A message that a session is owed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwedMessage {
    /// Which.
    pub id: MessageId,
    /// The session that sent it; `None` if none did.
    pub from: Option<Side>,
    /// Its text.
    pub text: String,
}

/// Operations on messages of the system.
pub trait NoticeRows {
    /// Writes a message from the system into a session's mail; `None` if its
    /// conversation is not there.
    ///
    /// # Errors
    /// The engine's.
    fn insert_notice(
        &mut self,
        to: &SessionKey,
        text: &str,
        metadata: &Value,
        now: Timestamp,
    ) -> Result<Option<MessageId>>;

    /// The system's messages about a task to a session that it is still owed, of
    /// these events.
    ///
    /// # Errors
    /// The engine's.
    fn owed_notices(
        &mut self,
        task: TaskId,
        to: &SessionKey,
        events: &[&str],
    ) -> Result<Vec<MessageId>>;

    /// The system's messages to a session of this event that were not read.
    ///
    /// # Errors
    /// The engine's.
    fn unread_notices(&mut self, to: &SessionKey, event: &str) -> Result<Vec<MessageId>>;

    /// How many messages of this event the system sent to a session about a task,
    /// later than `since`.
    ///
    /// # Errors
    /// The engine's.
    fn notices_since(
        &mut self,
        task: TaskId,
        to: &SessionKey,
        event: &str,
        since: Timestamp,
    ) -> Result<u64>;

    /// The messages about a task that a session is owed, oldest first: those that
    /// are linked to it, or name it as `task_id` in their metadata; without those
    /// of the system of these events.
    ///
    /// # Errors
    /// The engine's.
    fn owed_about(
        &mut self,
        task: TaskId,
        session: &SessionKey,
        but_events: &[&str],
    ) -> Result<Vec<OwedMessage>>;

    /// The ids of all messages that a session is owed, oldest first.
    ///
    /// # Errors
    /// The engine's.
    fn owed_ids(&mut self, session: &SessionKey) -> Result<Vec<MessageId>>;

    /// Marks messages of a session as read and acknowledged that it is to get no
    /// more; `why` stands in the place of a fetch.
    ///
    /// # Errors
    /// The engine's.
    fn withdraw_messages(
        &mut self,
        session: &SessionKey,
        messages: &[MessageId],
        why: &str,
        now: Timestamp,
    ) -> Result<()>;

    /// What was handed to a session and not acknowledged is owed again. Whether there was
    /// such mail that it had read.
    ///
    /// # Errors
    /// The engine's.
    fn owe_again(&mut self, session: &SessionKey) -> Result<bool>;
}
