//! Ways into agents' clients, a file for each client. A way asks first what the client
//! says of itself, and says in plain words why it could not be taken.

mod claude;

pub(crate) use claude::ClaudeInbox;

use crate::model::process::ProcessId;
use crate::model::wake::ClientWay;

/// The ways into the client with this process, the first one first; none where it says
/// nothing of itself that is known here.
pub(crate) fn ways(client: ProcessId) -> &'static [ClientWay] {
    match ClaudeInbox::is_claude(client) {
        true => &[ClientWay::Hook, ClientWay::ClaudeInbox],
        false => &[],
    }
}
