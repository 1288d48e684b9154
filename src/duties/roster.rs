//! The roster: which sessions this daemon keeps, as far as their credentials
//! hold. Read from files that may come, change and go while the daemon runs.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;
use tracing::{info, warn};

use super::Patience;
use crate::advice;
use crate::config::{AgentSettings, WakeSettings, is_closed};
use crate::credentials::{Credentials, CredentialsError};
use crate::file_stamp::FileStamp;
use crate::host;
use crate::liveness;
use crate::model::StoreName;
use crate::model::process::ProcessId;
use crate::model::session::session_name;
use crate::model::{DOOR, Label, SessionKey};
use crate::store::locate;
use crate::store::{Caller, Registration, SharedStore, StoreError, Verified};

/// By what the agent of a session is known: one agent, one proof, however many sessions
/// it acts for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Agent {
    /// The one whose credentials stand in this file, of a `[[session]]`.
    Configured(Arc<Path>),
    /// The process of a client that registered.
    Registered(ProcessId),
}

impl Agent {
    /// The file with its credentials, if this daemon knows one.
    #[must_use]
    pub fn credentials(&self) -> Option<&Path> {
        match self {
            Self::Configured(file) => Some(file),
            Self::Registered(_) => None,
        }
    }
}

/// A session whose credentials hold, or whose client registered with them.
#[derive(Debug, Clone)]
pub struct KeptSession {
    /// Which session.
    pub key: SessionKey,
    /// Its agent.
    pub agent: Agent,
    /// What its conversation is called.
    pub label: Option<Label>,
    /// Its role.
    pub role: String,
    /// Its partner's role.
    pub partner_role: String,
    /// When its conversation ends.
    pub expires_at: Timestamp,
    /// How its agent is woken.
    pub wake: Arc<WakeSettings>,
    /// The directory that its client works in, if it said so.
    pub directory: Option<Arc<str>>,
}

impl KeptSession {
    /// Where its credentials stand, as far as this daemon knows; empty if it does not.
    pub(super) fn credentials(&self) -> PathBuf {
        let file = self.agent.credentials();
        file.map(Path::to_owned).unwrap_or_default()
    }

    /// Its label.
    pub(super) fn name(&self) -> String {
        session_name(self.label.as_ref(), &self.key)
    }
}

/// Kept sessions, published for the duty *message watch*.
pub type Sessions = Arc<Vec<KeptSession>>;

/// What the store said of the sessions in the files, before the duties learn of it.
#[derive(Debug, Default)]
pub struct RollCall {
    /// Sessions whose credentials hold, one agent each.
    pub kept: Vec<KeptSession>,
    /// Sessions whose token is right and whose conversation has expired, with
    /// their agent.
    pub expired: Vec<(SessionKey, Agent)>,
    /// Sessions that are not kept, and why; the expired ones are among them.
    refused: Complaints,
}

impl RollCall {
    /// All sessions that may be kept, with their agent.
    pub fn known(&self) -> impl Iterator<Item = (&SessionKey, &Agent)> {
        let kept = self.kept.iter().map(|kept| (&kept.key, &kept.agent));
        kept.chain(self.expired.iter().map(|(key, agent)| (key, agent)))
    }
}

/// Reads credentials and verifies them, again and again.
#[derive(Debug)]
pub struct Roster {
    entries: Vec<Entry>,
    /// How the sessions of clients that registered here are woken, if they are kept.
    local: Option<Arc<WakeSettings>>,
    /// Whose clients: of a user's own daemon that user's, of the machine's all.
    owner: Option<u32>,
    /// Those sessions, and their clients, as they were called last: which process each is
    /// said to be, and whose.
    adopted: HashMap<SessionKey, (ProcessId, u32)>,
    /// Files that cannot be read, and why.
    unreadable: Complaints,
    /// Sessions that are not kept, and why.
    refused: Complaints,
}

/// What was said, by what it was said of, so that it is said once.
type Complaints = HashMap<String, String>;

#[derive(Debug)]
struct Entry {
    path: Arc<Path>,
    /// As in the settings.
    not_handed_over: bool,
    wake: Arc<WakeSettings>,
    /// The file as it was when it was read.
    stamp: Option<FileStamp>,
    callers: Vec<Caller>,
}

impl Roster {
    /// A roster of the configured sessions, and of those whose clients register here;
    /// with an owner, of that user's alone.
    #[must_use]
    pub fn new(settings: &AgentSettings, owner: Option<u32>) -> Self {
        let mut roster = Self {
            entries: Vec::new(),
            local: None,
            owner,
            adopted: HashMap::new(),
            unreadable: Complaints::new(),
            refused: Complaints::new(),
        };
        roster.reload(settings);
        roster
    }

    /// Other settings. What was read from a file that is still named holds on,
    /// also if the file is not there any more.
    pub fn reload(&mut self, settings: &AgentSettings) {
        self.local = settings.local.clone().map(Arc::new);
        let mut old = std::mem::take(&mut self.entries);
        self.entries = settings
            .sessions
            .iter()
            .map(|session| {
                let wake = Arc::new(session.wake.clone());
                match old.iter().position(|e| *e.path == *session.credentials) {
                    Some(index) => Entry {
                        wake,
                        not_handed_over: session.not_handed_over,
                        ..old.swap_remove(index)
                    },
                    None => Entry {
                        path: Arc::from(&*session.credentials),
                        not_handed_over: session.not_handed_over,
                        wake,
                        stamp: None,
                        callers: Vec::new(),
                    },
                }
            })
            .collect();
    }

    /// Asks the store about all sessions in the files. The duties learn of it in
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
                        "session {name} is in {} and in {}; the first is used\n  only one agent can act for a session: remove it from one of them",
                        first.display(),
                        entry.path.display()
                    );
                    let place = format!("{name} in {}", entry.path.display());
                    roll.refused.insert(place, why);
                }
                Ok(verified) => {
                    places.insert(caller.session.clone(), agent);
                    let (wake, agent) = (&entry.wake, entry.agent());
                    roll.kept.push(keep(wake, agent, caller.session, verified));
                }
                Err(error) => {
                    let why = words(&error, store.location());
                    let first = roll.refused.insert(name, why).is_none();
                    if first && matches!(error, StoreError::Expired { .. }) {
                        roll.expired.push((caller.session, entry.agent()));
                    }
                }
            }
        }
        self.adopt(&mut roll, store, now, patience).await?;
        Ok(roll)
    }

    /// Calls the sessions whose clients registered on this machine. One that is configured
    /// has its proof there.
    async fn adopt(
        &mut self,
        roll: &mut RollCall,
        store: &SharedStore,
        now: Timestamp,
        patience: Patience,
    ) -> Result<(), StoreError> {
        let Some(wake) = &self.local else {
            self.adopted.clear();
            return Ok(());
        };
        let boot = host::boot();
        let found = store.registered_here(&boot, self.owner, now);
        let found = patience.bounded(store.location(), found).await?;
        let configured: HashSet<SessionKey> = self.configured().cloned().collect();
        let mut adopted = HashMap::with_capacity(found.len());
        for one in found {
            let process = one.registration.process_in(&boot);
            let Some(process) = process.filter(|_| !configured.contains(&one.session)) else {
                continue;
            };
            let (key, agent) = (one.session, Agent::Registered(process));
            let said = (process, one.registration.uid);
            let is_known = self.adopted.get(&key) == Some(&said);
            if !is_known && let Err(why) = credible(process, one.registration.uid) {
                let name = key.to_string();
                let why = format!("session {name} is registered with a wrong process: {why}");
                roll.refused.insert(name, why);
                continue;
            }
            match one.verified {
                Ok(verified) => {
                    if !is_known {
                        tell_adopted(&key, &verified, &one.registration, process);
                    }
                    adopted.insert(key.clone(), said);
                    let directory = one.registration.directory.map(Arc::from);
                    let kept = keep(wake, agent, key, verified);
                    roll.kept.push(KeptSession { directory, ..kept });
                }
                Err(StoreError::Expired { .. }) => {
                    adopted.insert(key.clone(), said);
                    roll.expired.push((key, agent));
                }
                // It belongs to no daemon any more; no operator named it.
                Err(_) => {}
            }
        }
        self.adopted = adopted;
        Ok(())
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

    /// All sessions that the files name, whether their credentials hold or not, and
    /// those of the clients that registered here.
    #[must_use]
    pub fn named(&self) -> HashSet<&SessionKey> {
        self.configured().chain(self.adopted.keys()).collect()
    }

    fn configured(&self) -> impl Iterator<Item = &SessionKey> {
        let callers = self.entries.iter().flat_map(|entry| &entry.callers);
        callers.map(|caller| &caller.session)
    }

    /// How many sessions or files cannot be kept, and one of the reasons.
    #[must_use]
    pub fn trouble(&self) -> Option<(usize, &str)> {
        let complaints = || self.unreadable.values().chain(self.refused.values());
        let first = complaints().min()?;
        Some((complaints().count(), first))
    }

    /// Reads the files that are new or were written again. Their sessions are kept in
    /// the store at `location`, even if they were made for another one.
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
                            "credentials {}: they belong to the store {other}; this daemon keeps their sessions in {}",
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
                        CredentialsError::NotHandedOver(entry.path.to_path_buf())
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

impl Entry {
    fn agent(&self) -> Agent {
        Agent::Configured(Arc::clone(&self.path))
    }
}

fn keep(
    wake: &Arc<WakeSettings>,
    agent: Agent,
    key: SessionKey,
    verified: Verified,
) -> KeptSession {
    KeptSession {
        key,
        agent,
        label: verified.label,
        role: verified.role,
        partner_role: verified.partner_role,
        expires_at: verified.expires_at,
        wake: Arc::clone(wake),
        directory: None,
    }
}

/// Whether a process is what a registration says. Each program that may write the store's
/// file can write one, and the life of a process that has nothing to do with the agent
/// would keep its session for ever. One that has ended proves nothing more than that.
fn credible(process: ProcessId, uid: u32) -> Result<(), String> {
    match liveness::owned(process, uid) {
        Err(_) if liveness::has_ended(process) => Ok(()),
        owned => owned,
    }
}

/// A client is new to this daemon, or another one than before.
fn tell_adopted(
    key: &SessionKey,
    verified: &Verified,
    registration: &Registration,
    process: ProcessId,
) {
    let name = session_name(verified.label.as_ref(), key);
    info!(
        event = "session-adopted",
        conversation = %key.conversation,
        session = %key,
        label = name,
        "keeps {name}, whose client {} runs as process {}",
        registration.title(),
        process.pid
    );
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
                "credentials are valid again"
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

/// An error in words that do not change with the time of day, so that the same trouble
/// is reported once.
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
