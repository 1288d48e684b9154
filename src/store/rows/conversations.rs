//! Rows of `conversations` and of ours beside it.

use std::time::Duration;

use jiff::Timestamp;

use crate::model::session::Conversation;
use crate::model::token::TokenStorage;
use crate::model::{ConversationId, Label, SessionKey};
use crate::store::{NewConversation, Result};

/// What a conversation's rows say of one of its sessions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Party {
    /// The token as it is kept: plain, or a digest with its marker.
    pub token: String,
    /// The session's role.
    pub role: String,
    /// The other session's role.
    pub partner_role: String,
    /// The conversation's label.
    pub label: Option<Label>,
    /// When the conversation ends; `None` if that cannot be read.
    pub expires_at: Option<Timestamp>,
    /// Whether it was closed for good.
    pub closed: bool,
    /// When its end was set, if a program of ours set it.
    pub set: Option<EndSet>,
}

/// Two clocks at the time when the end of a conversation was set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndSet {
    /// The wall clock.
    pub at: Timestamp,
    /// The boot clock.
    pub boot: Duration,
    /// The boot it belongs to.
    pub boot_id: String,
}

/// The end of a conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct End {
    /// When it ends; `None` if that cannot be read.
    pub at: Option<Timestamp>,
    /// Whether it was closed for good.
    pub closed: bool,
}

/// Operations on conversations.
pub trait ConversationRows {
    /// What a caller who says that it is this session is judged by; `None` if
    /// there is no such conversation.
    ///
    /// # Errors
    /// The engine's.
    fn party(&mut self, session: &SessionKey) -> Result<Option<Party>>;

    /// The same of many, in the order of the question. A row that cannot be read
    /// stands in the way of no other.
    ///
    /// # Errors
    /// The engine's.
    fn parties(&mut self, sessions: &[SessionKey]) -> Result<Vec<Result<Option<Party>>>>;

    /// One conversation as people see it, or all, oldest first.
    ///
    /// # Errors
    /// The engine's.
    fn conversations(&mut self, only: Option<&ConversationId>) -> Result<Vec<Conversation>>;

    /// Whether there is such a conversation.
    ///
    /// # Errors
    /// The engine's.
    fn has_conversation(&mut self, id: &ConversationId) -> Result<bool>;

    /// The label of a conversation, if it has one.
    ///
    /// # Errors
    /// The engine's.
    fn label(&mut self, id: &ConversationId) -> Result<Option<Label>>;

    /// When a conversation ends; `None` if there is none.
    ///
    /// # Errors
    /// The engine's.
    fn end(&mut self, id: &ConversationId) -> Result<Option<End>>;

    /// The tokens of sides `a` and `b`, as they are kept.
    ///
    /// # Errors
    /// The engine's.
    fn tokens(&mut self, id: &ConversationId) -> Result<Option<[String; 2]>>;

    /// Puts another token in the place of a session's, in the form in which it is
    /// kept.
    ///
    /// # Errors
    /// The engine's.
    fn set_token(&mut self, session: &SessionKey, stored: &str) -> Result<()>;

    /// Writes a conversation without a label, and the rows of its sessions.
    ///
    /// # Errors
    /// The engine's.
    fn insert_conversation(
        &mut self,
        new: &NewConversation,
        storage: TokenStorage,
        now: Timestamp,
    ) -> Result<()>;

    /// Gives a conversation a label. `false` if another open one has it; a label of
    /// a conversation that is gone is free.
    ///
    /// # Errors
    /// The engine's.
    fn set_label(&mut self, id: &ConversationId, label: &Label) -> Result<bool>;

    /// Sets the end in the shared table.
    ///
    /// # Errors
    /// The engine's.
    fn set_end(&mut self, id: &ConversationId, end: Timestamp) -> Result<()>;

    /// Notes the two clocks at the time when an end was set by hand.
    ///
    /// # Errors
    /// The engine's.
    fn note_end_set(&mut self, id: &ConversationId, now: Timestamp) -> Result<()>;

    /// Notes that a conversation is closed for good.
    ///
    /// # Errors
    /// The engine's.
    fn close(&mut self, id: &ConversationId, now: Timestamp) -> Result<()>;
}
