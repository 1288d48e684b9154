//! Saying which client acts for an agent's sessions: its name, and the process whose life
//! is the agent's.

use super::Acting;
use crate::bridge::{Bridge, Registered};
use crate::model::client::Client;
use crate::store::Result;
use crate::{host, liveness};

/// The sessions of a Codex have none of its processes to themselves: one server of its
/// user holds them all, and runs on when a terminal is killed.
const SHARES_PROCESSES: &str = "codex";

/// The client that calls itself so, and that started this program as process `pid`, in
/// the directory that it works in.
#[must_use]
pub fn client(name: &str, version: Option<&str>, pid: Option<i32>) -> Client {
    let has_own = !name.to_ascii_lowercase().contains(SHARES_PROCESSES);
    let directory = std::env::current_dir().ok();
    Client {
        name: name.to_owned(),
        version: version.filter(|text| !text.is_empty()).map(str::to_owned),
        boot: host::boot(),
        process: pid.filter(|_| has_own).and_then(liveness::of),
        directory: directory.map(|path| path.display().to_string()),
    }
}

/// Registers a client for all sessions of its agent. With `yields`, one that is registered
/// and runs keeps its place. Returns what became of each.
///
/// # Errors
/// Credentials; if the store failed.
pub async fn register(
    bridge: &Bridge,
    acting: &Acting,
    client: &Client,
    yields: bool,
) -> Result<Vec<Registered>> {
    let mut all = Vec::with_capacity(acting.members.len());
    for member in &acting.members {
        let registered = bridge.register_agent(&member.caller, client.clone(), yields);
        all.push(registered.await?);
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_of_shared_processes_has_none() {
        let own = i32::try_from(std::process::id()).ok();
        let process = |name| client(name, Some(""), own).process;
        assert_eq!(process("claude-code"), liveness::own());
        assert_eq!(process("codex-mcp-client"), None);
        assert_eq!(process("Codex"), None);
    }
}
