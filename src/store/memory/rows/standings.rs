//! What was found of a session, and what it can carry.

use std::time::Duration;

use jiff::Timestamp;

use super::MemoryRows;
use crate::model::SessionKey;
use crate::store::Result;
use crate::store::memory::tables::Tables;
use crate::store::rows::{Ability, Judged, NewStanding, StandingRows, StoredVerdict};

impl Tables {
    fn verdict(&self, session: &SessionKey) -> StoredVerdict {
        let row = self.sessions.get(session);
        let beat = self.beats.get(session);
        StoredVerdict {
            standing: row.and_then(|row| row.standing),
            standing_seq: row.and_then(|row| row.standing_seq),
            seq: beat.map(|beat| beat.seq),
            exited: beat.is_some_and(|beat| beat.exited_at.is_some()),
        }
    }
}

impl StandingRows for MemoryRows {
    fn verdict(&mut self, session: &SessionKey) -> Result<StoredVerdict> {
        Ok(self.at()?.verdict(session))
    }

    fn judged(&mut self, session: &SessionKey, now: Timestamp) -> Result<Judged> {
        let tables = self.at()?;
        let row = tables.sessions.get(session);
        let conversation = tables.conversations.get(&session.conversation);
        let watched = conversation.is_some_and(|row| {
            let open = row.closed_at.is_none() && row.expires_at > now;
            open || tables.tasks_of(session).next().is_some()
        });
        Ok(Judged {
            verdict: tables.verdict(session),
            since: row.and_then(|row| row.standing_since),
            activity: row.map_or(0, |row| i64::try_from(row.calls).unwrap_or(i64::MAX)),
            foreign: String::new(),
            watched,
        })
    }

    fn set_standing(&mut self, session: &SessionKey, new: &NewStanding) -> Result<()> {
        if let Some(row) = self.at()?.sessions.get_mut(session) {
            row.standing = Some(new.standing);
            row.standing_seq = new.seq;
            row.standing_since = Some(new.since);
        }
        Ok(())
    }

    fn ability(&mut self, session: &SessionKey, now: Timestamp) -> Result<Ability> {
        let tables = self.at()?;
        let conversation = tables.conversations.get(&session.conversation);
        let verdict = tables.verdict(session);
        let row = tables.sessions.get(session);
        Ok(Ability {
            ended: conversation.is_none_or(|row| row.expires_at <= now),
            closed: conversation.is_some_and(|row| row.closed_at.is_some()),
            exited: verdict.exited,
            standing: verdict.standing,
            capacity: row.and_then(|row| row.capacity).map(i64::from),
            open: i64::try_from(tables.tasks_of(session).count()).unwrap_or(i64::MAX),
        })
    }

    fn crashes(&mut self, session: &SessionKey) -> Result<i64> {
        Ok(self
            .at()?
            .sessions
            .get(session)
            .map_or(0, |row| row.crashes))
    }

    fn count_crash(&mut self, session: &SessionKey) -> Result<()> {
        if let Some(row) = self.at()?.sessions.get_mut(session) {
            row.crashes += 1;
        }
        Ok(())
    }

    fn forget_crashes(&mut self, session: &SessionKey) -> Result<()> {
        if let Some(row) = self.at()?.sessions.get_mut(session) {
            row.crashes = 0;
        }
        Ok(())
    }

    fn note_busy(&mut self, session: &SessionKey, time: Duration, now: Timestamp) -> Result<()> {
        let row = self.at()?.sessions.entry(session.clone()).or_default();
        let before = row.busy.map_or(0, |busy| busy.0);
        let until = now.checked_add(time).unwrap_or(Timestamp::MAX);
        row.busy = Some((before + 1, time, until));
        Ok(())
    }

    fn end_turn(&mut self, session: &SessionKey) -> Result<()> {
        let tables = self.at()?;
        let change = tables.next_change();
        if let Some(row) = tables.sessions.get_mut(session)
            && row.turn.take().is_some()
        {
            row.change = change;
        }
        Ok(())
    }
}
