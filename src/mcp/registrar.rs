//! Registers this client for the sessions of its agent: once it has said its name, and
//! again when it acts for others, or with another token. No call waits for it: what
//! fails is tried again.

use std::io::Write as _;
use std::time::Duration;

use rustix::process::Pid;

use super::agent::{Agent, mark};
use crate::model::client::Client;
use crate::session::SessionError;
use crate::session::registering;

/// After a failure, and twice as long after each that follows.
const PAUSE: Duration = Duration::from_secs(1);

/// Between two tries at most.
const AT_MOST: Duration = Duration::from_secs(60);

/// Registers for ever.
pub(super) async fn run(agent: Agent, parent: Option<Pid>) {
    let pid = parent.map(|parent| parent.as_raw_nonzero().get());
    let (mut done, mut pause) = (None, PAUSE);
    loop {
        let wanted = agent.to_register();
        let Some((name, _)) = wanted.as_ref().filter(|_| wanted != done) else {
            agent.awaits_registration().await;
            continue;
        };
        let client = registering::client(&name.name, Some(&name.version), pid);
        match register(&agent, &client).await {
            Ok(acts_for) => {
                pause = PAUSE;
                done = Some((name.clone(), Some(acts_for)));
            }
            // Until there are others, each try would end the same.
            Err(SessionError::NoCredentials) => done = wanted,
            Err(_) => {
                agent.forget_bridge();
                let again = tokio::time::sleep(pause);
                tokio::select! {
                    () = again => pause = (pause * 2).min(AT_MOST),
                    () = agent.awaits_registration() => {}
                }
            }
        }
    }
}

/// Returns the mark of the sessions that it was registered for.
async fn register(agent: &Agent, client: &Client) -> Result<u64, SessionError> {
    let acting = agent.acting()?;
    let bridge = agent.bridge().await?;
    let each = registering::register(&bridge, &acting, client, false).await?;
    for (member, registered) in acting.members.iter().zip(each) {
        if let Some(why) = registered.why {
            // Clients keep it in their log.
            let _ = writeln!(
                std::io::stderr(),
                "mcp-bridge mcp: {}: {why}",
                member.name()
            );
        }
    }
    Ok(mark(&acting))
}
