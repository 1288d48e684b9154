//! What rows tell of the time, and the ends of conversations that daemons set.

use jiff::Timestamp;

use super::MemoryRows;
use crate::host;
use crate::model::message::Sender;
use crate::model::{ConversationId, SessionKey, timestamp};
use crate::store::rows::{EndSet, LastBeat, RenewedEnd, TimeRows};
use crate::store::{DaemonRef, Result, Witness};

/// Only the newest rows are read, at most this number.
const NEWEST: usize = 500;

impl TimeRows for MemoryRows {
    fn witness(&mut self) -> Result<Witness> {
        let tables = self.at()?;
        let mut messages = tables.messages.values().rev().take(NEWEST);
        let message = messages.find(|row| row.message.from != Sender::System);
        let actions = ["create_conversation", "send_message", "get_messages"];
        let mut audit = tables.audit.values().rev().take(NEWEST);
        let audit = audit.find(|(row, _)| actions.contains(&&*row.action));
        let conversations = tables.conversations.values();
        let conversation = conversations.max_by_key(|row| row.place);
        let daemons = tables.daemons.values();
        let seen = daemons.filter_map(|one| Some((one.change, *tables.signs.get(&one.info.id)?)));
        let newest = [
            message.and_then(|row| row.message.sent_at),
            audit.map(|(_, at)| *at),
            conversation.map(|row| row.created_at),
            seen.max_by_key(|(change, _)| *change).map(|(_, at)| at),
        ];
        Ok(Witness {
            newest: newest.into_iter().flatten().max(),
            pruned: tables.pruned,
        })
    }

    fn note_pruned(&mut self, now: Timestamp) -> Result<()> {
        self.at()?.pruned = Some(now);
        Ok(())
    }

    fn renewed_beyond(&mut self, beyond: Timestamp) -> Result<Vec<RenewedEnd>> {
        let rows = self.at()?.conversations.iter();
        let renewed = rows.filter_map(|(id, row)| {
            let (end, life) = row.renewed?;
            let holds = end == row.expires_at && row.closed_at.is_none() && end > beyond;
            holds.then(|| RenewedEnd {
                conversation: id.clone(),
                end,
                life,
            })
        });
        Ok(renewed.collect())
    }

    fn note_renewed(
        &mut self,
        conversations: &[ConversationId],
        until: Timestamp,
        now: Timestamp,
    ) -> Result<()> {
        let tables = self.at()?;
        let boot = host::boot();
        for id in conversations {
            if let Some(row) = tables.conversations.get_mut(id) {
                row.set = Some(EndSet {
                    at: now,
                    boot: boot.now,
                    boot_id: boot.id.clone(),
                });
                row.renewed = Some((until, until.as_millisecond() - now.as_millisecond()));
            }
        }
        Ok(())
    }

    fn renew(&mut self, ends: &[(&ConversationId, Timestamp)]) -> Result<Vec<ConversationId>> {
        let tables = self.at()?;
        let mut renewed = Vec::new();
        for (id, end) in ends {
            let row = tables.conversations.get_mut(*id);
            if let Some(row) = row.filter(|row| row.closed_at.is_none() && row.expires_at < *end) {
                row.expires_at = *end;
                renewed.push((*id).clone());
            }
        }
        Ok(renewed)
    }

    fn last_beats(&mut self, daemon: &DaemonRef, sessions: &[SessionKey]) -> Result<Vec<LastBeat>> {
        let tables = self.at()?;
        let beats = sessions.iter().enumerate().filter_map(|(place, session)| {
            let beat = tables.beats.get(session)?;
            let conversation = tables.conversations.get(&session.conversation)?;
            let mine = beat.daemon.as_ref().is_none_or(|id| *id == daemon.id);
            let open = conversation.closed_at.is_none() && beat.exited_at.is_none();
            (mine && open).then(|| LastBeat {
                place,
                beat: beat.at.1,
                end: conversation.expires_at,
                written: timestamp::to_text(conversation.expires_at),
            })
        });
        Ok(beats.collect())
    }

    fn move_end(&mut self, id: &ConversationId, written: &str, until: Timestamp) -> Result<bool> {
        let row = self.at()?.conversations.get_mut(id);
        let Some(row) = row.filter(|row| timestamp::to_text(row.expires_at) == written) else {
            return Ok(false);
        };
        row.expires_at = until;
        Ok(true)
    }
}
