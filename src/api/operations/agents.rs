//! Which client acts for a session, and which process proves that it lives.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::api::{At, Operation, Rights, Route};
use crate::liveness;
use crate::model::door::DoorError;
use crate::model::process::{Boot, ProcessId};
use crate::store::{Registration, Result};
use crate::{clock, host};

/// Registers the client that acts for the session. A process counts as its proof of life if it
/// runs on the daemon's machine and is the user's own who asks.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RegisterAgent {
    /// What the client is called.
    pub client: String,
    /// Its version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// The kernel's id of the boot that it runs in.
    pub boot_id: String,
    /// The inode of its namespace of process ids; 0 where there are none.
    pub pid_ns: i64,
    /// Its process in that namespace. Without one, the session lives by what it says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid: Option<i64>,
    /// When that process began, in the system's own measure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid_start: Option<i64>,
    /// The directory that it works in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub directory: Option<String>,
    /// Whether a client that is registered already and runs keeps its place.
    #[serde(default)]
    pub yields: bool,
}

/// The result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Registered {
    /// The process that proves from now on that the session's agent lives.
    pub pid: Option<i64>,
    /// Why there is none, or another one than was named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

impl Operation for RegisterAgent {
    const ROUTE: Route = Route::post(
        "agent/register",
        Rights::SESSION,
        "Registers the client that acts for the session.",
    )
    .kept();
    type Answer = Registered;

    async fn run(self, at: At<'_>) -> Result<Registered> {
        let caller = at.caller::<Self>()?;
        let named = match (self.pid, self.pid_start) {
            (Some(pid), Some(start)) => Some(ProcessId { pid, start }),
            (None, None) => None,
            _ => {
                let why = "give pid and pid_start together: they name a process".to_owned();
                return Err(DoorError::Malformed(why).into());
            }
        };
        let (boot, now) = (host::boot(), clock::now());
        let before = at.store.registration(caller, now).await?;
        let (process, why) = match named.map(|named| self.proven(named, &boot, at.uid)) {
            None => (None, None),
            Some(Ok(proven)) => (Some(proven), None),
            Some(Err(why)) => (
                None,
                Some(format!("{why}; the session is judged by its ttl")),
            ),
        };
        let before = before.and_then(|before| before.process_in(&boot));
        if let Some(other) = before.filter(|other| self.keeps(*other, process)) {
            let pid = other.pid;
            let why = format!("process {pid} is already registered for this session, and runs");
            return Ok(Registered {
                pid: Some(pid),
                why: Some(why),
            });
        }
        let registration = Registration {
            client: self.client,
            version: self.version,
            boot_id: self.boot_id,
            pid_ns: self.pid_ns,
            process,
            uid: at.uid,
            directory: self.directory,
        };
        at.store.register_agent(caller, registration, now).await?;
        Ok(Registered {
            pid: process.map(|process| process.pid),
            why,
        })
    }
}

impl RegisterAgent {
    /// The process, if it is what it is said to be. What could be another user's must not
    /// prove anything: its life would be taken for the agent's.
    fn proven(
        &self,
        named: ProcessId,
        boot: &Boot,
        uid: u32,
    ) -> std::result::Result<ProcessId, String> {
        let pid = named.pid;
        if self.boot_id != boot.id {
            return Err(format!("process {pid} runs on another machine"));
        }
        if self.pid_ns != boot.pid_ns {
            return Err(format!(
                "process {pid} runs in another pid namespace, such as a container"
            ));
        }
        liveness::owned(named, uid)?;
        Ok(named)
    }

    /// Whether the process that is registered keeps its place. A client that the agent
    /// itself started acts in its name and directory, and its end is not the agent's.
    fn keeps(&self, registered: ProcessId, process: Option<ProcessId>) -> bool {
        if process == Some(registered) || !liveness::runs(registered) {
            return false;
        }
        self.yields || process.is_some_and(|process| liveness::is_below(process, registered))
    }
}
