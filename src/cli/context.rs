//! What every command needs: the store, and the sessions that it acts for.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use clap_complete::engine::{ArgValueCandidates, ArgValueCompleter, PathCompleter};

use super::candidates;
use super::error::CliError;
use super::heard;
use super::output::note;
use crate::advice;
use crate::bridge::{Bridge, Brought, Found, Purpose};
use crate::model::door::DoorError;
use crate::session::known::credentials_for;
use crate::session::{Access, Acting};
use crate::store::StoreError;
use crate::store::locate::{Location, Origin};
use crate::text::long_duration;

/// Options that every command takes.
#[derive(Debug, Args)]
pub struct Global {
    /// Store: a path, sqlite:/path, or unix:/path of a daemon's socket [env: MCP_BRIDGE_STORE]
    #[arg(long, global = true, value_name = "URL|PATH", help_heading = "Global options",
          add = ArgValueCompleter::new(PathCompleter::file()))]
    pub store: Option<String>,

    /// Credentials of the session to act for: a session (backend/b), a file, a
    /// directory of files, or a file's name in the default directory; may be
    /// repeated [env: MCP_BRIDGE_CREDENTIALS, separated by ':']
    #[arg(short, long, global = true, value_name = "FILE", help_heading = "Global options",
          add = ArgValueCandidates::new(candidates::credentials))]
    pub credentials: Vec<PathBuf>,

    /// Print JSON, for scripts
    #[arg(long, global = true, help_heading = "Global options")]
    pub json: bool,
}

/// How long a daemon may take to say which file it has open.
const GLANCE: Duration = Duration::from_secs(1);

/// The global options, and what the environment says.
#[derive(Debug, Clone)]
pub struct Context {
    access: Access,
    json: bool,
}

impl Context {
    /// Takes the global options; what they leave open, the environment says.
    #[must_use]
    pub fn new(global: Global) -> Self {
        advice::name_credentials(&global.credentials);
        Self {
            access: Access::new(global.store, global.credentials),
            json: global.json,
        }
    }

    /// The same for the sessions of this file.
    #[must_use]
    pub fn with_credentials(&self, file: PathBuf) -> Self {
        Self {
            access: self.access.with_credentials(file),
            json: self.json,
        }
    }

    /// The same at this store, unless another one was named, and for the sessions of this
    /// file alone.
    #[must_use]
    pub(super) fn at_store(&self, store: &str, file: Option<PathBuf>) -> Self {
        Self {
            access: self.access.at_store(store, file),
            json: self.json,
        }
    }

    /// How a face that is no command finds the store and its sessions.
    #[must_use]
    pub fn access(&self) -> &Access {
        &self.access
    }

    /// Whether a script reads the output.
    #[must_use]
    pub fn json(&self) -> bool {
        self.json
    }

    /// Which store is meant, and the way to it.
    ///
    /// # Errors
    /// As [`Access::find`].
    pub async fn found(&self) -> anyhow::Result<&Found> {
        Ok(self.access.find().await?)
    }

    /// Which store is meant.
    ///
    /// # Errors
    /// As [`Access::find`].
    pub async fn location(&self) -> anyhow::Result<&Location> {
        Ok(&self.found().await?.location)
    }

    /// With the rights of the sessions of the credentials, if a daemon asks for them.
    fn with_rights(&self, bridge: Bridge) -> anyhow::Result<Bridge> {
        if !bridge.is_door() {
            return Ok(bridge);
        }
        let acting = self.acting_if_any()?;
        let callers = acting.map(|acting| acting.callers());
        Ok(bridge.with_rights_of(callers.unwrap_or_default()))
    }

    /// The same for a command that looks at the file itself: of a socket, the file
    /// that its daemon has open.
    ///
    /// # Errors
    /// If no daemon answers there.
    pub(super) async fn on_the_file(&self) -> anyhow::Result<Self> {
        let Location { name, origin } = self.location().await?;
        let name = match name.door() {
            None => name.clone(),
            Some(socket) => {
                let bridge = Bridge::through_now(socket);
                match tokio::time::timeout(GLANCE, bridge.answering()).await {
                    Ok(answer) => answer?.store,
                    Err(_) => return Err(StoreError::from(late(socket)).into()),
                }
            }
        };
        let origin = *origin;
        Ok(Self {
            access: self
                .access
                .clone()
                .with_found(Found::file(Location { name, origin })),
            json: self.json,
        })
    }

    /// Opens the store for a command that writes.
    ///
    /// # Errors
    /// Each fault of the store. One that is missing is named together with the setting
    /// that names it.
    pub async fn open(&self) -> anyhow::Result<Bridge> {
        self.with_rights(Self::open_at(self.found().await?, Purpose::Write).await?)
    }

    /// Opens the store for a command that only looks: it adopts nothing, and
    /// brings no schema up to date.
    ///
    /// # Errors
    /// As [`Self::open`]; a database that would have to be changed first.
    pub async fn look(&self) -> anyhow::Result<Bridge> {
        self.with_rights(Self::open_at(self.found().await?, Purpose::Look).await?)
    }

    /// Opens the store, or makes it where none was lost.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub async fn open_or_create(&self) -> anyhow::Result<Bridge> {
        let found = self.found().await?;
        let location = &found.location;
        if found.socket().is_none() && location.path().symlink_metadata().is_err() {
            match Self::lost(location) {
                StoreError::Missing(_) => {}
                lost => return Err(lost.into()),
            }
        }
        self.with_rights(Self::open_at(found, Purpose::Make).await?)
    }

    /// Opens the store, or makes it.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub async fn open_or_begin_anew(&self) -> anyhow::Result<Bridge> {
        Self::open_at(self.found().await?, Purpose::Make).await
    }

    /// The error for a place where no store is, with who said that one should be.
    pub(super) fn missing(location: &Location) -> anyhow::Error {
        match Self::lost(location) {
            StoreError::Missing(_) if location.origin != Origin::Flag => {
                CliError::NoStore(location.clone()).into()
            }
            error => error.into(),
        }
    }

    /// Lost, or never made? That one was there is said by what stands beside it,
    /// by a daemon that uses it, or by credentials of this user.
    pub(super) fn lost(location: &Location) -> StoreError {
        let path =
            std::path::absolute(location.path()).unwrap_or_else(|_| location.path().to_owned());
        let error = StoreError::missing(path.clone());
        if matches!(error, StoreError::Lost { .. }) {
            return error;
        }
        let heard = heard::of(&path);
        // One that waits for a store proves nothing: it may be the first.
        let sign = heard
            .iter()
            .find(|daemon| daemon.store().is_some_and(|store| store.was_open))
            .map(|daemon| format!("daemon {} uses it", daemon.name()))
            .or_else(|| {
                let file = credentials_for(&path)?;
                Some(format!("the credentials {} name it", file.display()))
            });
        let backup = None;
        match sign {
            Some(sign) => StoreError::Lost { path, sign, backup },
            None => error,
        }
    }

    async fn open_at(found: &Found, purpose: Purpose) -> anyhow::Result<Bridge> {
        let location = &found.location;
        let brought = |brought: &Brought| note(&what_was_done(location, brought));
        match Bridge::open(found, purpose, brought).await {
            Err(StoreError::Missing(_)) => Err(Self::missing(location)),
            opened => Ok(opened?),
        }
    }

    /// Opens the store for the sessions of the credentials.
    ///
    /// # Errors
    /// As [`Self::open`] and [`Self::acting`].
    pub async fn open_acting(&self) -> anyhow::Result<(Bridge, Acting)> {
        let acting = self.acting()?;
        Ok((self.open().await?, acting))
    }

    /// The same for a command that runs on: its environment stays readable as
    /// long as it runs, so it takes no token from there.
    ///
    /// # Errors
    /// As [`Self::look_acting`].
    pub async fn open_acting_for_long(&self) -> anyhow::Result<(Bridge, Acting)> {
        let (bridge, acting) = self.look_acting().await?;
        Ok((bridge, acting.for_long()?))
    }

    /// As [`Self::open_acting`], for a command that only looks.
    ///
    /// # Errors
    /// As [`Self::look`] and [`Self::acting`].
    pub async fn look_acting(&self) -> anyhow::Result<(Bridge, Acting)> {
        let acting = self.acting()?;
        Ok((self.look().await?, acting))
    }

    /// The sessions that this command acts for, if any credentials were named.
    ///
    /// # Errors
    /// As [`Access::acting_if_any`].
    pub fn acting_if_any(&self) -> anyhow::Result<Option<Acting>> {
        Ok(self.access.acting_if_any()?)
    }

    /// The sessions that this command acts for.
    ///
    /// # Errors
    /// As [`Access::acting`].
    pub fn acting(&self) -> anyhow::Result<Acting> {
        Ok(self.access.acting()?)
    }
}

fn late(socket: &Path) -> DoorError {
    DoorError::Late {
        socket: socket.to_owned(),
        what: "who it is".to_owned(),
        within: long_duration(GLANCE),
    }
}

/// What the operator must know of a database that was there before.
fn what_was_done(location: &Location, brought: &Brought) -> String {
    let path = location.path().display();
    let done = match brought.from {
        None => format!("adopted the Python bridge's database {path}"),
        Some(schema) => {
            format!(
                "upgraded the store {path} from schema {schema} to {}",
                brought.to
            )
        }
    };
    format!("{done}; a copy of the old one: {}", brought.copy.display())
}
