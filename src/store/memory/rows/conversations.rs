//! Conversations.

use jiff::Timestamp;

use super::MemoryRows;
use crate::host;
use crate::model::session::Conversation;
use crate::model::token::TokenStorage;
use crate::model::{ConversationId, Label, SessionKey, Side};
use crate::store::memory::tables::ConversationRow;
use crate::store::rows::{ConversationRows, End, EndSet, Party};
use crate::store::{NewConversation, Result};

impl ConversationRows for MemoryRows {
    fn party(&mut self, session: &SessionKey) -> Result<Option<Party>> {
        Ok(self.at()?.party(session))
    }

    fn parties(&mut self, sessions: &[SessionKey]) -> Result<Vec<Result<Option<Party>>>> {
        let tables = self.at()?;
        Ok(sessions
            .iter()
            .map(|session| Ok(tables.party(session)))
            .collect())
    }

    fn conversations(&mut self, only: Option<&ConversationId>) -> Result<Vec<Conversation>> {
        let tables = self.at()?;
        let wanted = tables.conversations.iter();
        let wanted = wanted.filter(|(id, _)| only.is_none_or(|only| only == *id));
        let mut found: Vec<_> = wanted
            .map(|(id, row)| {
                let owed = |side| tables.owed(&SessionKey::new(id.clone(), side)).count();
                let messages = tables.messages.values();
                let messages = messages.filter(|m| m.message.conversation == *id).count();
                let count = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
                Conversation {
                    id: id.clone(),
                    label: row.label.clone(),
                    role_a: row.roles[0].clone(),
                    role_b: row.roles[1].clone(),
                    created_at: Some(row.created_at),
                    expires_at: Some(row.expires_at),
                    closed_at: row.closed_at,
                    messages: count(messages),
                    unread: count(Side::BOTH.into_iter().map(owed).sum()),
                }
            })
            .collect();
        found.sort_by_key(|conversation| conversation.created_at);
        Ok(found)
    }

    fn has_conversation(&mut self, id: &ConversationId) -> Result<bool> {
        Ok(self.at()?.conversations.contains_key(id))
    }

    fn label(&mut self, id: &ConversationId) -> Result<Option<Label>> {
        Ok(self.at()?.label(id))
    }

    fn end(&mut self, id: &ConversationId) -> Result<Option<End>> {
        let row = self.at()?.conversations.get(id);
        Ok(row.map(|row| End {
            at: Some(row.expires_at),
            closed: row.closed_at.is_some(),
        }))
    }

    fn tokens(&mut self, id: &ConversationId) -> Result<Option<[String; 2]>> {
        let row = self.at()?.conversations.get(id);
        Ok(row.map(|row| row.tokens.clone()))
    }

    fn set_token(&mut self, session: &SessionKey, stored: &str) -> Result<()> {
        if let Some(row) = self.at()?.conversations.get_mut(&session.conversation) {
            let [a, b] = &mut row.tokens;
            let token = match session.side {
                Side::A => a,
                Side::B => b,
            };
            stored.clone_into(token);
        }
        Ok(())
    }

    fn insert_conversation(
        &mut self,
        new: &NewConversation,
        storage: TokenStorage,
        now: Timestamp,
    ) -> Result<()> {
        let rows = &mut self.at()?.conversations;
        let newest = rows.values().map(|row| row.place).max();
        let row = ConversationRow {
            renewed: None,
            place: newest.unwrap_or(0) + 1,
            tokens: [new.token_a.stored(storage), new.token_b.stored(storage)],
            roles: [new.role_a.clone(), new.role_b.clone()],
            label: None,
            created_at: now,
            expires_at: new.expires_at,
            closed_at: None,
            set: None,
        };
        rows.insert(new.id.clone(), row);
        Ok(())
    }

    fn set_label(&mut self, id: &ConversationId, label: &Label) -> Result<bool> {
        let rows = &mut self.at()?.conversations;
        let taken = rows.iter().any(|(other, row)| {
            other != id && row.closed_at.is_none() && row.label.as_ref() == Some(label)
        });
        if let (false, Some(row)) = (taken, rows.get_mut(id)) {
            row.label = Some(label.clone());
            return Ok(true);
        }
        Ok(false)
    }

    fn set_end(&mut self, id: &ConversationId, end: Timestamp) -> Result<()> {
        if let Some(row) = self.at()?.conversations.get_mut(id) {
            row.expires_at = end;
        }
        Ok(())
    }

    fn note_end_set(&mut self, id: &ConversationId, now: Timestamp) -> Result<()> {
        if let Some(row) = self.at()?.conversations.get_mut(id) {
            let boot = host::boot();
            row.set = Some(EndSet {
                at: now,
                boot: boot.now,
                boot_id: boot.id.clone(),
            });
            row.renewed = None;
        }
        Ok(())
    }

    fn close(&mut self, id: &ConversationId, now: Timestamp) -> Result<()> {
        if let Some(row) = self.at()?.conversations.get_mut(id) {
            row.closed_at = Some(now);
        }
        Ok(())
    }
}
