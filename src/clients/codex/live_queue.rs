//! The way by the app server: a text is queued for an idle thread, which begins a turn
//! with it at once. Codex keeps a text that it does not take: for the end of a turn that
//! began meanwhile, and, where its user interrupted the last turn, until the user says
//! something. Such a text would come late, so it is withdrawn.

use std::time::Duration;

use async_trait::async_trait;

use super::app_server::{AppServer, Thread};
use super::{find, is_open};
use crate::clients::{Addressee, Fired, Text, Way};
use crate::model::wake::ClientWay;

/// How long an idle thread may take to begin a turn.
const TAKEN: Duration = Duration::from_secs(3);

/// Between two looks whether it did: at first, and at most.
const FIRST_LOOK: Duration = Duration::from_millis(10);
const LOOK: Duration = Duration::from_millis(200);

const NOT_LOADED: &str = "Codex has not loaded the agent's thread";

/// The way by the app server.
pub(super) struct LiveQueue;

#[async_trait]
impl Way for LiveQueue {
    fn kind(&self) -> ClientWay {
        ClientWay::CodexAppServer
    }

    async fn gate(&self, agent: &Addressee) -> Result<(), Fired> {
        is_open(agent)?;
        let threads = &agent.threads;
        let found = async { find(&mut AppServer::of(agent.client).await?, threads).await };
        match found.await {
            Ok(Some((_, Thread::Idle))) => Ok(()),
            Ok(Some((_, Thread::Active { .. }))) => Err(Fired::Busy),
            Ok(Some((_, Thread::Broken))) => {
                Err(Fired::Held("Codex says that its thread failed".into()))
            }
            // Which one it is, a hook tells at the user's first prompt.
            Ok(None) | Err(_) if threads.is_empty() => Err(Fired::Later),
            Ok(None) => Err(Fired::Failed(NOT_LOADED.into())),
            Err(why) => Err(Fired::Failed(why)),
        }
    }

    async fn put(&self, agent: &Addressee, text: &Text) -> Fired {
        let put = async {
            let mut server = AppServer::of(agent.client).await?;
            let found = find(&mut server, &agent.threads).await?;
            let (thread, state) = found.ok_or(NOT_LOADED)?;
            match state {
                Thread::Idle => hand(&mut server, &thread, text).await,
                Thread::Active { .. } | Thread::Broken => Ok(Fired::Busy),
            }
        };
        put.await.unwrap_or_else(Fired::Failed)
    }
}

/// Queues a text, and leaves it there only as long as Codex may take it at once.
pub(super) async fn hand(
    server: &mut AppServer,
    thread: &str,
    text: &Text,
) -> Result<Fired, String> {
    let id = server.queue(thread, &text.wake, &text.words).await?;
    let until = tokio::time::Instant::now() + TAKEN;
    let mut pause = FIRST_LOOK;
    while server.is_queued(thread, &id).await? {
        // Its user was faster, and the text would be read after that turn.
        let state = server.thread(thread).await?;
        let is_idle = state == Some(Thread::Idle);
        if is_idle && tokio::time::Instant::now() < until {
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LOOK);
        } else if server.withdraw(thread, &id).await? {
            return Ok(match is_idle {
                false => Fired::Busy,
                true => Fired::Held(
                    "Codex holds its queue, because its user interrupted the last turn; the user's next prompt releases it"
                        .into(),
                ),
            });
        }
    }
    Ok(Fired::Done)
}
