//! Daemons.

use jiff::Timestamp;

use super::MemoryRows;
use crate::host;
use crate::model::SessionKey;
use crate::store::memory::beats::Daemon;
use crate::store::memory::tables::Tables;
use crate::store::rows::DaemonRows;
use crate::store::{DaemonInfo, DaemonRef, DaemonView, Namesake, Result};

impl Tables {
    /// When a daemon was last heard of.
    pub(in crate::store::memory) fn heard_of(&self, daemon: &Daemon) -> Timestamp {
        let seen = self.signs.get(&daemon.info.id).copied();
        let later = daemon.stopped.max(seen);
        later.map_or(daemon.started, |later| later.max(daemon.started))
    }

    /// The daemon that gave a session's last heartbeat.
    pub(in crate::store::memory) fn daemon_of(&self, session: &SessionKey) -> Option<&Daemon> {
        self.daemons.get(self.beats.get(session)?.daemon.as_ref()?)
    }
}

impl DaemonRows for MemoryRows {
    fn enter_daemon(&mut self, daemon: &DaemonInfo, now: Timestamp) -> Result<i64> {
        let daemons = &mut self.at()?.daemons;
        let before = daemons.get(&daemon.id);
        let (epoch, change) = before.map_or((0, 0), |before| (before.epoch, before.change));
        let entered = Daemon {
            info: daemon.clone(),
            pid_ns: host::boot().pid_ns,
            epoch: epoch + 1,
            started: now,
            stopped: None,
            change,
        };
        daemons.insert(daemon.id.clone(), entered);
        Ok(epoch + 1)
    }

    fn namesake(&mut self, daemon: &DaemonRef) -> Result<Option<Namesake>> {
        let later = self.at()?.daemons.get(&daemon.id);
        let later = later.filter(|one| one.epoch > daemon.epoch && one.stopped.is_none());
        Ok(later.map(|one| Namesake {
            host: one.info.host.clone(),
            pid: one.info.pid,
        }))
    }

    fn note_daemon_change(&mut self, daemon: &DaemonRef) -> Result<bool> {
        let daemons = &mut self.at()?.daemons;
        let newest = daemons.values().map(|one| one.change).max();
        let Some(one) = daemons.get_mut(&daemon.id) else {
            return Ok(false);
        };
        one.change = newest.unwrap_or(0) + 1;
        Ok(true)
    }

    fn note_daemon_seen(&mut self, daemon: &DaemonRef, now: Timestamp) -> Result<()> {
        self.at()?.signs.insert(daemon.id.clone(), now);
        Ok(())
    }

    fn note_daemon_stopped(&mut self, daemon: &DaemonRef, now: Timestamp) -> Result<()> {
        let one = self.at()?.daemons.get_mut(&daemon.id);
        if let Some(one) = one.filter(|one| one.epoch == daemon.epoch) {
            one.stopped = Some(now);
        }
        Ok(())
    }

    fn daemons(&mut self) -> Result<Vec<DaemonView>> {
        let tables = self.at()?;
        let views = tables.daemons.values().map(|one| {
            let kept = tables.beats.values().filter(|beat| {
                beat.is_kept()
                    && beat.daemon.as_ref() == Some(&one.info.id)
                    && beat.epoch == one.epoch
            });
            DaemonView {
                id: one.info.id.clone(),
                epoch: one.epoch,
                role: one.info.role.to_owned(),
                host: one.info.host.clone(),
                boot_id: one.info.boot_id.clone(),
                pid: one.info.pid,
                pid_ns: Some(one.pid_ns),
                version: env!("CARGO_PKG_VERSION").to_owned(),
                started_at: one.started,
                stopped_at: one.stopped,
                seen_at: tables.heard_of(one),
                sessions: u64::try_from(kept.count()).unwrap_or(u64::MAX),
            }
        });
        Ok(views.collect())
    }
}
