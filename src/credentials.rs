//! Credentials: a file that only its owner reads, or the environment; never the command
//! line, which `ps` shows to every user.
//!
//! ```toml
//! store = "/var/lib/mcp-bridge/bridge.db"
//! label = "backend-1"
//!
//! [[session]]
//! conversation = "conv_0123456789abcdef"
//! session = "b"
//! token = "mcpb_ and 64 hexadecimal characters"
//! ```
//!
//! An agent that acts for several sessions has several `[[session]]` tables.

pub mod rewrite;

use std::fmt;
use std::io::Write as _;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::guarded;
use crate::model::quoting::complaint;
use crate::model::session::Caller;
use crate::model::token::{MalformedToken, Token, TokenStorage};
use crate::model::{ConversationId, InvalidId, Label, SessionKey, Side};

/// The variables that hold one session's credentials.
pub const VARIABLES: [&str; 3] = [
    "MCP_BRIDGE_CONVERSATION",
    "MCP_BRIDGE_SESSION",
    "MCP_BRIDGE_TOKEN",
];

/// Who a program acts for.
#[derive(Debug, Clone)]
pub struct Credentials {
    /// The store that they are good for.
    pub store: Option<String>,
    /// What people call the agent.
    pub label: Option<Label>,
    /// Its sessions, at least one.
    pub callers: Vec<Caller>,
    /// The file that they came from.
    pub source: Option<PathBuf>,
}

/// What to do about a file that is not as it was written.
const REMEDY: &str = "use the file that `mcp-bridge conversation new` wrote";

/// Why there are no credentials. No variant repeats a token.
#[derive(Debug, thiserror::Error)]
pub enum CredentialsError {
    /// No such file.
    #[error("credentials {}: there is no such file\n  the sessions that exist: mcp-bridge status; to create new ones: mcp-bridge conversation new", .0.display())]
    Missing(PathBuf),
    /// The service manager hands such files over when the service starts, and
    /// this one came later.
    #[error("credentials {}: the service did not get this file when it started\n  {}", .0.display(), handing_over(.0))]
    NotHandedOver(PathBuf),
    /// The file may not be read, or is no file.
    #[error("credentials {}: {}", .0.display(), .1)]
    Unreadable(PathBuf, String),
    /// Others may read it, so its tokens are no secret.
    #[error("credentials {}: other users may read this file (mode {:o})\n  chmod 600 {}   (and, if another user may have read it: mcp-bridge conversation rekey)", .0.display(), .1, .0.display())]
    TooOpen(PathBuf, u32),
    /// Not the TOML that we expect.
    #[error("credentials {}: {}\n  {REMEDY}", .0.display(), .1)]
    Malformed(PathBuf, String),
    /// A value that its key does not take.
    #[error("credentials {}: session {}: {}\n  {REMEDY}", .0.display(), .1, .2)]
    Value(PathBuf, usize, String),
    /// A variable with a wrong value.
    #[error(
        "environment variable {0}: {1}\n  take all three from the file that `mcp-bridge conversation new` wrote"
    )]
    Variable(&'static str, String),
    /// Some variables are there and others are not.
    #[error("environment variable {} is not set, but another of {} is\n  set all three, or none", .0, VARIABLES.join(", "))]
    Partial(&'static str),
    /// Nothing at all was given.
    #[error(
        "no credentials: this command acts for a session\n  name the session: -c LABEL/SIDE or -c FILE, or set MCP_BRIDGE_CREDENTIALS, or join this directory: mcp-bridge join FILE; `mcp-bridge conversation new` writes a file for each side"
    )]
    None,
    /// Cannot be given another token; it is as it was.
    #[error("credentials {}: the token cannot be replaced: {}\n  {}", .0.display(), .1, instead(.1))]
    Rewrite(PathBuf, std::io::Error),
    /// The store has the new token, and the file has the old one.
    #[error("credentials {}: the new token is valid from now on, but this file could not be replaced: {}\n  mv {} {}", .0.display(), .2, .1.display(), .0.display())]
    NotReplaced(PathBuf, PathBuf, std::io::Error),
    /// Cannot be written.
    #[error("credentials {}: cannot be written: {}\n  {}", .0.display(), .1, place(.1))]
    Write(PathBuf, std::io::Error),
}

/// Where root's conversations have theirs, for the service.
pub(crate) const OF_THE_SERVICE: &str = "/etc/mcp-bridge/credentials";

/// How an agent gets those of a conversation that root made, on lines of their
/// own; nothing where there is no service.
pub(crate) fn handed_over(name: &str, directory: &Path) -> String {
    if !Path::new(OF_THE_SERVICE).is_dir() || directory.starts_with(OF_THE_SERVICE) {
        return String::new();
    }
    let user = crate::host::user_name(rustix::process::geteuid().as_raw());
    let there = directory.display();
    format!(
        "\n  for a session of the service, root copies the file:\n    mkdir -p -m 700 {there}   and, as root,\n    \
         install --mode 600 --owner {user} {OF_THE_SERVICE}/{name}.toml {there}/"
    )
}

/// The first line of a file that we write.
const HEAD: &str = "# Credentials of mcp-bridge: who has this file is this session.";

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(skip_serializing_if = "Option::is_none")]
    store: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    label: Option<String>,
    // A missing one is reported in our words.
    #[serde(default)]
    session: Vec<Entry>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    conversation: String,
    session: String,
    token: String,
}

impl Credentials {
    /// Reads a file.
    ///
    /// # Errors
    /// [`CredentialsError`], naming the file and what is wrong with it.
    pub fn read(path: &Path) -> Result<Self, CredentialsError> {
        let unreadable = |error: &std::io::Error| match error.kind() {
            std::io::ErrorKind::NotFound => CredentialsError::Missing(path.to_owned()),
            std::io::ErrorKind::PermissionDenied => CredentialsError::Unreadable(
                path.to_owned(),
                "permission denied\n  run this as the user that the file belongs to".into(),
            ),
            _ => CredentialsError::Unreadable(path.to_owned(), error.to_string()),
        };
        let file = guarded::open_named(path).map_err(|error| unreadable(&error))?;
        let meta = file.metadata().map_err(|error| unreadable(&error))?;
        let mode = meta.mode() & 0o7777;
        if mode & 0o077 != 0 && !from_service_manager(path) {
            return Err(CredentialsError::TooOpen(path.to_owned(), mode));
        }
        let bytes =
            guarded::bounded(&file, guarded::MOST_BYTES).map_err(|error| unreadable(&error))?;
        let text = String::from_utf8(bytes)
            .map_err(|_| CredentialsError::Malformed(path.to_owned(), "it is not UTF-8".into()))?;
        Self::parse(&text, path)
    }

    fn parse(text: &str, path: &Path) -> Result<Self, CredentialsError> {
        let malformed = |what: String| CredentialsError::Malformed(path.to_owned(), what);
        // Only the parser's own words: its `Display` quotes the line, which
        // may be the one with the token. And of those, no value.
        let file: File = toml::from_str(text).map_err(|error| {
            let before = error.span().and_then(|span| text.get(..span.start));
            let line = before.map(|text| text.matches('\n').count() + 1);
            let at = line.map_or_else(String::new, |line| format!("line {line}: "));
            malformed(format!("{at}{}", complaint(error.message())))
        })?;
        if file.session.is_empty() {
            return Err(malformed("it has no [[session]]".into()));
        }
        let label = file
            .label
            .map(|label| label.parse())
            .transpose()
            .map_err(|error: InvalidId| malformed(error.to_string()))?;
        let callers = file
            .session
            .iter()
            .enumerate()
            .map(|(index, entry)| {
                caller(&entry.conversation, &entry.session, &entry.token)
                    .map_err(|(_, what)| CredentialsError::Value(path.to_owned(), index + 1, what))
            })
            .collect::<Result<_, _>>()?;
        Ok(Self {
            store: file.store,
            label,
            callers,
            source: Some(path.to_owned()),
        })
    }

    /// Reads the three variables. `None` if none of them is set.
    ///
    /// # Errors
    /// If only some are set, or a value is wrong.
    pub fn from_environment(
        get: impl Fn(&'static str) -> Option<String>,
    ) -> Result<Option<Self>, CredentialsError> {
        let values = VARIABLES.map(&get);
        if values.iter().all(Option::is_none) {
            return Ok(None);
        }
        if let Some(missing) = values.iter().position(Option::is_none) {
            return Err(CredentialsError::Partial(VARIABLES[missing]));
        }
        let [conversation, session, token] = values.map(Option::unwrap_or_default);
        let caller = caller(&conversation, &session, &token)
            .map_err(|(which, what)| CredentialsError::Variable(VARIABLES[which], what))?;
        Ok(Some(Self {
            store: None,
            label: None,
            callers: vec![caller],
            source: None,
        }))
    }

    /// Writes a new file that only its owner can read, its tokens as a store of
    /// this kind has them. An existing file is never overwritten.
    ///
    /// # Errors
    /// [`CredentialsError::Write`].
    pub fn write(&self, path: &Path, storage: TokenStorage) -> Result<(), CredentialsError> {
        let failed = |error| CredentialsError::Write(path.to_owned(), error);
        let text = self.text(storage).map_err(failed)?;
        let mut out = guarded::make(path, 0o600).map_err(failed)?;
        out.write_all(text.as_bytes()).map_err(failed)?;
        out.sync_all().map_err(failed)
    }

    /// Whether [`Self::write`] would write just this.
    #[must_use]
    pub fn is_written_as(&self, bytes: &[u8]) -> bool {
        let kinds = [TokenStorage::Hashed, TokenStorage::Plain];
        let mut texts = kinds.into_iter().filter_map(|kind| self.text(kind).ok());
        texts.any(|text| text.as_bytes() == bytes)
    }

    /// The text of a whole file, its tokens as a store of this kind has them.
    fn text(&self, storage: TokenStorage) -> std::io::Result<String> {
        let session = self.callers.iter().map(|caller| Entry {
            conversation: caller.session.conversation.to_string(),
            session: caller.session.side.to_string(),
            token: caller.token.presented(storage),
        });
        let file = File {
            store: self.store.clone(),
            label: self.label.as_ref().map(ToString::to_string),
            session: session.collect(),
        };
        let text = toml::to_string(&file).map_err(|e| std::io::Error::other(e.to_string()))?;
        Ok(format!("{HEAD}\n{text}"))
    }
}

/// How a file comes to the service that may not read it where it is: the service
/// manager hands over, at each start, what is in the directory for it. Whether the
/// file is there cannot be seen from here.
pub(crate) fn handing_over(file: &Path) -> String {
    let directory = file.parent().unwrap_or(Path::new("/"));
    match directory.ends_with("credentials") {
        true => format!(
            "if it exists, this loads it: {}; if not, create it first: mcp-bridge conversation new",
            restart_command()
        ),
        false => format!(
            "move it to {}/: the service reads that directory when it starts",
            directory.join("credentials").display()
        ),
    }
}

/// What makes the service manager read the files again that it hands over. Its
/// directory for them is named after the unit.
#[must_use]
pub fn restart_command() -> String {
    let directory = std::env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from);
    let unit = directory.as_deref().and_then(Path::file_stem);
    match (unit, &directory) {
        (Some(unit), Some(directory)) => {
            let whose = if directory.starts_with("/run/credentials") {
                ""
            } else {
                "--user "
            };
            format!("systemctl {whose}restart {}", unit.to_string_lossy())
        }
        _ => "a restart of the service".to_owned(),
    }
}

/// The service manager's credentials directory is private by itself; its files carry
/// the mode that it gave them. A command that the service runs knows the file's place,
/// and not the variable.
fn from_service_manager(path: &Path) -> bool {
    let handed = std::env::var_os("CREDENTIALS_DIRECTORY")
        .is_some_and(|directory| !directory.is_empty() && path.starts_with(directory));
    // No other process makes anything there; a user's own is that user's alone.
    let of_user = path
        .strip_prefix("/run/user")
        .is_ok_and(|rest| rest.iter().nth(1).is_some_and(|name| name == "credentials"));
    handed || path.starts_with("/run/credentials") || of_user
}

/// Where else credentials can be written.
fn place(error: &std::io::Error) -> &'static str {
    match error.kind() {
        std::io::ErrorKind::AlreadyExists => {
            "a file is never overwritten: move it away, or name another directory with --out"
        }
        std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => {
            "free some space, or name a directory on another disk with --out"
        }
        _ => "name a directory that you may write with --out",
    }
}

/// What else can be done where a file cannot be rewritten.
fn instead(error: &std::io::Error) -> &'static str {
    match error.kind() {
        std::io::ErrorKind::WouldBlock => "wait until that one has ended, and try again",
        std::io::ErrorKind::AlreadyExists => "move it away, or name another directory with --out",
        std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => {
            "free some space; nothing was changed"
        }
        _ => "name the file itself where it may be written, or another directory with --out",
    }
}

/// Which of the three values is wrong, and how.
fn caller(conversation: &str, session: &str, token: &str) -> Result<Caller, (usize, String)> {
    let conversation: ConversationId = conversation
        .parse()
        .map_err(|error: InvalidId| (0, error.to_string()))?;
    let side: Side = session
        .parse()
        .map_err(|error: InvalidId| (1, error.to_string()))?;
    let token = Token::parse(token).map_err(|error: MalformedToken| (2, error.to_string()))?;
    Ok(Caller {
        session: SessionKey::new(conversation, side),
        token,
    })
}

impl fmt::Display for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.source {
            Some(path) => path.display().fmt(f),
            None => f.write_str("the environment"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn sample() -> Credentials {
        let session: SessionKey = "conv_0123456789abcdef/b".parse().expect("a session");
        Credentials {
            store: Some("/srv/bridge.db".into()),
            label: "backend-1".parse().ok(),
            callers: vec![Caller {
                token: Token::generate(&session, &[1; 32]),
                session,
            }],
            source: None,
        }
    }

    #[test]
    fn written_credentials_are_private_and_read_back() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("x.toml");
        sample()
            .write(&path, TokenStorage::Hashed)
            .expect("written");
        assert_eq!(
            std::fs::metadata(&path).expect("there").mode() & 0o777,
            0o600
        );
        let read = Credentials::read(&path).expect("read");
        assert_eq!(read.callers[0].session, sample().callers[0].session);
        assert_eq!(
            read.callers[0].token.expose(),
            sample().callers[0].token.expose()
        );
        assert!(
            matches!(
                sample().write(&path, TokenStorage::Hashed),
                Err(CredentialsError::Write(..))
            ),
            "overwritten"
        );
    }

    #[test]
    fn a_file_that_others_can_read_is_refused() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("x.toml");
        sample()
            .write(&path, TokenStorage::Hashed)
            .expect("written");
        for mode in [0o644, 0o640, 0o604] {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).expect("set");
            let error = Credentials::read(&path).expect_err("too open").to_string();
            assert!(error.contains(&format!("mode {mode:o}")) && error.contains("chmod 600"));
        }
    }

    #[test]
    fn no_error_shows_the_token() {
        let token = "deadbeef".repeat(8);
        for text in [
            format!(
                "[[session]]\nconversation = \"conv_0123456789abcdef\"\nsession = \"b\"\ntoken = {token}\n"
            ),
            format!(
                "[[session]]\nconversation = \"conv_1\"\nsession = \"b\"\ntoken = \"{token}\"\n"
            ),
            format!(
                "[[session]]\nconversation = \"conv_0123456789abcdef\"\nsession = \"b\"\ntoken = \"{token}x\"\n"
            ),
            format!("token = \"{token}\"\n"),
            format!("session = \"{token}\"\n"),
            format!("[[session]]\n{token} = \"b\"\n"),
            format!(
                "label = \"{token}\"\n[[session]]\nconversation = \"{token}\"\nsession = \"b\"\ntoken = \"\"\n"
            ),
            format!(
                "[[session]]\nconversation = \"conv_0123456789abcdef\"\nsession = \"{token}\"\ntoken = \"\"\n"
            ),
        ] {
            let error = Credentials::parse(&text, Path::new("x.toml")).expect_err("wrong");
            assert!(
                !format!("{error} {error:?}").contains("deadbeef"),
                "{error}"
            );
        }
    }

    #[test]
    fn the_environment_is_all_or_nothing() {
        assert!(matches!(Credentials::from_environment(|_| None), Ok(None)));
        let only_token = |name: &str| (name == "MCP_BRIDGE_TOKEN").then(|| "a".repeat(64));
        let error = Credentials::from_environment(only_token).expect_err("two are missing");
        assert!(
            error
                .to_string()
                .contains("MCP_BRIDGE_CONVERSATION is not set"),
            "{error}"
        );
    }
}
