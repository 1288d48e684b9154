//! The product's operations as one type, for every face.
//!
//! A face (the command line, a server of tools, a hook) asks a [`Bridge`] and does
//! not know how it reaches the store: what goes in and what comes out is plain data.
//! A bridge opens the store's file itself, or asks the daemon that has it open; both
//! do the same operation (`api::operations`).

mod agents;
mod conversations;
mod events;
mod find;
mod follow;
mod messages;
mod operator;
mod orders;
mod status;
mod tasks;
mod wakes;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

pub use crate::api::events::FollowEvents;
pub use crate::api::follow::{Begin, Cursor, FollowError, News, Sink, Subscription};
use crate::api::operations::Health;
pub use crate::api::operations::{Answering, Ending, Registered, StatusNow};
pub use find::{Found, Surroundings};
pub use operator::NotOperator;

use crate::api::client::Client;
use crate::api::{Actor, At, Operation, Sockets};
use crate::host;
use crate::model::StoreName;
use crate::model::door::DoorError;
use crate::store::locate::{self, Location};
use crate::store::sqlite::{self, Create, Opening, SCHEMA_VERSION};
use crate::store::{Caller, Result, SharedStore, StoreError};

/// A way to a store.
#[derive(Debug, Clone)]
pub struct Bridge {
    way: Way,
    /// The sessions that this program acts for, where what it asks for is a right of
    /// some of them.
    own: Vec<Caller>,
    /// The store's file, where a daemon is asked that could be done without.
    file: Option<Location>,
}

#[derive(Debug, Clone)]
enum Way {
    /// This process has it open.
    Embedded(SharedStore),
    /// A daemon has it open.
    Door(Arc<Client>),
}

/// What a store is opened for, which decides what the opening may change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// To look: nothing is changed, and a store that would have to be is refused.
    Look,
    /// To write: an older store is brought up to date, the Python bridge's is
    /// adopted, and a missing one is an error.
    Write,
    /// To write, and a missing store is made.
    Make,
}

/// What an opening did to a store that was there before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Brought {
    /// The schema that it had; `None` for the Python bridge's own.
    pub from: Option<i64>,
    /// The schema that it has now.
    pub to: i64,
    /// The copy of it as it was.
    pub copy: PathBuf,
}

impl Bridge {
    /// Opens a store by the way that was found. `brought` hears what that did to a store
    /// that was there before, even if the opening failed afterwards.
    ///
    /// # Errors
    /// Each fault of the store, by name.
    pub async fn open(
        found: &Found,
        purpose: Purpose,
        brought: impl FnOnce(&Brought),
    ) -> Result<Self> {
        if let Some(client) = found.client() {
            let file = Some(&found.location)
                .filter(|location| location.name.door().is_none() && may_open(location.path()));
            let file = file.cloned();
            let bridge = Self::from(Arc::clone(client));
            return Ok(Self { file, ..bridge });
        }
        let location = &found.location;
        let create = match purpose {
            Purpose::Look => Create::Look,
            Purpose::Write => Create::No,
            Purpose::Make => Create::Yes,
        };
        let opening = Opening::default();
        let opened = locate::open_telling(location, create, &opening).await;
        if let Some(sqlite::Brought { from, copy }) = opening.brought().cloned() {
            let to = SCHEMA_VERSION;
            brought(&Brought { from, to, copy });
        }
        Ok(opened?.into())
    }

    /// By the daemon that answers at this socket.
    #[must_use]
    pub fn through(socket: &Path) -> Self {
        client_of(socket).into()
    }

    /// The same, and a daemon that does not answer now is not waited for.
    #[must_use]
    pub fn through_now(socket: &Path) -> Self {
        client_of(socket).with_patience(Duration::ZERO).into()
    }

    /// Who answers, and for which file.
    ///
    /// # Errors
    /// If the store failed, or no daemon answers.
    pub async fn answering(&self) -> Result<Answering> {
        self.ask_openly(Health {}).await
    }

    /// The store, as people name it and as credentials note it.
    #[must_use]
    pub fn name(&self) -> String {
        match &self.way {
            Way::Embedded(store) => store.location().to_string(),
            Way::Door(client) => client.store().to_string(),
        }
    }

    /// The store's name for files that outlive a daemon: credentials, configurations.
    ///
    /// # Errors
    /// If the daemon that has the store does not answer any more.
    pub async fn lasting_name(&self) -> Result<String> {
        match &self.way {
            Way::Embedded(_) => Ok(self.name()),
            Way::Door(client) => Ok(client.lasting_name().await?.to_string()),
        }
    }

    /// Whether a daemon stands between this program and the store.
    #[must_use]
    pub fn is_door(&self) -> bool {
        matches!(self.way, Way::Door(_))
    }

    /// Lets go of the store, once what was asked for is done.
    pub async fn close(&self) {
        if let Way::Embedded(store) = &self.way {
            store.close().await;
        }
    }

    /// Does an operation for an actor.
    async fn ask<O: Operation>(&self, operation: O, actor: Actor) -> Result<O::Answer> {
        match &self.way {
            Way::Embedded(store) => {
                let at = At {
                    store,
                    actor: &actor,
                    is_trusted: true,
                    is_repeated: false,
                    process: None,
                    uid: host::caller().uid,
                };
                operation.run(at).await
            }
            Way::Door(client) => client.call(&operation, &actor).await,
        }
    }

    /// The same, with sessions that this program acts for: what it asks for without
    /// naming a session, it may ask for as one of them.
    #[must_use]
    pub fn with_rights_of(mut self, callers: Vec<Caller>) -> Self {
        self.own = callers;
        self
    }

    /// Those by whose right something may be asked for, in the order of trying.
    fn rights(&self) -> Vec<Actor> {
        let operator = match &self.way {
            Way::Embedded(_) => return vec![Actor::Operator],
            Way::Door(client) => client.may_operate() || self.own.is_empty(),
        };
        let own = self.own.iter().cloned().map(Actor::Session);
        operator
            .then_some(Actor::Operator)
            .into_iter()
            .chain(own)
            .collect()
    }

    /// Does an operation by the first right that suffices.
    async fn ask_by_right<O: Operation + Clone>(&self, operation: O) -> Result<O::Answer> {
        let mut refused = None;
        for actor in self.rights() {
            match self.ask(operation.clone(), actor).await {
                Err(error) if is_no_right(&error) => refused = refused.or(Some(error)),
                done => return done,
            }
        }
        Err(refused.unwrap_or_else(|| DoorError::NoToken(O::ROUTE.name.to_owned()).into()))
    }

    /// Does a question by all rights that there are, an operator's alone if that is one.
    async fn ask_by_each_right<T, O>(&self, operation: O) -> Result<Vec<T>>
    where
        O: Operation<Answer = Vec<T>> + Clone,
    {
        let mut all = Vec::new();
        for actor in self.rights() {
            let is_all = matches!(actor, Actor::Operator);
            all.extend(self.ask(operation.clone(), actor).await?);
            if is_all {
                break;
            }
        }
        Ok(all)
    }

    /// Does an operation that needs no token.
    async fn ask_openly<O: Operation>(&self, operation: O) -> Result<O::Answer> {
        self.ask(operation, Actor::Anyone).await
    }

    /// Does an operation for a session.
    async fn ask_as<O: Operation>(&self, caller: &Caller, operation: O) -> Result<O::Answer> {
        self.ask(operation, Actor::Session(caller.clone())).await
    }

    /// Does an operation for an operator. A process that has the store's file open
    /// counts as one; a daemon requires `admin.sock`.
    async fn ask_as_operator<O: Operation>(&self, operation: O) -> Result<O::Answer> {
        self.ask(operation, Actor::Operator).await
    }
}

impl From<SharedStore> for Bridge {
    /// To a store that this process has open.
    fn from(store: SharedStore) -> Self {
        let way = Way::Embedded(store);
        let own = Vec::new();
        let file = None;
        Self { way, own, file }
    }
}

impl From<Client> for Bridge {
    /// To a daemon's store.
    fn from(client: Client) -> Self {
        Arc::new(client).into()
    }
}

impl From<Arc<Client>> for Bridge {
    /// The same.
    fn from(client: Arc<Client>) -> Self {
        let way = Way::Door(client);
        let own = Vec::new();
        let file = None;
        Self { way, own, file }
    }
}

/// Whether this user may read and write a file that is there.
fn may_open(path: &Path) -> bool {
    use rustix::fs::{Access, access};
    access(path, Access::READ_OK | Access::WRITE_OK).is_ok()
}

fn client_of(socket: &Path) -> Client {
    let sockets = Sockets::at(socket.parent().unwrap_or(Path::new("/")));
    Client::new(&sockets, StoreName::of_door(socket))
}

/// Whether another right may suffice where this one did not.
fn is_no_right(error: &StoreError) -> bool {
    matches!(
        error,
        StoreError::Door(
            DoorError::NotYours { .. } | DoorError::NotPermitted(_) | DoorError::NotOperator(_)
        )
    )
}

/// A session, or without one an operator.
fn actor(by: Option<&Caller>) -> Actor {
    by.map_or(Actor::Operator, |caller| Actor::Session(caller.clone()))
}
