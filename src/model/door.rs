//! What can go wrong on the way to a store through the daemon that has it open.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// A call that did not reach the store, or that the daemon refused before it did.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DoorError {
    /// No daemon answers there.
    #[error("no daemon answers at {}: {}\n  start it: systemctl start 'mcp-bridged@*', or with --user; or name a store: --store", .0.display(), .1)]
    Unreachable(PathBuf, String),
    /// Several daemons, each with another store, and no setting that chooses one.
    #[error("which store: {first}, of the daemon at {}, or {second}, of the daemon at {}?\n  choose one: --store unix:{}, or set MCP_BRIDGE_STORE", .by.display(), .socket.display(), .by.display())]
    TwoStores {
        /// A store.
        first: String,
        /// The socket of its daemon.
        by: PathBuf,
        /// The other store.
        second: String,
        /// The socket of its daemon.
        socket: PathBuf,
    },
    /// This user may not use the socket.
    #[error("{}: permission denied\n  the group of that socket may use it: `ls -l` names the group, and after `usermod -aG` the user must log in again", .0.display())]
    NotPermitted(PathBuf),
    /// The daemon did not answer in time.
    #[error("the daemon at {} did not answer {what} within {within}\n  see what it waits for: systemctl status 'mcp-bridged@*', or its log", .socket.display())]
    Late {
        /// Where it was asked.
        socket: PathBuf,
        /// The operation.
        what: String,
        /// For how long.
        within: String,
    },
    /// The connection ended before the answer, and asking again could do it twice.
    #[error("the daemon at {} ended before it answered {what}; perhaps it was done\n  check that before you try again", .socket.display())]
    Cut {
        /// Where it was asked.
        socket: PathBuf,
        /// The operation.
        what: String,
    },
    /// It answered with something that this program does not understand.
    #[error("the answer of the daemon at {} cannot be read: {why}\n  use the same version of the daemon and this program: mcp-bridge --version, mcp-bridge status", .socket.display())]
    Garbled {
        /// Where it was asked.
        socket: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// It is of another version, and does not know what was asked for.
    #[error("the daemon at {} has version {version}, which is older than this program ({}) and does not know `{what}`\n  restart it, so that the installed version runs: systemctl restart 'mcp-bridged@*', or with --user", .socket.display(), env!("CARGO_PKG_VERSION"))]
    Older {
        /// Where it was asked.
        socket: PathBuf,
        /// Its version.
        version: String,
        /// What it does not know.
        what: String,
    },
    /// It speaks another version of the API.
    #[error("the daemon at {} does not support version 1 of the API, which this program ({}) uses: {why}\n  use the mcp-bridge that was installed with the daemon", .socket.display(), env!("CARGO_PKG_VERSION"))]
    OtherApi {
        /// Where it was asked.
        socket: PathBuf,
        /// What it said.
        why: String,
    },
    /// The daemon waits for its store.
    #[error("the daemon has no store open: {0}\n  to find out what to do: mcp-bridge doctor")]
    NoStore(String),
    /// Only a session may do this.
    #[error(
        "{0} needs a session, and no token was sent\n  name the session: -c LABEL/SIDE, or the headers MCP-Bridge-Session and Authorization"
    )]
    NoToken(String),
    /// Only an operator may do this.
    #[error(
        "{0} is for operators\n  use the daemon's admin.sock, as a member of the group mcp-bridge-admin"
    )]
    NotOperator(String),
    /// This session may not do this.
    #[error("{session} may not use {what}: {why}")]
    NotYours {
        /// The operation.
        what: String,
        /// Who asked.
        session: String,
        /// Who may.
        why: String,
    },
    /// The request itself is wrong.
    #[error("the request is malformed: {0}")]
    Malformed(String),
    /// It is longer than this daemon reads.
    #[error(
        "the request is too long: its body has more than {0}, the limit of this daemon\n  send less at once"
    )]
    TooLong(String),
    /// Its body is of another kind.
    #[error(
        "the request's body is {0}; it must be JSON\n  send the header Content-Type: application/json"
    )]
    NotJson(String),
    /// There is no such operation.
    #[error("there is no operation {0}\n  /v1/openapi.json lists all operations")]
    NoOperation(String),
    /// The operation is asked for in another way.
    #[error(
        "the method {0} is not allowed here\n  /v1/openapi.json lists the methods of each operation"
    )]
    NoMethod(String),
    /// More than the daemon takes from one user.
    #[error(
        "{0}\n  try again later, or ask the operator for more: [api] in the daemon's configuration"
    )]
    TooMuch(String),
    /// More than the daemon holds for one user at once. Nothing was done.
    #[error("{0}\n  nothing was done: try again in a moment")]
    Crowded(String),
    /// What a newer program says and this one has no word for.
    #[error("{text}")]
    Told {
        /// Its words.
        text: String,
        /// What a caller can do about it, by the word that stands for it.
        class: String,
    },
}
