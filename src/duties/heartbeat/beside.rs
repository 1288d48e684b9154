//! Two agents in one directory change each other's files: the daemon warns of it, and
//! does no more.

use std::collections::HashMap;
use std::path::PathBuf;

use crate::duties::SessionState;
use crate::duties::roster::KeptSession;

/// Of sessions whose clients live, those that work in another agent's directory. One
/// agent may act there for several sessions.
pub(super) fn in_one_directory(living: &[&KeptSession]) -> Vec<SessionState> {
    let mut first: HashMap<&str, &KeptSession> = HashMap::new();
    let mut found = Vec::new();
    for session in living {
        let Some(directory) = session.directory.as_deref() else {
            continue;
        };
        let other = *first.entry(directory).or_insert(session);
        if other.agent != session.agent {
            found.push(state(session, directory, other));
        }
    }
    found
}

fn state(session: &KeptSession, directory: &str, other: &KeptSession) -> SessionState {
    SessionState {
        session: session.key.to_string(),
        name: session.name(),
        credentials: PathBuf::new(),
        life: None,
        wake: None,
        beside: Some(format!("{} works in {directory}, too", other.name())),
    }
}
