//! The lease of the lead.

use std::time::Duration;

use jiff::Timestamp;

use super::MemoryRows;
use crate::store::rows::LeaderRows;
use crate::store::{DaemonRef, Leader, Lease, Result};

fn is_of(lease: &Lease, leader: &Leader) -> bool {
    lease.epoch == leader.epoch && lease.holder.as_ref() == Some(&leader.daemon)
}

impl LeaderRows for MemoryRows {
    fn lease(&mut self) -> Result<Option<Lease>> {
        Ok(self.at()?.lease.clone())
    }

    fn take_lead(
        &mut self,
        daemon: &DaemonRef,
        seen: Option<&Lease>,
        ttl: Duration,
        now: Timestamp,
    ) -> Result<Option<i64>> {
        let lease = &mut self.at()?.lease;
        let counts = |lease: &Lease| (lease.epoch, lease.renew_seq);
        if lease.as_ref().map(counts) != seen.map(counts) {
            return Ok(None);
        }
        let (epoch, renew_seq) = seen.map_or((0, 0), counts);
        *lease = Some(Lease {
            epoch: epoch + 1,
            holder: Some(daemon.clone()),
            renew_seq: renew_seq + 1,
            ttl,
            since: now,
        });
        Ok(Some(epoch + 1))
    }

    fn renew_lead(&mut self, leader: &Leader) -> Result<bool> {
        let lease = self.at()?.lease.as_mut();
        let Some(lease) = lease.filter(|lease| is_of(lease, leader)) else {
            return Ok(false);
        };
        lease.renew_seq += 1;
        Ok(true)
    }

    fn give_up_lead(&mut self, leader: &Leader) -> Result<()> {
        let lease = self.at()?.lease.as_mut();
        if let Some(lease) = lease.filter(|lease| is_of(lease, leader)) {
            lease.holder = None;
            lease.renew_seq += 1;
        }
        Ok(())
    }

    fn acts(&mut self, leader: &Leader) -> Result<std::result::Result<(), i64>> {
        Ok(match self.at()?.lease.as_ref() {
            Some(lease) if is_of(lease, leader) => Ok(()),
            other => Err(other.map_or(0, |lease| lease.epoch)),
        })
    }
}
