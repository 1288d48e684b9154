//! Making a conversation: its id, its tokens, and the files that hold them.

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
use crate::model::{ConversationId, SessionKey, Side};
use crate::store::{Caller, NewConversation};

/// How long a conversation lives unless it is renewed: as the Python bridge has it.
const LIFE: Duration = Duration::from_secs(3 * 3_600);

/// A conversation that was made.
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
/// If the store failed, or the files cannot be written: then it is closed again.
pub async fn conversation(bridge: &Bridge, role_a: &str, role_b: &str) -> Result<Made> {
    let id = ConversationId::from_random(random()?);
    let sessions = Side::BOTH.map(|side| SessionKey::new(id.clone(), side));
    let tokens = [token_for(&sessions[0])?, token_for(&sessions[1])?];
    let expires_at = clock::now() + LIFE;
    let new = NewConversation {
        id: id.clone(),
        label: None,
        role_a: role_a.to_owned(),
        role_b: role_b.to_owned(),
        token_a: tokens[0].clone(),
        token_b: tokens[1].clone(),
        expires_at,
    };
    let storage = bridge
        .create_conversations(std::slice::from_ref(&new))
        .await?;
    let mut files = None;
    if let Some(directory) = credentials_directory() {
        let paths = Side::BOTH.map(|side| directory.join(format!("{id}.{side}.toml")));
        let written = make_directory(&directory).and_then(|()| {
            let each = sessions.iter().zip(&tokens).zip(&paths);
            each.into_iter().try_for_each(|((session, token), path)| {
                let credentials = Credentials {
                    store: Some(bridge.name()),
                    label: None,
                    callers: vec![Caller {
                        session: session.clone(),
                        token: token.clone(),
                    }],
                    source: None,
                };
                credentials.write(path, storage)
            })
        });
        if let Err(error) = written {
            let _ = std::fs::remove_file(&paths[0]);
            // It has no user, and ends by itself if this fails.
            let _ = bridge.close_conversation(&id).await;
            return Err(error.into());
        }
        files = Some(paths);
    }
    Ok(Made {
        id,
        tokens,
        expires_at,
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
///
/// # Errors
/// If it gives none.
pub fn random<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|error| SessionError::NoRandom(error.to_string()))?;
    Ok(bytes)
}
