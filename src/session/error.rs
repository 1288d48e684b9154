//! What can go wrong for a program that acts for sessions. An error says what happened
//! to which thing; each face adds what to do.

use std::collections::HashSet;
use std::path::PathBuf;

use super::Member;
use crate::bridge::FollowError;
use crate::credentials::CredentialsError;
use crate::model::{ConversationId, InvalidId, MessageId, SessionKey};
use crate::store::StoreError;

/// Why a face cannot act.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// No credentials were named.
    #[error("no credentials")]
    NoCredentials,
    /// A name that is no file here, and none of the default directory.
    #[error(
        "credentials `{name}`: there is no such file here, and no {name}.toml in {}{hint}",
        .directory.display()
    )]
    NoSuchCredentials {
        /// As it was written.
        name: String,
        /// Where names are looked for.
        directory: PathBuf,
        /// `; did you mean ...?`
        hint: String,
    },
    /// A name in the form of a session, with a side that there is not.
    #[error("`{0}` is not a session: a session is LABEL/a or LABEL/b")]
    NoSuchSide(String),
    /// Nothing to make an id or a token of.
    #[error("the system gives no random bytes: {0}")]
    NoRandom(String),
    /// Credentials that cannot be read.
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
    /// The credentials of new conversations cannot be written: those were closed again.
    #[error("no conversation was created: {error}{}", not_closed(.left))]
    NotMade {
        /// Why.
        error: CredentialsError,
        /// Conversations that could not be closed, and why.
        left: Vec<(ConversationId, String)>,
    },
    /// A token in the environment of a program that runs on.
    #[error(
        "MCP_BRIDGE_TOKEN is only for commands that end at once: while this command runs, other processes can read its environment"
    )]
    TokenInEnvironment,
    /// What this agent heard of cannot be written down, so it would hear of it again and
    /// again.
    #[error("what was shown to {agent} cannot be recorded: {error}")]
    NotNoted {
        /// The names of its sessions.
        agent: String,
        /// Why.
        error: std::io::Error,
    },
    /// Files that are good for different stores.
    #[error("the credentials name two stores, {0} and {1}")]
    TwoStores(String, String),
    /// Files that hold different tokens for one session.
    #[error("two credentials have different tokens for {0}: {1} and {2}\n  use only the right one")]
    TwoTokens(SessionKey, String, String),
    /// The credentials have no such conversation.
    #[error("the credentials have no {} `{name}`{hint}\n  they have: {}", what_is_named(.name), .have.join(", "))]
    NotMine {
        /// As it was written.
        name: String,
        /// `; did you mean ...?`
        hint: String,
        /// What there is.
        have: Vec<String>,
    },
    /// Several sessions could send.
    #[error("no recipient: {}", the_partners(.partners, *.of_one_conversation))]
    ToWhom {
        /// Their partners.
        partners: Vec<String>,
        /// Whether those are the two sides of one conversation.
        of_one_conversation: bool,
    },
    /// Several sessions could act.
    #[error("which session? the credentials have {} sessions: {}", .0.len(), .0.join(", "))]
    ForWhom(Vec<String>),
    /// No conversation of that name.
    #[error("there is no conversation `{name}`{hint}")]
    NoSuchConversation {
        /// As it was written.
        name: String,
        /// `; did you mean ...?`
        hint: String,
    },
    /// No session and no host of that name.
    #[error("there is no session and no host `{name}`{hint}")]
    NoSuchWhom {
        /// As it was written.
        name: String,
        /// `; did you mean ...?`
        hint: String,
    },
    /// No daemon on a host of that name.
    #[error("no daemon of this store is on a host `{name}`{hint}")]
    NoSuchHost {
        /// As it was written.
        name: String,
        /// `; did you mean ...?`
        hint: String,
    },
    /// A name that could mean two things.
    #[error(
        "`{0}` is a session and a host\n  write {0}/b for the session, or host:{0} for the host"
    )]
    SessionOrHost(String),
    /// A text that is no id.
    #[error(transparent)]
    Id(#[from] InvalidId),
    /// No message of that id for any of the sessions.
    #[error("there is no message {0} for any session of the credentials")]
    NoSuchMessage(MessageId),
    /// What the store refused, or how it failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Why a following ended.
    #[error(transparent)]
    Follow(#[from] FollowError),
}

impl SessionError {
    /// Any of these sessions could send.
    pub(super) fn to_whom(members: &[&Member]) -> Self {
        let conversation = |member: &Member| member.caller.session.conversation.clone();
        let conversations: HashSet<_> = members.iter().map(|m| conversation(m)).collect();
        Self::ToWhom {
            partners: members.iter().map(|m| m.partner_name()).collect(),
            of_one_conversation: conversations.len() == 1,
        }
    }

    /// The error that this one passes on, as it was.
    #[must_use]
    pub fn passed_on(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(match self {
            Self::Credentials(error) => error,
            Self::Id(error) => error,
            Self::Store(error) | Self::Follow(FollowError::Store(error)) => error,
            Self::Follow(FollowError::Sink(error)) => error,
            _ => return None,
        })
    }
}

/// Lines about conversations that are of no use and could not be closed.
fn not_closed(left: &[(ConversationId, String)]) -> String {
    left.iter()
        .map(|(id, why)| format!("\n  conversation {id} could not be closed again: {why}"))
        .collect()
}

/// A session is named with its side.
fn what_is_named(name: &str) -> &'static str {
    match name.contains('/') {
        true => "session",
        false => "conversation",
    }
}

/// `the credentials have 3 sessions; their partners are a, b, c`.
fn the_partners(partners: &[String], of_one_conversation: bool) -> String {
    const SHOWN: usize = 8;
    let what = match of_one_conversation {
        true => "the credentials have both sides of that conversation".to_owned(),
        false => format!("the credentials have {} sessions", partners.len()),
    };
    let more = partners.len().saturating_sub(SHOWN);
    let mut list = partners[..partners.len().min(SHOWN)].join(", ");
    if more > 0 {
        list.push_str(&format!(" and {more} more"));
    }
    format!("{what}; their partners are {list}")
}
