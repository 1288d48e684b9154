//! Who acts, what is seen, what is decided. A write that carries a [`Leader`] fails
//! with [`crate::store::StoreError::NotLeading`] if another process leads by now.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use crate::clock;
use crate::model::SessionKey;
#[cfg(doc)]
use crate::store::StoreError;
use crate::store::ops::findings::{self, FindingOutcome};
use crate::store::ops::{leader, moves, prune, seen, settings};
use crate::store::{
    DaemonRef, Finding, Fleet, Leader, Lease, Move, Moved, Pruned, Result, Retention, Store,
    Waiting, Wanted,
};

impl Store {
    /// The lease as it stands.
    pub async fn lease(&self) -> Result<Option<Lease>> {
        self.reads
            .read("reading the lease", |rows| rows.lease())
            .await
    }

    /// Takes the lease, if it is still the one that was seen. `None` if another process
    /// was faster.
    pub async fn take_lead(
        &self,
        daemon: &DaemonRef,
        seen: Option<&Lease>,
        ttl: Duration,
        now: Timestamp,
    ) -> Result<Option<Leader>> {
        let (daemon, seen) = (daemon.clone(), seen.cloned());
        self.full
            .write("taking the lead", move |transaction| {
                leader::take(transaction, &daemon, seen.as_ref(), ttl, now)
            })
            .await
    }

    /// Says that this one still acts.
    ///
    /// # Errors
    /// [`StoreError::NotLeading`].
    pub async fn renew_lead(&self, leader: &Leader) -> Result<()> {
        let leader = leader.clone();
        self.normal
            .write("renewing the lead", move |transaction| {
                leader::renew(transaction, &leader)
            })
            .await
    }

    /// Gives the lease back, so that no process need wait for its end.
    pub async fn give_up_lead(&self, leader: &Leader) -> Result<()> {
        let leader = leader.clone();
        self.normal
            .write("giving up the lead", move |transaction| {
                leader::give_up(transaction, &leader)
            })
            .await
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
    pub async fn write_findings(
        &self,
        leader: &Leader,
        found: &[Finding],
        now: Timestamp,
    ) -> Result<Vec<bool>> {
        if found.is_empty() {
            return Ok(Vec::new());
        }
        let postponed = Arc::clone(&self.postponed);
        let (leader, judged) = (leader.clone(), found.to_vec());
        let settled = self
            .full
            .write("writing findings", move |transaction| {
                findings::write_findings(transaction, &leader, &judged, &postponed, now)
            })
            .await?;
        for (finding, settled) in found.iter().zip(&settled) {
            self.postponed
                .note(finding, *settled == FindingOutcome::Postponed);
        }
        let written = settled
            .iter()
            .map(|settled| *settled == FindingOutcome::Written);
        Ok(written.collect())
    }

    /// Tasks that wait or whose owner is gone, oldest first; `stalled` are
    /// owners whose tasks may be taken although they live.
    pub async fn waiting_tasks(
        &self,
        stalled: &[SessionKey],
        losses_within: Duration,
        now: Timestamp,
    ) -> Result<Vec<Waiting>> {
        let stalled = stalled.to_vec();
        self.reads
            .read("looking for tasks that wait", move |rows| {
                moves::waiting(rows, &stalled, losses_within, now)
            })
            .await
    }

    /// Makes moves; one that the world has overtaken is void, the others hold.
    ///
    /// # Errors
    /// [`StoreError::NotLeading`].
    pub async fn move_tasks(
        &self,
        leader: &Leader,
        planned: &[Move],
        now: Timestamp,
    ) -> Result<Vec<Moved>> {
        if planned.is_empty() {
            return Ok(Vec::new());
        }
        let (leader, planned) = (leader.clone(), planned.to_vec());
        self.full
            .write("moving tasks", move |transaction| {
                moves::make(transaction, &leader, &planned, now)
            })
            .await
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
            .write("deleting old rows", move |transaction| {
                prune::part(transaction, leader.as_ref(), &retention, now)
            })
            .await
    }
}
