//! Rows of daemons.

use jiff::Timestamp;
use rusqlite::{Row, params};

use crate::host;
use crate::store::rows::DaemonRows;
use crate::store::sqlite::engine::SqliteRows;
use crate::store::sqlite::fault::Fault;
use crate::store::sqlite::shared::daemon_change;
use crate::store::sqlite::statements::{Statements as _, count, readable};
use crate::store::sqlite::written::Written as _;
use crate::store::sqlite::{from_millis, millis};
use crate::store::{DaemonInfo, DaemonRef, DaemonView, Namesake, Result};

impl DaemonRows for SqliteRows {
    fn enter_daemon(&mut self, daemon: &DaemonInfo, now: Timestamp) -> Result<i64> {
        self.run(|connection| {
            let epoch = connection.first(
                "INSERT INTO bridge_daemon (daemon_id, epoch, role, host, boot_id, pid, version,
                     started_ms, pid_ns)
                 VALUES (?1, 1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
                 ON CONFLICT (daemon_id) DO UPDATE SET epoch = epoch + 1, role = excluded.role,
                     host = excluded.host, boot_id = excluded.boot_id, pid = excluded.pid,
                     version = excluded.version, started_ms = excluded.started_ms,
                     stopped_ms = NULL, pid_ns = excluded.pid_ns
                 RETURNING epoch",
                params![
                    daemon.id,
                    daemon.role,
                    daemon.host,
                    daemon.boot_id,
                    daemon.pid,
                    env!("CARGO_PKG_VERSION"),
                    millis(now),
                    host::boot().pid_ns
                ],
                |row| row.get(0),
            )?;
            epoch.ok_or(Fault::Swallowed("bridge_daemon"))
        })
    }

    fn namesake(&mut self, daemon: &DaemonRef) -> Result<Option<Namesake>> {
        self.run(|connection| {
            let namesake = connection.first(
                "SELECT host, pid FROM bridge_daemon
                 WHERE daemon_id = ?1 AND epoch > ?2 AND stopped_ms IS NULL",
                params![daemon.id, daemon.epoch],
                |row| {
                    Ok(Namesake {
                        host: row.get(0)?,
                        pid: row.get(1)?,
                    })
                },
            )?;
            Ok(namesake)
        })
    }

    fn note_daemon_change(&mut self, daemon: &DaemonRef) -> Result<bool> {
        self.run(|connection| {
            let changed = connection.change(
                concat!(
                    "UPDATE bridge_daemon SET change = 1 + (",
                    daemon_change!(),
                    ") WHERE daemon_id = ?1"
                ),
                [&daemon.id],
            )?;
            Ok(changed > 0)
        })
    }

    fn note_daemon_seen(&mut self, daemon: &DaemonRef, now: Timestamp) -> Result<()> {
        self.run(|connection| {
            connection
                .change(
                    "INSERT INTO bridge_signal (name, n) VALUES ('seen:' || ?1, ?2)
                     ON CONFLICT (name) DO UPDATE SET n = excluded.n",
                    params![daemon.id, millis(now)],
                )?
                .wrote(1, "bridge_signal")?;
            Ok(())
        })
    }

    fn note_daemon_stopped(&mut self, daemon: &DaemonRef, now: Timestamp) -> Result<()> {
        self.run(|connection| {
            connection.change(
                "UPDATE bridge_daemon SET stopped_ms = ?3 WHERE daemon_id = ?1 AND epoch = ?2",
                params![daemon.id, daemon.epoch, millis(now)],
            )?;
            Ok(())
        })
    }

    fn daemons(&mut self) -> Result<Vec<DaemonView>> {
        self.run(|connection| {
            let daemons = connection.all(
                "SELECT daemon_id, epoch, role, host, boot_id, pid, version, started_ms, stopped_ms,
                        (SELECT count(*) FROM bridge_heartbeat h
                         WHERE h.daemon_id = d.daemon_id AND h.daemon_epoch = d.epoch
                           AND NOT h.released),
                        max(started_ms, coalesce(stopped_ms, 0), coalesce(
                            (SELECT n FROM bridge_signal WHERE name = 'seen:' || d.daemon_id), 0)),
                        pid_ns
                 FROM bridge_daemon d ORDER BY daemon_id",
                [],
                |row| Ok(readable("daemons", daemon(row))),
            )?;
            Ok(daemons.into_iter().flatten().collect())
        })
    }
}

fn daemon(row: &Row<'_>) -> rusqlite::Result<DaemonView> {
    Ok(DaemonView {
        id: row.get(0)?,
        epoch: row.get(1)?,
        role: row.get(2)?,
        host: row.get(3)?,
        boot_id: row.get(4)?,
        pid: row.get(5)?,
        version: row.get(6)?,
        started_at: from_millis(row.get(7)?),
        stopped_at: row.get::<_, Option<i64>>(8)?.map(from_millis),
        sessions: count(row, 9)?,
        seen_at: from_millis(row.get(10)?),
        pid_ns: row.get(11)?,
    })
}
