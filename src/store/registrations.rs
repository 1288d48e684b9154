//! Which client acts for a session.

use crate::model::process::{Boot, ProcessId};
use crate::model::{SessionKey, process};
use crate::store::{Result, Verified};
use crate::text::shown::shown;

/// Characters of a client's name, and of its version.
const LONGEST_NAME: usize = 64;

/// Characters of a directory.
const LONGEST_PATH: usize = 4096;

/// A client that acts for a session, as it said itself. A false part harms its own
/// session only: the process that took the registration checked whose process it names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registration {
    /// What the client is called.
    pub client: String,
    /// Its version.
    pub version: Option<String>,
    /// The boot that it runs in.
    pub boot_id: String,
    /// The namespace of process ids that it runs in.
    pub pid_ns: i64,
    /// Its process; without one its session lives by the ttl of what it says alone.
    pub process: Option<ProcessId>,
    /// The user whose program said so.
    pub uid: u32,
    /// The directory that it works in.
    pub directory: Option<String>,
}

impl Registration {
    /// The same, with texts that are short and show what they are.
    #[must_use]
    pub(crate) fn cleaned(mut self) -> Self {
        self.boot_id = clean(&self.boot_id, LONGEST_NAME).unwrap_or_default();
        self.client = clean(&self.client, LONGEST_NAME).unwrap_or_else(|| "unknown".into());
        self.version = self.version.and_then(|text| clean(&text, LONGEST_NAME));
        self.directory = self.directory.and_then(|text| clean(&text, LONGEST_PATH));
        self
    }

    /// The same after what the same process said before: what is left out now holds on.
    #[must_use]
    pub(crate) fn after(mut self, before: Option<&Self>) -> Self {
        let before = before.filter(|before| {
            before.runs_in(&self.boot_id, self.pid_ns)
                && before.process.is_some()
                && before.process == self.process
                && before.client == self.client
        });
        if let Some(before) = before {
            self.version = self.version.or_else(|| before.version.clone());
            self.directory = self.directory.or_else(|| before.directory.clone());
        }
        self
    }

    /// The client and its version, for people.
    #[must_use]
    pub fn title(&self) -> String {
        match &self.version {
            Some(version) => format!("{} {version}", self.client),
            None => self.client.clone(),
        }
    }

    /// Its process, if its number means something in this boot and this namespace.
    #[must_use]
    pub fn process_in(&self, boot: &Boot) -> Option<ProcessId> {
        self.process.filter(|_| self.runs_in(&boot.id, boot.pid_ns))
    }

    /// The process as a heartbeat names one.
    #[must_use]
    pub fn named_process(&self) -> Option<process::Process> {
        self.process.map(|id| process::Process {
            boot_id: self.boot_id.clone(),
            pid_ns: self.pid_ns,
            id,
        })
    }

    pub(in crate::store) fn runs_in(&self, boot_id: &str, pid_ns: i64) -> bool {
        self.boot_id == boot_id && self.pid_ns == pid_ns
    }
}

fn clean(text: &str, most: usize) -> Option<String> {
    let short: String = text.trim().chars().take(most).collect();
    let clean = shown(&short);
    (!clean.is_empty()).then(|| clean.into_owned())
}

/// A session whose client runs on this machine.
#[derive(Debug)]
pub struct RegisteredSession {
    /// Which.
    pub session: SessionKey,
    /// Its client.
    pub registration: Registration,
    /// What its conversation says, or why no client may act for it any more.
    pub verified: Result<Verified>,
}
