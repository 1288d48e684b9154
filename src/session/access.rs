//! How a face comes to its store and to its sessions: by what it was started with,
//! and what the environment says.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::OnceCell;

use super::joined::{Joined, Joins};
use super::{Acting, Result, SessionError};
use crate::advice;
use crate::bridge::{Bridge, Found, Purpose, Surroundings};
use crate::credentials::VARIABLES;
use crate::store::locate::{self, Hints, Origin};

/// The variable that names credentials files, with `:` between them.
pub const CREDENTIALS_VARIABLE: &str = "MCP_BRIDGE_CREDENTIALS";

/// The store and the credentials that a face was started with.
#[derive(Debug, Clone)]
pub struct Access {
    store: Option<String>,
    credentials: Vec<PathBuf>,
    /// Whether these were named, as opposed to noted for a directory.
    is_named: bool,
    /// What came of it: one command uses one store.
    found: Arc<OnceCell<Found>>,
}

impl Access {
    /// Before daemons that have another store, or do not answer, are asked again.
    pub const LOOK_AGAIN: Duration = Duration::from_secs(5);

    /// By these; what they leave open, the environment says, and then the directory
    /// that the program was started in.
    #[must_use]
    pub fn new(store: Option<String>, credentials: Vec<PathBuf>) -> Self {
        if let Some(store) = &store {
            advice::name_store(store);
        }
        let mut credentials = match credentials.is_empty() {
            true => std::env::var_os(CREDENTIALS_VARIABLE)
                .map(|list| std::env::split_paths(&list).collect())
                .unwrap_or_default(),
            false => credentials,
        };
        credentials.retain(|path| !path.as_os_str().is_empty());
        let is_named = !credentials.is_empty();
        let is_in_environment = VARIABLES
            .iter()
            .any(|name| std::env::var_os(name).is_some());
        if credentials.is_empty() && !is_in_environment {
            credentials.extend(joined().map(|joined| joined.credentials));
        }
        let found = Arc::default();
        Self {
            store,
            credentials,
            is_named,
            found,
        }
    }

    /// The same, and it looks again which session works in the current directory.
    #[must_use]
    pub fn reread(&self) -> Self {
        match self.is_named {
            true => self.clone(),
            false => Self::new(self.store.clone(), Vec::new()),
        }
    }

    /// The same with another store, or another way to it, instead of the one that was
    /// given.
    #[must_use]
    pub fn with_found(mut self, found: Found) -> Self {
        self.found = Arc::new(OnceCell::new_with(Some(found)));
        self
    }

    /// The same with these credentials, and the store that they name.
    #[must_use]
    pub fn with_credentials(&self, file: PathBuf) -> Self {
        Self {
            store: self.store.clone(),
            credentials: vec![file],
            is_named: true,
            found: Arc::default(),
        }
    }

    /// The same at this store, unless another one was named, and for the sessions of this
    /// file alone.
    #[must_use]
    pub fn at_store(&self, store: &str, file: Option<PathBuf>) -> Self {
        Self {
            store: self.store.clone().or_else(|| Some(store.to_owned())),
            credentials: file.into_iter().collect(),
            is_named: true,
            found: Arc::default(),
        }
    }

    /// The same, and it looks again for the way to the store.
    #[must_use]
    pub fn afresh(&self) -> Self {
        Self {
            found: Arc::default(),
            ..self.clone()
        }
    }

    /// The credentials files that were named, by any option or variable.
    #[must_use]
    pub fn files(&self) -> &[PathBuf] {
        &self.credentials
    }

    /// Opens the store for what these sessions do, by the way that was found.
    ///
    /// # Errors
    /// As [`Self::find`]; if the store cannot be opened.
    pub async fn open(&self) -> Result<Bridge> {
        let found = self.find().await?;
        Ok(Bridge::open(found, Purpose::Write, |_| {}).await?)
    }

    /// The way through a daemon, for a program that runs on and has opened the store's file
    /// itself: a daemon may have been started since. Nothing if none has this very file open.
    ///
    /// # Errors
    /// As [`Self::find`].
    pub async fn daemon_of(&self, embedded: &Bridge) -> Result<Option<Bridge>> {
        let afresh = self.afresh();
        let found = afresh.find().await?;
        Ok(embedded.moved_to(found).await?)
    }

    /// Returns once a daemon has the store whose file this program has opened itself; never
    /// where its way is a daemon's already.
    pub async fn until_served(&self, known: &Bridge) {
        if known.is_door() {
            std::future::pending::<()>().await;
        }
        loop {
            tokio::time::sleep(Self::LOOK_AGAIN).await;
            if Self::sees_daemons() && matches!(self.daemon_of(known).await, Ok(Some(_))) {
                return;
            }
        }
    }

    /// Whether a daemon may be there: its socket is.
    #[must_use]
    pub fn sees_daemons() -> bool {
        Surroundings::here().has_daemons()
    }

    /// Which store is meant, and the way to it.
    ///
    /// # Errors
    /// Credentials that were named and cannot be read, if it is up to them; a
    /// URL that is not SQLite's; daemons that answer for two stores.
    pub async fn find(&self) -> Result<&Found> {
        self.found.get_or_try_init(|| self.look()).await
    }

    async fn look(&self) -> Result<Found> {
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
        let hints = Hints {
            flag: self.store.as_deref(),
            environment: environment.as_deref(),
            configuration: None,
            credentials: credentials.as_deref(),
            doors: true,
        };
        let found = Found::by(&hints, &Surroundings::here()).await?;
        // A command without these credentials finds another store.
        if found.location.origin == Origin::Credentials {
            advice::name_store_of_credentials(&found.location.name.to_string());
        }
        Ok(found)
    }

    /// The sessions that the face acts for.
    ///
    /// # Errors
    /// No credentials, or some that cannot be used.
    pub fn acting(&self) -> Result<Acting> {
        Acting::read(&self.credentials)
    }

    /// The sessions that the face acts for, if any credentials were named.
    ///
    /// # Errors
    /// Credentials that cannot be used.
    pub fn acting_if_any(&self) -> Result<Option<Acting>> {
        match self.acting() {
            Err(SessionError::NoCredentials) => Ok(None),
            other => other.map(Some),
        }
    }
}

/// The session that works in the current directory.
fn joined() -> Option<Joined> {
    Joins::own()?.at(&std::env::current_dir().ok()?)
}
