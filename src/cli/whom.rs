//! Finding whom a person means: a session of this store, a host, or the one of
//! the credentials' sessions that acts.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;

use super::context::{Acting, Member};
use super::error::{CliError, did_you_mean};
use super::named;
use crate::model::session::session_name;
use crate::model::{Label, SessionKey, Side};
use crate::store::SharedStore;

/// The longest time for which something may be said: what is meant for ever is
/// forgotten.
const LONGEST: Duration = Duration::from_secs(30 * 24 * 3600);

/// How a drain of a host stands in the store.
const HOST: &str = "host:";

/// A session, and what people call it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct NamedSession {
    pub(super) key: SessionKey,
    pub(super) name: String,
}

/// A session, or all that daemons of one host keep.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Whom {
    Session(NamedSession),
    Host(String),
}

impl Whom {
    /// As it stands in the store: `conv_.../b` or `host:NAME`.
    pub(super) fn subject(&self) -> String {
        match self {
            Self::Session(session) => session.key.to_string(),
            Self::Host(name) => format!("{HOST}{name}"),
        }
    }

    /// As people call it.
    pub(super) fn name(&self) -> String {
        match self {
            Self::Session(session) => session.name.clone(),
            Self::Host(name) => format!("host {name}"),
        }
    }
}

/// A session by `backend-1/b`, by its conversation's label or id (then its `b`
/// side is meant, the worker's), or by `conv_.../a`.
///
/// # Errors
/// If there is none.
pub(super) async fn session(
    store: &SharedStore,
    name: &str,
    now: Timestamp,
) -> anyhow::Result<NamedSession> {
    let (conversation, side) = match name.rsplit_once('/') {
        Some((conversation, side)) => (conversation, side.parse()?),
        None => (name, Side::B),
    };
    let found = named::conversation(store, conversation, now).await?;
    let key = SessionKey::new(found.id, side);
    let name = session_name(found.label.as_ref(), &key);
    Ok(NamedSession { key, name })
}

/// The same, or a host by the name that its daemons go by.
///
/// # Errors
/// If there is neither, or both: `host:NAME` leaves no question.
pub(super) async fn session_or_host(
    store: &SharedStore,
    name: &str,
    now: Timestamp,
) -> anyhow::Result<Whom> {
    let hosts: BTreeSet<String> = store
        .daemons()
        .await?
        .into_iter()
        .map(|daemon| daemon.host)
        .collect();
    let cut = |name: &str| name.chars().take(80).collect();
    if let Some(host) = name.strip_prefix(HOST) {
        return if hosts.contains(host) {
            Ok(Whom::Host(host.to_owned()))
        } else {
            let hint = did_you_mean(host, hosts.iter().map(String::as_str));
            let name = cut(host);
            Err(CliError::NoSuchHost { name, hint }.into())
        };
    }
    let found = session(store, name, now).await;
    match (found, hosts.contains(name)) {
        (Ok(_), true) => Err(CliError::SessionOrHost(name.to_owned()).into()),
        (Ok(session), false) => Ok(Whom::Session(session)),
        (Err(_), true) => Ok(Whom::Host(name.to_owned())),
        (Err(error), false) => match error.downcast_ref() {
            Some(CliError::NoSuchConversation { .. }) => {
                let labels = named::labels(store).await?;
                let names = hosts.iter().chain(labels.values()).map(String::as_str);
                let hint = did_you_mean(name, names);
                let name = cut(name);
                Err(CliError::NoSuchWhom { name, hint }.into())
            }
            _ => Err(error),
        },
    }
}

/// The one session that acts: the only one of the credentials, or the one that
/// `--as` names by label, side, or both.
///
/// # Errors
/// None of that name, or several.
pub(super) fn acting_as<'a>(acting: &'a Acting, name: Option<&str>) -> anyhow::Result<&'a Member> {
    let candidates: Vec<&Member> = match name {
        None => acting.members.iter().collect(),
        Some(name) => acting
            .members
            .iter()
            .filter(|member| is_called(member, name))
            .collect(),
    };
    match candidates.as_slice() {
        [only] => Ok(only),
        [] => {
            let names = names(&acting.members.iter().collect::<Vec<_>>());
            let name = name.unwrap_or_default();
            Err(CliError::NotMine {
                hint: did_you_mean(name, names.iter().map(String::as_str)),
                name: name.chars().take(80).collect(),
                have: names.join(", "),
            }
            .into())
        }
        several => {
            let names = names(several);
            let first = names.first().cloned().unwrap_or_default();
            let what = format!(
                "the credentials have {} sessions: {}",
                names.len(),
                names.join(", ")
            );
            Err(CliError::ForWhom(what, first).into())
        }
    }
}

fn names(members: &[&Member]) -> Vec<String> {
    members.iter().map(|member| member.name()).collect()
}

/// Whether a session of the credentials goes by this name.
fn is_called(member: &Member, name: &str) -> bool {
    let session = &member.caller.session;
    let (conversation, side) = match name.rsplit_once('/') {
        Some((conversation, side)) => match side.parse::<Side>() {
            Ok(side) => (conversation, Some(side)),
            Err(_) => return false,
        },
        None => (name, None),
    };
    let of_that_name = session.conversation.as_str() == conversation
        || member.label.as_ref().map(Label::as_str) == Some(conversation);
    of_that_name && side.is_none_or(|side| session.side == side)
}

/// How long something holds: 1 second to 30 days.
///
/// # Errors
/// What is wrong with it, for clap.
pub(super) fn time_limit(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(time) if (Duration::from_secs(1)..=LONGEST).contains(&time) => Ok(time),
        Ok(_) => Err("between 1s and 30days".into()),
        Err(error) => Err(format!("{error}; write for example 1h or 2days")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::token::Token;
    use crate::store::Caller;

    #[test]
    fn the_acting_session_is_the_only_one_or_the_one_that_is_named() {
        let member = |session: &str, label: &str| {
            let session: SessionKey = session.parse().expect("a session");
            let token = Token::generate(&session, &[0; 32]);
            Member::new(Caller { session, token }, label.parse().ok())
        };
        let one = Acting::of(vec![member("conv_0000000000000001/b", "one")]);
        assert_eq!(acting_as(&one, None).expect("it").name(), "one/b");
        let three = Acting::of(vec![
            member("conv_0000000000000001/a", "one"),
            member("conv_0000000000000001/b", "one"),
            member("conv_0000000000000002/a", "two"),
        ]);
        let called = |name| acting_as(&three, name).map(Member::name);
        assert_eq!(called(Some("one/b")).expect("it"), "one/b");
        assert_eq!(called(Some("two")).expect("it"), "two/a");
        assert_eq!(
            called(Some("conv_0000000000000001/a")).expect("it"),
            "one/a"
        );
        for (name, says) in [
            (None, "3 sessions: one/a, one/b, two/a"),
            (Some("one"), "2 sessions: one/a, one/b"),
            (Some("twi/a"), "did you mean `two/a`"),
            (Some("one/c"), "have no conversation `one/c`"),
        ] {
            let error = called(name).expect_err("refused").to_string();
            assert!(error.contains(says), "{error}");
        }
    }

    #[test]
    fn a_time_has_an_end() {
        assert_eq!(time_limit("1h"), Ok(Duration::from_secs(3600)));
        assert!(time_limit("30days").is_ok());
        for wrong in ["0s", "31days", "soon", ""] {
            assert!(time_limit(wrong).is_err(), "{wrong}");
        }
    }
}
