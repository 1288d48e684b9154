//! What people ask about.

use jiff::Timestamp;

use super::MemoryRows;
use crate::model::session::{Heartbeat, SessionView};
use crate::model::token::TokenStorage;
use crate::model::{ConversationId, SessionKey, Side};
use crate::store::memory::tables::{ConversationRow, NAME, Tables};
use crate::store::rows::{ReportRows, SettingRows as _};
use crate::store::sqlite::SCHEMA_VERSION;
use crate::store::{Registration, Result, StoreCheck};

fn count(rows: usize) -> u64 {
    u64::try_from(rows).unwrap_or(u64::MAX)
}

impl Tables {
    fn view(&self, key: SessionKey, conversation: &ConversationRow) -> SessionView {
        let row = self.sessions.get(&key);
        let beat = self.beats.get(&key);
        let client = self.registrations.get(&key);
        let (wake_id, wake) = self.last_wake(&key).unzip();
        let own = match key.side {
            Side::A => 0,
            Side::B => 1,
        };
        SessionView {
            label: conversation.label.clone(),
            role: conversation.roles[own].clone(),
            expires_at: Some(conversation.expires_at),
            heartbeat: beat.map(|beat| Heartbeat {
                seq: beat.seq,
                at: beat.at.1,
                ttl: beat.ttl,
                proof: beat.proof,
                exited_at: beat.exited_at,
                daemon: beat.daemon.clone(),
                released: beat.released,
            }),
            activity_at: row.and_then(|row| row.acted).max(self.spoken(&key)),
            reported: self.reported(&key),
            unread: count(self.owed(&key).count()),
            wake,
            wake_id,
            open_tasks: count(self.tasks_of(&key).count()),
            capacity: row.and_then(|row| row.capacity),
            standing: row.and_then(|row| row.standing),
            standing_at: row.and_then(|row| row.standing_since),
            turn: row.and_then(|row| row.turn).unwrap_or_default(),
            busy_until: row.and_then(|row| row.busy).map(|busy| busy.2),
            host: self.daemon_of(&key).map(|one| one.info.host.clone()),
            pid: client
                .and_then(|client| client.process)
                .or(beat.and_then(|beat| beat.process))
                .map(|process| process.pid),
            client: client.map(Registration::title),
            registered: client.and_then(Registration::named_process),
            client_runs: None,
            client_stopped: None,
            key,
        }
    }

    /// The last wake of a session: its number, and how it ended, for people.
    fn last_wake(&self, key: &SessionKey) -> Option<(i64, String)> {
        let mut wakes = self.wakes.iter().rev();
        let (id, wake) = wakes.find(|(_, wake)| wake.session == *key)?;
        let outcome = wake.outcome.map_or("waiting", |outcome| outcome.as_str());
        let reason = wake.reason.as_ref().map(|reason| format!(" ({reason})"));
        let reason = reason.unwrap_or_default();
        Some((*id, format!("{}: {outcome}{reason}", wake.adapter)))
    }
}

impl ReportRows for MemoryRows {
    fn sessions(
        &mut self,
        since: Timestamp,
        of: Option<&ConversationId>,
    ) -> Result<Vec<SessionView>> {
        let tables = self.at()?;
        let rows = tables.conversations.iter();
        let mut wanted: Vec<_> = rows
            .filter(|(id, _)| of.is_none_or(|of| *id == of))
            .filter(|(_, row)| row.closed_at.is_none() && row.expires_at >= since)
            .collect();
        wanted.sort_by_key(|(id, row)| {
            let label = row.label.as_ref().map(ToString::to_string);
            (label.is_none(), label, row.created_at, (*id).clone())
        });
        let sessions = wanted.into_iter().flat_map(|(id, row)| {
            let sides = Side::BOTH.map(|side| SessionKey::new(id.clone(), side));
            sides.map(|key| tables.view(key, row))
        });
        Ok(sessions.collect())
    }

    fn check(&mut self) -> Result<StoreCheck> {
        let storage = self.setting("token_storage")?;
        let storage = storage.and_then(|word| TokenStorage::from_word(&word));
        let token_storage = storage.unwrap_or(TokenStorage::Hashed);
        let tables = self.at()?;
        let ids = tables.conversations.keys();
        let unread = ids
            .flat_map(|id| Side::BOTH.map(|side| SessionKey::new(id.clone(), side)))
            .map(|key| tables.owed(&key).count());
        let messages = tables.messages.values();
        let texts = messages.map(|row| row.message.message.len());
        Ok(StoreCheck {
            location: NAME.clone(),
            engine: NAME.to_string(),
            schema: SCHEMA_VERSION,
            token_storage,
            adopted: false,
            journal_mode: "none".into(),
            problems: Vec::new(),
            conversations: count(tables.conversations.len()),
            messages: count(tables.messages.len()),
            unread: count(unread.sum()),
            bytes: count(texts.sum()),
            log_bytes: 0,
        })
    }
}
