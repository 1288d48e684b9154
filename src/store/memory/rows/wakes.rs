//! Wakes.

use jiff::Timestamp;

use super::MemoryRows;
use crate::store::memory::tables::Wake;
use crate::store::rows::WakeRows;
use crate::store::{Result, WakeClaim, WakeEnd, WakeRef};

impl WakeRows for MemoryRows {
    fn claim(&mut self, claim: &WakeClaim<'_>, _now: Timestamp) -> Result<Option<WakeRef>> {
        let wakes = &mut self.at()?.wakes;
        let open = wakes
            .iter()
            .position(|wake| wake.session == *claim.session && !wake.over);
        let lease_until = claim.boot.now + claim.lease;
        let at = match open {
            Some(at) => {
                let wake = &mut wakes[at];
                if wake.boot_id == claim.boot.id && wake.lease_until >= claim.boot.now {
                    return Ok(None);
                }
                wake.claim += 1;
                wake.boot_id.clone_from(&claim.boot.id);
                wake.lease_until = lease_until;
                at
            }
            None => {
                wakes.push(Wake {
                    session: claim.session.clone(),
                    claim: 1,
                    boot_id: claim.boot.id.clone(),
                    lease_until,
                    over: false,
                });
                wakes.len() - 1
            }
        };
        Ok(Some(WakeRef {
            id: i64::try_from(at).unwrap_or(i64::MAX),
            claim: wakes[at].claim,
        }))
    }

    fn end_wake(&mut self, wake: &WakeRef, _end: &WakeEnd<'_>, _now: Timestamp) -> Result<bool> {
        let at = usize::try_from(wake.id).unwrap_or(usize::MAX);
        let row = self.at()?.wakes.get_mut(at);
        let Some(row) = row.filter(|row| row.claim == wake.claim && !row.over) else {
            return Ok(false);
        };
        row.over = true;
        Ok(true)
    }
}
