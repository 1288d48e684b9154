//! What an operation is: a request, an answer, who may ask, and what is done.

use std::future::Future;

use schemars::JsonSchema;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::operations::Answering;
use crate::clock;
use crate::model::SessionKey;
use crate::model::door::DoorError;
use crate::store::{Caller, Result, Store, StoreError};

/// One thing that can be asked of a daemon. The type itself is the request.
pub trait Operation: Serialize + DeserializeOwned + JsonSchema + Send + Sync + 'static {
    /// How it is called, and who may.
    const ROUTE: Route;

    /// What comes back.
    type Answer: Serialize + DeserializeOwned + JsonSchema + Send + 'static;

    /// What of a user's allowance it takes.
    fn takes(&self) -> Option<(Quota, u64)> {
        None
    }

    /// Whether this one may be asked for again where its answer was lost.
    fn is_repeatable(&self) -> bool {
        Self::ROUTE.repeatable
    }

    /// Which daemon answered, where an answer says so: a daemon that does not speak
    /// this version is refused.
    fn answering(_: &Self::Answer) -> Option<&Answering> {
        None
    }

    /// Does it.
    ///
    /// # Errors
    /// The store's; [`DoorError`] for what the actor may not do.
    fn run(self, at: At<'_>) -> impl Future<Output = Result<Self::Answer>> + Send;
}

/// An operation as HTTP knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Route {
    /// How.
    pub method: Method,
    /// The path, without [`super::PREFIX`].
    pub name: &'static str,
    /// Who may use it.
    pub rights: Rights,
    /// What it does, in a line.
    pub summary: &'static str,
    /// Whether it may be asked again where the answer was lost: it changes nothing,
    /// or what it changes is the same after the second time.
    pub repeatable: bool,
    /// Whether its answer may be long: one user has few of them made at once.
    pub is_long: bool,
    /// Whether it makes the store longer: what comes with it is counted for its user.
    pub is_kept: bool,
}

impl Route {
    /// The same, but rows are added by it: what it brings, or what the audit log says.
    #[must_use]
    pub const fn kept(self) -> Self {
        Self {
            is_kept: true,
            ..self
        }
    }

    /// The same, with an answer that may be long.
    #[must_use]
    pub const fn long(self) -> Self {
        Self {
            is_long: true,
            ..self
        }
    }

    /// A question without parameters.
    #[must_use]
    pub const fn get(name: &'static str, rights: Rights, summary: &'static str) -> Self {
        Self {
            method: Method::Get,
            name,
            rights,
            summary,
            repeatable: true,
            is_long: false,
            is_kept: false,
        }
    }

    /// A question, or a change that is the same when it is made twice.
    #[must_use]
    pub const fn post(name: &'static str, rights: Rights, summary: &'static str) -> Self {
        Self {
            method: Method::Post,
            name,
            rights,
            summary,
            repeatable: true,
            is_long: false,
            is_kept: false,
        }
    }

    /// A change that would be made twice, unless the request itself keeps it from that.
    #[must_use]
    pub const fn once(name: &'static str, rights: Rights, summary: &'static str) -> Self {
        Self {
            method: Method::Post,
            name,
            rights,
            summary,
            repeatable: false,
            is_long: false,
            is_kept: false,
        }
    }
}

/// How an operation is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// It has no parameters.
    Get,
    /// Its parameters are the body.
    Post,
}

/// Who may ask for something. What a session may do, it may do with what is its own;
/// the operation sees to that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rights {
    /// Every program that reaches `api.sock`, without a token.
    pub anyone: bool,
    /// A session, by its token.
    pub session: bool,
    /// An operator, at `admin.sock`.
    pub operator: bool,
}

impl Rights {
    /// What is shown without a token: no text of an agent is in it.
    pub const ANYONE: Self = Self {
        anyone: true,
        session: true,
        operator: true,
    };
    /// What sessions do, each for itself.
    pub const SESSION: Self = Self {
        anyone: false,
        session: true,
        operator: false,
    };
    /// What a session does with what is its own, and an operator with everything.
    pub const EITHER: Self = Self {
        anyone: false,
        session: true,
        operator: true,
    };
    /// What operators do.
    pub const OPERATOR: Self = Self {
        anyone: false,
        session: false,
        operator: true,
    };
}

/// What is counted for each user.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Quota {
    /// Conversations that are made.
    Conversations,
    /// Tasks that are added.
    Tasks,
    /// Bytes of what is stored.
    Bytes,
}

/// Who asks.
#[derive(Debug, Clone)]
pub enum Actor {
    /// A program without a token.
    Anyone,
    /// A session, by a token that is not verified yet.
    Session(Caller),
    /// An operator.
    Operator,
}

/// What an operation works with.
#[derive(Debug, Clone, Copy)]
pub struct At<'a> {
    /// The store.
    pub store: &'a Store,
    /// Who asks.
    pub actor: &'a Actor,
    /// The actor has the store open itself: what it might be refused here it could do
    /// to the file, so nothing is asked of the store for that alone.
    pub is_trusted: bool,
    /// The same request came before, and its answer was lost: what is already done may
    /// be this program's own work, and is then no error.
    pub is_repeated: bool,
    /// The process that asks, if it is another one and known.
    pub process: Option<u32>,
    /// The user who asks: this program's own, or the one at the other end.
    pub uid: u32,
}

impl<'a> At<'a> {
    /// The session that asks. The store verifies its token with what it does.
    ///
    /// # Errors
    /// [`DoorError::NoToken`].
    pub(super) fn caller<O: Operation>(self) -> Result<&'a Caller> {
        match self.actor {
            Actor::Session(caller) => Ok(caller),
            Actor::Anyone | Actor::Operator => {
                Err(DoorError::NoToken(O::ROUTE.name.to_owned()).into())
            }
        }
    }

    /// The session that asks, verified here and now, or `None` for an operator. One
    /// whose conversation has ended is still itself.
    ///
    /// # Errors
    /// A wrong token; [`DoorError::NoToken`].
    pub(super) async fn verified<O: Operation>(self) -> Result<Option<&'a Caller>> {
        let caller = match self.actor {
            Actor::Operator => return Ok(None),
            Actor::Session(caller) if self.is_trusted => return Ok(Some(caller)),
            Actor::Session(caller) => caller,
            Actor::Anyone => return Err(DoorError::NoToken(O::ROUTE.name.to_owned()).into()),
        };
        let asked = std::slice::from_ref(caller);
        match self.store.verify(asked, clock::now()).await?.pop() {
            Some(Err(StoreError::Expired { .. } | StoreError::Closed(_)) | Ok(_)) => {
                Ok(Some(caller))
            }
            Some(Err(error)) => Err(error),
            None => Err(StoreError::WrongToken(caller.session.clone())),
        }
    }

    /// Refuses a session that has no part in something.
    ///
    /// # Errors
    /// [`DoorError::NotYours`].
    pub(super) fn refuse<O: Operation>(session: &SessionKey, why: &str) -> StoreError {
        DoorError::NotYours {
            what: O::ROUTE.name.to_owned(),
            session: session.to_string(),
            why: why.to_owned(),
        }
        .into()
    }
}
