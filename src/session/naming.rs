//! What a name means that a person or an agent wrote: a conversation, one side of
//! it, a host.

use std::collections::{BTreeSet, HashMap};

use super::{Result, SessionError};
use crate::bridge::Bridge;
use crate::clock;
use crate::model::session::{Conversation, ConversationState, session_name};
use crate::model::{ConversationId, InvalidId, Label, SessionKey, Side};
use crate::store::StoreError;
use crate::text::near::did_you_mean;

/// How a drain of a host stands in the store.
const HOST: &str = "host:";

/// A conversation by id or label, or one side of it: `backend-1`, `backend-1/b`,
/// `conv_.../a`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Name<'a> {
    conversation: ConversationName<'a>,
    /// The side, where one is named.
    pub side: Option<Side>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum ConversationName<'a> {
    Id(ConversationId),
    Label(&'a str),
}

impl<'a> ConversationName<'a> {
    fn read(text: &'a str) -> std::result::Result<Self, InvalidId> {
        match Name::looks_like_id(text) {
            true => text.parse().map(Self::Id),
            false => Ok(Self::Label(text)),
        }
    }
}

impl<'a> Name<'a> {
    /// Reads a name. What looks like an id must be one.
    ///
    /// # Errors
    /// [`InvalidId::Side`], or [`InvalidId::Conversation`].
    pub fn read(text: &'a str) -> std::result::Result<Self, InvalidId> {
        let (conversation, side) = match text.rsplit_once('/') {
            Some((conversation, side)) => (conversation, Some(side.parse()?)),
            None => (text, None),
        };
        let conversation = ConversationName::read(conversation)?;
        Ok(Self { conversation, side })
    }

    /// Whether this is meant to be a conversation's id, right or wrong.
    #[must_use]
    pub fn looks_like_id(text: &str) -> bool {
        text.starts_with("conv_") && !text.contains(char::is_whitespace)
    }

    /// Whether it means this conversation.
    #[must_use]
    pub fn means(&self, id: &ConversationId, label: Option<&Label>) -> bool {
        match &self.conversation {
            ConversationName::Id(named) => named == id,
            ConversationName::Label(named) => label.is_some_and(|label| label.as_str() == *named),
        }
    }
}

/// A session, and what people call it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedSession {
    /// Which.
    pub key: SessionKey,
    /// Its label.
    pub name: String,
}

/// A session, or all that daemons of one host keep.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Whom {
    /// One session.
    Session(NamedSession),
    /// All sessions that the daemons of this host keep.
    Host(String),
}

impl Whom {
    /// As it stands in the store: `conv_.../b` or `host:NAME`.
    #[must_use]
    pub fn subject(&self) -> String {
        match self {
            Self::Session(session) => session.key.to_string(),
            Self::Host(name) => format!("{HOST}{name}"),
        }
    }

    /// As people call it.
    #[must_use]
    pub fn name(&self) -> String {
        match self {
            Self::Session(session) => session.name.clone(),
            Self::Host(name) => format!("host {name}"),
        }
    }
}

/// The conversation of this id or label. If several have the label, the open one is
/// meant, and then the newest.
///
/// # Errors
/// If there is none.
pub async fn conversation(bridge: &Bridge, name: &str) -> Result<Conversation> {
    found(bridge, &ConversationName::read(name)?).await
}

async fn found(bridge: &Bridge, called: &ConversationName<'_>) -> Result<Conversation> {
    let name = match called {
        ConversationName::Id(id) => return Ok(bridge.conversation(id).await?),
        ConversationName::Label(name) => *name,
    };
    let now = clock::now();
    let all = bridge.conversations().await?;
    let labelled = |c: &&Conversation| c.label.as_ref().is_some_and(|l| l.as_str() == name);
    let best = all.iter().filter(labelled).max_by_key(|c| {
        let rank = match c.state(now) {
            ConversationState::Open => 2,
            ConversationState::Expired => 1,
            ConversationState::Closed => 0,
        };
        (rank, c.created_at)
    });
    best.cloned().ok_or_else(|| {
        let labels = all.iter().filter_map(|c| c.label.as_ref());
        SessionError::NoSuchConversation {
            hint: did_you_mean(name, labels.map(Label::as_str)),
            name: cut(name),
        }
    })
}

/// A session by `backend-1/b`, by its conversation's label or id (then its `b`
/// side is meant, the worker's), or by `conv_.../a`.
///
/// # Errors
/// If there is none.
pub async fn session(bridge: &Bridge, name: &str) -> Result<NamedSession> {
    let read = Name::read(name)?;
    let found = found(bridge, &read.conversation).await?;
    let key = SessionKey::new(found.id, read.side.unwrap_or(Side::B));
    let name = session_name(found.label.as_ref(), &key);
    Ok(NamedSession { key, name })
}

/// The same, or a host by the name that its daemons go by.
///
/// # Errors
/// If there is neither, or both: `host:NAME` leaves no question.
pub async fn session_or_host(bridge: &Bridge, name: &str) -> Result<Whom> {
    let daemons = bridge.daemons().await?.into_iter();
    let hosts: BTreeSet<String> = daemons.map(|daemon| daemon.host).collect();
    if let Some(host) = name.strip_prefix(HOST) {
        return match hosts.contains(host) {
            true => Ok(Whom::Host(host.to_owned())),
            false => Err(SessionError::NoSuchHost {
                hint: did_you_mean(host, hosts.iter().map(String::as_str)),
                name: cut(host),
            }),
        };
    }
    match (session(bridge, name).await, hosts.contains(name)) {
        (Ok(_), true) => Err(SessionError::SessionOrHost(name.to_owned())),
        (Ok(session), false) => Ok(Whom::Session(session)),
        (Err(_), true) => Ok(Whom::Host(name.to_owned())),
        (Err(SessionError::NoSuchConversation { .. }), false) => {
            let labels = labels(bridge).await?;
            let names = hosts.iter().chain(labels.values()).map(String::as_str);
            let hint = did_you_mean(name, names);
            let name = cut(name);
            Err(SessionError::NoSuchWhom { name, hint })
        }
        (Err(error), false) => Err(error),
    }
}

/// All labels, by the id of their conversation.
///
/// # Errors
/// If the store failed.
pub async fn labels(bridge: &Bridge) -> std::result::Result<HashMap<String, String>, StoreError> {
    let labelled = |c: Conversation| Some((c.id.to_string(), c.label?.to_string()));
    let all = bridge.conversations().await?;
    Ok(all.into_iter().filter_map(labelled).collect())
}

/// What people call a session: by its label, as far as that is known. One that was
/// cleaned away keeps its id for a name.
pub async fn named(bridge: &Bridge, session: &SessionKey) -> String {
    let found = bridge.conversation(&session.conversation).await.ok();
    session_name(found.and_then(|c| c.label).as_ref(), session)
}

/// A name as it is quoted in an error: a pasted page must not come back.
pub(super) fn cut(name: &str) -> String {
    name.chars().take(80).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_is_a_conversation_or_one_side_of_it() {
        let id: ConversationId = "conv_0000000000000001".parse().expect("an id");
        let other: ConversationId = "conv_0000000000000002".parse().expect("an id");
        let label = "backend-1".parse().ok();
        for (text, side) in [
            ("backend-1", None),
            ("backend-1/b", Some(Side::B)),
            ("backend-1/session_a", Some(Side::A)),
            ("conv_0000000000000001", None),
            ("conv_0000000000000001/a", Some(Side::A)),
        ] {
            let name = Name::read(text).expect(text);
            assert_eq!(name.side, side, "{text}");
            assert!(name.means(&id, label.as_ref()), "{text}");
            assert!(!name.means(&other, None), "{text}");
        }
        for wrong in ["backend-1/c", "a/b/c", "/", "conv_1", "conv_1/a"] {
            assert!(Name::read(wrong).is_err(), "{wrong}");
        }
        // A text with a blank is no id, however it begins.
        assert!(Name::read("conv_ is a prefix").is_ok());
    }
}
