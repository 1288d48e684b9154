//! Who acts for the fleet: one row, taken by compare-and-set. Nobody's clock
//! but the watcher's own decides that a holder is gone.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::json;
use sqlx::{Row, SqliteConnection};

use super::fault::Fault;
use super::{from_millis, millis, odd, shared};
use crate::store::{DaemonRef, Leader, Lease, StoreError};
use crate::text::millis as duration_millis;

pub(super) async fn read(connection: &mut SqliteConnection) -> Result<Option<Lease>, Fault> {
    let row = sqlx::query(
        "SELECT epoch, holder, holder_epoch, renew_seq, ttl_ms, since_ms FROM bridge_leader",
    )
    .fetch_optional(connection)
    .await?;
    // One that cannot be read is none: whoever takes the lead replaces it.
    let leases = odd::readable(row.as_slice(), "leases of the lead", |row| {
        let holder: Option<String> = row.try_get(1)?;
        let epoch: Option<i64> = row.try_get(2)?;
        Ok(Lease {
            epoch: row.try_get(0)?,
            holder: holder.zip(epoch).map(|(id, epoch)| DaemonRef { id, epoch }),
            renew_seq: row.try_get(3)?,
            ttl: Duration::from_millis(u64::try_from(row.try_get::<i64, _>(4)?).unwrap_or(0)),
            since: from_millis(row.try_get(5)?),
        })
    });
    Ok(leases.into_iter().next())
}

pub(super) async fn take(
    connection: &mut SqliteConnection,
    daemon: &DaemonRef,
    seen: Option<&Lease>,
    ttl: Duration,
    now: Timestamp,
) -> Result<Option<Leader>, Fault> {
    let epoch: Option<i64> = match seen {
        None => {
            let odd = sqlx::query(
                "DELETE FROM bridge_leader WHERE 'integer' <> typeof(epoch)
                     OR 'integer' <> typeof(renew_seq) OR 'integer' <> typeof(ttl_ms)
                     OR 'integer' <> typeof(since_ms)
                     OR typeof(holder) NOT IN ('text', 'null')
                     OR typeof(holder_epoch) NOT IN ('integer', 'null')",
            )
            .execute(&mut *connection)
            .await?
            .rows_affected();
            // The epoch that was there is not known: one that is above all of them.
            let epoch = if odd > 0 { millis(now) } else { 1 };
            sqlx::query_scalar(
                "INSERT INTO bridge_leader (one, epoch, holder, holder_epoch, renew_seq, ttl_ms, since_ms)
                 VALUES (1, ?5, ?1, ?2, 1, ?3, ?4) ON CONFLICT (one) DO NOTHING RETURNING epoch",
            )
            .bind(&daemon.id)
            .bind(daemon.epoch)
            .bind(duration_millis(ttl))
            .bind(millis(now))
            .bind(epoch)
            .fetch_optional(&mut *connection)
            .await?
        }
        Some(seen) => {
            sqlx::query_scalar(
                "UPDATE bridge_leader SET epoch = epoch + 1, holder = ?1, holder_epoch = ?2,
                     renew_seq = renew_seq + 1, ttl_ms = ?3, since_ms = ?4
                 WHERE epoch = ?5 AND renew_seq = ?6 RETURNING epoch",
            )
            .bind(&daemon.id)
            .bind(daemon.epoch)
            .bind(duration_millis(ttl))
            .bind(millis(now))
            .bind(seen.epoch)
            .bind(seen.renew_seq)
            .fetch_optional(&mut *connection)
            .await?
        }
    };
    let Some(epoch) = epoch else { return Ok(None) };
    let details = json!({ "daemon": daemon.id, "epoch": epoch });
    shared::audit(connection, None, None, "leader_changed", details, now).await?;
    Ok(Some(Leader {
        daemon: daemon.clone(),
        epoch,
    }))
}

/// Renews, or finds out that somebody else acts.
pub(super) async fn renew(connection: &mut SqliteConnection, leader: &Leader) -> Result<(), Fault> {
    let renewed = sqlx::query(
        "UPDATE bridge_leader SET renew_seq = renew_seq + 1
         WHERE epoch = ?1 AND holder = ?2 AND holder_epoch = ?3",
    )
    .bind(leader.epoch)
    .bind(&leader.daemon.id)
    .bind(leader.daemon.epoch)
    .execute(&mut *connection)
    .await?
    .rows_affected();
    if renewed == 0 {
        return Err(StoreError::NotLeading(epoch(connection).await?).into());
    }
    Ok(())
}

pub(super) async fn give_up(
    connection: &mut SqliteConnection,
    leader: &Leader,
) -> Result<(), Fault> {
    sqlx::query(
        "UPDATE bridge_leader SET holder = NULL, holder_epoch = NULL, renew_seq = renew_seq + 1
         WHERE epoch = ?1 AND holder = ?2 AND holder_epoch = ?3",
    )
    .bind(leader.epoch)
    .bind(&leader.daemon.id)
    .bind(leader.daemon.epoch)
    .execute(connection)
    .await?;
    Ok(())
}

/// Refuses a writer that does not act any more, inside the transaction of what
/// it wants to write.
pub(super) async fn ensure(
    connection: &mut SqliteConnection,
    leader: &Leader,
) -> Result<(), Fault> {
    let acts = acts(connection, leader).await?;
    Ok(acts.map_err(StoreError::NotLeading)?)
}

/// Whether this leader acts; if not, the epoch of the one that does.
pub(super) async fn acts(
    connection: &mut SqliteConnection,
    leader: &Leader,
) -> Result<Result<(), i64>, Fault> {
    let acts: bool = sqlx::query_scalar(
        "SELECT EXISTS (SELECT 1 FROM bridge_leader
             WHERE epoch = ?1 AND holder = ?2 AND holder_epoch = ?3)",
    )
    .bind(leader.epoch)
    .bind(&leader.daemon.id)
    .bind(leader.daemon.epoch)
    .fetch_one(&mut *connection)
    .await?;
    match acts {
        true => Ok(Ok(())),
        false => Ok(Err(epoch(connection).await?)),
    }
}

async fn epoch(connection: &mut SqliteConnection) -> Result<i64, Fault> {
    let epoch: Option<i64> = sqlx::query_scalar("SELECT CAST(epoch AS INTEGER) FROM bridge_leader")
        .fetch_optional(connection)
        .await?;
    Ok(epoch.unwrap_or(0))
}
