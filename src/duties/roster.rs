//! The roster: which sessions this daemon keeps, as far as their credentials
//! hold. Read from files that may come, change and go while the daemon runs.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use jiff::Timestamp;
use tracing::{info, warn};

use super::bounded;
use crate::config::{SessionSettings, WakeSettings};
use crate::credentials::Credentials;
use crate::model::{Label, SessionKey};
use crate::store::{Caller, SharedStore, StoreError, Verified};

/// A session whose credentials hold.
#[derive(Debug, Clone)]
pub struct Kept {
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

/// Kept sessions, published for the duty *message watch*.
pub type Sessions = Arc<Vec<Kept>>;

/// Reads credentials and verifies them, again and again.
#[derive(Debug)]
pub struct Roster {
    entries: Vec<Entry>,
    /// What was said of each session or file, so that it is said once.
    complaints: HashMap<String, String>,
}

#[derive(Debug)]
struct Entry {
    path: PathBuf,
    wake: Arc<WakeSettings>,
    stamp: Option<SystemTime>,
    callers: Vec<Caller>,
}

impl Roster {
    /// A roster of the configured sessions.
    #[must_use]
    pub fn new(sessions: &[SessionSettings]) -> Self {
        let entries = sessions
            .iter()
            .map(|session| Entry {
                path: session.credentials.clone(),
                wake: Arc::new(session.wake.clone()),
                stamp: None,
                callers: Vec::new(),
            })
            .collect();
        Self {
            entries,
            complaints: HashMap::new(),
        }
    }

    /// The sessions whose credentials hold now. The others are reported when
    /// their trouble changes, and tried again with every call.
    ///
    /// # Errors
    /// Only if the store itself failed.
    pub async fn verify(
        &mut self,
        store: &SharedStore,
        now: Timestamp,
    ) -> Result<Sessions, StoreError> {
        self.read();
        let (owners, callers): (Vec<usize>, Vec<Caller>) = self
            .entries
            .iter()
            .enumerate()
            .flat_map(|(agent, entry)| entry.callers.iter().map(move |c| (agent, c.clone())))
            .unzip();
        let verdicts = bounded(store.location(), store.verify(&callers, now)).await?;
        let mut kept = Vec::with_capacity(callers.len());
        for ((agent, caller), verdict) in owners.into_iter().zip(callers).zip(verdicts) {
            let name = caller.session.to_string();
            match verdict {
                Ok(verified) => {
                    self.settle(&name);
                    kept.push(self.keep(agent, caller.session, verified));
                }
                Err(error) => self.complain(name, &error.to_string()),
            }
        }
        Ok(Arc::new(kept))
    }

    /// How many sessions or files cannot be kept, and one of the reasons.
    #[must_use]
    pub fn trouble(&self) -> Option<(usize, &str)> {
        let first = self.complaints.values().min()?;
        Some((
            self.complaints.len(),
            first.lines().next().unwrap_or_default(),
        ))
    }

    fn keep(&self, agent: usize, key: SessionKey, verified: Verified) -> Kept {
        let entry = &self.entries[agent];
        Kept {
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

    /// Reads the files that are new or were written again.
    fn read(&mut self) {
        for index in 0..self.entries.len() {
            let entry = &self.entries[index];
            let stamp = modified(&entry.path);
            let name = entry.path.display().to_string();
            if !entry.callers.is_empty() && entry.stamp == stamp {
                continue;
            }
            match Credentials::read(&entry.path) {
                Ok(credentials) => {
                    self.settle(&name);
                    let entry = &mut self.entries[index];
                    // A session that is gone from the file takes its complaint along.
                    let old = std::mem::replace(&mut entry.callers, credentials.callers);
                    entry.stamp = stamp;
                    for caller in old {
                        self.complaints.remove(&caller.session.to_string());
                    }
                }
                Err(error) => {
                    // A file that vanished after it was read: its sessions are
                    // proven by what was in it. A restart will ask again.
                    self.complain(name, &error.to_string());
                }
            }
        }
    }

    fn complain(&mut self, name: String, what: &str) {
        if self
            .complaints
            .get(&name)
            .is_none_or(|said| !same_trouble(said, what))
        {
            warn!(event = "session-refused", session = %name, "{what}");
        }
        self.complaints.insert(name, what.to_owned());
    }

    fn settle(&mut self, name: &str) {
        if self.complaints.remove(name).is_some() {
            info!(event = "session-accepted", session = %name, "credentials hold again");
        }
    }
}

/// "expired 3 minutes ago" is the same trouble as "expired 4 minutes ago".
fn same_trouble(one: &str, other: &str) -> bool {
    let without_digits =
        |text: &str| -> String { text.chars().take_while(|c| !c.is_ascii_digit()).collect() };
    without_digits(one) == without_digits(other)
}

fn modified(path: &Path) -> Option<SystemTime> {
    std::fs::metadata(path).ok()?.modified().ok()
}
