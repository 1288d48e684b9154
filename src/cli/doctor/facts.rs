//! What was seen of this machine; none of it is judged here.
//!
//! No fact holds a token, a message or more of a URL than its host.

use std::path::PathBuf;
use std::time::Duration;

use jiff::Timestamp;

use crate::cli::heard::{Daemon, Home};
use crate::duties::SessionState;
use crate::store::sqlite::Inspection;

/// All of it.
#[derive(Debug, Default)]
pub(super) struct Facts {
    /// This program's version.
    pub(super) version: String,
    pub(super) now: Timestamp,
    /// Where configurations were looked for, if none was named.
    pub(super) looked_in: Vec<PathBuf>,
    /// The store that this user's commands use, and how.
    pub(super) way: String,
    /// Whether the user who asks may read and write everything.
    pub(super) as_root: bool,
    pub(super) configs: Vec<Config>,
    pub(super) daemons: Vec<Daemon>,
    pub(super) stores: Vec<Store>,
    /// `None` where there is no such thing.
    pub(super) inotify: Option<Inotify>,
    pub(super) clock: Synchronized,
    pub(super) credentials: Vec<CredentialsFile>,
    /// Tasks of the store that this user's commands use, which wait and are given out by
    /// no orchestrator.
    pub(super) waiting_tasks: u64,
    /// The SQLite of `python3`, where a store is shared with the Python bridge;
    /// an error if it could not be asked.
    pub(super) python: Option<Result<String, String>>,
}

/// A configuration file.
#[derive(Debug)]
pub(super) struct Config {
    pub(super) path: PathBuf,
    pub(super) instance: String,
    pub(super) home: Home,
    /// Whether its service is to be started with the machine, or its user.
    pub(super) enabled: bool,
    /// See [`Daemon::other`].
    pub(super) other: Option<String>,
    /// The store that it means, as far as that is known.
    pub(super) store: Option<PathBuf>,
    /// What is wrong with it, or what it says.
    pub(super) outcome: Result<Configured, Vec<String>>,
}

/// What a configuration says, held against this machine.
#[derive(Debug)]
pub(super) struct Configured {
    pub(super) role: &'static str,
    pub(super) drop_ins: usize,
    pub(super) sessions: Vec<Session>,
    pub(super) alerts: Vec<Adapter>,
}

/// A configured session.
#[derive(Debug)]
pub(super) struct Session {
    /// Its label.
    pub(super) name: String,
    /// What the daemon that runs with this configuration says of it.
    pub(super) said: Vec<SessionState>,
    /// Whether such a daemon runs.
    pub(super) kept: bool,
    pub(super) proof: Life,
    pub(super) wakes: Vec<Adapter>,
}

/// Whether an agent is proven alive now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Life {
    /// By this.
    Alive(String),
    /// Not, because of this.
    Unproven(String),
    /// Nothing is to prove it.
    None,
    /// It was not asked, because of this.
    NotAsked(String),
}

/// A way to wake or to tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Adapter {
    /// `exec`, `file`, `webhook`.
    pub(super) name: &'static str,
    /// The command, the file or the host.
    pub(super) target: String,
    /// Why it cannot work: what, and what to do.
    pub(super) trouble: Option<(String, String)>,
    /// What is not good about it, and works.
    pub(super) doubt: Option<(String, String)>,
}

/// A store, and the file system that it is on.
#[derive(Debug)]
pub(super) struct Store {
    pub(super) path: PathBuf,
    /// What it is, or what is wrong with it: the error and the remedy.
    pub(super) outcome: Result<Inspection, (String, String)>,
    /// The daemon's socket, where the file is closed to this user, who then asks its
    /// daemon.
    pub(super) asked: Option<PathBuf>,
    /// Whether it is not there, and no setting names it.
    pub(super) not_yet: bool,
    /// Whether it is that of a daemon which runs or is enabled, or this user's.
    pub(super) in_use: bool,
    /// Whether it is not the one that this user's commands use.
    pub(super) other: bool,
    /// Whether a command that is advised must name it.
    pub(super) must_name: bool,
    pub(super) file: Option<Permissions>,
    pub(super) directory: Option<Permissions>,
    /// Free and all bytes.
    pub(super) room: Option<(u64, u64)>,
    pub(super) file_system: Option<String>,
    /// Whether the Python bridge may be writing it in the machine's directory of stores,
    /// and what keeps that directory open for it is not all there.
    pub(super) closes: bool,
    /// Whether the kernel keeps the threads that open it in its directory; not
    /// known where no kernel does.
    pub(super) confined: Option<bool>,
}

/// Who may use a file.
#[derive(Debug, Clone)]
pub(super) struct Permissions {
    pub(super) mode: u32,
    pub(super) user: String,
    pub(super) group: String,
    /// Whether this user may write it.
    pub(super) writable: bool,
}

/// What the kernel allows a user of file events.
#[derive(Debug, Clone)]
pub(super) struct Inotify {
    pub(super) user: String,
    pub(super) instances: u64,
    pub(super) most_instances: u64,
    pub(super) watches: u64,
    pub(super) most_watches: u64,
}

/// Whether the clock is kept right.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Synchronized {
    Yes,
    No,
    /// By no service manager that we can ask.
    #[default]
    Unknown,
}

/// A file with tokens in it.
#[derive(Debug)]
pub(super) struct CredentialsFile {
    pub(super) path: PathBuf,
    /// Whether a configuration names it, rather than that it only lies there.
    pub(super) configured: bool,
    /// As that of the configuration that names it.
    pub(super) other: Option<String>,
    /// The store that they are for, if a command that is advised must name it.
    pub(super) store: Option<PathBuf>,
    pub(super) outcome: Result<Vec<(String, Standing)>, CredentialsTrouble>,
}

/// Why a credentials file is of no use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum CredentialsTrouble {
    /// Not there.
    Missing,
    /// Another user's, as it should be.
    NotOurs,
    /// What, and what to do.
    Wrong(String, String),
}

/// What the store says of a session's token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Standing {
    Good,
    /// Its conversation ended so long ago.
    Expired(Duration),
    Closed,
    WrongToken,
    Unknown,
    /// The store could not be asked.
    NotAsked,
}
