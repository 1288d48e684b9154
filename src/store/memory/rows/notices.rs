//! Messages of the system.

use jiff::Timestamp;
use serde_json::Value;

use super::MemoryRows;
use crate::model::message::{Message, Sender};
use crate::model::task::TaskId;
use crate::model::{MessageId, SessionKey};
use crate::store::memory::tables::{MessageRow, Receipt, Tables};
use crate::store::rows::{NoticeRows, OwedMessage};
use crate::store::{FetchId, Result};

/// What a message of the system is about.
fn event(message: &Message) -> &str {
    let event = (message.from == Sender::System).then(|| message.metadata["event"].as_str());
    event.flatten().unwrap_or_default()
}

fn is_about(message: &Message, task: TaskId) -> bool {
    match &message.metadata["task_id"] {
        Value::String(id) => *id == task.to_string(),
        id => id.as_i64() == Some(task.0),
    }
}

impl Tables {
    /// The messages of the system to a session that are linked to a task.
    fn linked<'a>(&'a self, task: TaskId, to: &'a SessionKey) -> impl Iterator<Item = &'a Message> {
        let links = self.links.iter().filter(move |(_, of)| **of == task);
        let messages = links.filter_map(|(id, _)| self.messages.get(id));
        let messages = messages.map(|row| &row.message);
        messages.filter(move |m| m.conversation == to.conversation && m.to == to.side)
    }
}

impl NoticeRows for MemoryRows {
    fn insert_notice(
        &mut self,
        to: &SessionKey,
        text: &str,
        metadata: &Value,
        now: Timestamp,
    ) -> Result<Option<MessageId>> {
        let tables = self.at()?;
        if !tables.conversations.contains_key(&to.conversation) {
            return Ok(None);
        }
        let id = tables.next_message();
        let message = Message {
            id,
            conversation: to.conversation.clone(),
            from: Sender::System,
            to: to.side,
            message: text.to_owned(),
            metadata: metadata.clone(),
            sent_at: Some(now),
        };
        let row = MessageRow {
            message,
            read: false,
        };
        tables.messages.insert(id, row);
        Ok(Some(id))
    }

    fn owed_notices(
        &mut self,
        task: TaskId,
        to: &SessionKey,
        events: &[&str],
    ) -> Result<Vec<MessageId>> {
        let tables = self.at()?;
        let owed: Vec<MessageId> = tables.owed(to).map(|message| message.id).collect();
        let notices = tables.linked(task, to);
        let notices = notices.filter(|m| events.contains(&event(m)) && owed.contains(&m.id));
        Ok(notices.map(|message| message.id).collect())
    }

    fn unread_notices(&mut self, to: &SessionKey, wanted: &str) -> Result<Vec<MessageId>> {
        let rows = self.at()?.messages.values();
        let unread = rows.filter(|row| {
            let message = &row.message;
            !row.read
                && message.conversation == to.conversation
                && message.to == to.side
                && event(message) == wanted
        });
        Ok(unread.map(|row| row.message.id).collect())
    }

    fn notices_since(
        &mut self,
        task: TaskId,
        to: &SessionKey,
        wanted: &str,
        since: Timestamp,
    ) -> Result<u64> {
        let notices = self.at()?.linked(task, to);
        let later =
            notices.filter(|m| event(m) == wanted && m.sent_at.is_some_and(|at| at > since));
        Ok(u64::try_from(later.count()).unwrap_or(u64::MAX))
    }

    fn owed_about(
        &mut self,
        task: TaskId,
        session: &SessionKey,
        but_events: &[&str],
    ) -> Result<Vec<OwedMessage>> {
        let tables = self.at()?;
        let about = |message: &&Message| {
            let linked = tables.links.get(&message.id) == Some(&task);
            (linked || is_about(message, task)) && !but_events.contains(&event(message))
        };
        let owed = tables.owed(session).filter(about).map(|message| {
            let from = match message.from {
                Sender::Session(side) => Some(side),
                _ => None,
            };
            OwedMessage {
                id: message.id,
                from,
                text: message.message.clone(),
            }
        });
        Ok(owed.collect())
    }

    fn owed_ids(&mut self, session: &SessionKey) -> Result<Vec<MessageId>> {
        Ok(self.at()?.owed(session).map(|message| message.id).collect())
    }

    fn withdraw_messages(
        &mut self,
        session: &SessionKey,
        messages: &[MessageId],
        why: &str,
        now: Timestamp,
    ) -> Result<()> {
        let tables = self.at()?;
        for id in messages {
            if let Some(row) = tables.messages.get_mut(id) {
                row.read = true;
            }
            let receipt = tables.receipts.entry(*id).or_insert_with(|| Receipt {
                session: session.clone(),
                fetch: FetchId(why.to_owned()),
                fetched: now,
                written: Some(now),
                acked: None,
            });
            why.clone_into(&mut receipt.fetch.0);
            receipt.acked = Some(now);
        }
        Ok(())
    }

    fn owe_again(&mut self, session: &SessionKey) -> Result<bool> {
        let receipts = self.at()?.receipts.values_mut();
        let mut any = false;
        for receipt in receipts.filter(|r| r.session == *session && r.acked.is_none()) {
            any |= receipt.written.take().is_some();
        }
        Ok(any)
    }
}
