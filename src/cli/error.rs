//! What can go wrong on the command line itself. First what happened to which
//! thing, then, on lines of their own, what to do.

use std::path::PathBuf;

use crate::bridge::NotOperator;
use crate::credentials;
use crate::exit::{self, Exit, Face};
use crate::model::Label;
use crate::session::SessionError;
use crate::session::joined::Joined;
use crate::session::known::{as_session, known_names};
use crate::store::locate::{self, Location, Origin};

/// A failed command.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// No store there, and no setting names one.
    #[error("store {0}: there is no such file\n  create one: mcp-bridge conversation new{beside}", beside = beside(.0))]
    NoStore(Location),
    /// Standard output was closed before the program started.
    #[error(
        "standard output is closed, so nothing was done\n  leave it open, or redirect it to a file"
    )]
    NoOutput,
    /// An order of a user who is no operator of the store.
    #[error("{why}\n  sudo mcp-bridge --store {store} ...", why = .0, store = .0.store)]
    NotOperator(NotOperator),
    /// Two words, of which the first is no conversation.
    #[error("{0}\n  if both words are the text, put them in quotes")]
    NotQuoted(SessionError),
    /// A session is spoken to by its partner alone.
    #[error(
        "{0}: the test needs the credentials of its partner\n  name them: -c SESSION (the other side of the conversation)"
    )]
    NotThePartner(String),
    /// Bytes that are not UTF-8.
    #[error(
        "the {what} is not UTF-8 (first wrong byte at {at}); put binary data in a file and give its path"
    )]
    NotUtf8 {
        /// Which text.
        what: &'static str,
        /// The first byte that is wrong.
        at: usize,
    },
    /// A file with a text in it that cannot be read.
    #[error("{} cannot be read: {}\n  name an existing file that this user may read", .0.display(), .1)]
    NoFile(PathBuf, std::io::Error),
    /// More than is read at once.
    #[error(
        "{0} has more than {1} MiB; nothing was stored\n  send it in parts, or put it in a file and give its path"
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
    /// A directory that another session works in.
    #[error("{}: the session of {} works here already\n  give this agent its own directory (git worktree add), or replace the other session with --replace", .0.work_tree.display(), .0.credentials.display())]
    JoinedAlready(Joined),
    /// Several files where a directory has room for one session.
    #[error("credentials {}: there are {} files\n  name the file of the session that works here", .0.display(), .1)]
    NotOneFile(PathBuf, usize),
    /// A combination of arguments that means nothing.
    #[error("{0}")]
    Usage(String),
    /// A file that is in the way.
    #[error(
        "{0} exists already; nothing was created\n  choose another --label or --out, or move the file away"
    )]
    Exists(PathBuf),
    /// A name that a team has.
    #[error(
        "team {0}: {1} exists already; nothing was created\n  choose another name; or remove what has this name: a team with `mcp-bridge team remove {0}`, a conversation with `mcp-bridge conversation close {0}`"
    )]
    TeamExists(Label, String),
    /// No team of this name was made here.
    #[error(
        "team {0}: this user has not created a team with this name{1}\n  to remove what `team new` did not create, use mcp-bridge conversation close, join --remove and setup CLIENT --remove"
    )]
    NoTeam(Label, String),
    /// Digests are no tokens.
    #[error(
        "conversation {0}: the store has only digests of its tokens, so no credentials can be written\n  use the files that `conversation new` wrote, or give a session a new token: mcp-bridge conversation rekey"
    )]
    TokensHashed(String),
    /// Messages that were fetched and not delivered.
    #[error(
        "the output could not be written ({0}); the messages stay unread and will be shown again"
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

/// The exit code of a cause that only the command line knows.
pub(super) fn exit_of(cause: &(dyn std::error::Error + 'static)) -> Option<Exit> {
    let error = cause.downcast_ref::<CliError>()?;
    Some(match error {
        CliError::NoStore(_) => Exit::Unavailable,
        CliError::NotOperator(_) | CliError::NotThePartner(_) | CliError::NotQuoted(_) => {
            Exit::Denied
        }
        CliError::Usage(_) | CliError::NotOneFile(..) => Exit::Usage,
        CliError::NotUtf8 { .. }
        | CliError::TooMuch(..)
        | CliError::Tasks { .. }
        | CliError::NoFile(..)
        | CliError::TokensHashed(_)
        | CliError::Exists(_)
        | CliError::TeamExists(..)
        | CliError::NoTeam(..)
        | CliError::JoinedAlready(_) => Exit::Input,
        CliError::NotShown(_) | CliError::NoOutput => Exit::Failure,
    })
}

/// What to do about an error of acting for sessions, as the end of its text.
fn remedy(error: &SessionError) -> String {
    match error {
        SessionError::NoCredentials => format!(
            ": this command acts for a session\n  \
             name the session: -c LABEL/SIDE or -c FILE, or set MCP_BRIDGE_CREDENTIALS\n  \
             or once for all commands in this directory: mcp-bridge join LABEL/SIDE (or FILE){}",
            what_there_is("for example: -c ")
        ),
        SessionError::NoSuchCredentials {
            name, directory, ..
        } => what_there_is("for example: ") + &credentials::handed_over(name, directory),
        SessionError::NoSuchSide(_) => what_there_is("for example: "),
        SessionError::TokenInEnvironment => {
            "\n  put the credentials in a file and name it: --credentials FILE".to_owned()
        }
        SessionError::TwoStores(..) => {
            "\n  use credentials of one store, or choose the store with --store".to_owned()
        }
        SessionError::ToWhom { partners, .. } => {
            let first = partners.first().map_or("", String::as_str);
            format!("\n  name one: mcp-bridge send {first} TEXT")
        }
        SessionError::ForWhom(names) => {
            let first = names.first().map_or("", String::as_str);
            format!("\n  name one: --as {first}")
        }
        SessionError::NoSuchConversation { .. } => {
            "\n  `mcp-bridge conversation list --all` shows the conversations of this store"
                .to_owned()
        }
        SessionError::NoSuchWhom { .. } => {
            "\n  `mcp-bridge status` shows the sessions and the daemons of this store".to_owned()
        }
        SessionError::NoSuchHost { .. } => {
            "\n  `mcp-bridge status` shows the daemons by host and name".to_owned()
        }
        SessionError::NoSuchMessage(_) => {
            "\n  the receiver sees the id of each message: `mcp-bridge check`, `mcp-bridge watch`"
                .to_owned()
        }
        SessionError::TwoTokens(..)
        | SessionError::NotMine { .. }
        | SessionError::SessionOrHost(_)
        | SessionError::Credentials(_)
        | SessionError::NotMade { .. }
        | SessionError::Id(_)
        | SessionError::NoRandom(_)
        | SessionError::NotNoted { .. }
        | SessionError::Store(_)
        | SessionError::Follow(_) => String::new(),
    }
}

/// The sessions whose credentials this user has, the first of them as an example.
fn what_there_is(example: &str) -> String {
    const SHOWN: usize = 6;
    let names = known_names().into_iter();
    let names: Vec<String> = names.map(|name| as_session(&name)).collect();
    match names.first() {
        None => "\n  `mcp-bridge conversation new` writes one for each side".to_owned(),
        Some(first) => {
            let more = if names.len() > SHOWN { ", ..." } else { "" };
            let shown = names.iter().take(SHOWN).cloned().collect::<Vec<_>>();
            format!(
                "\n  {example}{first}   (there are: {}{more})",
                shown.join(", ")
            )
        }
    }
}

/// Prints an error, and returns its exit code.
#[must_use]
pub(super) fn report(error: &anyhow::Error) -> Exit {
    let face = Face {
        code: exit_of,
        remedy,
    };
    exit::report(error, face)
}
