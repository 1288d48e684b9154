//! A subscription as it travels: what is asked for, and lines of JSON that come back.

use std::collections::HashMap;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Problem;
use super::operations::Credential;
use crate::model::MessageId;
use crate::model::message::Message;
use crate::model::wire::objects;

/// The path, without [`super::PREFIX`].
pub(super) const NAME: &str = "follow";

/// The media type of its lines.
pub(super) const MEDIA_TYPE: &str = "application/jsonl";

/// The most sessions of a subscription.
pub(super) const MOST_SESSIONS: usize = 1_000;

/// How often a silent stream says that it stands: so a reader learns of a daemon that
/// hangs, and the daemon of a reader that is gone behind a tunnel. Each line wakes both.
pub(super) const ALIVE: Duration = Duration::from_secs(30);

/// Whose mail is followed: each message once, in order, the moment it is committed.
/// Nothing is marked read.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Follow {
    /// The sessions and their tokens; without any, the session of the headers.
    #[serde(
        default,
        deserialize_with = "objects",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub sessions: Vec<Credential>,
    /// Where to begin.
    #[serde(default)]
    pub begin: Start,
}

/// Where a subscription begins.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum Start {
    /// With what is unread already.
    #[default]
    Unread,
    /// With what comes from now on.
    Now,
    /// With what is unread behind these messages, by session
    /// (`conv_0123456789abcdef/b`): the last that each was handed.
    After(HashMap<String, MessageId>),
}

/// A line of a subscription.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum Line {
    /// A message to one of the sessions.
    Message(Message),
    /// All that was there at the beginning was handed out.
    CaughtUp {
        /// The last message that each session was handed, for `begin`.
        after: HashMap<String, MessageId>,
    },
    /// One of several sessions is refused from now on.
    Refused(Problem),
    /// Nothing happened; the connection stands.
    Alive {},
    /// The reader was too slow. It may begin again behind the last message.
    Dropped {},
    /// The end, and why.
    Ended(Problem),
}
