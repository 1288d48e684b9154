//! Running wakes: claim the row, run the adapter beside the duty's rounds, end
//! the row with what came of it.

use std::collections::HashMap;

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tracing::{debug, info, warn};

use super::{DutyBell, bounded};
use crate::duties::roster::Kept;
use crate::model::wake::{Mail, WakePolicy};
use crate::model::{MessageId, SessionKey};
use crate::store::{SharedStore, StoreError, WakeClaim, WakeEnd, WakeRef};
use crate::wake::{self, Pointer};
use crate::{clock, host};

/// An adapter that has returned.
pub(super) struct Finished {
    pub(super) session: Kept,
    pub(super) policy: WakePolicy,
    /// Why it failed; `None` if it did its part.
    pub(super) failure: Option<String>,
}

/// Runs adapters and keeps their rows.
pub(super) struct Waker {
    claimant: String,
    bell: DutyBell,
    running: JoinSet<()>,
    open: HashMap<SessionKey, WakeRef>,
    results: mpsc::UnboundedSender<Finished>,
    finished: mpsc::UnboundedReceiver<Finished>,
}

impl Waker {
    pub(super) fn new(claimant: String, bell: DutyBell) -> Self {
        let (results, finished) = mpsc::unbounded_channel();
        Self {
            claimant,
            bell,
            running: JoinSet::new(),
            open: HashMap::new(),
            results,
            finished,
        }
    }

    /// Claims the wake and starts the adapter. `false` if somebody else is
    /// waking this session at the moment.
    pub(super) async fn fire(
        &mut self,
        store: &SharedStore,
        session: &Kept,
        adapter: usize,
        mark: MessageId,
        mail: Mail,
        policy: &WakePolicy,
    ) -> Result<bool, StoreError> {
        let Some(settings) = session.wake.adapters.get(adapter) else {
            return Ok(false);
        };
        let claim = WakeClaim {
            session: &session.key,
            mark,
            adapter: settings.name(),
            claimant: &self.claimant,
            // Somebody may take over when this daemon died in the middle.
            lease: policy.verify_within * 2,
            boot: &host::boot(),
        };
        let claimed = store.claim_wake(&claim, clock::now());
        let Some(wake) = bounded(store.location(), claimed).await? else {
            debug!(session = %session.key, "somebody else is waking it");
            return Ok(false);
        };
        self.open.insert(session.key.clone(), wake);
        let pointer = Pointer {
            event: "messages",
            session: session.key.clone(),
            label: session.label.clone(),
            role: session.role.clone(),
            unread: mail.unread,
            newest_message_id: mark,
            credentials: session.credentials.clone(),
            store: store.location().to_owned(),
            text: Pointer::line(mail.unread, &session.partner_role),
        };
        info!(
            event = "session-woken", adapter = settings.name(), unread = mail.unread,
            conversation = %session.key.conversation, session = %session.key,
            "waking {}", session.key
        );
        let (settings, session, policy) = (settings.clone(), session.clone(), *policy);
        let (results, bell) = (self.results.clone(), self.bell.clone());
        self.running.spawn(async move {
            let failure = match wake::run(&settings, &pointer).await {
                Ok(said) => {
                    if !said.is_empty() {
                        debug!(session = %session.key, adapter = settings.name(), "it said: {said}");
                    }
                    None
                }
                Err(why) => Some(why),
            };
            // Nobody takes it any more: the daemon is stopping.
            let _ = results.send(Finished { session, policy, failure });
            bell.ring();
        });
        // Results come through the channel; this only forgets tasks that ended.
        while let Some(ended) = self.running.try_join_next() {
            if let Err(error) = ended {
                warn!(%error, "a wake adapter died");
            }
        }
        Ok(true)
    }

    /// An adapter that has returned since the last call.
    pub(super) fn finished(&mut self) -> Option<Finished> {
        self.finished.try_recv().ok()
    }

    /// The session gave evidence.
    pub(super) async fn verified(
        &mut self,
        store: &SharedStore,
        session: &Kept,
        adapter: usize,
    ) -> Result<(), StoreError> {
        info!(
            event = "wake-verified", adapter = adapter_name(session, adapter),
            conversation = %session.key.conversation, session = %session.key,
            "{} looked", session.key
        );
        self.end(
            store,
            session,
            &WakeEnd {
                outcome: "verified",
                reason: None,
            },
        )
        .await
    }

    /// The adapter failed, or its time is over without evidence.
    pub(super) async fn unverified(
        &mut self,
        store: &SharedStore,
        session: &Kept,
        adapter: usize,
        why: &str,
        spent: bool,
    ) -> Result<(), StoreError> {
        let adapter = adapter_name(session, adapter);
        if spent {
            warn!(
                event = "wake-list-spent", adapter,
                conversation = %session.key.conversation, session = %session.key,
                "{} was not woken by {adapter}: {why}; no other way is left, trying again later",
                session.key
            );
        } else {
            warn!(
                event = "wake-unverified", adapter,
                conversation = %session.key.conversation, session = %session.key,
                "{} was not woken by {adapter}: {why}; trying the next way", session.key
            );
        }
        let outcome = if spent { "spent" } else { "unverified" };
        self.end(
            store,
            session,
            &WakeEnd {
                outcome,
                reason: Some(why),
            },
        )
        .await
    }

    async fn end(
        &mut self,
        store: &SharedStore,
        session: &Kept,
        end: &WakeEnd<'_>,
    ) -> Result<(), StoreError> {
        // Without a row somebody else had the claim, and ends it himself.
        let Some(wake) = self.open.get(&session.key) else {
            return Ok(());
        };
        let ended = store.end_wake(wake, end, clock::now());
        bounded(store.location(), ended).await?;
        self.open.remove(&session.key);
        Ok(())
    }

    /// Ends adapters that still run. Their rows stay open for their lease:
    /// whoever comes next takes over.
    pub(super) fn abandon(&mut self) {
        self.running.abort_all();
    }
}

fn adapter_name(session: &Kept, adapter: usize) -> &'static str {
    session
        .wake
        .adapters
        .get(adapter)
        .map_or("an adapter", |adapter| adapter.name())
}
