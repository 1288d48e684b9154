//! Adapters that have returned: what they said, and whether they failed.

use tracing::info;

use super::MessageWatch;
use crate::clock;
use crate::duties::Patience;
use crate::duties::wakes::{Finished, adapter_name};
use crate::model::SessionKey;
use crate::model::wake::{self, Mail, WakeState, WakeStep};
use crate::store::SharedStore;

/// In the place of what may be mail: that is in no log.
const NOT_SHOWN: &str = "(not shown: it may be mail that it fetched)";

impl MessageWatch {
    /// Takes the results of adapters that ran.
    pub(super) async fn collect_returned(&mut self, store: &SharedStore, patience: Patience) {
        let mut finished: Vec<Finished> = Vec::new();
        while let Some(one) = self.waker.finished() {
            finished.push(one);
        }
        self.hide_mail(&mut finished, store, patience).await;
        for finished in finished {
            self.collect(finished);
        }
    }

    /// A command has the credentials of its agent and may print what it read.
    /// Shown is only what was said while none of the agent's sessions did
    /// anything; if the store cannot tell, nothing.
    async fn hide_mail(&self, finished: &mut [Finished], store: &SharedStore, patience: Patience) {
        let mut loud: Vec<&mut Finished> = finished
            .iter_mut()
            .filter(|one| !one.returned.said.is_empty())
            .collect();
        if loud.is_empty() {
            return;
        }
        let before = loud.iter().flat_map(|one| &one.acted_at);
        let keys: Vec<SessionKey> = before.map(|(key, _)| key.clone()).collect();
        let mails = patience.bounded(store.location(), store.mail(&keys)).await;
        let mut mails = mails.unwrap_or_default().into_iter();
        for one in &mut loud {
            let now: Vec<Mail> = mails.by_ref().take(one.acted_at.len()).collect();
            let before = one.acted_at.iter().map(|(_, before)| *before);
            if !now.iter().map(|mail| mail.acted_at).eq(before) {
                one.returned.said = NOT_SHOWN.to_owned();
            }
        }
    }

    fn collect(&mut self, finished: Finished) {
        let Finished {
            session,
            policy,
            adapter: number,
            mark: about,
            returned,
            ..
        } = finished;
        let said = returned.said;
        let Some(mut why) = returned.failure else {
            if !said.is_empty() {
                info!(
                                   event = "wake-output", adapter = adapter_name(&session, number),
                                   conversation = %session.key.conversation, session = %session.key,
                label = session.name(),
                                   "the command that woke {} said: {said}", session.name()
                               );
            }
            return;
        };
        if !said.is_empty() {
            why.push_str("; it said: ");
            why.push_str(&said);
        }
        let Some(watched) = self.states.get_mut(&session.key) else {
            return;
        };
        // Its time may have been over before, and another one be awaited.
        let awaited = matches!(watched.state,
            WakeState::Fired { adapter, mark, .. } if (adapter, mark) == (number, about));
        if !awaited {
            return;
        }
        let (state, step) = wake::fail(watched.state, clock::since_boot(), &policy);
        watched.state = state;
        if let WakeStep::Unverified { adapter, spent } = step {
            self.waker.unverified(&session, adapter, &why, spent);
        }
    }
}
