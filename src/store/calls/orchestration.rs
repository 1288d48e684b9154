//! Who acts, what is seen, what is decided. A write that carries a [`Leader`]
//! fails with [`crate::store::StoreError::NotLeading`] if somebody else acts by
//! now.

use std::time::Duration;

use jiff::Timestamp;

use crate::clock;
use crate::model::SessionKey;
#[cfg(doc)]
use crate::store::StoreError;
use crate::store::ops::{prune, seen, settings};
use crate::store::unmoved::Orchestration as _;
use crate::store::{
    DaemonRef, Finding, Fleet, Leader, Lease, Move, Moved, Pruned, Result, Retention, Store,
    Waiting, Wanted,
};

impl Store {
    /// The lease as it stands.
    pub async fn lease(&self) -> Result<Option<Lease>> {
        self.unmoved()?.lease().await
    }

    /// Takes the lease, if it is still the one that was seen. `None` if
    /// somebody was faster.
    pub async fn take_lead(
        &self,
        daemon: &DaemonRef,
        seen: Option<&Lease>,
        ttl: Duration,
        now: Timestamp,
    ) -> Result<Option<Leader>> {
        self.unmoved()?.take_lead(daemon, seen, ttl, now).await
    }

    /// Says that this one still acts.
    ///
    /// # Errors
    /// [`StoreError::NotLeading`].
    pub async fn renew_lead(&self, leader: &Leader) -> Result<()> {
        self.unmoved()?.renew_lead(leader).await
    }

    /// Gives the lease back, so that nobody need wait for its end.
    pub async fn give_up_lead(&self, leader: &Leader) -> Result<()> {
        self.unmoved()?.give_up_lead(leader).await
    }

    /// Sessions, and where the next look begins.
    pub async fn fleet(&self, wanted: Wanted<'_>, now: Timestamp) -> Result<Fleet> {
        let wanted = wanted.into_owned();
        self.reads
            .read("looking at the fleet", move |rows| {
                seen::fleet(rows, &wanted, now)
            })
            .await
    }

    /// Writes findings; for each, whether what it rests on still held. With it
    /// go the alert, the notice to the orchestrator's side about a session
    /// that is gone, and the word to one that returned. A loss is not written by
    /// a call that had to wait for the store: others may have waited with a sign
    /// of life.
    ///
    /// # Errors
    /// [`StoreError::NotLeading`].
    pub async fn settle(
        &self,
        leader: &Leader,
        findings: &[Finding],
        now: Timestamp,
    ) -> Result<Vec<bool>> {
        self.unmoved()?.settle(leader, findings, now).await
    }

    /// Tasks that wait or whose owner is gone, oldest first; `stalled` are
    /// owners whose tasks may be taken although they live.
    pub async fn waiting_tasks(
        &self,
        stalled: &[SessionKey],
        losses_within: Duration,
        now: Timestamp,
    ) -> Result<Vec<Waiting>> {
        self.unmoved()?
            .waiting_tasks(stalled, losses_within, now)
            .await
    }

    /// Makes moves; one that the world has overtaken is void, the others hold.
    ///
    /// # Errors
    /// [`StoreError::NotLeading`].
    pub async fn move_tasks(
        &self,
        leader: &Leader,
        moves: &[Move],
        now: Timestamp,
    ) -> Result<Vec<Moved>> {
        self.unmoved()?.move_tasks(leader, moves, now).await
    }

    /// How many tasks a session may have that says nothing of its own, and how many
    /// owners a task may lose. An
    /// orchestrator that acts names its lease.
    ///
    /// # Errors
    /// [`StoreError::NotLeading`].
    pub async fn set_capacity(
        &self,
        leader: Option<&Leader>,
        capacity: u32,
        max_losses: u32,
    ) -> Result<()> {
        let settings = [
            ("task.capacity", capacity.to_string()),
            ("task.max_losses", max_losses.to_string()),
        ];
        let leader = leader.cloned();
        self.full
            .write("setting the capacity", move |transaction| {
                settings::set(transaction, leader.as_ref(), &settings)
            })
            .await
    }

    /// How many tasks this session may have; `None` takes the word back.
    ///
    /// # Errors
    /// [`StoreError::NoConversation`].
    pub async fn set_session_capacity(
        &self,
        session: &SessionKey,
        capacity: Option<u32>,
    ) -> Result<()> {
        let (session, now) = (session.clone(), clock::now());
        self.full
            .write("setting a capacity", move |transaction| {
                settings::order_capacity(transaction, &session, capacity, now)
            })
            .await
    }

    /// Takes away what ended long ago, a part at a time; returns what it took,
    /// nothing if there is nothing left. An orchestrator that acts names its
    /// lease.
    ///
    /// # Errors
    /// [`StoreError::NotLeading`].
    pub async fn prune(
        &self,
        leader: Option<&Leader>,
        retention: &Retention,
        now: Timestamp,
    ) -> Result<Pruned> {
        let (leader, retention) = (leader.cloned(), *retention);
        self.normal
            .write("taking away what ended", move |transaction| {
                prune::part(transaction, leader.as_ref(), &retention, now)
            })
            .await
    }
}
