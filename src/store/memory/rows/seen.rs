//! The fleet as an orchestrator reads it.

use std::collections::HashSet;

use jiff::Timestamp;

use super::MemoryRows;
use crate::model::health::Turn;
use crate::model::message::Sender;
use crate::model::session::ProofKind;
use crate::model::{ConversationId, SessionKey, Side, timestamp};
use crate::store::memory::beats::BeatRow;
use crate::store::memory::tables::Tables;
use crate::store::rows::{SeenRows, Which};
use crate::store::{Cursor, Pulse, Result, SeenBeat, SeenSession};

impl Tables {
    fn cursor(&self) -> Cursor {
        let beats = self.daemons.values().map(|one| one.change).max();
        let sessions = self.sessions.values().map(|row| row.change).max();
        Cursor {
            beats: beats.unwrap_or(0),
            sessions: i64::try_from(sessions.unwrap_or(0)).unwrap_or(i64::MAX),
        }
    }

    fn changed_since(&self, since: Cursor) -> impl Iterator<Item = &SessionKey> {
        let changed = self.sessions.iter();
        let changed = changed.filter(move |(_, row)| {
            i64::try_from(row.change).is_ok_and(|change| change > since.sessions)
        });
        changed.map(|(session, _)| session)
    }

    /// What our mirror of its heartbeat says of a session.
    pub(in crate::store::memory) fn reported(&self, session: &SessionKey) -> Option<String> {
        let said = self.said.get(session).map(|status| status.as_str());
        let mirrored = self.mirrored.get(session).map(|_| "active");
        said.or(mirrored).map(str::to_owned)
    }

    /// When it sent its newest message.
    pub(in crate::store::memory) fn spoken(&self, session: &SessionKey) -> Option<Timestamp> {
        let from = Sender::Session(session.side);
        let messages = self.messages.values().map(|row| &row.message);
        let mine = messages.filter(|m| m.conversation == session.conversation && m.from == from);
        mine.filter_map(|message| message.sent_at).max()
    }

    fn seen(&self, key: &SessionKey, now: Timestamp) -> Option<SeenSession> {
        let conversation = self.conversations.get(&key.conversation)?;
        let open_tasks = u32::try_from(self.tasks_of(key).count()).unwrap_or(u32::MAX);
        let is_open = conversation.closed_at.is_none() && conversation.expires_at > now;
        if !is_open && open_tasks == 0 {
            return None;
        }
        let row = self.sessions.get(key);
        let own = match key.side {
            Side::A => 0,
            Side::B => 1,
        };
        Some(SeenSession {
            key: key.clone(),
            label: conversation.label.clone(),
            role: conversation.roles[own].clone(),
            host: self.daemon_of(key).map(|daemon| daemon.info.host.clone()),
            beat: self.beats.get(key).map(beat),
            activity: row.map_or(0, |row| i64::try_from(row.calls).unwrap_or(i64::MAX)),
            foreign: None,
            spoken: self.spoken(key).map(timestamp::to_text),
            read_there: None,
            fetched: row.is_some_and(|row| row.first_fetch.is_some()),
            busy: row
                .and_then(|row| row.busy)
                .map(|(count, time, _)| (count, time)),
            turn: row
                .and_then(|row| row.turn)
                .map(|turn| turn == Turn::Inside),
            reported: self.reported(key),
            unread: u64::try_from(self.owed(key).count()).unwrap_or(u64::MAX),
            open_tasks,
            capacity: match is_open {
                true => row.and_then(|row| row.capacity),
                false => Some(0),
            },
            crashes: row.map_or(0, |row| u32::try_from(row.crashes).unwrap_or(u32::MAX)),
            standing: row.and_then(|row| row.standing),
            standing_seq: row.and_then(|row| row.standing_seq),
        })
    }
}

fn beat(row: &BeatRow) -> SeenBeat {
    SeenBeat {
        seq: row.seq,
        ttl: row.ttl,
        kept: row.is_kept(),
        exited: row.exited_at.is_some(),
        stopped: row.proof == ProofKind::Stopped,
        process: row.process(),
    }
}

/// Both sessions of a conversation.
fn both(id: &ConversationId) -> [SessionKey; 2] {
    Side::BOTH.map(|side| SessionKey::new(id.clone(), side))
}

impl SeenRows for MemoryRows {
    fn cursor(&mut self) -> Result<Cursor> {
        Ok(self.at()?.cursor())
    }

    fn page_end(
        &mut self,
        after: Option<&ConversationId>,
        conversations: u32,
    ) -> Result<Option<ConversationId>> {
        let ids = self.at()?.conversations.keys();
        let mut behind = ids.filter(|id| after.is_none_or(|after| *id > after));
        let last = usize::try_from(conversations.max(1)).unwrap_or(usize::MAX) - 1;
        Ok(behind.nth(last).cloned())
    }

    fn changed_since(&mut self, since: Cursor) -> Result<Vec<SessionKey>> {
        Ok(self.at()?.changed_since(since).cloned().collect())
    }

    fn seen(&mut self, which: Which<'_>, now: Timestamp) -> Result<Vec<SeenSession>> {
        let tables = self.at()?;
        let ids = tables.conversations.keys();
        let keys: Vec<SessionKey> = match which {
            Which::All => ids.flat_map(both).collect(),
            Which::Page(after, until) => ids
                .filter(|id| after.is_none_or(|after| *id > after))
                .filter(|id| until.is_none_or(|until| *id <= until))
                .flat_map(both)
                .collect(),
            Which::Since(since) => tables.changed_since(since).cloned().collect(),
            Which::These(sessions) => sessions.to_vec(),
        };
        let seen = keys.iter().filter_map(|key| tables.seen(key, now));
        Ok(seen.collect())
    }

    fn pulses(&mut self, since: Cursor, now: Timestamp) -> Result<Vec<Pulse>> {
        let tables = self.at()?;
        let daemons = tables.daemons.values();
        let daemons: HashSet<&String> = daemons
            .filter(|one| one.change > since.beats)
            .map(|one| &one.info.id)
            .collect();
        let pulses = tables.beats.iter().filter_map(|(key, row)| {
            let conversation = tables.conversations.get(&key.conversation)?;
            let is_open = conversation.closed_at.is_none() && conversation.expires_at > now;
            let is_new = row.daemon.as_ref().is_some_and(|id| daemons.contains(id));
            (is_open && is_new).then(|| Pulse {
                key: key.clone(),
                host: tables.daemon_of(key).map(|one| one.info.host.clone()),
                beat: beat(row),
                foreign: None,
                reported: tables.reported(key),
            })
        });
        Ok(pulses.collect())
    }
}
