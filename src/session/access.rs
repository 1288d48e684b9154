//! How a face comes to its store and to its sessions: by what it was started with,
//! and what the environment says.

use std::path::PathBuf;

use super::{Acting, Result, SessionError};
use crate::advice;
use crate::store::locate::{self, Hints, Location, Origin};

/// The variable that names credentials files, with `:` between them.
pub const CREDENTIALS_VARIABLE: &str = "MCP_BRIDGE_CREDENTIALS";

/// The store and the credentials that a face was told of.
#[derive(Debug, Clone)]
pub struct Access {
    store: Option<String>,
    credentials: Vec<PathBuf>,
}

impl Access {
    /// By these; what they leave open, the environment says.
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
        Self { store, credentials }
    }

    /// The same with another store, whatever was said.
    #[must_use]
    pub fn with_store(mut self, store: String) -> Self {
        self.store = Some(store);
        self
    }

    /// Which store is meant.
    ///
    /// # Errors
    /// Credentials that were named and cannot be read, if it is up to them; a
    /// URL that is not SQLite's.
    pub fn location(&self) -> Result<Location> {
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
            doors: true,
        })?;
        // A command without these credentials finds another store.
        if found.origin == Origin::Credentials {
            advice::name_store(&found.name.to_string());
        }
        Ok(found)
    }

    /// For whom the face acts.
    ///
    /// # Errors
    /// No credentials, or some that cannot be used.
    pub fn acting(&self) -> Result<Acting> {
        Acting::read(&self.credentials)
    }

    /// For whom the face acts, if any credentials were named.
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
