//! What duties know that others ask a running daemon for: its word about the
//! store, and about each session in trouble. It stands in the state file.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// A daemon's word about its store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoreState {
    /// The file.
    pub path: PathBuf,
    /// How it is.
    pub condition: StoreCondition,
    /// What is wrong with it, in a line.
    pub trouble: Option<String>,
    /// Whether this daemon has had it open: one that is missing now was there.
    #[serde(default)]
    pub was_open: bool,
}

/// How a store is for the daemon that uses it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StoreCondition {
    /// It answers and takes writes.
    Well,
    /// It is being brought to the schema of this program.
    Migrating,
    /// It answers and takes no writes.
    NotWritable,
    /// It does not answer.
    NotUsable,
}

/// A daemon's word about a session that it keeps, as far as there is a trouble.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionState {
    /// The session: `conv_.../b`.
    pub session: String,
    /// Its label.
    pub name: String,
    /// The file with its credentials, as the daemon found it: for a reader who may
    /// not read that file and still knows its name.
    #[serde(default)]
    pub credentials: PathBuf,
    /// Why its agent is not proven alive.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub life: Option<String>,
    /// Why its agent could not be woken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wake: Option<String>,
    /// Which other agent works in its directory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub beside: Option<String>,
}
