//! Which store a face uses, and by which way: the first that is said or is there.
//!
//! What the command line or the environment names; what the credentials name, through
//! a daemon that has it; a daemon of this user's; this user's own file; a daemon of the
//! system's; the system's file. A daemon is looked for where sockets are, so where none
//! is nothing is asked and nothing is waited for.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::{Value, json};

use super::{Bridge, Purpose as Look, Way, may_open};
use crate::api::client::Client;
use crate::api::client::find::{is_same, sockets_below, that_has};
use crate::api::{Purpose, Sockets};
use crate::host::SYSTEM_DAEMONS;
use crate::model::StoreName;
use crate::model::door::DoorError;
use crate::store::Result;
use crate::store::locate::{self, Hints, Location, Origin};

/// A store, and the way to it.
#[derive(Debug, Clone)]
pub struct Found {
    /// Which store, and why this one.
    pub location: Location,
    door: Option<Door>,
}

/// The daemon that is asked.
#[derive(Debug, Clone)]
struct Door {
    socket: PathBuf,
    client: Arc<Client>,
}

/// What is looked at where nothing names a store.
#[derive(Debug, Clone)]
pub struct Surroundings {
    /// Where this user's daemons have their sockets, a directory for each below these.
    pub own_daemons: Vec<PathBuf>,
    /// This user's own store, which may not be there.
    pub own_store: Location,
    /// Where the system's daemons have theirs.
    pub system_daemons: PathBuf,
    /// The system's store, if it is there and this user may use it.
    pub system_store: Option<Location>,
}

impl Surroundings {
    /// Those of this process.
    #[must_use]
    pub fn here() -> Self {
        let (login, own) = locate::user_daemons();
        let (own_store, system_store) = locate::unnamed();
        Self {
            own_daemons: login.into_iter().chain(own).collect(),
            own_store,
            system_daemons: SYSTEM_DAEMONS.into(),
            system_store,
        }
    }

    /// Whether there is a socket of any daemon. That says nothing of its store.
    #[must_use]
    pub fn has_daemons(&self) -> bool {
        !sockets_below(&self.daemons()).is_empty()
    }

    fn daemons(&self) -> Vec<PathBuf> {
        let own = self.own_daemons.iter().cloned();
        own.chain([self.system_daemons.clone()]).collect()
    }
}

impl Found {
    /// Finds the store that the hints mean, and without one what is there.
    ///
    /// # Errors
    /// A URL that is not SQLite's; daemons that answer for two stores.
    pub async fn by(hints: &Hints<'_>, around: &Surroundings) -> Result<Self> {
        if let Some(location) = locate::named(hints)? {
            return Ok(Self::named(location, around).await);
        }
        let own = sockets_below(&around.own_daemons);
        if !own.is_empty() {
            return Self::first_that_answers(&own, Origin::Daemon).await;
        }
        if around.own_store.path().exists() {
            return Ok(Self::file(around.own_store.clone()));
        }
        let mut systems = sockets_below(std::slice::from_ref(&around.system_daemons));
        systems.retain(|sockets| may_ask(&sockets.path(Purpose::Sessions)));
        if !systems.is_empty() {
            return Self::first_that_answers(&systems, Origin::System).await;
        }
        let file = around.system_store.as_ref().unwrap_or(&around.own_store);
        Ok(Self::file(file.clone()))
    }

    /// The store that is named. Credentials do not say who has the file that they name:
    /// a daemon that has it is asked. So it is where this user may not open the file.
    pub async fn named(location: Location, around: &Surroundings) -> Self {
        if let Some(socket) = location.name.door() {
            let sockets = Sockets::at(socket.parent().unwrap_or(Path::new("/")));
            let socket = socket.to_owned();
            let client = Client::new(&sockets, location.name.clone());
            return Self::through(location, socket, client);
        }
        let by_daemon = location.origin == Origin::Credentials || !may_open(location.path());
        if by_daemon
            && let Some((sockets, client)) = that_has(location.path(), &around.daemons()).await
        {
            return Self::through(location, sockets.path(Purpose::Sessions), client);
        }
        Self::file(location)
    }

    /// The store's file, opened by this process.
    #[must_use]
    pub fn file(location: Location) -> Self {
        let door = None;
        Self { location, door }
    }

    fn through(location: Location, socket: PathBuf, client: Client) -> Self {
        let client = Arc::new(client);
        let door = Some(Door { socket, client });
        Self { location, door }
    }

    fn of_socket(sockets: &Sockets, origin: Origin) -> Self {
        let socket = sockets.path(Purpose::Sessions);
        let name = StoreName::of_door(&socket);
        let client = Client::found_at(sockets);
        Self::through(Location { name, origin }, socket, client)
    }

    /// Of several daemons the first that answers, if those that answer have one store.
    /// A single one is asked when it is used, and an error then if it is dead.
    async fn first_that_answers(all: &[Sockets], origin: Origin) -> Result<Self> {
        let all = all.iter().map(|sockets| Self::of_socket(sockets, origin));
        let mut all: Vec<Self> = all.collect();
        if all.len() == 1 {
            return Ok(all.remove(0));
        }
        let mut first: Option<(usize, StoreName)> = None;
        for (index, found) in all.iter().enumerate() {
            let Some(door) = &found.door else { continue };
            let Some(answer) = door.client.who_answers().await else {
                continue;
            };
            match &first {
                None => first = Some((index, answer.store)),
                Some((_, store)) if is_same(store.file(), answer.store.file()) => {}
                Some((other, store)) => {
                    return Err(DoorError::TwoStores {
                        first: store.to_string(),
                        by: all[*other].location.path().to_owned(),
                        second: answer.store.to_string(),
                        socket: door.socket.clone(),
                    }
                    .into());
                }
            }
        }
        Ok(all.remove(first.map_or(0, |(index, _)| index)))
    }

    /// The socket of the daemon that is asked, if one is.
    #[must_use]
    pub fn socket(&self) -> Option<&Path> {
        self.door.as_ref().map(|door| &*door.socket)
    }

    pub(super) fn client(&self) -> Option<&Arc<Client>> {
        self.door.as_ref().map(|door| &door.client)
    }

    /// Which way was taken, for scripts.
    #[must_use]
    pub fn json(&self) -> Value {
        json!({
            "named_by": self.location.origin.word(),
            "by": if self.door.is_some() { "daemon" } else { "file" },
            "socket": self.socket(),
        })
    }
}

impl Bridge {
    /// The way through the daemon that was found, if it answers and has the file open that
    /// this program has open itself.
    ///
    /// # Errors
    /// If the way cannot be taken.
    pub async fn moved_to(&self, found: &Found) -> Result<Option<Self>> {
        let (Way::Embedded(store), Some(client)) = (&self.way, found.client()) else {
            return Ok(None);
        };
        let answer = client.who_answers().await;
        let is_it = answer.is_some_and(|one| is_same(one.store.file(), store.location().file()));
        match is_it {
            true => Self::open(found, Look::Write, |_| {}).await.map(Some),
            false => Ok(None),
        }
    }
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Location { name, origin } = &self.location;
        match self.socket() {
            None => write!(f, "{name} ({origin}), opened here"),
            Some(_) if name.door().is_some() => write!(f, "{name} ({origin}), through its daemon"),
            Some(socket) => {
                let socket = socket.display();
                write!(f, "{name} ({origin}), through its daemon at {socket}")
            }
        }
    }
}

/// Whether this user may connect to a socket.
fn may_ask(socket: &Path) -> bool {
    use rustix::fs::{Access, access};
    access(socket, Access::WRITE_OK).is_ok()
}
