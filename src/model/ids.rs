//! Identifiers: parsed once at the edge, printed by `Display`.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};

use super::quoting::quoted;
use super::wire::{as_text, object_of};

/// Why a text is not an identifier. The message names the text and the shape
/// that was expected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidId {
    /// Not `conv_` followed by 16 lower-case hexadecimal digits.
    #[error(
        "`{0}` is not a conversation id: an id is `conv_` and 16 hexadecimal digits (0-9, a-f)"
    )]
    Conversation(String),
    /// Neither `a` nor `b`.
    #[error("`{0}` is not a side: use `a` (the orchestrator's side) or `b` (the worker's)")]
    Side(String),
    /// Not `conv_.../a` or `conv_.../b`.
    #[error("`{0}` is not a session: write conv_0123456789abcdef/a or .../b")]
    Session(String),
    /// A label with characters that a file name or a table could not carry.
    #[error(
        "`{0}` is not a label: use 1 to 64 letters, digits, `-`, `_` or `.`, do not begin with `.` or `-`"
    )]
    Label(String),
    /// Not a positive whole number.
    #[error("`{0}` is not a task id: use a positive whole number, as `task list` shows it")]
    Task(String),
    /// Not a positive whole number.
    #[error("`{0}` is not a message id: use a positive whole number, as `check` shows it")]
    Message(String),
}

/// `conv_` and 16 hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(into = "String")]
pub struct ConversationId(String);

impl ConversationId {
    /// The id that eight random bytes make.
    #[must_use]
    pub fn from_random(bytes: [u8; 8]) -> Self {
        Self(format!("conv_{}", hex::encode(bytes)))
    }

    /// The id as it stands in the store.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ConversationId {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let ok = text.strip_prefix("conv_").is_some_and(|digits| {
            digits.len() == 16
                && digits
                    .bytes()
                    .all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
        });
        if ok {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidId::Conversation(quoted(text)))
        }
    }
}

as_text!(ConversationId, "ConversationId", "pattern": "^conv_[0-9a-f]{16}$");

impl From<ConversationId> for String {
    fn from(id: ConversationId) -> Self {
        id.0
    }
}

impl fmt::Display for ConversationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One side of a conversation. Scripts also wrote `session_a`; both are read,
/// only the short form is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(into = "&'static str")]
pub enum Side {
    /// The orchestrator's side.
    A,
    /// The worker's side.
    B,
}

impl Side {
    /// Both sides, in order.
    pub const BOTH: [Self; 2] = [Self::A, Self::B];

    /// The side as it stands in the store: `a` or `b`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::A => "a",
            Self::B => "b",
        }
    }

    /// The partner's side.
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Self::A => Self::B,
            Self::B => Self::A,
        }
    }
}

impl FromStr for Side {
    type Err = InvalidId;
    fn from_str(text: &str) -> Result<Self, InvalidId> {
        match text {
            "a" | "session_a" => Ok(Self::A),
            "b" | "session_b" => Ok(Self::B),
            _ => Err(InvalidId::Side(quoted(text))),
        }
    }
}

as_text!(Side, "Side", "enum": ["a", "b"]);

impl From<Side> for &'static str {
    fn from(side: Side) -> Self {
        side.as_str()
    }
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A session: one side of one conversation. Written `conv_0123456789abcdef/b`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, JsonSchema)]
pub struct SessionKey {
    /// The conversation.
    pub conversation: ConversationId,
    /// The side of it; `session` in JSON.
    #[serde(rename = "session")]
    pub side: Side,
}

impl<'de> Deserialize<'de> for SessionKey {
    fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Members {
            conversation: ConversationId,
            session: Side,
        }
        let Members {
            conversation,
            session,
        } = object_of(source, &["conversation", "session"])?;
        Ok(Self::new(conversation, session))
    }
}

impl SessionKey {
    /// The session `side` of `conversation`.
    #[must_use]
    pub fn new(conversation: ConversationId, side: Side) -> Self {
        Self { conversation, side }
    }

    /// The session at the other end.
    #[must_use]
    pub fn partner(&self) -> Self {
        Self::new(self.conversation.clone(), self.side.other())
    }
}

impl FromStr for SessionKey {
    type Err = InvalidId;
    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let (conversation, side) = text
            .split_once('/')
            .ok_or_else(|| InvalidId::Session(quoted(text)))?;
        Ok(Self::new(conversation.parse()?, side.parse()?))
    }
}

impl fmt::Display for SessionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.conversation, self.side)
    }
}

/// A number of a row.
macro_rules! row_number {
    ($(#[$about:meta])* $Number:ident) => {
        $(#[$about])*
        #[derive(
            Debug,
            Clone,
            Copy,
            PartialEq,
            Eq,
            Hash,
            PartialOrd,
            Ord,
            Default,
            Serialize,
            Deserialize,
            JsonSchema,
        )]
        #[serde(transparent)]
        pub struct $Number(pub i64);

        impl fmt::Display for $Number {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

/// A row's id, which is 1 or more.
macro_rules! row_id {
    ($(#[$about:meta])* $Id:ident, $invalid:path) => {
        row_number! { $(#[$about])* $Id }

        impl FromStr for $Id {
            type Err = InvalidId;
            fn from_str(text: &str) -> Result<Self, InvalidId> {
                match text.parse() {
                    Ok(id @ 1..) => Ok(Self(id)),
                    _ => Err($invalid(quoted(text))),
                }
            }
        }
    };
}

row_id! {
    /// A message's row id. Unique in a store, never used again.
    MessageId, InvalidId::Message
}

row_id! {
    /// A task's row id. Unique in a store, never used again.
    TaskId, InvalidId::Task
}

row_number! {
    /// Grows with each claim and each move of a task. Every later write carries the
    /// fence of its claim; one with an older fence comes from a session that no longer has the task.
    Fence
}

impl Fence {
    /// The fence of the next claim.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

/// What people call a conversation: `backend-1`. Safe as a file name.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(into = "String")]
pub struct Label(String);

impl Label {
    /// The label as written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Label {
    type Err = InvalidId;
    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let ok = (1..=64).contains(&text.len())
            && !text.starts_with(['.', '-'])
            && text
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'));
        if ok {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidId::Label(quoted(text)))
        }
    }
}

as_text!(Label, "Label", "pattern": "^[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}$");

impl From<Label> for String {
    fn from(label: Label) -> Self {
        label.0
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_conversation_id_is_exact() {
        assert!("conv_0123456789abcdef".parse::<ConversationId>().is_ok());
        for wrong in [
            "",
            "conv_",
            "conv_0123456789ABCDEF",
            "conv_0123456789abcde",
            "conv_0123456789abcdef0",
            "0123456789abcdef",
            "conv_0123456789abcdeg",
        ] {
            assert!(wrong.parse::<ConversationId>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn side_is_read_in_two_forms_and_written_in_one() {
        assert_eq!("session_b".parse::<Side>(), Ok(Side::B));
        assert_eq!(Side::B.to_string(), "b");
        let key: SessionKey = "conv_0123456789abcdef/session_a"
            .parse()
            .expect("a session");
        assert_eq!(key.to_string(), "conv_0123456789abcdef/a");
        assert_eq!(key.partner().to_string(), "conv_0123456789abcdef/b");
    }

    #[test]
    fn error_quotes_little_and_nothing_that_moves_the_cursor() {
        let error = ConversationId::from_str(&format!("\u{1b}[2J{}", "x".repeat(9000)))
            .expect_err("not an id")
            .to_string();
        assert!(error.len() < 250 && !error.contains('\u{1b}'), "{error}");
    }

    #[test]
    fn a_task_id_is_a_positive_number() {
        assert_eq!("17".parse(), Ok(TaskId(17)));
        assert_eq!(TaskId(17).to_string(), "17");
        for wrong in ["", "0", "-1", "t17", "1.5", "99999999999999999999"] {
            assert!(wrong.parse::<TaskId>().is_err(), "{wrong}");
        }
        let json = serde_json::to_string(&(TaskId(3), Fence(2).next())).expect("json");
        assert_eq!(json, "[3,3]");
    }

    #[test]
    fn a_label_is_a_safe_file_name() {
        for good in ["backend-1", "a", "x.y_z"] {
            assert!(good.parse::<Label>().is_ok(), "{good}");
        }
        for bad in ["", "../x", "a/b", "-rf", ".hidden", "a b", "é"] {
            assert!(bad.parse::<Label>().is_err(), "{bad}");
        }
    }
}
