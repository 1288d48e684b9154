//! What a server says when its session has ended, where no daemon watches that: all
//! sessions of a Codex run in one process, so it is no proof of a single one. Its end is
//! the end of them all, unless the client is started again soon; and a session that its
//! user archives ends while the process goes on.

use std::time::Duration;

use rustix::process::Pid;

use super::agent::Agent;
use crate::clients;
use crate::clock;
use crate::host;
use crate::liveness;
use crate::model::health::Turn;
use crate::model::process::ProcessId;
use crate::session::SessionError;
use crate::session::notes::{Notes, millis};

/// How long the session counts as alive from then on. A client that is started again, as
/// for an update, has its sessions again within seconds.
const TTL: Duration = Duration::from_secs(30);

/// The pipes of a process close a moment before it counts as ended.
const CLOSING: Duration = Duration::from_millis(500);

/// How long the store may take.
const PATIENCE: Duration = Duration::from_secs(2);

/// The process of a client in which other sessions may run as well.
pub(super) fn shared(client: Option<Pid>) -> Option<i32> {
    let pid = client?.as_raw_nonzero().get();
    clients::is_shared_process(pid).then_some(pid)
}

/// Says it, if this process was of that kind, and has ended or has the session no more.
pub(super) async fn say(agent: &Agent, shared: Option<i32>) {
    let Some(pid) = shared.filter(|_| clients::shares_its_process(&agent.client().name)) else {
        return;
    };
    // Taken first: another process may have the number later.
    let client = liveness::of(pid);
    let ended = tokio::time::timeout(CLOSING, liveness::ended(pid)).await;
    // Not said, the session's time runs out by itself.
    let _ = tokio::time::timeout(PATIENCE, async {
        if ended.is_ok() || is_unloaded(agent, client).await {
            let _ = end(agent).await;
        }
    })
    .await;
}

/// Whether the client says that it has no conversation of the agent. The server of a helper
/// ends as well, and its agent's conversation goes on.
async fn is_unloaded(agent: &Agent, client: Option<ProcessId>) -> bool {
    let (Some(client), Ok(acting)) = (client, agent.acting()) else {
        return false;
    };
    let Some(notes) = Notes::of(&acting) else {
        return false;
    };
    let threads = agent.threads(&notes.told(&host::boot().id));
    matches!(clients::state(client, &threads).await, Ok(None))
}

async fn end(agent: &Agent) -> Result<(), SessionError> {
    let acting = agent.acting()?;
    let bridge = agent.bridge().await?;
    for caller in acting.callers() {
        bridge.call_in(&caller, TTL, Some(Turn::Outside)).await?;
    }
    if let Some(notes) = Notes::of(&acting) {
        let now = millis(clock::since_boot());
        // Kept, the next hook says its turn once more.
        let _ = notes.change(&host::boot().id, |told| {
            told.turn = Some((Turn::Outside, now));
        });
    }
    Ok(())
}
