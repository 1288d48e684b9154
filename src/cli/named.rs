//! Finding what a person named: a conversation by id or label, a partner among
//! the sessions of the credentials.

use std::collections::HashMap;

use jiff::Timestamp;

use super::context::{Acting, Member};
use super::error::{CliError, did_you_mean};
use super::output::conversation_name;
use crate::model::session::{Conversation, ConversationState};
use crate::model::{ConversationId, InvalidId, Side};
use crate::store::{SharedStore, StoreError};

/// The conversation of this id or label. Of several with one label the open
/// one is meant, and then the newest.
///
/// # Errors
/// If there is none.
pub(super) async fn conversation(
    store: &SharedStore,
    name: &str,
    now: Timestamp,
) -> anyhow::Result<Conversation> {
    if looks_like_id(name) {
        return Ok(store.conversation(&name.parse()?).await?);
    }
    let all = store.conversations().await?;
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
        let error = CliError::NoSuchConversation {
            hint: did_you_mean(name, labels.map(crate::model::Label::as_str)),
            name: name.chars().take(80).collect(),
        };
        error.into()
    })
}

/// All labels, by the id of their conversation.
///
/// # Errors
/// If the store failed.
pub(super) async fn labels(store: &SharedStore) -> Result<HashMap<String, String>, StoreError> {
    let labelled = |c: Conversation| Some((c.id.to_string(), c.label?.to_string()));
    let all = store.conversations().await?;
    Ok(all.into_iter().filter_map(labelled).collect())
}

/// Whether this is meant to be a conversation's id, right or wrong.
#[must_use]
pub(super) fn looks_like_id(text: &str) -> bool {
    text.starts_with("conv_") && !text.contains(char::is_whitespace)
}

/// The session that sends to `name`: a conversation's id or label, or one side
/// of it (`backend-1/b`), which then is the receiver.
///
/// # Errors
/// None, or more than one; an id that is none.
pub(super) fn sender<'a>(
    acting: &'a Acting,
    name: Option<&str>,
) -> Result<&'a Member, anyhow::Error> {
    let Some(name) = name else {
        return match acting.members.as_slice() {
            [only] => Ok(only),
            several => Err(to_whom(several, None)),
        };
    };
    let found = matching(acting, name)?;
    match found.as_slice() {
        [only] => Ok(only),
        [] => {
            let names = names(&acting.members);
            Err(CliError::NotMine {
                hint: did_you_mean(name, names.iter().map(String::as_str)),
                name: name.chars().take(80).collect(),
                have: names.join(", "),
            }
            .into())
        }
        [first, ..] => {
            let conversation = &first.caller.session.conversation;
            Err(to_whom(&acting.members, Some(conversation)))
        }
    }
}

/// The sessions whose partner `name` can mean.
///
/// # Errors
/// An id that is none.
pub(super) fn matching<'a>(acting: &'a Acting, name: &str) -> Result<Vec<&'a Member>, InvalidId> {
    let (conversation, receiver) = match name.split_once('/') {
        Some((conversation, side)) => match side.parse::<Side>() {
            Ok(side) => (conversation, Some(side)),
            Err(_) => return Ok(Vec::new()),
        },
        None => (name, None),
    };
    let id = looks_like_id(conversation)
        .then(|| conversation.parse::<ConversationId>())
        .transpose()?;
    let of_that_name = |member: &&Member| match &id {
        Some(id) => member.caller.session.conversation == *id,
        None => (member.label.as_ref()).is_some_and(|label| label.as_str() == conversation),
    };
    Ok(acting
        .members
        .iter()
        .filter(of_that_name)
        .filter(|member| receiver.is_none_or(|side| member.caller.session.side.other() == side))
        .collect())
}

/// Asks the store for the labels that the credentials do not tell.
///
/// # Errors
/// If the store failed. Sessions that it refuses just stay without a label.
pub(super) async fn learn_labels(
    store: &SharedStore,
    acting: &mut Acting,
    now: Timestamp,
) -> Result<(), StoreError> {
    if acting.members.iter().all(|member| member.label.is_some()) {
        return Ok(());
    }
    let verdicts = store.verify(&acting.callers(), now).await?;
    for (member, verdict) in acting.members.iter_mut().zip(verdicts) {
        if let (None, Ok(verified)) = (&member.label, verdict) {
            member.label = verified.label;
        }
    }
    Ok(())
}

/// The conversations of these sessions, each once, as people call them.
fn names(members: &[Member]) -> Vec<String> {
    let mut names: Vec<String> = members
        .iter()
        .map(|m| conversation_name(m.label.as_ref(), &m.caller.session.conversation))
        .collect();
    names.dedup();
    names
}

fn to_whom(members: &[Member], both_sides_of: Option<&ConversationId>) -> anyhow::Error {
    const SHOWN: usize = 8;
    let partners: Vec<String> = members
        .iter()
        .filter(|m| both_sides_of.is_none_or(|id| m.caller.session.conversation == *id))
        .map(Member::partner_name)
        .collect();
    let what = match both_sides_of {
        Some(_) => "the credentials have both sides of that conversation".to_owned(),
        None => format!("the credentials have {} sessions", partners.len()),
    };
    let more = partners.len().saturating_sub(SHOWN);
    let mut list = partners[..partners.len().min(SHOWN)].join(", ");
    if more > 0 {
        list.push_str(&format!(" and {more} more"));
    }
    let example = partners.first().cloned().unwrap_or_default();
    CliError::ToWhom(format!("{what}; their partners are {list}"), example).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::SessionKey;
    use crate::model::token::Token;
    use crate::store::Caller;

    fn acting(sessions: &[(&str, &str)]) -> Acting {
        let members = sessions.iter().map(|(session, label)| {
            let session: SessionKey = session.parse().expect("a session");
            let token = Token::generate(&session, &[0; 32]);
            Member::new(Caller { session, token }, label.parse().ok())
        });
        Acting::of(members.collect())
    }

    #[test]
    fn the_name_is_the_conversation_or_the_receiver() {
        let acting = acting(&[
            ("conv_0000000000000001/a", "backend-1"),
            ("conv_0000000000000002/a", "backend-2"),
            ("conv_0000000000000002/b", "backend-2"),
        ]);
        let sender = |name| sender(&acting, name).map(Member::name);
        assert_eq!(sender(Some("backend-1")).expect("one"), "backend-1/a");
        assert_eq!(
            sender(Some("conv_0000000000000001")).expect("one"),
            "backend-1/a"
        );
        assert_eq!(sender(Some("backend-2/b")).expect("one"), "backend-2/a");
        assert_eq!(sender(Some("backend-2/a")).expect("one"), "backend-2/b");
        for (name, says) in [
            (None, "to whom?"),
            (Some("backend-2"), "both sides"),
            (Some("bakend-1"), "did you mean `backend-1`"),
            (Some("conv_1"), "not a conversation id"),
        ] {
            let error = sender(name).expect_err("refused").to_string();
            assert!(error.contains(says), "{error}");
        }
    }
}
