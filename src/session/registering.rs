//! Saying which client acts for an agent's sessions: its name, and the process whose life
//! is the agent's.

use super::Acting;
use crate::bridge::{Bridge, Registered};
use crate::model::client::Client;
use crate::store::Result;
use crate::{host, liveness};

/// The sessions of a Codex have none of its processes to themselves where one server of
/// its user holds them all, and runs on when a terminal is killed.
const SHARES_PROCESSES: &str = "codex";

/// The client that calls itself so, and that started this program as process `pid`, in
/// the directory that it works in.
#[must_use]
pub fn client(name: &str, version: Option<&str>, pid: Option<i32>) -> Client {
    let may_share = name.to_ascii_lowercase().contains(SHARES_PROCESSES);
    let has_own = |pid: &i32| !may_share || is_alone(*pid);
    let directory = std::env::current_dir().ok();
    Client {
        name: name.to_owned(),
        version: version.filter(|text| !text.is_empty()).map(str::to_owned),
        boot: host::boot(),
        process: pid.filter(has_own).and_then(liveness::of),
        directory: directory.map(|path| path.display().to_string()),
    }
}

/// Whether this process of a client is one session's: that of a Codex that was started
/// without its server, or for one prompt. One that cannot be looked at may be shared.
#[cfg(target_os = "linux")]
fn is_alone(pid: i32) -> bool {
    /// What such a server is started with.
    const SHARED: &[u8] = b"app-server";
    let words = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let mut each = words.split(|byte| *byte == 0);
    !words.is_empty() && each.all(|word| word != SHARED)
}

#[cfg(not(target_os = "linux"))]
fn is_alone(_pid: i32) -> bool {
    false
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
    #[cfg(target_os = "linux")]
    fn a_client_of_shared_processes_has_none() {
        let process = |name, pid| client(name, Some(""), Some(pid)).process;
        let own = i32::try_from(std::process::id()).expect("a process");
        assert_eq!(process("claude-code", own), liveness::own());
        // Without a server that it shares.
        assert_eq!(process("codex-mcp-client", own), liveness::own());
        let mut server = std::process::Command::new("sh")
            .args(["-c", "read line", "app-server"])
            .stdin(std::process::Stdio::piped())
            .spawn()
            .expect("a shell");
        let shared = i32::try_from(server.id()).expect("a process");
        assert_eq!(process("codex-mcp-client", shared), None);
        assert_eq!(process("Codex", shared), None);
        assert!(process("claude-code", shared).is_some());
        server.kill().expect("killed");
        server.wait().expect("ended");
        assert_eq!(process("codex-mcp-client", shared), None);
    }
}
