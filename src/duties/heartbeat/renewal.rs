//! Conversations do not end under living agents: renewed in time, and after a
//! suspend or an outage of ours also when their time is over.

use std::collections::HashMap;

use jiff::{SignedDuration, Timestamp};
use tracing::{info, warn};

use super::Heartbeat;
use super::proofs::ProofOutcomes;
use crate::duties::Patience;
use crate::duties::roster::{KeptSession, RollCall};
use crate::liveness::ProofOutcome;
use crate::model::session::session_name;
use crate::model::{ConversationId, SessionKey};
use crate::store::{DaemonRef, SharedStore, StoreError};
use crate::text;

/// Ends that are farther away than a renewal sets them by less are no matter.
const DAY: SignedDuration = SignedDuration::from_hours(24);

impl Heartbeat {
    /// Renews when half of the time is over, so that it is a rare write.
    pub(super) fn renewal(&self, session: &KeptSession, now: Timestamp) -> Option<Timestamp> {
        let (until, soon) = (self.end(now, 1)?, self.end(now, 2)?);
        (session.expires_at < soon).then_some(until)
    }

    /// Renews expired conversations of agents that live now and that this
    /// daemon kept alive until it could not: the machine slept, or it was down
    /// itself. Whether it kept them, the store knows. `true` if there was one.
    pub(super) async fn revive(
        &self,
        store: &SharedStore,
        daemon: &DaemonRef,
        (roll, verdicts): (&RollCall, &ProofOutcomes),
        now: Timestamp,
        patience: Patience,
    ) -> Result<bool, StoreError> {
        let living: Vec<SessionKey> = roll
            .expired
            .iter()
            .filter(|(_, agent)| matches!(verdicts.get(agent), Some(ProofOutcome::Alive(..))))
            .map(|(key, _)| key.clone())
            .collect();
        let Some(until) = self.end(now, 1).filter(|_| !living.is_empty()) else {
            return Ok(false);
        };
        let renewed = store.renew_expired(daemon, &living, until, now);
        let renewed = patience.bounded(store.location(), renewed).await?;
        for session in &renewed {
            let known = store.conversation(&session.conversation).await.ok();
            let name = session_name(known.and_then(|found| found.label).as_ref(), session);
            info!(
                event = "conversation-renewed",
                conversation = %session.conversation, session = %session, label = name,
                "the conversation of {name} expired while no daemon could renew it; its agent is alive, so it was renewed"
            );
        }
        Ok(!renewed.is_empty())
    }

    /// Takes back the renewals of a clock that was far ahead, where the roll shows
    /// an end that none could set today. One that an operator set so far away is
    /// asked about once. `true` if something changed.
    pub(super) async fn mend(
        &mut self,
        store: &SharedStore,
        roll: &RollCall,
        now: Timestamp,
        patience: Patience,
    ) -> Result<bool, StoreError> {
        let Some(beyond) = self.end(now, 1).and_then(|end| end.checked_add(DAY).ok()) else {
            return Ok(false);
        };
        let odd: HashMap<ConversationId, Timestamp> = roll
            .kept
            .iter()
            .filter(|kept| kept.expires_at > beyond)
            .map(|kept| (kept.key.conversation.clone(), kept.expires_at))
            .collect();
        let known = odd
            .iter()
            .all(|(conversation, end)| self.odd_ends.get(conversation) == Some(end));
        if known {
            return Ok(false);
        }
        let mending = store.mend_renewals(now);
        let mended = patience.bounded(store.location(), mending).await?;
        self.odd_ends = odd;
        if mended > 0 {
            warn!(
                event = "renewals-taken-back",
                "reverted the renewals of {}: a clock was far ahead",
                text::count(mended, "conversation")
            );
        }
        Ok(mended > 0)
    }

    /// The end of a renewal, or a part of the way there; `None` if none is
    /// wished.
    fn end(&self, now: Timestamp, part: i32) -> Option<Timestamp> {
        if !self.settings.renew_conversations {
            return None;
        }
        let life = SignedDuration::try_from(self.settings.renew_for).ok()?;
        now.checked_add(life / part).ok()
    }
}
