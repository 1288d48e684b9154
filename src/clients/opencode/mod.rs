//! opencode: woken through the server of the process that its sessions run in.

mod prompt;
mod server;
mod sockets;
#[cfg(test)]
mod tests;

use super::{Way, Work};
use crate::model::process::ProcessId;
pub(super) use server::Server;

/// What opencode calls itself in the servers that it starts.
const NAME: &str = "opencode";

/// The first one first.
pub(super) const WAYS: &[&dyn Way] = &[&prompt::Prompt];

/// What the agent of the client with this process does; nothing where that does not say.
/// A `server` that was reached is kept for the next question.
pub(super) async fn work(server: &mut Option<Server>, client: ProcessId) -> Option<Work> {
    if let Some(kept) = server
        && let Ok(work) = work_at(kept).await
    {
        return Some(work);
    }
    // There was none yet, or it closed what nothing was said on for a while.
    *server = Server::here(client, server::PATIENCE).await.ok();
    work_at(server.as_mut()?).await.ok()
}

async fn work_at(server: &mut Server) -> Result<Work, String> {
    if server.busy().await?.is_empty() {
        return Ok(Work::Nothing);
    }
    // A version that does not say whether it asks its user still says that it works.
    Ok(match server.asks().await {
        Ok(true) => Work::Asking,
        Ok(false) | Err(_) => Work::Working,
    })
}

/// Whether a client of this name is opencode.
pub(super) fn is_opencode(name: &str) -> bool {
    name == NAME
}
