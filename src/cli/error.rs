//! What can go wrong on the command line itself. First what happened to which
//! thing, then, on lines of their own, what to do.

use std::path::PathBuf;

use crate::exit::{self, Exit};
use crate::model::{MessageId, SessionKey};
use crate::store::locate::{self, Location, Origin};

/// A failed command.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// No store there, and nobody said explicitly that there is one.
    #[error("store {0}: there is no such file\n  make one: mcp-bridge conversation new{beside}", beside = beside(.0))]
    NoStore(Location),
    /// No credentials, but here are some.
    #[error(
        "no credentials: this command acts for a session\n  name its file: --credentials FILE, or MCP_BRIDGE_CREDENTIALS in the environment{0}"
    )]
    NoCredentials(String),
    /// Standard output was closed before the program started.
    #[error(
        "standard output is closed, so nothing could be shown, and nothing was done\n  leave it open, or redirect it to a file"
    )]
    NoOutput,
    /// An order of a user who is no operator of the store.
    #[error(
        "this needs an operator of the store: root, or {owner}, who owns {}; you are {caller}\n  sudo mcp-bridge --store {} ...", .directory.display(), .store.display()
    )]
    NotOperator {
        /// The store's directory.
        directory: PathBuf,
        /// The user who owns it.
        owner: String,
        /// The user who asked.
        caller: String,
        /// The store.
        store: PathBuf,
    },
    /// A token in the environment of a command that runs on.
    #[error(
        "MCP_BRIDGE_TOKEN is for commands that end at once: this one runs on, and its environment can be read meanwhile\n  put the credentials in a file and name it: --credentials FILE"
    )]
    TokenInEnvironment,
    /// A name that is no file here, and none of the default directory.
    #[error(
        "credentials `{name}`: there is no such file here, and no {name}.toml in {}{hint}{have}",
        .directory.display()
    )]
    NoSuchCredentials {
        /// As it was written.
        name: String,
        /// Where names are looked for.
        directory: PathBuf,
        /// `; did you mean ...?`
        hint: String,
        /// What there is, on a line of its own.
        have: String,
    },
    /// Files that are good for different stores.
    #[error(
        "the credentials name two stores, {0} and {1}\n  use those of one store, or say which one with --store"
    )]
    TwoStores(String, String),
    /// Files that hold different tokens for one session.
    #[error(
        "two credentials hold different tokens for {0}: {1} and {2}\n  name only the right one"
    )]
    TwoTokens(SessionKey, String, String),
    /// The credentials have no such conversation.
    #[error("the credentials have no conversation `{name}`{hint}\n  they have: {have}")]
    NotMine {
        /// As it was written.
        name: String,
        /// `; did you mean ...?`
        hint: String,
        /// What there is.
        have: String,
    },
    /// Several sessions could send.
    #[error("to whom? {0}\n  name one: mcp-bridge send {1} TEXT")]
    ToWhom(String, String),
    /// No conversation of that name.
    #[error(
        "there is no conversation `{name}`{hint}\n  `mcp-bridge conversation list --all` shows those of this store"
    )]
    NoSuchConversation {
        /// As it was written.
        name: String,
        /// `; did you mean ...?`
        hint: String,
    },
    /// No message of that id for any of the sessions.
    #[error(
        "there is no message {0} for any session of the credentials\n  `mcp-bridge check` and `watch` show each message with its id, to the session that it is for"
    )]
    NoSuchMessage(MessageId),
    /// No session and no host of that name.
    #[error(
        "there is no session and no host `{name}`{hint}\n  `mcp-bridge status` shows the sessions and the daemons of this store"
    )]
    NoSuchWhom {
        /// As it was written.
        name: String,
        /// `; did you mean ...?`
        hint: String,
    },
    /// No daemon on a host of that name.
    #[error(
        "no daemon of this store is on a host `{name}`{hint}\n  `mcp-bridge status` shows the daemons by host and name"
    )]
    NoSuchHost {
        /// As it was written.
        name: String,
        /// `; did you mean ...?`
        hint: String,
    },
    /// A name that could mean two things.
    #[error(
        "`{0}` is a session and a host\n  write {0}/b for the session, or host:{0} for the host"
    )]
    SessionOrHost(String),
    /// Several sessions could act.
    #[error("for whom? {0}\n  name one: --as {1}")]
    ForWhom(String, String),
    /// Bytes that are not UTF-8.
    #[error(
        "the {what} is not UTF-8 (first wrong byte at {at}); put binary data in a file and name it with --file"
    )]
    NotUtf8 {
        /// Which text.
        what: &'static str,
        /// The first byte that is wrong.
        at: usize,
    },
    /// A file with a text in it that cannot be read.
    #[error("{}: it cannot be read: {}\n  name a file that is there and that this user may read", .0.display(), .1)]
    NoFile(PathBuf, std::io::Error),
    /// More than is read at once.
    #[error(
        "{0}: it has more than {1} MiB, and nothing of it was used\n  give it in parts, or put it in a file and name it with --file"
    )]
    TooMuch(String, u64),
    /// A list of tasks that cannot be read.
    #[error("{source_name}: {place}{what}\n  nothing was added")]
    Tasks {
        /// The file, or standard input.
        source_name: String,
        /// `line 3: `, if one line is to blame.
        place: String,
        /// What is wrong.
        what: String,
    },
    /// A combination of arguments that means nothing.
    #[error("{0}")]
    Usage(String),
    /// A file that is in the way.
    #[error(
        "{0} exists already; nothing was made\n  choose another --label or --out, or move it away"
    )]
    Exists(PathBuf),
    /// Digests are no tokens.
    #[error(
        "conversation {0}: its tokens are stored as digests, so no credentials can be written from them\n  use the files that `conversation new` wrote, or close it and make a new one"
    )]
    TokensHashed(String),
    /// Messages that were fetched and reached nobody.
    #[error(
        "the output could not be written ({0}); the messages count as unread and will be shown again"
    )]
    NotShown(String),
}

/// The system's store, which a user who has none would use, if that is closed to
/// this user: a line of its own.
#[must_use]
pub(super) fn beside(location: &Location) -> String {
    let closed = (location.origin == Origin::Default).then(locate::closed_system);
    closed.flatten().map_or_else(String::new, |system| {
        format!(
            "\n  or join the system's store {}: sudo usermod -aG mcp-bridge $USER   (then log in again)",
            system.display()
        )
    })
}

/// The nearest of `names` to what was written, as the end of an error's line.
#[must_use]
pub(super) fn did_you_mean<'a>(written: &str, names: impl IntoIterator<Item = &'a str>) -> String {
    names
        .into_iter()
        .map(|name| (strsim::damerau_levenshtein(written, name), name))
        .filter(|(distance, name)| *distance <= 1.max(name.len() / 4))
        .min()
        .map(|(_, name)| format!("; did you mean `{name}`?"))
        .unwrap_or_default()
}

/// The exit code of a cause that only the command line knows.
pub(super) fn exit_of(cause: &(dyn std::error::Error + 'static)) -> Option<Exit> {
    let error = cause.downcast_ref::<CliError>()?;
    Some(match error {
        CliError::NoStore(_) => Exit::Unavailable,
        CliError::NoCredentials(_)
        | CliError::NotOperator { .. }
        | CliError::TokenInEnvironment
        | CliError::NoSuchCredentials { .. }
        | CliError::TwoStores(..)
        | CliError::TwoTokens(..)
        | CliError::NotMine { .. } => Exit::Denied,
        CliError::Usage(_) => Exit::Usage,
        CliError::ToWhom(..)
        | CliError::ForWhom(..)
        | CliError::NoSuchWhom { .. }
        | CliError::NoSuchHost { .. }
        | CliError::SessionOrHost(_)
        | CliError::NotUtf8 { .. }
        | CliError::TooMuch(..)
        | CliError::Tasks { .. }
        | CliError::NoFile(..)
        | CliError::NoSuchMessage(_)
        | CliError::NoSuchConversation { .. }
        | CliError::TokensHashed(_)
        | CliError::Exists(_) => Exit::Input,
        CliError::NotShown(_) | CliError::NoOutput => Exit::Failure,
    })
}

/// Prints an error, and returns its exit code.
#[must_use]
pub(super) fn report(error: &anyhow::Error) -> Exit {
    exit::report(error, exit_of)
}
