//! The roster: which sessions this daemon keeps, as far as their credentials
//! hold. Read from files that may come, change and go while the daemon runs.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;
use tracing::{info, warn};

use super::Patience;
use crate::advice;
use crate::config::{SessionSettings, WakeSettings, is_closed};
use crate::credentials::{Credentials, CredentialsError};
use crate::file_stamp::FileStamp;
use crate::model::StoreName;
use crate::model::session::session_name;
use crate::model::{DOOR, Label, SessionKey};
use crate::store::locate;
use crate::store::{Caller, SharedStore, StoreError, Verified};

/// A session whose credentials hold.
#[derive(Debug, Clone)]
pub struct KeptSession {
    /// Which session.
    pub key: SessionKey,
    /// Index of its `[[session]]` in the settings: one agent, one proof.
    pub agent: usize,
    /// What its conversation is called.
    pub label: Option<Label>,
    /// Its role.
    pub role: String,
    /// Its partner's role.
    pub partner_role: String,
    /// When its conversation ends.
    pub expires_at: Timestamp,
    /// Where its credentials stand.
    pub credentials: PathBuf,
    /// How its agent is woken.
    pub wake: Arc<WakeSettings>,
}

impl KeptSession {
    /// What people call it.
    pub(super) fn name(&self) -> String {
        session_name(self.label.as_ref(), &self.key)
    }
}

/// Kept sessions, published for the duty *message watch*.
pub type Sessions = Arc<Vec<KeptSession>>;

/// What the store said of the sessions in the files, before anybody is told.
#[derive(Debug, Default)]
pub struct RollCall {
    /// Sessions whose credentials hold, one agent each.
    pub kept: Vec<KeptSession>,
    /// Sessions whose token is right and whose conversation has expired, with
    /// their agent.
    pub expired: Vec<(SessionKey, usize)>,
    /// Sessions that are not kept, and why; the expired ones are among them.
    refused: Complaints,
}

impl RollCall {
    /// All sessions that may be kept, with their agent.
    pub fn known(&self) -> impl Iterator<Item = (&SessionKey, usize)> {
        let kept = self.kept.iter().map(|kept| (&kept.key, kept.agent));
        kept.chain(self.expired.iter().map(|(key, agent)| (key, *agent)))
    }
}

/// Reads credentials and verifies them, again and again.
#[derive(Debug)]
pub struct Roster {
    entries: Vec<Entry>,
    /// Files that cannot be read, and why.
    unreadable: Complaints,
    /// Sessions that are not kept, and why.
    refused: Complaints,
}

/// What was said, by what it was said of, so that it is said once.
type Complaints = HashMap<String, String>;

#[derive(Debug)]
struct Entry {
    path: PathBuf,
    /// As in the settings.
    not_handed_over: bool,
    wake: Arc<WakeSettings>,
    /// The file as it was when it was read.
    stamp: Option<FileStamp>,
    callers: Vec<Caller>,
}

impl Roster {
    /// A roster of the configured sessions.
    #[must_use]
    pub fn new(sessions: &[SessionSettings]) -> Self {
        let mut roster = Self {
            entries: Vec::new(),
            unreadable: Complaints::new(),
            refused: Complaints::new(),
        };
        roster.reload(sessions);
        roster
    }

    /// Other settings. What was read from a file that is still named holds on,
    /// also if the file is not there any more.
    pub fn reload(&mut self, sessions: &[SessionSettings]) {
        let mut old = std::mem::take(&mut self.entries);
        self.entries = sessions
            .iter()
            .map(|session| {
                let wake = Arc::new(session.wake.clone());
                match old.iter().position(|e| e.path == session.credentials) {
                    Some(index) => Entry {
                        wake,
                        not_handed_over: session.not_handed_over,
                        ..old.swap_remove(index)
                    },
                    None => Entry {
                        path: session.credentials.clone(),
                        not_handed_over: session.not_handed_over,
                        wake,
                        stamp: None,
                        callers: Vec::new(),
                    },
                }
            })
            .collect();
    }

    /// Asks the store about all sessions in the files. Nobody is told before
    /// [`Roster::conclude`].
    ///
    /// # Errors
    /// Only if the store itself failed.
    pub(crate) async fn call(
        &mut self,
        store: &SharedStore,
        now: Timestamp,
        patience: Patience,
    ) -> Result<RollCall, StoreError> {
        self.read(store.location());
        let (owners, callers): (Vec<usize>, Vec<Caller>) = self
            .entries
            .iter()
            .enumerate()
            .flat_map(|(agent, entry)| entry.callers.iter().map(move |c| (agent, c.clone())))
            .unzip();
        let verdicts = patience
            .bounded(store.location(), store.verify(&callers, now))
            .await?;
        let mut roll = RollCall::default();
        let mut places: HashMap<SessionKey, usize> = HashMap::with_capacity(callers.len());
        for ((agent, caller), verdict) in owners.into_iter().zip(callers).zip(verdicts) {
            let name = caller.session.to_string();
            let entry = &self.entries[agent];
            match verdict {
                // One agent answers for a session: with two, the death of one
                // and the life of the other would take turns.
                Ok(_) if places.contains_key(&caller.session) => {
                    let first = &self.entries[places[&caller.session]].path;
                    let why = format!(
                        "session {name} stands in {} and in {}; the first counts\n  \
                         one agent acts for a session: take it out of one of them",
                        first.display(),
                        entry.path.display()
                    );
                    let place = format!("{name} in {}", entry.path.display());
                    roll.refused.insert(place, why);
                }
                Ok(verified) => {
                    places.insert(caller.session.clone(), agent);
                    roll.kept.push(keep(entry, agent, caller.session, verified));
                }
                Err(error) => {
                    let why = words(&error, store.location());
                    let first = roll.refused.insert(name, why).is_none();
                    if first && matches!(error, StoreError::Expired { .. }) {
                        roll.expired.push((caller.session, agent));
                    }
                }
            }
        }
        Ok(roll)
    }

    /// The sessions whose credentials hold. The others are reported when their
    /// trouble changes, and tried again with every call.
    pub(crate) fn conclude(&mut self, roll: RollCall) -> Sessions {
        let RollCall { kept, refused, .. } = roll;
        tell(&self.refused, &refused, |name| {
            kept.iter().any(|kept| kept.key.to_string() == name)
        });
        self.refused = refused;
        Arc::new(kept)
    }

    /// All sessions that the files name, whether their credentials hold or not.
    #[must_use]
    pub fn named(&self) -> HashSet<&SessionKey> {
        let callers = self.entries.iter().flat_map(|entry| &entry.callers);
        callers.map(|caller| &caller.session).collect()
    }

    /// How many sessions or files cannot be kept, and one of the reasons.
    #[must_use]
    pub fn trouble(&self) -> Option<(usize, &str)> {
        let complaints = || self.unreadable.values().chain(self.refused.values());
        let first = complaints().min()?;
        Some((complaints().count(), first))
    }

    /// Reads the files that are new or were written again. Their sessions are
    /// kept in the store at `location`, whatever else they were made for.
    fn read(&mut self, location: &StoreName) {
        let mut unreadable = Complaints::new();
        for entry in &mut self.entries {
            // Taken before the file is read: what is written meanwhile is news.
            let stamp = FileStamp::of(&entry.path);
            if !entry.callers.is_empty() && entry.stamp == stamp {
                continue;
            }
            match Credentials::read(&entry.path) {
                Ok(credentials) => {
                    if let Some(other) = &credentials.store
                        // A socket tells no file: that the token holds here is enough.
                        && !other.starts_with(DOOR)
                        && !locate::is_at(other, location.file())
                    {
                        warn!(
                            event = "credentials-of-another-store",
                            credentials = %entry.path.display(),
                            store = other,
                            "credentials {}: they are good for the store {other}, and this \
                             daemon keeps their sessions in {}",
                            entry.path.display(),
                            location
                        );
                    }
                    entry.callers = credentials.callers;
                    entry.stamp = stamp;
                }
                // A file that vanished after it was read: its sessions are
                // proven by what was in it. A restart will ask again.
                Err(error) => {
                    let error = if entry.not_handed_over && is_closed(&entry.path) {
                        CredentialsError::NotHandedOver(entry.path.clone())
                    } else {
                        error
                    };
                    let why = advice::on(&error.to_string(), location.file());
                    unreadable.insert(name(&entry.path), why);
                }
            }
        }
        tell(&self.unreadable, &unreadable, |file| {
            self.entries.iter().any(|entry| name(&entry.path) == file)
        });
        self.unreadable = unreadable;
    }
}

fn name(path: &Path) -> String {
    path.display().to_string()
}

fn keep(entry: &Entry, agent: usize, key: SessionKey, verified: Verified) -> KeptSession {
    KeptSession {
        key,
        agent,
        label: verified.label,
        role: verified.role,
        partner_role: verified.partner_role,
        expires_at: verified.expires_at,
        credentials: entry.path.clone(),
        wake: Arc::clone(&entry.wake),
    }
}

/// Logs what is new, and what is over if it is still `there`: a session that
/// was taken out takes its complaint along.
fn tell(before: &Complaints, now: &Complaints, there: impl Fn(&str) -> bool) {
    for (name, what) in now {
        if before.get(name) != Some(what) {
            let (conversation, session, file) = about(name);
            warn!(
                event = "session-refused",
                conversation,
                label = session,
                session,
                credentials = file,
                "{what}"
            );
        }
    }
    for name in before.keys() {
        if !now.contains_key(name) && there(name) {
            let (conversation, session, file) = about(name);
            info!(
                event = "session-accepted",
                conversation,
                label = session,
                session,
                credentials = file,
                "credentials hold again"
            );
        }
    }
}

/// Conversation and session, or the file that no session could be read from:
/// a complaint is about either.
fn about(name: &str) -> (Option<String>, Option<String>, Option<&str>) {
    let session = name.split(' ').next().unwrap_or_default();
    match session.parse::<SessionKey>() {
        Ok(key) => (
            Some(key.conversation.to_string()),
            Some(key.to_string()),
            None,
        ),
        Err(_) => (None, None, Some(name)),
    }
}

/// An error in words that do not change with the time of day, so that the same
/// trouble is told once.
fn words(error: &StoreError, store: &StoreName) -> String {
    let text = match error {
        StoreError::Expired { id, expired_at, .. } => format!(
            "conversation {id} expired at {expired_at:.0}\n  \
             renew it: mcp-bridge conversation renew {id} --for 3h"
        ),
        other => other.to_string(),
    };
    advice::on(&text, store.file())
}
