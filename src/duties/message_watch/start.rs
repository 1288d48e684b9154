//! Starting an adapter: claim the row, then run the adapter beside the duty's
//! rounds.

use std::path::Path;

use jiff::Timestamp;
use tracing::{debug, info};

use super::runs::Run;
use super::wake::{Claim, policy};
use super::wakes::{Started, Wakes, Watched};
use crate::duties::Patience;
use crate::duties::roster::KeptSession;
use crate::model::{MessageId, SessionKey};
use crate::store::{SharedStore, StoreError, WakeClaim};
use crate::wake::{self, Busy, Pointer};
use crate::{clock, host};

impl Wakes {
    /// Claims the wake and starts the adapter of that number, about mail up to that
    /// message.
    pub(super) async fn start(
        &mut self,
        store: &SharedStore,
        watched: Watched<'_>,
        (adapter, mark): (usize, MessageId),
        patience: Patience,
    ) -> Result<Started, StoreError> {
        let Watched {
            session, mail, now, ..
        } = watched;
        let Some(settings) = session.wake.adapters.get(adapter) else {
            return Ok(Started::Failed("it is not in wake.order any more"));
        };
        let name = settings.name();
        if self.calls.runs(session, name) {
            return Ok(match wake::busy(settings) {
                Busy::Waits => Started::Running,
                Busy::Fails(why) => Started::Failed(why),
            });
        }
        // An open row of ours would be taken over and its end be lost.
        self.endings.flush(store, patience).await?;
        let agent = watched.agent();
        let acted_at = acts(store, watched, &agent, patience).await?;
        let lease = policy(session).verify_within * 2;
        let claim = WakeClaim {
            session: &session.key,
            mark,
            adapter: name,
            claimant: &self.claimant,
            // Another process may take over when this daemon died in the middle.
            lease,
            boot: &host::boot(),
        };
        let claimed = store.claim_wake(&claim, clock::now());
        let Some(row) = patience.bounded(store.location(), claimed).await? else {
            debug!(session = %session.key, "another program is waking it, or its mail was just read");
            return Ok(Started::Elsewhere);
        };
        let wake = self.record(&session.key);
        wake.claimed(Claim { row, adapter: name });
        if wake.given_up().is_some() {
            debug!(session = %session.key, adapter = name, "waking again");
        } else {
            info!(
                event = "session-woken", adapter = name, unread = mail.unread,
                conversation = %session.key.conversation, session = %session.key,
                label = session.name(),
                "waking {}", session.name()
            );
        }
        if agent.len() > 1 {
            let until = now + policy(session).verify_within;
            self.calls.begin(session, mail.acted_at, until);
        }
        self.calls.started(session, name);
        let run = Run {
            session: session.clone(),
            adapter,
            mark,
            acted_at,
        };
        let pointer = pointer(store, session, mail.unread, mark);
        self.tally.fired += 1;
        self.runs.start(run, settings.clone(), pointer);
        Ok(Started::Here)
    }
}

/// When the sessions of the agent had last done something.
async fn acts(
    store: &SharedStore,
    watched: Watched<'_>,
    agent: &[SessionKey],
    patience: Patience,
) -> Result<Vec<(SessionKey, Option<Timestamp>)>, StoreError> {
    if let [alone] = agent {
        return Ok(vec![(alone.clone(), watched.mail.acted_at)]);
    }
    let mails = store.mail(agent);
    let mails = patience.bounded(store.location(), mails).await?;
    let acts = mails.into_iter().map(|mail| mail.acted_at);
    Ok(agent.iter().cloned().zip(acts).collect())
}

/// What the session gets to read.
fn pointer(store: &SharedStore, session: &KeptSession, unread: u64, newest: MessageId) -> Pointer {
    Pointer {
        event: "messages",
        session: session.key.clone(),
        label: session.label.clone(),
        role: session.role.clone(),
        unread,
        newest_message_id: newest,
        credentials: session.agent.credentials().map(Path::to_owned),
        store: store.location().to_owned(),
        text: Pointer::line(unread, &session.partner_role, &session.wake.text),
    }
}
