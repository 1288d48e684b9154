//! Rows of `conversations` and of ours beside it.

use std::time::Duration;

use jiff::Timestamp;

use crate::model::{Label, SessionKey};
use crate::store::Result;

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

/// Operations on conversations.
pub trait ConversationRows {
    /// What a caller who says that it is this session is judged by; `None` if
    /// there is no such conversation.
    ///
    /// # Errors
    /// The engine's.
    fn party(&mut self, session: &SessionKey) -> Result<Option<Party>>;
}
