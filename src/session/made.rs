//! Making conversations: their ids, their tokens, and the files that hold these. All of
//! it is made, or nothing.

use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;

use super::known::credentials_directory;
use super::{Result, SessionError};
use crate::bridge::Bridge;
use crate::clock;
use crate::credentials::{Credentials, CredentialsError};
use crate::model::token::Token;
use crate::model::{ConversationId, Label, SessionKey, Side};
use crate::store::{Caller, NewConversation, StoreError};

/// How long a conversation lives unless it is renewed: as the Python bridge has it.
pub const LIFE: Duration = Duration::from_secs(3 * 3_600);

/// A credentials file that is to be written.
#[derive(Debug, Clone)]
pub struct NewFile {
    /// Where.
    pub path: PathBuf,
    /// What people call the agent.
    pub label: Option<Label>,
    /// The sessions that it lets an agent be.
    pub callers: Vec<Caller>,
}

impl NewFile {
    /// The file of one side.
    #[must_use]
    pub fn of(new: &NewConversation, side: Side, path: PathBuf) -> Self {
        Self {
            path,
            label: new.label.clone(),
            callers: vec![caller(new, side)],
        }
    }
}

/// One side of a conversation that is to be made, with its token.
#[must_use]
pub fn caller(new: &NewConversation, side: Side) -> Caller {
    let session = SessionKey::new(new.id.clone(), side);
    let token = match side {
        Side::A => new.token_a.clone(),
        Side::B => new.token_b.clone(),
    };
    Caller { session, token }
}

/// A conversation to be made, with an id and tokens of its own.
///
/// # Errors
/// If the system gives no random bytes.
pub fn planned(
    label: Option<Label>,
    [role_a, role_b]: [&str; 2],
    expires_at: Timestamp,
) -> Result<NewConversation> {
    let id = ConversationId::from_random(random()?);
    let token = |side| token_for(&SessionKey::new(id.clone(), side));
    Ok(NewConversation {
        label,
        role_a: role_a.to_owned(),
        role_b: role_b.to_owned(),
        token_a: token(Side::A)?,
        token_b: token(Side::B)?,
        id,
        expires_at,
    })
}

/// Makes these conversations, and writes their files; none of these may be there yet.
///
/// # Errors
/// If the store failed. If a file cannot be written: then it is all [taken
/// back](take_back).
pub async fn make(bridge: &Bridge, new: &[NewConversation], files: &[NewFile]) -> Result<()> {
    let store = bridge.lasting_name().await?;
    let storage = bridge.create_conversations(new).await?;
    for (place, file) in files.iter().enumerate() {
        let credentials = Credentials {
            store: Some(store.clone()),
            label: file.label.clone(),
            callers: file.callers.clone(),
            source: None,
        };
        let directory = file.path.parent().unwrap_or(Path::new("/"));
        let written =
            make_directory(directory).and_then(|()| credentials.write(&file.path, storage));
        if let Err(error) = written {
            let left = take_back(bridge, new, &files[..place]).await;
            return Err(SessionError::NotMade { error, left });
        }
    }
    Ok(())
}

/// Closes these conversations again, and takes the files away: what no agent can use is
/// not to stay. Returns the conversations that could not be closed, and why; they end
/// by themselves.
pub async fn take_back(
    bridge: &Bridge,
    new: &[NewConversation],
    files: &[NewFile],
) -> Vec<(ConversationId, String)> {
    for file in files {
        let _ = std::fs::remove_file(&file.path);
    }
    let mut left = Vec::new();
    for one in new {
        // By the right of its own side, where this user is no operator.
        let own = bridge.clone().with_rights_of(vec![caller(one, Side::A)]);
        match own.close_conversation(&one.id).await {
            // It was not made yet, or is closed already.
            Ok(()) | Err(StoreError::NoConversation(..) | StoreError::Closed(_)) => {}
            Err(error) => left.push((one.id.clone(), error.headline())),
        }
    }
    left
}

/// A conversation that was made for an agent.
#[derive(Debug)]
pub struct Made {
    /// Its id.
    pub id: ConversationId,
    /// The tokens of its sides `a` and `b`.
    pub tokens: [Token; 2],
    /// When it ends.
    pub expires_at: Timestamp,
    /// The credentials files of its sides, where this user has a place for them.
    pub files: Option<[PathBuf; 2]>,
}

/// Makes a conversation without a label, and the credentials of its sides in the
/// default directory, where there is one.
///
/// # Errors
/// As [`make`].
pub async fn conversation(bridge: &Bridge, role_a: &str, role_b: &str) -> Result<Made> {
    let new = planned(None, [role_a, role_b], clock::now() + LIFE)?;
    let files = credentials_directory()
        .map(|directory| Side::BOTH.map(|side| directory.join(format!("{}.{side}.toml", new.id))));
    let written: Vec<NewFile> = Side::BOTH
        .into_iter()
        .zip(files.iter().flatten())
        .map(|(side, path)| NewFile::of(&new, side, path.clone()))
        .collect();
    make(bridge, std::slice::from_ref(&new), &written).await?;
    Ok(Made {
        id: new.id,
        tokens: [new.token_a, new.token_b],
        expires_at: new.expires_at,
        files,
    })
}

/// A directory for credentials, this user's alone if it is not there yet.
///
/// # Errors
/// If it cannot be made.
pub fn make_directory(directory: &Path) -> std::result::Result<(), CredentialsError> {
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)
        .map_err(|error| CredentialsError::Write(directory.to_owned(), error))
}

/// A new token of a session.
///
/// # Errors
/// If the system gives no random bytes.
pub fn token_for(session: &SessionKey) -> Result<Token> {
    Ok(Token::generate(session, &random()?))
}

/// Random bytes of the system's.
fn random<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|error| SessionError::NoRandom(error.to_string()))?;
    Ok(bytes)
}
