//! The sessions that a face acts for: those of its credentials, and one of them by
//! name.

use std::path::PathBuf;

use super::naming::{Name, cut};
use super::{Result, SessionError, known};
use crate::bridge::Bridge;
use crate::credentials::Credentials;
use crate::model::session::{Status, conversation_name, session_name};
use crate::model::{InvalidId, Label, SessionKey, Side};
use crate::store::Caller;
use crate::text::near::did_you_mean;

/// A session that a face acts for.
#[derive(Debug, Clone)]
pub struct Member {
    /// The session and its token.
    pub caller: Caller,
    /// Its conversation's label, as far as it is known.
    pub label: Option<Label>,
    /// The file that it came from.
    source: String,
    /// All files that it stands in.
    files: Vec<PathBuf>,
}

impl Member {
    /// What people call this session.
    #[must_use]
    pub fn name(&self) -> String {
        session_name(self.label.as_ref(), &self.caller.session)
    }

    /// The files that its token stands in; none where that is the environment.
    #[must_use]
    pub fn files(&self) -> &[PathBuf] {
        &self.files
    }

    /// What people call its partner.
    #[must_use]
    pub fn partner_name(&self) -> String {
        session_name(self.label.as_ref(), &self.caller.session.partner())
    }

    fn conversation_name(&self) -> String {
        conversation_name(self.label.as_ref(), &self.caller.session.conversation)
    }
}

/// All sessions that a face acts for, at least one.
#[derive(Debug)]
pub struct Acting {
    /// The store that the credentials are good for.
    pub store: Option<String>,
    /// The sessions, each once.
    pub members: Vec<Member>,
    /// Whether their token stood in the environment.
    from_environment: bool,
}

impl Acting {
    /// The sessions of these files, directories of files and names in the default
    /// directory; where none is named, of the environment.
    ///
    /// # Errors
    /// [`SessionError::NoCredentials`], or some that cannot be used.
    pub(super) fn read(named: &[PathBuf]) -> Result<Self> {
        let mut acting = Self {
            store: None,
            members: Vec::new(),
            from_environment: false,
        };
        for path in named {
            for file in known::files(path)? {
                acting.add(Credentials::read(&file)?)?;
            }
        }
        if acting.members.is_empty() {
            let variables = Credentials::from_environment(|name| std::env::var(name).ok())?;
            acting.add(variables.ok_or(SessionError::NoCredentials)?)?;
            acting.from_environment = true;
        }
        Ok(acting)
    }

    /// A session whose token was given, from no file.
    #[must_use]
    pub fn of(caller: Caller) -> Self {
        let member = Member {
            caller,
            label: None,
            source: "the arguments".to_owned(),
            files: Vec::new(),
        };
        Self {
            store: None,
            members: vec![member],
            from_environment: false,
        }
    }

    fn add(&mut self, credentials: Credentials) -> Result<()> {
        let source = credentials.to_string();
        if let Some(store) = credentials.store {
            match &self.store {
                Some(known) if *known != store => {
                    return Err(SessionError::TwoStores(known.clone(), store));
                }
                _ => self.store = Some(store),
            }
        }
        // The label of a file with several sessions is the agent's.
        let label = credentials.label.filter(|_| credentials.callers.len() == 1);
        for caller in credentials.callers {
            let known = self
                .members
                .iter_mut()
                .find(|member| member.caller.session == caller.session);
            match known {
                None => self.members.push(Member {
                    caller,
                    label: label.clone(),
                    source: source.clone(),
                    files: credentials.source.iter().cloned().collect(),
                }),
                Some(member) if member.caller.token.expose() == caller.token.expose() => {
                    member.label = member.label.take().or_else(|| label.clone());
                    member.files.extend(credentials.source.clone());
                }
                Some(member) => {
                    let session = caller.session;
                    return Err(SessionError::TwoTokens(
                        session,
                        member.source.clone(),
                        source,
                    ));
                }
            }
        }
        Ok(())
    }

    /// The same for a program that runs on: its environment stays readable as long
    /// as it runs, so it takes no token from there.
    ///
    /// # Errors
    /// [`SessionError::TokenInEnvironment`].
    pub fn for_long(self) -> Result<Self> {
        match self.from_environment {
            true => Err(SessionError::TokenInEnvironment),
            false => Ok(self),
        }
    }

    /// The sessions with their tokens.
    #[must_use]
    pub fn callers(&self) -> Vec<Caller> {
        self.members.iter().map(|m| m.caller.clone()).collect()
    }

    /// Says of each session that its agent waits for its user, or works.
    ///
    /// # Errors
    /// Credentials; if the store failed.
    pub(crate) async fn say_waiting(
        &self,
        bridge: &Bridge,
        waits: bool,
    ) -> crate::store::Result<()> {
        let status = match waits {
            true => Status::Waiting,
            false => Status::Working,
        };
        for caller in self.callers() {
            bridge.say_status(&caller, status).await?;
        }
        Ok(())
    }

    /// Asks the store for the labels that the credentials do not tell.
    ///
    /// # Errors
    /// If the store failed. Sessions that it refuses just stay without a label.
    pub async fn learn_labels(&mut self, bridge: &Bridge) -> Result<()> {
        if self.members.iter().all(|member| member.label.is_some()) {
            return Ok(());
        }
        let verdicts = bridge.verify(&self.callers()).await?;
        for (member, verdict) in self.members.iter_mut().zip(verdicts) {
            if let (None, Ok(verified)) = (&member.label, verdict) {
                member.label = verified.label;
            }
        }
        Ok(())
    }

    /// The one session that acts: the only one, or the one of this name.
    ///
    /// # Errors
    /// None of that name, or several.
    pub fn the_one(&self, name: Option<&str>) -> Result<&Member> {
        let found = match name.map(Name::read) {
            None => self.members.iter().collect(),
            Some(Ok(name)) => self.called(&name, |session| session.side),
            Some(Err(_)) => Vec::new(),
        };
        match found.as_slice() {
            [only] => Ok(only),
            [] => Err(self.not_mine(name.unwrap_or_default(), Member::name)),
            several => Err(SessionError::ForWhom(each(several, Member::name))),
        }
    }

    /// The session that sends to `name`: a conversation, or one side of it, which
    /// then is the receiver.
    ///
    /// # Errors
    /// None, or more than one; a text that is no id.
    pub fn sender_to(&self, name: Option<&str>) -> Result<&Member> {
        let found = match name {
            None => self.members.iter().collect(),
            Some(name) => self.partners_of(name)?,
        };
        match found.as_slice() {
            [only] => Ok(only),
            [] => Err(self.not_mine(name.unwrap_or_default(), Member::conversation_name)),
            several => Err(SessionError::to_whom(several)),
        }
    }

    /// The sessions whose partner `name` can mean.
    ///
    /// # Errors
    /// A text that is no id.
    pub fn partners_of(&self, name: &str) -> std::result::Result<Vec<&Member>, InvalidId> {
        match Name::read(name) {
            Ok(name) => Ok(self.called(&name, |session| session.side.other())),
            // A side that does not exist is no session's.
            Err(InvalidId::Side(_)) => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    /// The session in whose name work is handed out. An orchestrator's agent holds
    /// many `a` sides and reads the mail of all: any of them that is open will do.
    ///
    /// # Errors
    /// As [`Self::the_one`]; if the store failed.
    pub async fn creator(&mut self, bridge: &Bridge, name: Option<&str>) -> Result<Caller> {
        self.learn_labels(bridge).await?;
        if name.is_none() && self.members.len() > 1 {
            let verdicts = bridge.verify(&self.callers()).await?;
            let mut each = self.members.iter().zip(verdicts);
            let open = each
                .find(|(member, verdict)| member.caller.session.side == Side::A && verdict.is_ok());
            if let Some((member, _)) = open {
                return Ok(member.caller.clone());
            }
        }
        Ok(self.the_one(name)?.caller.clone())
    }

    /// The sessions of this name, where it has a side those of which `side` is that.
    fn called(&self, name: &Name<'_>, side: impl Fn(&SessionKey) -> Side) -> Vec<&Member> {
        let is_called = |member: &&Member| {
            let session = &member.caller.session;
            name.means(&session.conversation, member.label.as_ref())
                && name.side.is_none_or(|named| side(session) == named)
        };
        self.members.iter().filter(is_called).collect()
    }

    fn not_mine(&self, name: &str, called: impl Fn(&Member) -> String) -> SessionError {
        let mut have = each(&self.members.iter().collect::<Vec<_>>(), called);
        have.dedup();
        SessionError::NotMine {
            hint: did_you_mean(name, have.iter().map(String::as_str)),
            name: cut(name),
            have,
        }
    }
}

fn each(members: &[&Member], called: impl Fn(&Member) -> String) -> Vec<String> {
    members.iter().map(|member| called(member)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::token::Token;

    fn acting(sessions: &[(&str, &str)]) -> Acting {
        let members = sessions.iter().map(|(session, label)| {
            let session: SessionKey = session.parse().expect("a session");
            let token = Token::generate(&session, &[0; 32]);
            Member {
                caller: Caller { session, token },
                label: label.parse().ok(),
                source: String::new(),
                files: Vec::new(),
            }
        });
        Acting {
            store: None,
            members: members.collect(),
            from_environment: false,
        }
    }

    #[test]
    fn the_name_is_the_conversation_or_the_receiver() {
        let acting = acting(&[
            ("conv_0000000000000001/a", "backend-1"),
            ("conv_0000000000000002/a", "backend-2"),
            ("conv_0000000000000002/b", "backend-2"),
        ]);
        let sender = |name| acting.sender_to(name).map(Member::name);
        assert_eq!(sender(Some("backend-1")).expect("one"), "backend-1/a");
        assert_eq!(
            sender(Some("conv_0000000000000001")).expect("one"),
            "backend-1/a"
        );
        assert_eq!(sender(Some("backend-2/b")).expect("one"), "backend-2/a");
        assert_eq!(sender(Some("backend-2/a")).expect("one"), "backend-2/b");
        for (name, says) in [
            (None, "no recipient"),
            (Some("backend-2"), "both sides"),
            (Some("bakend-1"), "did you mean `backend-1`"),
            (Some("conv_1"), "not a conversation id"),
            (Some("conv_1/c"), "no session `conv_1/c`"),
        ] {
            let error = sender(name).expect_err("refused").to_string();
            assert!(error.contains(says), "{error}");
        }
    }

    #[test]
    fn acting_session_is_the_only_or_the_named_one() {
        let one = acting(&[("conv_0000000000000001/b", "one")]);
        assert_eq!(one.the_one(None).expect("it").name(), "one/b");
        let three = acting(&[
            ("conv_0000000000000001/a", "one"),
            ("conv_0000000000000001/b", "one"),
            ("conv_0000000000000002/a", "two"),
        ]);
        let called = |name| three.the_one(name).map(Member::name);
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
            (Some("one/c"), "have no session `one/c`"),
            (Some("conv_1"), "have no conversation `conv_1`"),
        ] {
            let error = called(name).expect_err("refused").to_string();
            assert!(error.contains(says), "{error}");
        }
    }
}
