//! Messages, and what belongs to them.

use jiff::Timestamp;

use super::MemoryRows;
use crate::model::health::Turn;
use crate::model::message::{ClientMessageId, Message, Sender};
use crate::model::wake::Mail;
use crate::model::{MessageId, SessionKey, TaskId};
use crate::store::memory::tables::{MessageRow, Receipt};
use crate::store::rows::{Clean, ClientMessage, Handed, MessageRows, Page};
use crate::store::{FetchId, Result};

impl MessageRows for MemoryRows {
    fn sent_at(
        &mut self,
        from: &SessionKey,
        now: Timestamp,
        skip: u32,
        count: u32,
    ) -> Result<Vec<Option<Timestamp>>> {
        let mut sent: Vec<_> = self.at()?.sent_by(from).map(|m| m.sent_at).collect();
        sent.retain(|at| at.is_some_and(|at| at <= now));
        sent.sort_unstable_by(|one, other| other.cmp(one));
        let (skip, count) = (usize::try_from(skip), usize::try_from(count));
        let sent = sent.into_iter().skip(skip.unwrap_or(usize::MAX));
        Ok(sent.take(count.unwrap_or(usize::MAX)).collect())
    }

    fn client_message(
        &mut self,
        from: &SessionKey,
        id: &ClientMessageId,
    ) -> Result<Option<ClientMessage>> {
        let tables = self.at()?;
        let key = (from.clone(), id.as_str().to_owned());
        Ok(tables.client_messages.get(&key).map(|&id| ClientMessage {
            id,
            text: tables
                .messages
                .get(&id)
                .map(|row| row.message.message.clone()),
        }))
    }

    fn name_message(
        &mut self,
        from: &SessionKey,
        id: &ClientMessageId,
        message: MessageId,
    ) -> Result<()> {
        let key = (from.clone(), id.as_str().to_owned());
        self.at()?.client_messages.insert(key, message);
        Ok(())
    }

    fn insert_messages(
        &mut self,
        from: &SessionKey,
        messages: &[Clean],
        now: Timestamp,
    ) -> Result<Vec<MessageId>> {
        let tables = self.at()?;
        let mut ids = Vec::with_capacity(messages.len());
        for clean in messages {
            let id = tables.next_message();
            let message = Message {
                id,
                conversation: from.conversation.clone(),
                from: Sender::Session(from.side),
                to: from.side.other(),
                message: clean.text.clone(),
                metadata: serde_json::from_str(&clean.metadata).unwrap_or_default(),
                sent_at: Some(now),
            };
            let row = MessageRow {
                message,
                read: false,
            };
            tables.messages.insert(id, row);
            ids.push(id);
        }
        Ok(ids)
    }

    fn link_message(&mut self, task: TaskId, message: MessageId) -> Result<()> {
        self.at()?.links.insert(message, task);
        Ok(())
    }

    fn owed(
        &mut self,
        session: &SessionKey,
        after: Option<MessageId>,
        mut page: Page<'_>,
    ) -> Result<Vec<Message>> {
        let owed = self.at()?.owed(session);
        for message in owed.filter(|message| after.is_none_or(|after| message.id > after)) {
            if page.wants(message.id) && page.take(message.clone()).is_break() {
                break;
            }
        }
        Ok(page.into_messages())
    }

    fn mail(&mut self, sessions: &[SessionKey]) -> Result<Vec<Mail>> {
        let tables = self.at()?;
        let mail = sessions.iter().map(|session| {
            let row = tables.sessions.get(session);
            let owed: Vec<MessageId> = tables.owed(session).map(|m| m.id).collect();
            Mail {
                oldest_unread: owed.first().copied(),
                newest_unread: owed.last().copied(),
                unread: u64::try_from(owed.len()).unwrap_or(u64::MAX),
                acted_at: row.and_then(|row| row.acted),
                in_turn: row.is_some_and(|row| row.turn == Some(Turn::Inside)),
            }
        });
        Ok(mail.collect())
    }

    fn handed(
        &mut self,
        session: &SessionKey,
        from: Timestamp,
        to: Timestamp,
    ) -> Result<Vec<Handed>> {
        let receipts = self.at()?.receipts.iter();
        let open = receipts.filter(|(_, receipt)| {
            receipt.session == *session
                && receipt.written.is_none()
                && receipt.acked.is_none()
                && (from..=to).contains(&receipt.fetched)
        });
        let handed = open.map(|(id, receipt)| Handed {
            message: *id,
            fetch: receipt.fetch.clone(),
            at: receipt.fetched,
        });
        Ok(handed.collect())
    }

    fn hand_out(
        &mut self,
        session: &SessionKey,
        messages: &[MessageId],
        fetch: &FetchId,
        now: Timestamp,
    ) -> Result<()> {
        let tables = self.at()?;
        for id in messages {
            if let Some(row) = tables.messages.get_mut(id) {
                row.read = true;
            }
            let receipt = Receipt {
                session: session.clone(),
                fetch: fetch.clone(),
                fetched: now,
                written: None,
                acked: None,
            };
            tables.receipts.insert(*id, receipt);
        }
        Ok(())
    }

    fn confirm(&mut self, session: &SessionKey, fetch: &FetchId, now: Timestamp) -> Result<()> {
        let receipts = self.at()?.receipts.values_mut();
        let own = |receipt: &&mut Receipt| receipt.fetch == *fetch && receipt.session == *session;
        for receipt in receipts.filter(own) {
            receipt.written.get_or_insert(now);
        }
        Ok(())
    }

    fn acknowledge_confirmed(&mut self, session: &SessionKey, now: Timestamp) -> Result<()> {
        let receipts = self.at()?.receipts.values_mut();
        let confirmed = receipts.filter(|r| r.session == *session && r.written.is_some());
        for receipt in confirmed {
            receipt.acked.get_or_insert(now);
        }
        Ok(())
    }

    fn mark_read(&mut self, session: &SessionKey, message: MessageId) -> Result<bool> {
        let row = self.at()?.messages.get_mut(&message);
        let mine = |row: &&mut MessageRow| {
            row.message.conversation == session.conversation && row.message.to == session.side
        };
        let Some(row) = row.filter(mine) else {
            return Ok(false);
        };
        row.read = true;
        Ok(true)
    }

    fn acknowledge(
        &mut self,
        session: &SessionKey,
        message: MessageId,
        now: Timestamp,
    ) -> Result<bool> {
        let receipt = self.at()?.receipts.entry(message).or_insert(Receipt {
            session: session.clone(),
            fetch: FetchId("ack".into()),
            fetched: now,
            written: None,
            acked: None,
        });
        let is_new = receipt.acked.is_none();
        receipt.written.get_or_insert(now);
        receipt.acked.get_or_insert(now);
        Ok(is_new)
    }
}
