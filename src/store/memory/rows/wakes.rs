//! Wakes.

use jiff::Timestamp;

use super::MemoryRows;
use crate::model::SessionKey;
use crate::model::wake::WakeOutcome;
use crate::store::memory::tables::Wake;
use crate::store::rows::WakeRows;
use crate::store::{Result, SpentWake, WakeClaim, WakeEnd, WakeRef};

impl WakeRows for MemoryRows {
    fn claim(&mut self, claim: &WakeClaim<'_>, _now: Timestamp) -> Result<Option<WakeRef>> {
        let wakes = &mut self.at()?.wakes;
        let mut open = wakes.iter_mut();
        let open = open.find(|(_, wake)| wake.session == *claim.session && wake.ended.is_none());
        let (id, number) = match open {
            Some((_, wake))
                if wake.boot_id == claim.boot.id && wake.lease_until >= claim.boot.now =>
            {
                return Ok(None);
            }
            Some((id, wake)) => (*id, wake.claim + 1),
            None => (wakes.keys().next_back().map_or(1, |id| id + 1), 1),
        };
        let wake = Wake {
            session: claim.session.clone(),
            mark: claim.mark,
            claim: number,
            claimant: claim.claimant.to_owned(),
            adapter: claim.adapter.to_owned(),
            boot_id: claim.boot.id.clone(),
            lease_until: claim.boot.now + claim.lease,
            ended: None,
            outcome: None,
            reason: None,
        };
        wakes.insert(id, wake);
        Ok(Some(WakeRef { id, claim: number }))
    }

    fn verify_wake(&mut self, session: &SessionKey, now: Timestamp) -> Result<bool> {
        let tables = self.at()?;
        let oldest = tables.owed(session).map(|message| message.id).next();
        let wakes = tables.wakes.values_mut();
        let open = wakes.filter(|wake| wake.session == *session && wake.ended.is_none());
        let mut any = false;
        for wake in open.filter(|wake| oldest.is_none_or(|oldest| wake.mark < oldest)) {
            wake.ended = Some(now);
            wake.outcome = Some(WakeOutcome::Verified);
            any = true;
        }
        Ok(any)
    }

    fn spent_wakes(&mut self, sessions: &[SessionKey]) -> Result<Vec<Option<SpentWake>>> {
        let wakes = &self.at()?.wakes;
        let last = |session: &SessionKey| {
            let ends = [Some(WakeOutcome::Spent), Some(WakeOutcome::Verified)];
            let mut over = wakes.values().rev();
            let mut over = over.by_ref().filter(|wake| ends.contains(&wake.outcome));
            let wake = over.find(|wake| wake.session == *session)?;
            (wake.outcome == Some(WakeOutcome::Spent)).then(|| SpentWake {
                mark: wake.mark,
                reason: wake.reason.clone().unwrap_or_default(),
            })
        };
        Ok(sessions.iter().map(last).collect())
    }

    fn abandon_wakes(&mut self, claimant: &str, now: Timestamp) -> Result<()> {
        let wakes = self.at()?.wakes.values_mut();
        let open = wakes.filter(|wake| wake.ended.is_none() && wake.claimant == claimant);
        for wake in open {
            wake.ended = Some(now);
            wake.outcome = Some(WakeOutcome::Abandoned);
        }
        Ok(())
    }

    fn end_wake(
        &mut self,
        wake: &WakeRef,
        of: Option<&SessionKey>,
        end: &WakeEnd<'_>,
        now: Timestamp,
    ) -> Result<bool> {
        let row = self.at()?.wakes.get_mut(&wake.id);
        let row = row.filter(|row| of.is_none_or(|session| *session == row.session));
        let Some(row) = row.filter(|row| row.claim == wake.claim && row.ended.is_none()) else {
            return Ok(false);
        };
        row.ended = Some(now);
        row.outcome = Some(end.outcome);
        row.reason = end.reason.map(str::to_owned);
        Ok(true)
    }
}
