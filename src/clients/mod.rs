//! Ways into agents' clients, a file for each client. A way asks first what the client
//! says of itself, and says in plain words why it could not be taken.

mod claude;
mod codex;

pub(crate) use claude::ClaudeInbox;
pub(crate) use codex::CodexQueue;

use crate::model::process::ProcessId;
use crate::model::wake::ClientWay;

/// The ways into the client with this process, which calls itself so, the first one
/// first; none where it says nothing of itself that is known here.
pub(crate) fn ways(client: ProcessId, name: &str) -> &'static [ClientWay] {
    if CodexQueue::is_codex(name) {
        &[ClientWay::CodexQueue]
    } else if ClaudeInbox::is_claude(client) {
        &[ClientWay::Hook, ClientWay::ClaudeInbox]
    } else {
        &[]
    }
}
