//! The store: conversations, messages, heartbeats and wakes behind one
//! interface, and the only module that speaks SQL.
//!
//! Every call is one transaction. `now` is wall time, `boot` is the boot
//! clock's: a store reads no clock. A call that changes rows checks how many
//! it changed; zero is an error with a name or a typed "lost the race", never
//! a success.

pub mod accepted;
mod alerts;
mod error;
pub mod executor;
mod fetches;
mod fleet;
pub mod locate;
pub mod memory;
mod ops;
pub mod rows;
pub mod sqlite;
mod tasks;
mod traces;
mod types;
mod used_up;
mod writes;

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;

pub use alerts::*;
pub use error::{ErrorClass, StoreError};
pub use fleet::*;
pub use tasks::*;
pub use types::*;
pub use used_up::UsedUp;
pub use writes::Writes;

use crate::doorbell::{Doorbell, Mode};
use crate::model::health::Turn;
use crate::model::message::{Draft, Message};
pub use crate::model::process::{Boot, Process, ProcessId};
use crate::model::rate::RateLimits;
pub use crate::model::session::Caller;
use crate::model::session::{Conversation, SessionView};
use crate::model::token::{Token, TokenStorage};
use crate::model::wake::Mail;
use crate::model::{ConversationId, Label, MessageId, SessionKey};

/// How much a commit must survive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// A power failure: messages, and all that a caller hears is stored.
    Full,
    /// A crash of the process: heartbeats, activity, wakes.
    Normal,
}

/// What a store call returns.
pub type Result<T> = std::result::Result<T, StoreError>;

/// A store that may be shared by all duties of a process.
pub type SharedStore = Arc<dyn Store>;

/// The operations of the product on its data. Two backends must answer alike:
/// the conformance suite (`tests/store_conformance.rs`) is the specification.
pub trait Store:
    Conversations + Messages + Heartbeats + Wakes + Tasks + Orchestration + Alerts + Reports + Upkeep
{
}

impl<T> Store for T where
    T: Conversations
        + Messages
        + Heartbeats
        + Wakes
        + Tasks
        + Orchestration
        + Alerts
        + Reports
        + Upkeep
{
}

/// Channels, and who may use them.
#[async_trait]
pub trait Conversations: Send + Sync {
    /// Makes conversations, all of them or none. Returns how their tokens are
    /// kept.
    ///
    /// # Errors
    /// [`StoreError::LabelTaken`].
    async fn create_conversations(
        &self,
        new: &[NewConversation],
        now: Timestamp,
    ) -> Result<TokenStorage>;

    /// Gives an open conversation a label in the place of the one that it has.
    ///
    /// # Errors
    /// [`StoreError::NoConversation`], [`StoreError::Closed`],
    /// [`StoreError::LabelTaken`].
    async fn label_conversation(
        &self,
        id: &ConversationId,
        label: &Label,
        now: Timestamp,
    ) -> Result<()>;

    /// The tokens of both sides, if the store keeps them in the clear.
    ///
    /// # Errors
    /// [`StoreError::NoConversation`], [`StoreError::Closed`].
    async fn plain_tokens(&self, id: &ConversationId) -> Result<Option<[Token; 2]>>;

    /// All conversations, oldest first.
    async fn conversations(&self) -> Result<Vec<Conversation>>;

    /// One conversation, by id.
    ///
    /// # Errors
    /// [`StoreError::NoConversation`].
    async fn conversation(&self, id: &ConversationId) -> Result<Conversation>;

    /// Moves the end of a conversation to `until`, never to an earlier time.
    /// Returns the end that now holds.
    ///
    /// # Errors
    /// [`StoreError::NoConversation`], [`StoreError::Closed`].
    async fn renew_conversation(
        &self,
        id: &ConversationId,
        until: Timestamp,
        now: Timestamp,
    ) -> Result<Timestamp>;

    /// Ends a conversation for good, for every reader of the shared tables.
    ///
    /// # Errors
    /// [`StoreError::NoConversation`], [`StoreError::Closed`].
    async fn close_conversation(&self, id: &ConversationId, now: Timestamp) -> Result<()>;

    /// Verifies many callers at once; the answers stand in the order of the
    /// question. Counts as nobody's activity.
    ///
    /// # Errors
    /// Only if the store itself failed.
    async fn verify(&self, callers: &[Caller], now: Timestamp) -> Result<Vec<Result<Verified>>>;
}

/// Sending and reading.
#[async_trait]
pub trait Messages: Send + Sync {
    /// Stores one caller's messages for its partner, in order, all or none,
    /// after redaction; rings the doorbell.
    ///
    /// # Errors
    /// Wrong, missing or expired credentials; a broken limit;
    /// [`TaskError::NoTask`].
    async fn send(&self, from: &Caller, drafts: &[Draft], now: Timestamp) -> Result<Vec<Sent>>;

    /// Hands a session its unread messages, oldest first, and marks them read.
    /// Acknowledges what an earlier fetch handed out, if that fetch's reply
    /// was written; what was fetched by a call that died is handed out again.
    ///
    /// # Errors
    /// Wrong, missing or expired credentials.
    async fn fetch(&self, caller: &Caller, limit: u32, now: Timestamp) -> Result<Fetched>;

    /// Like [`Messages::fetch`], but marks nothing; only what came behind the
    /// message `after`, if one is named.
    ///
    /// # Errors
    /// Wrong, missing or expired credentials.
    async fn peek(
        &self,
        caller: &Caller,
        after: Option<MessageId>,
        limit: u32,
        now: Timestamp,
    ) -> Result<Vec<Message>>;

    /// The reply to a fetch reached its reader.
    async fn fetch_written(&self, fetch: &FetchId, now: Timestamp) -> Result<()>;

    /// Acknowledges messages by id; returns how many were not acknowledged
    /// before.
    ///
    /// # Errors
    /// [`StoreError::NoMessage`] if one is not for this session; then none is.
    async fn acknowledge(
        &self,
        caller: &Caller,
        messages: &[MessageId],
        now: Timestamp,
    ) -> Result<u64>;

    /// Unread mail of many sessions, in the order of the question.
    async fn mail(&self, sessions: &[SessionKey]) -> Result<Vec<Mail>>;
}

/// Who is alive.
#[async_trait]
pub trait Heartbeats: Send + Sync {
    /// What the rows tell of the time. Asked before a daemon writes its own first
    /// row, which proves nothing.
    async fn witness(&self) -> Result<Witness>;

    /// Takes back the renewals of daemons whose clock was far ahead: an end that
    /// one wrote and that none could write at `now` becomes the one that it could.
    /// Returns how many conversations that were.
    async fn mend_renewals(&self, now: Timestamp) -> Result<u64>;

    /// Enters a daemon, with an epoch above all that it had before, and ends
    /// the wakes that its earlier life left open: it died in the middle of
    /// them, and must not wait for its own lease.
    async fn register_daemon(&self, daemon: &DaemonInfo, now: Timestamp) -> Result<DaemonRef>;

    /// Another process that registered under a daemon's name after it, and has not
    /// stopped: for a daemon that runs, one too many.
    async fn namesake(&self, daemon: &DaemonRef) -> Result<Option<Namesake>>;

    /// One heartbeat for many sessions, in one statement. A session that
    /// another live daemon owns is left alone and named in the report. Where the
    /// heartbeat names another process than the last one, or follows an end that
    /// was noted, the agent has a successor: the end is noted, the unacknowledged
    /// mail is handed out again, and the tasks are given anew, in one transaction.
    async fn beat(&self, round: &BeatRound<'_>) -> Result<BeatReport>;

    /// The processes that the last heartbeats named, in the order of the
    /// question.
    async fn processes(&self, sessions: &[SessionKey]) -> Result<Vec<Option<Process>>>;

    /// Those of the sessions whose agent's end was noted, and for whom nobody
    /// beat since.
    async fn ended(&self, sessions: &[SessionKey]) -> Result<HashSet<SessionKey>>;

    /// Renews the expired conversations of these sessions, as far as they were
    /// kept alive to their end: the last heartbeat before it is this daemon's,
    /// of this life or an earlier one, or a call of the agent itself while no
    /// daemon was there, and no exit was noted since. Returns the sessions of
    /// those that were renewed. What was closed, what another daemon kept and
    /// what expired before anybody beat for it stays as it is.
    async fn renew_expired(
        &self,
        daemon: &DaemonRef,
        sessions: &[SessionKey],
        until: Timestamp,
        now: Timestamp,
    ) -> Result<Vec<SessionKey>>;

    /// Notes that a session's agent process ended. `false` if this daemon does
    /// not own the session any more.
    async fn record_exit(
        &self,
        session: &SessionKey,
        daemon: &DaemonRef,
        now: Timestamp,
    ) -> Result<bool>;

    /// Notes that this process of a session's agent ended while its daemon was
    /// down. It does not matter who wrote the heartbeat that names it: an end that is certain is
    /// noted by any daemon. `false` if the heartbeat names another process, or a
    /// later life of the same daemon wrote it.
    async fn record_missed_exit(
        &self,
        session: &SessionKey,
        daemon: &DaemonRef,
        process: &Process,
        now: Timestamp,
    ) -> Result<bool>;

    /// A clean stop: lets go of sessions without calling them dead. With no
    /// sessions named, of all of them, and notes the daemon as stopped.
    async fn release(
        &self,
        daemon: &DaemonRef,
        sessions: Option<&[SessionKey]>,
        now: Timestamp,
    ) -> Result<u64>;

    /// A single authenticated heartbeat by an agent or a script. With a turn,
    /// the agent's client says that one begins or ends; without, nothing is
    /// changed of what it said before, and nothing counts as the agent's doing.
    ///
    /// # Errors
    /// Wrong, missing or expired credentials.
    async fn call_in(
        &self,
        caller: &Caller,
        ttl: Duration,
        turn: Option<Turn>,
        boot: &Boot,
        now: Timestamp,
    ) -> Result<Mail>;
}

/// Who wakes whom: one at a time.
#[async_trait]
pub trait Wakes: Send + Sync {
    /// Claims the right to wake a session about its mail up to `mark`. `None`
    /// if somebody holds it and his lease is not over.
    async fn claim_wake(&self, claim: &WakeClaim<'_>, now: Timestamp) -> Result<Option<WakeRef>>;

    /// Ends a claimed wake. `false` if the claim was lost meanwhile.
    async fn end_wake(&self, wake: &WakeRef, end: &WakeEnd<'_>, now: Timestamp) -> Result<bool>;
}

/// What people ask about.
#[async_trait]
pub trait Reports: Send + Sync {
    /// Every session of every conversation that is open, and of those that
    /// ended within `since`.
    async fn sessions(&self, since: Timestamp) -> Result<Vec<SessionView>>;

    /// Daemons that are known, by name.
    async fn daemons(&self) -> Result<Vec<DaemonView>>;

    /// The newest audit rows, newest last.
    async fn audit(&self, filter: &AuditFilter) -> Result<Vec<AuditEntry>>;

    /// The limits that every sender on this store keeps.
    async fn rate_limits(&self) -> Result<RateLimits>;

    /// Sets them.
    async fn set_rate_limits(&self, limits: RateLimits) -> Result<()>;

    /// Sets how tokens of new conversations are kept.
    async fn set_token_storage(&self, storage: TokenStorage) -> Result<()>;

    /// Sets whether rows of the shared tables are deleted in an adopted store.
    async fn set_prune_foreign(&self, prune: bool) -> Result<()>;

    /// A thorough look: integrity, versions, sizes.
    async fn check(&self) -> Result<StoreCheck>;
}

/// The store as a thing that can break.
#[async_trait]
pub trait Upkeep: Send + Sync + std::fmt::Debug {
    /// Where it is, as people name it.
    fn location(&self) -> &Path;

    /// Starts watching for commits by anyone. `on_ring` runs on a thread of
    /// its own, with a reader that sees every commit the ring was about.
    ///
    /// # Errors
    /// If the store is gone, or nothing more can be watched.
    fn doorbell(&self, mode: Mode, on_ring: OnRing) -> Result<Doorbell>;

    /// A cheap look: is the file at the path still the one that is open, and
    /// does it answer?
    ///
    /// # Errors
    /// [`StoreError::Replaced`], and whatever the store says.
    async fn probe(&self) -> Result<StoreProbe>;

    /// How this process's own writes fare; asks no store.
    fn writes(&self) -> WriteHealth;

    /// Writes a little, to find out whether the store takes writes: at the
    /// durability of the writes that are in doubt, and without a wait for the
    /// disk where none is.
    ///
    /// # Errors
    /// Whatever keeps it from being written.
    async fn try_write(&self) -> Result<()>;

    /// Lets the store count on where nothing else does, and notes how far it is:
    /// by that an older copy is known that is put in its place. For a daemon, about
    /// once a second.
    ///
    /// # Errors
    /// [`StoreError::Older`] and [`StoreError::Mixed`] of such a copy.
    async fn tend(&self) -> Result<()>;

    /// Writes what it can of the log back into the database, without waiting
    /// for anyone.
    async fn checkpoint(&self) -> Result<()>;

    /// Closes all connections.
    async fn close(&self);
}

/// Called on the doorbell's thread with a reader of what is new.
pub type OnRing = Box<dyn FnMut(&mut dyn Look) + Send>;

/// Reads what came since the last look, on the doorbell's own thread.
pub trait Look {
    /// Where messages are that this reader has not returned yet: recipient and
    /// id, in commit order, the reader's own start excluded; also those that
    /// somebody has fetched meanwhile.
    ///
    /// # Errors
    /// If the store failed; the next look covers the same messages.
    fn arrivals(&mut self) -> Result<Vec<Arrival>>;

    /// Like [`Look::arrivals`] with the messages whole, for these sessions
    /// only. Both move the same mark: a reader uses one or the other.
    ///
    /// # Errors
    /// If the store failed; the next look covers the same messages.
    fn messages(&mut self, of: &HashSet<SessionKey>) -> Result<Vec<Message>>;

    /// Whether there is work for an orchestrator since the last time this was
    /// asked: a task, an exit, something that an operator said.
    ///
    /// # Errors
    /// If the store failed; the next look answers for the same time.
    fn signalled(&mut self) -> Result<bool>;
}
