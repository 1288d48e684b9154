//! The tables themselves.

use std::collections::{BTreeMap, HashMap};
use std::sync::LazyLock;
use std::time::Duration;

use jiff::Timestamp;

use crate::model::health::Turn;
use crate::model::message::{ClientMessageId, Message, Sender};
use crate::model::session::Status;
use crate::model::standing::Standing;
use crate::model::wake::WakeOutcome;
use crate::model::{ConversationId, Label, MessageId, SessionKey, Side, StoreName, TaskId};
use crate::store::rows::{Audit, EndSet, Party};
use crate::store::{AlertRow, Control, FetchId, Lease, Registration, Task, TaskEvent};

use super::beats::{BeatRow, Daemon};

/// What errors call the store.
pub(super) static NAME: LazyLock<StoreName> = LazyLock::new(|| "memory".into());

#[derive(Debug, Clone, Default)]
pub(super) struct Tables {
    pub(super) conversations: BTreeMap<ConversationId, ConversationRow>,
    pub(super) messages: BTreeMap<MessageId, MessageRow>,
    pub(super) receipts: BTreeMap<MessageId, Receipt>,
    pub(super) client_messages: HashMap<(SessionKey, String), MessageId>,
    pub(super) tasks: BTreeMap<TaskId, TaskRow>,
    pub(super) history: Vec<EventRow>,
    /// The task that a message is about.
    pub(super) links: BTreeMap<MessageId, TaskId>,
    pub(super) sessions: HashMap<SessionKey, Session>,
    pub(super) audit: BTreeMap<i64, (Audit, Timestamp)>,
    pub(super) daemons: BTreeMap<String, Daemon>,
    pub(super) beats: HashMap<SessionKey, BeatRow>,
    /// When each daemon last said that it runs.
    pub(super) signs: HashMap<String, Timestamp>,
    /// Signs of life where the Python bridge would read them.
    pub(super) mirrored: HashMap<SessionKey, Timestamp>,
    /// What agents say of themselves, in the same place.
    pub(super) said: HashMap<SessionKey, Status>,
    /// When old rows were last deleted.
    pub(super) pruned: Option<Timestamp>,
    pub(super) alerts: Vec<AlertRow>,
    pub(super) controls: Vec<Control>,
    pub(super) lease: Option<Lease>,
    pub(super) wakes: BTreeMap<i64, Wake>,
    pub(super) settings: BTreeMap<String, String>,
    /// Counts that there is work for an orchestrator.
    pub(super) work: u64,
    pub(super) access: u64,
    pub(super) agents: u64,
    pub(super) owed_again: u64,
    /// Which clients act for sessions.
    pub(super) registrations: HashMap<SessionKey, Registration>,
}

#[derive(Debug, Clone)]
pub(super) struct ConversationRow {
    pub(super) tokens: [String; 2],
    pub(super) roles: [String; 2],
    pub(super) label: Option<Label>,
    pub(super) created_at: Timestamp,
    pub(super) expires_at: Timestamp,
    pub(super) closed_at: Option<Timestamp>,
    pub(super) set: Option<EndSet>,
    /// The end that a renewal set, and how many milliseconds ahead.
    pub(super) renewed: Option<(Timestamp, i64)>,
    /// Grows from one row to the next.
    pub(super) place: u64,
}

#[derive(Debug, Clone)]
pub(super) struct MessageRow {
    pub(super) message: Message,
    pub(super) read: bool,
}

#[derive(Debug, Clone)]
pub(super) struct Receipt {
    pub(super) session: SessionKey,
    pub(super) fetch: FetchId,
    pub(super) fetched: Timestamp,
    pub(super) written: Option<Timestamp>,
    pub(super) acked: Option<Timestamp>,
}

#[derive(Debug, Clone)]
pub(super) struct TaskRow {
    pub(super) task: Task,
    pub(super) client_id: Option<ClientMessageId>,
    /// The name of the claim that gave it to its owner.
    pub(super) claim_id: Option<ClientMessageId>,
}

/// A line of a task's history; its session is named when it is shown.
#[derive(Debug, Clone)]
pub(super) struct EventRow {
    pub(super) task: TaskId,
    pub(super) session: Option<SessionKey>,
    pub(super) counts: bool,
    pub(super) event: TaskEvent,
}

#[derive(Debug, Clone)]
pub(super) struct Wake {
    pub(super) session: SessionKey,
    pub(super) mark: MessageId,
    pub(super) claim: i64,
    pub(super) claimant: String,
    pub(super) adapter: String,
    pub(super) boot_id: String,
    pub(super) lease_until: Duration,
    pub(super) ended: Option<Timestamp>,
    pub(super) outcome: Option<WakeOutcome>,
    pub(super) reason: Option<String>,
}

#[derive(Debug, Clone, Default)]
pub(super) struct Session {
    pub(super) calls: u64,
    pub(super) acted: Option<Timestamp>,
    pub(super) first_fetch: Option<Timestamp>,
    pub(super) change: u64,
    pub(super) capacity: Option<u32>,
    pub(super) standing: Option<Standing>,
    pub(super) standing_seq: Option<i64>,
    pub(super) standing_since: Option<Timestamp>,
    pub(super) crashes: i64,
    /// How often it said that it is busy, for how long the last time, and until when.
    pub(super) busy: Option<(i64, Duration, Timestamp)>,
    pub(super) turn: Option<Turn>,
    /// On which boot its client said something of its turns last, and when.
    pub(super) turn_said: Option<(String, Duration)>,
}

impl Tables {
    pub(super) fn label(&self, id: &ConversationId) -> Option<Label> {
        self.conversations.get(id)?.label.clone()
    }

    /// The id of the next message.
    pub(super) fn next_message(&self) -> MessageId {
        let newest = self.messages.keys().next_back();
        MessageId(newest.map_or(1, |id| id.0 + 1))
    }

    /// Above every change that a session has.
    pub(super) fn next_change(&self) -> u64 {
        let changes = self.sessions.values().map(|row| row.change);
        changes.max().unwrap_or(0) + 1
    }

    pub(super) fn texts(&self) -> Vec<String> {
        let texts = self.messages.values();
        texts.map(|row| row.message.message.clone()).collect()
    }

    pub(super) fn audited(&self, action: &str) -> usize {
        let rows = self.audit.values();
        rows.filter(|(row, _)| row.action == action).count()
    }

    /// The messages for a session that are unread, or were handed out by a fetch
    /// that was not confirmed, oldest first.
    pub(super) fn owed(&self, session: &SessionKey) -> impl Iterator<Item = &Message> {
        self.messages.iter().filter_map(move |(id, row)| {
            let message = &row.message;
            let mine = message.conversation == session.conversation && message.to == session.side;
            let open = match self.receipts.get(id) {
                Some(receipt) => receipt.acked.is_none() && receipt.written.is_none(),
                None => !row.read,
            };
            (mine && open).then_some(message)
        })
    }

    pub(super) fn sent_by<'a>(&'a self, from: &SessionKey) -> impl Iterator<Item = &'a Message> {
        let (conversation, sender) = (from.conversation.clone(), Sender::Session(from.side));
        let messages = self.messages.values().map(|row| &row.message);
        messages.filter(move |m| m.conversation == conversation && m.from == sender)
    }

    pub(super) fn party(&self, session: &SessionKey) -> Option<Party> {
        let row = self.conversations.get(&session.conversation)?;
        let (own, other) = match session.side {
            Side::A => (0, 1),
            Side::B => (1, 0),
        };
        Some(Party {
            token: row.tokens[own].clone(),
            role: row.roles[own].clone(),
            partner_role: row.roles[other].clone(),
            label: row.label.clone(),
            expires_at: Some(row.expires_at),
            closed: row.closed_at.is_some(),
            set: row.set.clone(),
        })
    }
}
