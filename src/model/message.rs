//! A message from one session to the other, and the limits it keeps.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::ids::{ConversationId, MessageId, SessionKey, Side, TaskId};
use super::wire::as_text;

/// Longest message, in characters (not bytes): the Python bridge's limit.
pub const MAX_CHARACTERS: usize = 50_000;
/// Most file names a message may carry: the Python bridge's limit.
pub const MAX_FILES: usize = 20;

/// The most bytes of a path that a message or a task names.
pub const MAX_PATH: usize = 4_096;

/// Why something cannot be sent. Never repeats the message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum InvalidMessage {
    /// Nothing but white space.
    #[error("the message is empty; write a text")]
    Empty,
    /// Over [`MAX_CHARACTERS`].
    #[error(
        "the message has {0} characters, {MAX_CHARACTERS} are allowed; put the rest in a file and give its path"
    )]
    TooLong(usize),
    /// Bytes that are not UTF-8.
    #[error(
        "the message is not UTF-8 (first wrong byte at {0}); put binary data in a file and give its path"
    )]
    NotUtf8(usize),
    /// A NUL, which neither store could keep.
    #[error("the message contains a NUL character at byte {0}; remove it")]
    Nul(usize),
    /// Over [`MAX_FILES`].
    #[error(
        "the message names {0} files, {MAX_FILES} are allowed; name their directory, or send the rest with another message"
    )]
    TooManyFiles(usize),
    /// Over [`MAX_PATH`].
    #[error("the message names a file with a path of {0} bytes; {MAX_PATH} are allowed")]
    LongPath(usize),
    /// Not one of the five action types.
    #[error("`{0}` is not an action type: use question, info, proposal, blocked or complete")]
    ActionType(String),
    /// Empty, too long, or with unprintable characters.
    #[error(
        "the client message id is malformed: use 1 to 128 printable ASCII characters without spaces"
    )]
    ClientMessageId,
}

/// The text of a message, checked.
#[derive(Clone, PartialEq, Eq, Serialize)]
pub struct Body(String);

impl Body {
    /// Checks bytes from outside.
    ///
    /// # Errors
    /// [`InvalidMessage`], naming the first limit that is broken.
    pub fn from_bytes(bytes: Vec<u8>) -> Result<Self, InvalidMessage> {
        String::from_utf8(bytes)
            .map_err(|error| InvalidMessage::NotUtf8(error.utf8_error().valid_up_to()))?
            .parse()
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Body {
    type Err = InvalidMessage;
    fn from_str(text: &str) -> Result<Self, InvalidMessage> {
        if text.trim().is_empty() {
            return Err(InvalidMessage::Empty);
        }
        if let Some(at) = text.find('\0') {
            return Err(InvalidMessage::Nul(at));
        }
        match text.chars().count() {
            count if count > MAX_CHARACTERS => Err(InvalidMessage::TooLong(count)),
            _ => Ok(Self(text.to_owned())),
        }
    }
}

as_text!(Body, "Body", "minLength": 1, "maxLength": MAX_CHARACTERS);

// A body may hold anything; it has no business in a log.
impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Body({} bytes)", self.0.len())
    }
}

/// What a message asks of its reader.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the names are the meaning")]
pub enum ActionType {
    Question,
    Info,
    Proposal,
    Blocked,
    Complete,
}

impl FromStr for ActionType {
    type Err = InvalidMessage;
    fn from_str(text: &str) -> Result<Self, InvalidMessage> {
        match text {
            "question" => Ok(Self::Question),
            "info" => Ok(Self::Info),
            "proposal" => Ok(Self::Proposal),
            "blocked" => Ok(Self::Blocked),
            "complete" => Ok(Self::Complete),
            other => Err(InvalidMessage::ActionType(other.chars().take(40).collect())),
        }
    }
}

/// A sender's own name for a message: the same one twice is one message.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct ClientMessageId(String);

impl ClientMessageId {
    /// The id as the sender wrote it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ClientMessageId {
    type Err = InvalidMessage;
    fn from_str(text: &str) -> Result<Self, InvalidMessage> {
        if (1..=128).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic()) {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidMessage::ClientMessageId)
        }
    }
}

as_text!(ClientMessageId, "ClientMessageId", "pattern": "^[!-~]{1,128}$");

/// A message before it is sent.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Draft {
    /// The text.
    #[serde(rename = "message")]
    pub body: Body,
    /// What the reader is asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action_type: Option<ActionType>,
    /// Paths that the message is about; at most [`MAX_FILES`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<String>,
    /// The sender's own id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_id: Option<ClientMessageId>,
    /// The task that it belongs to: it goes where the task goes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<TaskId>,
}

impl Draft {
    /// A plain message without metadata.
    #[must_use]
    pub fn text(body: Body) -> Self {
        Self {
            body,
            action_type: None,
            files: Vec::new(),
            client_id: None,
            task: None,
        }
    }

    /// The metadata column: the keys that the Python bridge writes, and the
    /// task.
    ///
    /// # Errors
    /// [`InvalidMessage::TooManyFiles`], [`InvalidMessage::LongPath`].
    pub fn metadata(&self) -> Result<serde_json::Value, InvalidMessage> {
        if self.files.len() > MAX_FILES {
            return Err(InvalidMessage::TooManyFiles(self.files.len()));
        }
        let longest = self.files.iter().map(String::len).max();
        if let Some(length) = longest.filter(|length| *length > MAX_PATH) {
            return Err(InvalidMessage::LongPath(length));
        }
        let mut map = serde_json::Map::new();
        if let Some(action) = self.action_type {
            map.insert("action_type".into(), serde_json::json!(action));
        }
        if !self.files.is_empty() {
            map.insert("files_involved".into(), serde_json::json!(self.files));
        }
        if let Some(task) = self.task {
            map.insert("task_id".into(), serde_json::json!(task));
        }
        Ok(map.into())
    }
}

/// Who a message is from. `system` is the bridge itself; anything else that a
/// foreign writer put there is kept as it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(into = "String")]
pub enum Sender {
    /// The partner.
    Session(Side),
    /// The bridge.
    System,
    /// A word that we do not know.
    Other(String),
}

impl From<&str> for Sender {
    fn from(text: &str) -> Self {
        match text.parse() {
            Ok(side) => Self::Session(side),
            Err(_) if text == "system" => Self::System,
            Err(_) => Self::Other(text.to_owned()),
        }
    }
}

impl FromStr for Sender {
    type Err = std::convert::Infallible;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(text.into())
    }
}

as_text!(Sender, "Sender");

impl From<Sender> for String {
    fn from(sender: Sender) -> Self {
        sender.to_string()
    }
}

impl fmt::Display for Sender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Session(side) => side.fmt(f),
            Self::System => f.write_str("system"),
            Self::Other(word) => f.write_str(word),
        }
    }
}

/// A stored message, as its reader gets it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Message {
    /// Row id.
    pub id: MessageId,
    /// The conversation it belongs to.
    pub conversation: ConversationId,
    /// The sender.
    pub from: Sender,
    /// The reader.
    pub to: Side,
    /// The text, after redaction.
    pub message: String,
    /// Action type, files and any other keys that the sender gave; an object.
    pub metadata: serde_json::Value,
    /// When it was sent, by the sender's clock; `None` if unreadable.
    pub sent_at: Option<Timestamp>,
}

impl Message {
    /// The session that it is for.
    #[must_use]
    pub fn recipient(&self) -> SessionKey {
        SessionKey::new(self.conversation.clone(), self.to)
    }
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Message")
            .field("id", &self.id)
            .field("to", &self.recipient().to_string())
            .field("from", &self.from)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_counted_in_characters() {
        assert!("ä".repeat(MAX_CHARACTERS).parse::<Body>().is_ok());
        assert_eq!(
            "x".repeat(MAX_CHARACTERS + 1).parse::<Body>(),
            Err(InvalidMessage::TooLong(MAX_CHARACTERS + 1))
        );
        assert_eq!(" \n\t".parse::<Body>(), Err(InvalidMessage::Empty));
        assert_eq!(
            Body::from_bytes(vec![b'o', b'k', 0xff]),
            Err(InvalidMessage::NotUtf8(2))
        );
        assert_eq!("a\0b".parse::<Body>(), Err(InvalidMessage::Nul(1)));
    }

    #[test]
    fn debug_never_shows_the_text() {
        let body: Body = "the launch code".parse().expect("valid");
        assert!(!format!("{:?}", Draft::text(body)).contains("launch"));
    }

    #[test]
    fn metadata_has_the_bridge_s_keys_and_its_limit() {
        let mut draft = Draft::text("hi".parse().expect("valid"));
        draft.action_type = Some(ActionType::Blocked);
        draft.files = vec!["src/lib.rs".into()];
        draft.task = Some(TaskId(17));
        assert_eq!(
            draft.metadata().expect("within limits").to_string(),
            r#"{"action_type":"blocked","files_involved":["src/lib.rs"],"task_id":17}"#
        );
        draft.files = vec![String::new(); MAX_FILES + 1];
        assert_eq!(draft.metadata(), Err(InvalidMessage::TooManyFiles(21)));
    }
}
