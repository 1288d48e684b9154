//! What can go wrong with a store, in words for the person who must act.

use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{TaskError, UsedUp};
use crate::model::door::DoorError;
use crate::model::message::InvalidMessage;
use crate::model::rate::{RateLimited, Window};
use crate::model::{ConversationId, Label, MessageId, SessionKey, StoreName};
use crate::text::{self, bytes};

/// A failed store call. The first line says what happened to which thing, the
/// second, if there is one, what to do.
#[derive(Debug, thiserror::Error, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StoreError {
    /// No file there.
    #[error("store {}: there is no such file\n  create it: mcp-bridge store init --store {}", .0.display(), .0.display())]
    Missing(PathBuf),
    /// No file there any more.
    #[error("store {}: there is no such file, but there was: {}{}", .path.display(), .sign, lost(.path, .backup.as_deref()))]
    Lost {
        /// The store.
        path: PathBuf,
        /// What says so.
        sign: String,
        /// The newest copy of it.
        backup: Option<PathBuf>,
    },
    /// A file with nothing in it.
    #[error("store {}: the file is empty\n  to create a store in it: mcp-bridge store init --store {}", .0.display(), .0.display())]
    Empty(PathBuf),
    /// A directory, socket, ...
    #[error("store {}: this is a {}, not a database file\n  name the file itself, for example {}/bridge.db", .0.display(), .1, .0.display())]
    NotAFile(PathBuf, Cow<'static, str>),
    /// SQLite does not know the file's format.
    #[error("store {}: this is not an SQLite database\n  name another file, or move this one away", .0.display())]
    NotADatabase(PathBuf),
    /// A database of some other program.
    #[error("store {}: this database belongs to another program (it has tables, but not the bridge's)\n  name another file", .0.display())]
    Foreign(PathBuf),
    /// The file is damaged.
    #[error("store {}: the database is damaged ({})\n  stop all writers and restore a backup; for details: mcp-bridge store verify", .0.display(), .1)]
    Corrupt(PathBuf, String),
    /// Opening was refused by the file system.
    #[error("store {}: permission denied{}", .0.display(), .1)]
    Permission(PathBuf, String),
    /// This process has as many files open as it may.
    #[error("store {}: {}", .0.display(), .1)]
    TooManyFiles(PathBuf, String),
    /// The file, its directory or the file system cannot be written.
    #[error("store {}: it is read-only\n  give this user write permission for the file and its directory, or mount the file system read-write", .0.display())]
    ReadOnly(PathBuf),
    /// Another user decides what stands at the path.
    #[error("store {}: {}", .0.display(), .1)]
    Untrusted(PathBuf, String),
    /// No room.
    #[error("store {}: the disk is full; nothing was stored\n  free some space and try again", .0)]
    Full(StoreName),
    /// The disk failed.
    #[error("store {}: input/output error ({}); nothing was stored\n  check the disk: dmesg | tail", .0, .1)]
    Io(StoreName, String),
    /// Another writer did not let go.
    #[error("store {}: another process held the write lock for too long; nothing was stored\n  try again; `fuser {}` names the processes that have it open", .0, .0)]
    Busy(StoreName),
    /// The disk took so long for a commit of this process that others wait.
    #[error("store {}: the disk is slow: a write waited {} for it; writes that wait behind it are not stored yet\n  find out what else uses that disk, and check it: dmesg | tail", .0, text::long_duration(*.1))]
    SlowDisk(StoreName, Duration),
    /// Neither the lock nor the disk: this process has too much to write.
    #[error("store {}: the writes of this process wait for each other; nothing was stored\n  try again; the machine or this process is overloaded", .0)]
    Crowded(StoreName),
    /// Written by a newer version that excludes this one.
    #[error("store {}: it has schema version {found}, and this program reads versions up to {ours}\n  install a newer mcp-bridge", .path)]
    TooNew {
        /// The store.
        path: StoreName,
        /// Its version.
        found: i64,
        /// The newest version that this program knows.
        ours: i64,
    },
    /// The Python bridge's, and asked for by a command that only looks.
    #[error("store {}: this is a database of the Python bridge that no program of mcp-bridge has adopted yet; nothing was changed\n  adopt it: mcp-bridge store init --store {}", .0.display(), .0.display())]
    NotAdopted(PathBuf),
    /// Of an older schema, and asked for by a command that only looks.
    #[error("store {}: it has schema version {found}, older than this program's; nothing was changed\n  upgrade it: mcp-bridge store init --store {}", .path, .path)]
    OldSchema {
        /// The store.
        path: StoreName,
        /// Its version.
        found: i64,
    },
    /// Made by a build of before the first release.
    #[error("store {}: a build of before the first release made it (schema version {found}), and no released program reads it; nothing was changed\n  use it with the build that made it; or stop the programs that use it, move it and the files beside it ({}*) to another directory, and make a new store: mcp-bridge store init --store {}", .path.display(), .path.display(), .path.display())]
    Unreleased {
        /// The store.
        path: PathBuf,
        /// Its version.
        found: i64,
    },
    /// Something in it would run, hide or change rows when we write.
    #[error("store {}: it contains definitions that this program does not know: {}; nothing was stored\n  list them: mcp-bridge store verify --store {}\n  accept them: mcp-bridge store init --accept-schema --store {}", .path.display(), .what.join("; "), .path.display(), .path.display())]
    UnknownDefinitions {
        /// The store.
        path: PathBuf,
        /// What they are, by name.
        what: Vec<String>,
        /// The hash of all of them, which an operator may accept.
        hash: String,
    },
    /// A write that changed nothing, although it had to.
    #[error("store {}: a row for table {table} was not stored: something in the database prevented it; nothing was stored\n  find it: mcp-bridge store verify --store {}", .path, .path)]
    Swallowed {
        /// The store.
        path: StoreName,
        /// The table.
        table: Cow<'static, str>,
    },
    /// A table whose ids are used up.
    #[error("store {}: {}; nothing was stored\n  {}", .path, .what.what(), .what.remedy())]
    NoIdLeft {
        /// The store.
        path: StoreName,
        /// The table.
        what: UsedUp,
    },
    /// A row with a value of a wrong type.
    #[error("store {}: {doing}: a row cannot be read ({what})\n  find it: mcp-bridge store verify --store {}", .path, .path)]
    OddRow {
        /// The store.
        path: StoreName,
        /// What needed it.
        doing: Cow<'static, str>,
        /// What is wrong with it.
        what: String,
    },
    /// Linked against an SQLite that loses commits.
    #[error(
        "this program is linked with SQLite {0}, which can lose committed data\n  build it with SQLite 3.51.3 or newer"
    )]
    OldSqlite(String),
    /// A network file system, on which SQLite's locks do not work.
    #[error("store {}: it is on a network file system ({}), where SQLite's locks do not work\n  put it on a local disk", .0.display(), .1)]
    NetworkFileSystem(PathBuf, String),
    /// The file at the path is not the one that was opened.
    #[error("store {}: the file was deleted or replaced while it was open; nothing was stored in it\n  put the old file back, or restart programs to use the new one; daemons switch to it automatically", .0.display())]
    Replaced(PathBuf),
    /// An older copy was written over the database.
    #[error(
        "store {}: an older copy replaced it: it has {found} messages and changes, there were {seen} before; nothing was stored in it\n  stop all programs that use it; then put the newer file back, or, if the older one is right, remove {}",
        .path.display(),
        .bell.display()
    )]
    Older {
        /// The store.
        path: PathBuf,
        /// How far the one that was there had counted.
        seen: i64,
        /// How far this one has.
        found: i64,
        /// Where the former is noted.
        bell: PathBuf,
    },
    /// An older copy was put beside the log of the newer database.
    #[error(
        "store {}: an older copy replaced it, but {} belongs to the newer one, and together they are damaged; nothing was stored in it\n  stop all programs that use it, and restore a backup: mcp-bridge store restore; or put an undamaged database there, move that log away, and remove {}",
        .path.display(),
        .log.display(),
        .bell.display()
    )]
    Mixed {
        /// The store.
        path: PathBuf,
        /// The log.
        log: PathBuf,
        /// Where it is noted how far the newer one had counted.
        bell: PathBuf,
    },
    /// The database is gone or emptied, but what belongs to it is still there.
    #[error(
        "store {}: the database is missing but {} exists\n  restore the database; or stop all programs that use it, move that file away, and try again",
        .0.display(),
        .1.display()
    )]
    Remains(PathBuf, PathBuf),
    /// A file beside the database that SQLite must not see.
    #[error(
        "store {}: refused because of {}: {why}\n  stop all programs that use the store, find out what put that file there, move it away, and try again",
        .store.display(),
        .file.display()
    )]
    Beside {
        /// The store.
        store: PathBuf,
        /// The file beside it.
        file: PathBuf,
        /// What is wrong with it.
        why: Cow<'static, str>,
    },
    /// The database file has a second name.
    #[error(
        "store {}: the file has {} names (hard links), and SQLite keeps a log for each name: programs that use different names destroy each other's commits\n  remove the other names (find / -xdev -samefile {}); to share a store, share or mount its directory",
        .0.display(),
        .1,
        .0.display()
    )]
    Linked(PathBuf, u64),
    /// The database file is mounted by itself.
    #[error(
        "store {}: only the file is mounted, without the log beside it: programs on both sides would destroy each other's commits\n  mount the directory instead",
        .0.display()
    )]
    Mounted(PathBuf),
    /// A copy of the store needs more room than there is.
    #[error("{}: not enough space: {} needed, {} free; nothing was written\n  free some space, or name a file on another disk", .file.display(), bytes(*.needed), bytes(*.free))]
    NoRoom {
        /// The copy.
        file: PathBuf,
        /// Bytes that it has.
        needed: u64,
        /// Bytes that it may have.
        free: u64,
    },
    /// The copy that is kept before a migration has no room.
    #[error("store {}: an upgrade to schema {schema} keeps a copy first, and there is not enough space for it: {} needs {}, {} free; the store was not changed\n  free some space and try again", .path.display(), .copy.display(), bytes(*.needed), bytes(*.free))]
    NoRoomToMigrate {
        /// The store.
        path: PathBuf,
        /// The schema that it would have.
        schema: i64,
        /// The copy.
        copy: PathBuf,
        /// Bytes that it has.
        needed: u64,
        /// Bytes that it may have.
        free: u64,
    },
    /// Another process has it open, and would go on with a file that is not the store
    /// any more.
    #[error("store {}: it is in use by {}; nothing was changed\n  stop these programs and try again; daemons: systemctl stop 'mcp-bridged@*', or with --user", .0.display(), .1)]
    InUse(PathBuf, String),
    /// The target exists, and was not to be overwritten.
    #[error("{} exists already; nothing was written\n  name another file, or replace it with --force", .0.display())]
    Taken(PathBuf),
    /// A copy that cannot be written where it should be.
    #[error("{} cannot be written: {}; nothing is left there\n  name a file in an existing directory that this user may write to", .0.display(), .1)]
    CannotWrite(PathBuf, String),
    /// Not a file to restore a store from.
    #[error("backup {}: {}; nothing was changed\n  name another backup", .0.display(), .1)]
    BadBackup(PathBuf, String),
    /// The caller stopped it.
    #[error("stopped; nothing was changed")]
    Stopped,
    /// A URL for a store that this version does not have.
    #[error(
        "store `{0}`: only SQLite is supported: write sqlite:/path/to/bridge.db, or just the path"
    )]
    Unsupported(String),
    /// A wrong token, or one for the other side.
    #[error(
        "the token for {0} is wrong\n  use the credentials file that `conversation new` wrote, or the last `conversation rekey`"
    )]
    WrongToken(SessionKey),
    /// No such conversation.
    #[error(
        "conversation {} does not exist in store {}\n  `mcp-bridge conversation list` shows the existing ones",
        .0,
        .1
    )]
    NoConversation(ConversationId, StoreName),
    /// The id is taken.
    #[error("conversation {0} exists already\n  choose another id, at random")]
    IdTaken(ConversationId),
    /// Its time ran out.
    #[error(
        "conversation {id} expired {} ago\n  renew it: mcp-bridge conversation renew {id} --for 3h",
        crate::text::age(*.expired_at, *.now)
    )]
    Expired {
        /// The conversation.
        id: ConversationId,
        /// When it ended.
        expired_at: Timestamp,
        /// When that was noticed.
        now: Timestamp,
    },
    /// The conversation was closed.
    #[error("conversation {0} was closed\n  create a new one: mcp-bridge conversation new")]
    Closed(ConversationId),
    /// The label is taken.
    #[error(
        "there is already an open conversation labelled `{0}`\n  choose another label, or close that one: mcp-bridge conversation close {0}"
    )]
    LabelTaken(Label),
    /// No message of that id for this session.
    #[error(
        "there is no message {0} for {1}\n  the receiver sees the id of each message: `mcp-bridge check`, `mcp-bridge watch`"
    )]
    NoMessage(MessageId, SessionKey),
    /// The message breaks a limit.
    #[error(transparent)]
    Invalid(#[from] InvalidMessage),
    /// Too many messages.
    #[error("{0} reached its rate limit: {1}")]
    RateLimited(SessionKey, RateLimited),
    /// More messages at once than a window has room for.
    #[error(
        "the batch has {1} messages, and {0} may send {limit} per {name}: it cannot be sent in one part; nothing was sent\n  send it in parts of {limit} at most, or allow more: mcp-bridge store limits --per-{name} {1}",
        limit = .2.limit,
        name = .2.name
    )]
    BatchTooBig(SessionKey, usize, Window),
    /// The client message id was used for another text.
    #[error(
        "client message id `{id}` was already used for message {message}, with another text\n  give every message its own id"
    )]
    ClientIdReused {
        /// The id.
        id: String,
        /// The message that has it.
        message: MessageId,
    },
    /// On the way to a store through a daemon.
    #[error(transparent)]
    Door(#[from] DoorError),
    /// A task that cannot be had, written or moved.
    #[error(transparent)]
    Task(#[from] TaskError),
    /// An orchestrator that does not act any more wanted to write.
    #[error("another orchestrator is active for this store now (epoch {0})")]
    NotLeading(i64),
    /// Anything that SQLite says and no rule above names.
    #[error("store {}: {} ({})", .0, .1, .2)]
    Sql(StoreName, Cow<'static, str>, String),
}

/// What a caller can do about an error; exit codes are made of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorClass {
    /// The input is wrong: sending it again will not help.
    Input,
    /// The caller may not do this.
    Denied,
    /// The store is not there, or not usable, now.
    Unavailable,
    /// Trying again later helps.
    Retry,
    /// The task went on without the caller.
    Stale,
    /// The store's content or version is not for this program.
    Unusable,
    /// Something else.
    Other,
}

impl ErrorClass {
    const ALL: [Self; 7] = [
        Self::Input,
        Self::Denied,
        Self::Unavailable,
        Self::Retry,
        Self::Stale,
        Self::Unusable,
        Self::Other,
    ];

    /// The word for it, as it travels.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Input => "input",
            Self::Denied => "denied",
            Self::Unavailable => "unavailable",
            Self::Retry => "retry",
            Self::Stale => "stale",
            Self::Unusable => "unusable",
            Self::Other => "other",
        }
    }

    /// The class of a word; a word of a newer program is [`Self::Other`].
    #[must_use]
    pub fn from_word(word: &str) -> Self {
        let mut all = Self::ALL.into_iter();
        all.find(|class| class.as_str() == word)
            .unwrap_or(Self::Other)
    }
}

fn of_the_door(error: &DoorError) -> ErrorClass {
    match error {
        DoorError::Unreachable(..) | DoorError::NoStore(_) => ErrorClass::Unavailable,
        DoorError::Late { .. } | DoorError::TooMuch(_) | DoorError::Crowded(_) => ErrorClass::Retry,
        DoorError::NotPermitted(_)
        | DoorError::NoToken(_)
        | DoorError::NotOperator(_)
        | DoorError::NotYours { .. } => ErrorClass::Denied,
        DoorError::Malformed(_)
        | DoorError::TwoStores { .. }
        | DoorError::TooLong(_)
        | DoorError::NotJson(_)
        | DoorError::NoOperation(_)
        | DoorError::NoMethod(_) => ErrorClass::Input,
        DoorError::Garbled { .. } | DoorError::Older { .. } | DoorError::OtherApi { .. } => {
            ErrorClass::Unusable
        }
        DoorError::Told { class, .. } => ErrorClass::from_word(class),
        DoorError::Cut { .. } => ErrorClass::Other,
    }
}

/// What to do about a store that is gone.
fn lost(path: &Path, backup: Option<&Path>) -> String {
    let path = path.display();
    let restore = backup.map_or_else(
        || "put the file back".to_owned(),
        |backup| {
            let backup = backup.display();
            format!("restore its newest copy: mcp-bridge store restore {backup} --store {path}")
        },
    );
    format!(
        "\n  {restore}\n  or start with a new, empty store: mcp-bridge store init --store {path}"
    )
}

impl StoreError {
    /// The error for a path where no store is: lost, if something says that one
    /// was there.
    #[must_use]
    pub fn missing(path: PathBuf) -> Self {
        match super::traces::of(&path) {
            None => Self::Missing(path),
            Some(found) => {
                let sign = format!("{} is still there", found.sign.display());
                let backup = found.backup;
                Self::Lost { path, sign, backup }
            }
        }
    }

    /// The class of this error.
    #[must_use]
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::Task(TaskError::StaleLease { .. }) => ErrorClass::Stale,
            Self::Task(
                TaskError::AtCapacity { .. } | TaskError::Draining(_) | TaskError::Exited(_),
            ) => ErrorClass::Retry,
            Self::NotLeading(_) => ErrorClass::Denied,
            Self::Door(error) => of_the_door(error),
            Self::Task(_)
            | Self::Invalid(_)
            | Self::ClientIdReused { .. }
            | Self::LabelTaken(_)
            | Self::IdTaken(_)
            | Self::NoMessage(..)
            | Self::BatchTooBig(..)
            | Self::NoConversation(..)
            | Self::Taken(_)
            | Self::Unsupported(_) => ErrorClass::Input,
            Self::WrongToken(_) | Self::Expired { .. } | Self::Closed(_) => ErrorClass::Denied,
            Self::RateLimited(..)
            | Self::Busy(_)
            | Self::SlowDisk(..)
            | Self::Crowded(_)
            | Self::InUse(..) => ErrorClass::Retry,
            Self::Missing(_)
            | Self::Lost { .. }
            | Self::Empty(_)
            | Self::Permission(..)
            | Self::TooManyFiles(..)
            | Self::ReadOnly(_)
            | Self::Full(_)
            | Self::Io(..)
            | Self::Remains(..)
            | Self::NoRoom { .. }
            | Self::NoRoomToMigrate { .. }
            | Self::CannotWrite(..)
            | Self::NotAdopted(_)
            | Self::OldSchema { .. }
            | Self::Older { .. }
            | Self::Mixed { .. }
            | Self::Replaced(_) => ErrorClass::Unavailable,
            Self::NotAFile(..)
            | Self::Untrusted(..)
            | Self::NotADatabase(_)
            | Self::Foreign(_)
            | Self::Corrupt(..)
            | Self::TooNew { .. }
            | Self::Unreleased { .. }
            | Self::OldSqlite(_)
            | Self::UnknownDefinitions { .. }
            | Self::Swallowed { .. }
            | Self::NoIdLeft { .. }
            | Self::OddRow { .. }
            | Self::BadBackup(..)
            | Self::Beside { .. }
            | Self::Linked(..)
            | Self::Mounted(_)
            | Self::NetworkFileSystem(..) => ErrorClass::Unusable,
            Self::Sql(..) | Self::Stopped => ErrorClass::Other,
        }
    }

    /// Whether the file at the path is another than the one that was opened, or
    /// an older one.
    #[must_use]
    pub fn is_another_file(&self) -> bool {
        matches!(
            self,
            Self::Replaced(_)
                | Self::Older { .. }
                | Self::Mixed { .. }
                | Self::Missing(_)
                | Self::Lost { .. }
        )
    }

    /// Whether what was asked for may go through a moment later: it waited in vain.
    #[must_use]
    pub fn is_held_up(&self) -> bool {
        matches!(self, Self::Busy(_) | Self::SlowDisk(..) | Self::Crowded(_))
    }

    /// Whether it speaks of the store itself, rather than of one session or
    /// one message.
    #[must_use]
    pub fn is_outage(&self) -> bool {
        if matches!(self, Self::OddRow { .. }) {
            return false;
        }
        matches!(
            self.class(),
            ErrorClass::Unavailable | ErrorClass::Unusable | ErrorClass::Other
        ) || self.is_held_up()
    }

    /// Whether it speaks of this request, or of its session, and would be the answer the next
    /// time, too.
    #[must_use]
    pub fn is_refusal(&self) -> bool {
        !self.is_outage() && self.class() != ErrorClass::Retry
    }

    /// The first line alone, for a status line or a log field.
    #[must_use]
    pub fn headline(&self) -> String {
        self.to_string()
            .lines()
            .next()
            .unwrap_or_default()
            .to_owned()
    }
}
