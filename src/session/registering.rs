//! Saying which client acts for an agent's sessions: its name, and the process whose life
//! is the agent's.

use super::Acting;
use crate::bridge::{Bridge, Registered};
use crate::model::client::Client;
use crate::store::Result;
use crate::{clients, host};

/// The client that calls itself so, and that started this program as process `pid`, in
/// the directory that it works in.
#[must_use]
pub fn client(name: &str, version: Option<&str>, pid: Option<i32>) -> Client {
    let directory = std::env::current_dir().ok();
    Client {
        name: name.to_owned(),
        version: version.filter(|text| !text.is_empty()).map(str::to_owned),
        boot: host::boot(),
        process: pid.and_then(|pid| clients::own_process(name, pid)),
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
