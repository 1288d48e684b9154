//! What every command stands on: which store, and for whom.

use std::path::PathBuf;

use clap::Args;
use clap_complete::engine::{ArgValueCandidates, ArgValueCompleter, PathCompleter};

use super::candidates;
use super::error::CliError;
use super::heard;
use super::known::{credentials_for, files, what_there_is};
use super::output::note;
use crate::advice;
use crate::credentials::Credentials;
use crate::model::Label;
use crate::model::session::session_name;
use crate::store::locate::{self, Hints, Location, Origin};
use crate::store::sqlite::{Brought, Create, Opening, SCHEMA_VERSION};
use crate::store::{Caller, SharedStore, StoreError};

/// The variable that names credentials files, with `:` between them.
pub(super) const CREDENTIALS_VARIABLE: &str = "MCP_BRIDGE_CREDENTIALS";

/// Options that every command takes.
#[derive(Debug, Args)]
pub struct Global {
    /// The store: a path, or sqlite:/path [env: MCP_BRIDGE_STORE]
    #[arg(long, global = true, value_name = "URL|PATH", help_heading = "Global options",
          add = ArgValueCompleter::new(PathCompleter::file()))]
    pub store: Option<String>,

    /// For whom to act: a file, a directory of files, or a name in the default
    /// directory; may be repeated [env: MCP_BRIDGE_CREDENTIALS, ':' between]
    #[arg(short, long, global = true, value_name = "FILE", help_heading = "Global options",
          add = ArgValueCandidates::new(candidates::credentials))]
    pub credentials: Vec<PathBuf>,

    /// Print JSON, for scripts
    #[arg(long, global = true, help_heading = "Global options")]
    pub json: bool,
}

/// The global options, and what the environment says.
#[derive(Debug, Clone)]
pub struct Context {
    store: Option<String>,
    credentials: Vec<PathBuf>,
    json: bool,
}

/// A session that this command acts for.
#[derive(Debug, Clone)]
pub struct Member {
    /// The session and its token.
    pub caller: Caller,
    /// Its conversation's label, as far as it is known.
    pub label: Option<Label>,
    /// The file that it came from.
    source: String,
}

impl Member {
    #[cfg(test)]
    pub(super) fn new(caller: Caller, label: Option<Label>) -> Self {
        let source = String::new();
        Self {
            caller,
            label,
            source,
        }
    }

    /// What people call this session.
    #[must_use]
    pub fn name(&self) -> String {
        session_name(self.label.as_ref(), &self.caller.session)
    }

    /// What people call its partner.
    #[must_use]
    pub fn partner_name(&self) -> String {
        session_name(self.label.as_ref(), &self.caller.session.partner())
    }
}

/// All sessions that this command acts for, at least one.
#[derive(Debug)]
pub struct Acting {
    /// The store that the credentials are good for.
    store: Option<String>,
    /// The sessions, each once.
    pub members: Vec<Member>,
    /// Whether their token stood in the environment.
    from_environment: bool,
}

impl Acting {
    /// These sessions.
    #[cfg(test)]
    pub(super) fn of(members: Vec<Member>) -> Self {
        Self {
            store: None,
            members,
            from_environment: false,
        }
    }

    /// The sessions with their tokens.
    #[must_use]
    pub fn callers(&self) -> Vec<Caller> {
        self.members.iter().map(|m| m.caller.clone()).collect()
    }

    fn add(&mut self, credentials: Credentials) -> Result<(), CliError> {
        let source = credentials.to_string();
        if let Some(store) = credentials.store {
            match &self.store {
                Some(known) if *known != store => {
                    return Err(CliError::TwoStores(known.clone(), store));
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
                }),
                Some(member) if member.caller.token.expose() == caller.token.expose() => {
                    member.label = member.label.take().or_else(|| label.clone());
                }
                Some(member) => {
                    let session = caller.session;
                    return Err(CliError::TwoTokens(session, member.source.clone(), source));
                }
            }
        }
        Ok(())
    }
}

impl Context {
    /// Takes the global options; what they leave open, the environment says.
    #[must_use]
    pub fn new(global: Global) -> Self {
        if let Some(store) = &global.store {
            advice::name_store(store);
        }
        let credentials = if global.credentials.is_empty() {
            std::env::var_os(CREDENTIALS_VARIABLE)
                .map(|list| std::env::split_paths(&list).collect())
                .unwrap_or_default()
        } else {
            global.credentials
        };
        Self {
            store: global.store,
            credentials: credentials
                .into_iter()
                .filter(|path| !path.as_os_str().is_empty())
                .collect(),
            json: global.json,
        }
    }

    /// Whether a script reads the output.
    #[must_use]
    pub fn json(&self) -> bool {
        self.json
    }

    /// Which store is meant.
    ///
    /// # Errors
    /// Credentials that were named and cannot be read, if it is up to them; a
    /// URL that is not SQLite's.
    pub fn location(&self) -> anyhow::Result<Location> {
        let environment = std::env::var_os(locate::VARIABLE);
        let environment = environment.as_ref().map(|value| value.to_string_lossy());
        let said = [self.store.as_deref(), environment.as_deref()]
            .iter()
            .any(|hint| hint.is_some_and(|text| !text.is_empty()));
        let credentials = if said || self.credentials.is_empty() {
            None
        } else {
            self.acting()?.store
        };
        let found = locate::locate(&Hints {
            flag: self.store.as_deref(),
            environment: environment.as_deref(),
            configuration: None,
            credentials: credentials.as_deref(),
        })?;
        // A command without these credentials finds another store.
        if found.origin == Origin::Credentials
            && let Some(path) = found.path.to_str()
        {
            advice::name_store(path);
        }
        Ok(found)
    }

    /// Opens the store for a command that writes.
    ///
    /// # Errors
    /// Whatever is wrong with it. One that is missing is named together with
    /// who said that it should be there.
    pub async fn open(&self) -> anyhow::Result<SharedStore> {
        Self::open_at(&self.location()?, Create::No).await
    }

    /// Opens the store for a command that only looks: it adopts nothing, and
    /// brings no schema up to date.
    ///
    /// # Errors
    /// As [`Self::open`]; a database that would have to be changed first.
    pub async fn look(&self) -> anyhow::Result<SharedStore> {
        Self::open_at(&self.location()?, Create::Look).await
    }

    /// Opens the store, or makes it where none was lost.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub async fn open_or_create(&self) -> anyhow::Result<SharedStore> {
        let location = self.location()?;
        if location.path.symlink_metadata().is_err() {
            match Self::lost(&location) {
                StoreError::Missing(_) => {}
                lost => return Err(lost.into()),
            }
        }
        Self::open_at(&location, Create::Yes).await
    }

    /// Opens the store, or makes it, whatever was there before.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub async fn open_or_begin_anew(&self) -> anyhow::Result<SharedStore> {
        Self::open_at(&self.location()?, Create::Yes).await
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
        let path = std::path::absolute(&location.path).unwrap_or_else(|_| location.path.clone());
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
                Some(format!("the credentials {} are for it", file.display()))
            });
        let backup = None;
        match sign {
            Some(sign) => StoreError::Lost { path, sign, backup },
            None => error,
        }
    }

    async fn open_at(location: &Location, create: Create) -> anyhow::Result<SharedStore> {
        let opening = Opening::default();
        let opened = locate::open_telling(location, create, &opening).await;
        if let Some(brought) = opening.brought() {
            note(&what_was_done(location, brought));
        }
        match opened {
            Err(StoreError::Missing(_)) => Err(Self::missing(location)),
            other => Ok(other?),
        }
    }

    /// Opens the store for the sessions of the credentials.
    ///
    /// # Errors
    /// As [`Self::open`] and [`Self::acting`].
    pub async fn open_acting(&self) -> anyhow::Result<(SharedStore, Acting)> {
        let acting = self.acting()?;
        Ok((self.open().await?, acting))
    }

    /// The same for a command that runs on: its environment stays readable as
    /// long as it runs, so it takes no token from there.
    ///
    /// # Errors
    /// As [`Self::look_acting`].
    pub async fn open_acting_for_long(&self) -> anyhow::Result<(SharedStore, Acting)> {
        let (store, acting) = self.look_acting().await?;
        if acting.from_environment {
            return Err(CliError::TokenInEnvironment.into());
        }
        Ok((store, acting))
    }

    /// As [`Self::open_acting`], for a command that only looks.
    ///
    /// # Errors
    /// As [`Self::look`] and [`Self::acting`].
    pub async fn look_acting(&self) -> anyhow::Result<(SharedStore, Acting)> {
        let acting = self.acting()?;
        Ok((self.look().await?, acting))
    }

    /// For whom this command acts, if for anybody.
    ///
    /// # Errors
    /// Credentials that cannot be used.
    pub fn acting_if_any(&self) -> anyhow::Result<Option<Acting>> {
        match self.acting() {
            Err(error) if matches!(error.downcast_ref(), Some(CliError::NoCredentials(_))) => {
                Ok(None)
            }
            other => other.map(Some),
        }
    }

    /// For whom this command acts.
    ///
    /// # Errors
    /// No credentials, or some that cannot be used.
    pub fn acting(&self) -> anyhow::Result<Acting> {
        let mut acting = Acting {
            store: None,
            members: Vec::new(),
            from_environment: false,
        };
        for path in &self.credentials {
            for file in files(path)? {
                acting.add(Credentials::read(&file)?)?;
            }
        }
        if acting.members.is_empty() {
            let variables = Credentials::from_environment(|name| std::env::var(name).ok())?;
            match variables {
                Some(credentials) => {
                    acting.add(credentials)?;
                    acting.from_environment = true;
                }
                None => return Err(CliError::NoCredentials(what_there_is()).into()),
            }
        }
        Ok(acting)
    }
}

/// What the operator must know of a database that was there before.
fn what_was_done(location: &Location, brought: &Brought) -> String {
    let path = location.path.display();
    let done = match brought.from {
        None => format!("adopted the Python bridge's database {path}"),
        Some(schema) => {
            format!("brought the store {path} from schema {schema} to {SCHEMA_VERSION}")
        }
    };
    format!("{done}; a copy of it as it was: {}", brought.copy.display())
}
