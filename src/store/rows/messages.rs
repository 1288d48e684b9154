//! Rows of `messages`, and of ours about them: receipts, client ids, links.

use std::collections::HashSet;
use std::ops::ControlFlow;

use jiff::Timestamp;
use serde_json::Value;

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

/// A message that a fetch handed out and that its reader has not confirmed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Handed {
    /// Which.
    pub message: MessageId,
    /// By which fetch.
    pub fetch: FetchId,
    /// When.
    pub at: Timestamp,
}

/// How long a page becomes: as many messages as its reader asks for and as fit into
/// [`PAGE_BYTES`], but one at least.
#[derive(Debug)]
pub struct Page<'a> {
    limit: u32,
    room: usize,
    but: Option<&'a HashSet<MessageId>>,
    messages: Vec<Message>,
}

/// What a page's messages take, written as JSON. An answer is held whole in memory, so
/// this bounds what one takes; what is left comes with the next.
pub const PAGE_BYTES: usize = 1024 * 1024;

impl<'a> Page<'a> {
    /// A page of at most `limit` messages.
    #[must_use]
    pub fn of(limit: u32) -> Self {
        Self {
            limit,
            room: PAGE_BYTES,
            but: None,
            messages: Vec::new(),
        }
    }

    /// Without these, which take no room in it.
    #[must_use]
    pub fn but(mut self, these: &'a HashSet<MessageId>) -> Self {
        self.but = Some(these);
        self
    }

    /// How many rows have to be looked at to fill it.
    #[must_use]
    pub fn rows(&self) -> u32 {
        let passed = self.but.map_or(0, HashSet::len);
        let passed = u32::try_from(passed).unwrap_or(u32::MAX);
        self.limit.saturating_add(passed)
    }

    /// Whether a message may stand in it.
    #[must_use]
    pub fn wants(&self, message: MessageId) -> bool {
        self.limit > 0 && self.but.is_none_or(|these| !these.contains(&message))
    }

    /// Takes the next message, or ends before it. `Break` where no further one is
    /// taken.
    pub fn take(&mut self, message: Message) -> ControlFlow<()> {
        let length = written(&message);
        if length > self.room && !self.messages.is_empty() {
            return ControlFlow::Break(());
        }
        self.room = self.room.saturating_sub(length);
        self.messages.push(message);
        match u32::try_from(self.messages.len()).is_ok_and(|count| count < self.limit) {
            true => ControlFlow::Continue(()),
            false => ControlFlow::Break(()),
        }
    }

    /// What it holds, oldest first.
    #[must_use]
    pub fn into_messages(self) -> Vec<Message> {
        self.messages
    }
}

/// What a message takes in an answer.
fn written(message: &Message) -> usize {
    /// Its own members, or a value's marks.
    const BESIDE: usize = 200;
    fn text(text: &str) -> usize {
        let bytes = text.bytes().map(|byte| match byte {
            0..=0x1f => 6,
            b'"' | b'\\' => 2,
            _ => 1,
        });
        bytes.sum()
    }
    // A foreign writer may have put anything there.
    fn value(of: &Value) -> usize {
        let inner: usize = match of {
            Value::String(word) => text(word),
            Value::Array(values) => values.iter().map(value).sum(),
            Value::Object(map) => map.iter().map(|(key, of)| text(key) + value(of)).sum(),
            Value::Null | Value::Bool(_) | Value::Number(_) => 24,
        };
        inner + 8
    }
    BESIDE + text(&message.message) + value(&message.metadata)
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
    /// of a fetch whose answer was never written; as many as the page takes, and
    /// behind `after`, if one is named. No more text is read than the page holds.
    ///
    /// # Errors
    /// The engine's.
    fn owed(
        &mut self,
        session: &SessionKey,
        after: Option<MessageId>,
        page: Page<'_>,
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
