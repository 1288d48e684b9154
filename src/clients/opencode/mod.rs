//! opencode: woken through the server of the process that its sessions run in.

mod prompt;
mod server;
mod sockets;
#[cfg(test)]
mod tests;

use super::Way;
use crate::model::process::ProcessId;
pub(super) use server::Server;

/// What opencode calls itself in the servers that it starts.
const NAME: &str = "opencode";

/// The first one first.
pub(super) const WAYS: &[&dyn Way] = &[&prompt::Prompt];

/// Whether the agent of the client with this process works; nothing where that does not
/// say. A `server` that was reached is kept for the next question.
pub(super) async fn works(server: &mut Option<Server>, client: ProcessId) -> Option<bool> {
    if let Some(kept) = server
        && let Ok(busy) = kept.busy().await
    {
        return Some(!busy.is_empty());
    }
    // There was none yet, or it closed what nothing was said on for a while.
    *server = Server::here(client, server::PATIENCE).await.ok();
    let busy = server.as_mut()?.busy().await.ok()?;
    Some(!busy.is_empty())
}

/// Whether a client of this name is opencode.
pub(super) fn is_opencode(name: &str) -> bool {
    name == NAME
}
