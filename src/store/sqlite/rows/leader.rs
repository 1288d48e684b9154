//! The lease of the lead.

use std::time::Duration;

use jiff::Timestamp;
use rusqlite::{Row, params};

use crate::store::rows::LeaderRows;
use crate::store::sqlite::engine::SqliteRows;
use crate::store::sqlite::statements::{Statements as _, readable};
use crate::store::sqlite::{from_millis, millis};
use crate::store::{DaemonRef, Leader, Lease, Result};
use crate::text::millis as duration_millis;

fn lease(row: &Row<'_>) -> rusqlite::Result<Lease> {
    let holder: Option<String> = row.get(1)?;
    let epoch: Option<i64> = row.get(2)?;
    Ok(Lease {
        epoch: row.get(0)?,
        holder: holder.zip(epoch).map(|(id, epoch)| DaemonRef { id, epoch }),
        renew_seq: row.get(3)?,
        ttl: Duration::from_millis(u64::try_from(row.get::<_, i64>(4)?).unwrap_or(0)),
        since: from_millis(row.get(5)?),
    })
}

impl LeaderRows for SqliteRows {
    fn lease(&mut self) -> Result<Option<Lease>> {
        self.run(|connection| {
            let found = connection.first(
                "SELECT epoch, holder, holder_epoch, renew_seq, ttl_ms, since_ms
                 FROM bridge_leader",
                [],
                |row| Ok(readable("leases of the lead", lease(row))),
            )?;
            Ok(found.flatten())
        })
    }

    fn take_lead(
        &mut self,
        daemon: &DaemonRef,
        seen: Option<&Lease>,
        ttl: Duration,
        now: Timestamp,
    ) -> Result<Option<i64>> {
        self.run(|connection| {
            let Some(seen) = seen else {
                let odd = connection.change(
                    "DELETE FROM bridge_leader WHERE 'integer' <> typeof(epoch)
                         OR 'integer' <> typeof(renew_seq) OR 'integer' <> typeof(ttl_ms)
                         OR 'integer' <> typeof(since_ms)
                         OR typeof(holder) NOT IN ('text', 'null')
                         OR typeof(holder_epoch) NOT IN ('integer', 'null')",
                    [],
                )?;
                // The epoch that was there is not known: one that is above all of them.
                let epoch = if odd > 0 { millis(now) } else { 1 };
                let epoch = connection.first(
                    "INSERT INTO bridge_leader
                         (one, epoch, holder, holder_epoch, renew_seq, ttl_ms, since_ms)
                     VALUES (1, ?5, ?1, ?2, 1, ?3, ?4) ON CONFLICT (one) DO NOTHING
                     RETURNING epoch",
                    params![
                        daemon.id,
                        daemon.epoch,
                        duration_millis(ttl),
                        millis(now),
                        epoch
                    ],
                    |row| row.get(0),
                )?;
                return Ok(epoch);
            };
            let epoch = connection.first(
                "UPDATE bridge_leader SET epoch = epoch + 1, holder = ?1, holder_epoch = ?2,
                     renew_seq = renew_seq + 1, ttl_ms = ?3, since_ms = ?4
                 WHERE epoch = ?5 AND renew_seq = ?6 RETURNING epoch",
                params![
                    daemon.id,
                    daemon.epoch,
                    duration_millis(ttl),
                    millis(now),
                    seen.epoch,
                    seen.renew_seq
                ],
                |row| row.get(0),
            )?;
            Ok(epoch)
        })
    }

    fn renew_lead(&mut self, leader: &Leader) -> Result<bool> {
        self.run(|connection| {
            let renewed = connection.change(
                "UPDATE bridge_leader SET renew_seq = renew_seq + 1
                 WHERE epoch = ?1 AND holder = ?2 AND holder_epoch = ?3",
                params![leader.epoch, leader.daemon.id, leader.daemon.epoch],
            )?;
            Ok(renewed > 0)
        })
    }

    fn give_up_lead(&mut self, leader: &Leader) -> Result<()> {
        self.run(|connection| {
            connection.change(
                "UPDATE bridge_leader SET holder = NULL, holder_epoch = NULL,
                     renew_seq = renew_seq + 1
                 WHERE epoch = ?1 AND holder = ?2 AND holder_epoch = ?3",
                params![leader.epoch, leader.daemon.id, leader.daemon.epoch],
            )?;
            Ok(())
        })
    }

    fn acts(&mut self, leader: &Leader) -> Result<std::result::Result<(), i64>> {
        self.run(|connection| {
            let acts = connection.one(
                "SELECT EXISTS (SELECT 1 FROM bridge_leader
                     WHERE epoch = ?1 AND holder = ?2 AND holder_epoch = ?3)",
                params![leader.epoch, leader.daemon.id, leader.daemon.epoch],
                |row| row.get(0),
            )?;
            if acts {
                return Ok(Ok(()));
            }
            let epoch = connection.first(
                "SELECT CAST(epoch AS INTEGER) FROM bridge_leader",
                [],
                |row| row.get::<_, Option<i64>>(0),
            )?;
            Ok(Err(epoch.flatten().unwrap_or(0)))
        })
    }
}
