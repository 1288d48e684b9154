//! Heartbeats.

use std::collections::HashMap;

use jiff::Timestamp;

use super::MemoryRows;
use crate::model::SessionKey;
use crate::store::memory::beats::BeatRow;
use crate::store::rows::{HeartbeatRows, Successor};
use crate::store::{BeatRound, DaemonInfo, DaemonRef, Process, Result};

impl HeartbeatRows for MemoryRows {
    fn advance(&mut self, round: &BeatRound<'_>) -> Result<u64> {
        let tables = self.at()?;
        let mut written = 0;
        for beat in round.beats {
            let Some(row) = tables.beats.get_mut(&beat.session) else {
                continue;
            };
            let same = beat.process.is_none() || beat.process == row.process;
            if row.is_of(round) && row.exited_at.is_none() && same {
                row.seq += 1;
                row.at = (round.boot.now, round.now);
                row.ttl = round.ttl;
                row.proof = beat.proof;
                row.released = false;
                written += 1;
            }
        }
        Ok(written)
    }

    fn take_over(&mut self, round: &BeatRound<'_>) -> Result<u64> {
        let tables = self.at()?;
        let mut written = 0;
        for beat in round.beats {
            let next = match tables.beats.get(&beat.session) {
                None => BeatRow::first(beat, round),
                Some(row) if row.is_free(beat, round) => row.next(beat, round),
                Some(_) => continue,
            };
            tables.beats.insert(beat.session.clone(), next);
            written += 1;
        }
        Ok(written)
    }

    fn successors(&mut self, round: &BeatRound<'_>) -> Result<Vec<Successor>> {
        let tables = self.at()?;
        let beats = round.beats.iter().enumerate();
        let over = beats.filter_map(|(place, beat)| {
            let row = tables.beats.get(&beat.session)?;
            row.is_over(beat, round).then_some(Successor {
                place,
                noted: row.exited_at.is_some(),
            })
        });
        Ok(over.collect())
    }

    fn owners(&mut self, round: &BeatRound<'_>) -> Result<HashMap<usize, String>> {
        let tables = self.at()?;
        let beats = round.beats.iter().enumerate();
        let owners = beats.filter_map(|(place, beat)| {
            let row = tables.beats.get(&beat.session)?;
            let owner = row.daemon.clone().unwrap_or_default();
            (!row.is_of(round)).then_some((place, owner))
        });
        Ok(owners.collect())
    }

    fn mirror(&mut self, sessions: &[&SessionKey], now: Timestamp) -> Result<()> {
        let tables = self.at()?;
        for session in sessions {
            tables.mirrored.insert((*session).clone(), now);
        }
        Ok(())
    }

    fn processes(&mut self, sessions: &[SessionKey]) -> Result<Vec<Option<Process>>> {
        let tables = self.at()?;
        let rows = sessions.iter().map(|session| tables.beats.get(session));
        Ok(rows.map(|row| row.and_then(BeatRow::process)).collect())
    }

    fn ended(&mut self, sessions: &[SessionKey]) -> Result<Vec<usize>> {
        let tables = self.at()?;
        let ended = sessions.iter().enumerate().filter(|(_, session)| {
            let row = tables.beats.get(session);
            row.is_some_and(|row| row.exited_at.is_some())
        });
        Ok(ended.map(|(place, _)| place).collect())
    }

    fn note_exit(
        &mut self,
        session: &SessionKey,
        daemon: &DaemonRef,
        missed: Option<&Process>,
        now: Timestamp,
    ) -> Result<bool> {
        let Some(row) = self.at()?.beats.get_mut(session) else {
            return Ok(false);
        };
        let same = row.daemon.as_ref() == Some(&daemon.id);
        let meant = match missed {
            None => same && row.epoch == daemon.epoch,
            Some(process) => {
                (!same || row.epoch <= daemon.epoch) && row.process().as_ref() == Some(process)
            }
        };
        if row.exited_at.is_some() || !meant {
            return Ok(false);
        }
        row.exited_at = Some(now);
        row.seq += 1;
        Ok(true)
    }

    fn note_exits_of_another_boot(
        &mut self,
        daemon: &DaemonInfo,
        most: u32,
        now: Timestamp,
    ) -> Result<Vec<SessionKey>> {
        let tables = self.at()?;
        let conversations = &tables.conversations;
        let ended = tables.beats.iter_mut().filter(|(session, row)| {
            let open = conversations.get(&session.conversation);
            row.daemon.as_ref() == Some(&daemon.id)
                && row.boot_id != daemon.boot_id
                && row.process.is_some()
                && row.exited_at.is_none()
                && open.is_some_and(|open| open.closed_at.is_none() && open.expires_at > now)
        });
        let mut sessions = Vec::new();
        for (session, row) in ended.take(usize::try_from(most).unwrap_or(usize::MAX)) {
            row.exited_at = Some(now);
            row.seq += 1;
            sessions.push(session.clone());
        }
        Ok(sessions)
    }

    fn release(&mut self, daemon: &DaemonRef, sessions: Option<&[SessionKey]>) -> Result<u64> {
        let rows = self.at()?.beats.iter_mut();
        let mut released = 0;
        for (session, row) in rows {
            let named = sessions.is_none_or(|sessions| sessions.contains(session));
            let mine = row.daemon.as_ref() == Some(&daemon.id) && row.epoch == daemon.epoch;
            if named && mine && !row.released {
                row.released = true;
                row.seq += 1;
                released += 1;
            }
        }
        Ok(released)
    }
}
