//! What keeps a store's data, and how it is watched.

use std::collections::HashSet;
use std::thread::JoinHandle;

use async_trait::async_trait;

#[cfg(doc)]
use super::StoreError;
use super::{Arrival, Result, WriteHealth};
use crate::doorbell::{Doorbell, Mode};
use crate::model::message::Message;
use crate::model::{SessionKey, StoreName};

/// What keeps the data, as a thing that can break: what an engine alone can say.
#[async_trait]
pub trait Backend: Send + Sync + std::fmt::Debug {
    /// Where it is, as people name it.
    fn location(&self) -> &StoreName;

    /// Starts watching for commits by anyone. `on_ring` runs on a thread of
    /// its own, with a reader that sees every commit the ring was about.
    ///
    /// # Errors
    /// If the store is gone, or nothing more can be watched.
    fn doorbell(&self, mode: Mode, on_ring: OnRing) -> Result<Doorbell>;

    /// Reads anew what stands outside the data and decides whether it is used.
    fn renew(&self);

    /// Size of the log, in bytes; 0 if there is none.
    fn log_bytes(&self) -> u64;

    /// The state of this process's own writes; asks no store.
    fn writes(&self) -> WriteHealth;

    /// Whether nothing was counted for so long that the store is to count on.
    fn stands_still(&self) -> bool;

    /// Notes how far the store has counted: by that an older copy is known that is
    /// put in its place.
    ///
    /// # Errors
    /// [`StoreError::Mixed`] of such a copy.
    async fn note_count(&self) -> Result<()>;

    /// See [`super::Store::committed_at`].
    fn committed_at(&self) -> u64;

    /// Closes all connections, once the threads of the executors have ended.
    async fn close(&self, threads: Vec<JoinHandle<()>>);
}

/// Called on the doorbell's thread with a reader of what is new.
pub type OnRing = Box<dyn FnMut(&mut dyn Look) + Send>;

/// Reads what came since the last look, on the doorbell's own thread.
pub trait Look {
    /// Where messages are that this reader has not returned yet: recipient and id, in
    /// commit order, the reader's own start excluded; also those that another reader
    /// has fetched meanwhile. Those of `whole` come with all of the message.
    ///
    /// # Errors
    /// If the store failed; the next look covers the same messages.
    fn arrivals(&mut self, whole: &HashSet<SessionKey>) -> Result<Vec<Arrival>>;

    /// Like [`Look::arrivals`] with the messages whole, for these sessions
    /// only. Both move the same mark: a reader uses one or the other.
    ///
    /// # Errors
    /// If the store failed; the next look covers the same messages.
    fn messages(&mut self, of: &HashSet<SessionKey>) -> Result<Vec<Message>>;

    /// What was signalled since the last time this was asked.
    ///
    /// # Errors
    /// If the store failed; the next look answers for the same time.
    fn signalled(&mut self) -> Result<Signalled>;
}

/// Something other than mail that those who look want to know of at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// There is work for an orchestrator: a task, an exit, something that an operator
    /// said.
    Work,
    /// Who may act for a session: a conversation was closed, a token was replaced.
    Access,
    /// Which clients act for sessions: one registered.
    Agents,
    /// Mail that an agent had read is owed to its successor.
    Owed,
}

/// Which of them came.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Signalled {
    /// [`Signal::Work`].
    pub work: bool,
    /// [`Signal::Access`].
    pub access: bool,
    /// [`Signal::Agents`].
    pub agents: bool,
    /// [`Signal::Owed`].
    pub owed: bool,
}
