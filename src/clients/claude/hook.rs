//! The hook that the client runs in the background, and whose end wakes it. The hook
//! hears of mail by itself: here it is only looked whether one waits.

use async_trait::async_trait;

use crate::clients::{Addressee, Fired, Text, Way};
use crate::model::wake::ClientWay;

/// The waiting hook.
pub(super) struct Hook;

#[async_trait]
impl Way for Hook {
    fn kind(&self) -> ClientWay {
        ClientWay::Hook
    }

    async fn gate(&self, agent: &Addressee) -> Result<(), Fired> {
        Err(match agent.in_turn || agent.was_woken || agent.has_waiter {
            true => Fired::Done,
            false => Fired::Failed("no hook of the client waits".into()),
        })
    }

    async fn put(&self, _agent: &Addressee, _text: &Text) -> Fired {
        Fired::Done
    }
}
