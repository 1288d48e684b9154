//! Calls that still hold their own SQL; they move to `calls` and `ops`.

use std::collections::HashSet;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;

use super::*;
use crate::model::health::Turn;
use crate::model::task::ProgressNote;
use crate::model::wake::Mail;
use crate::model::{Fence, SessionKey, TaskId};

#[async_trait]
pub(crate) trait Heartbeats: Send + Sync {
    async fn register_daemon(&self, daemon: &DaemonInfo, now: Timestamp) -> Result<DaemonRef>;
    async fn namesake(&self, daemon: &DaemonRef) -> Result<Option<Namesake>>;
    async fn beat(&self, round: &BeatRound<'_>) -> Result<BeatReport>;
    async fn processes(&self, sessions: &[SessionKey]) -> Result<Vec<Option<Process>>>;
    async fn ended(&self, sessions: &[SessionKey]) -> Result<HashSet<SessionKey>>;
    async fn record_exit(
        &self,
        session: &SessionKey,
        daemon: &DaemonRef,
        now: Timestamp,
    ) -> Result<bool>;
    async fn record_missed_exit(
        &self,
        session: &SessionKey,
        daemon: &DaemonRef,
        process: &Process,
        now: Timestamp,
    ) -> Result<bool>;
    async fn release(
        &self,
        daemon: &DaemonRef,
        sessions: Option<&[SessionKey]>,
        now: Timestamp,
    ) -> Result<u64>;
    async fn call_in(
        &self,
        caller: &Caller,
        ttl: Duration,
        turn: Option<Turn>,
        boot: &Boot,
        now: Timestamp,
    ) -> Result<Mail>;
}

#[async_trait]
pub(crate) trait Tasks: Send + Sync {
    async fn add_tasks(
        &self,
        creator: Option<&Caller>,
        tasks: &[NewTask],
        now: Timestamp,
    ) -> Result<Vec<Added>>;
    async fn tasks(&self, filter: &TaskFilter) -> Result<Vec<Task>>;
    async fn task(&self, id: TaskId) -> Result<(Task, Vec<TaskEvent>)>;
    async fn claim_task(
        &self,
        caller: &Caller,
        task: Option<TaskId>,
        now: Timestamp,
    ) -> Result<Option<Task>>;
    async fn task_progress(
        &self,
        caller: &Caller,
        task: TaskId,
        fence: Fence,
        note: &ProgressNote,
        busy_for: Option<Duration>,
        now: Timestamp,
    ) -> Result<()>;
    async fn end_task(
        &self,
        caller: &Caller,
        task: TaskId,
        fence: Fence,
        outcome: &Outcome,
        now: Timestamp,
    ) -> Result<Ended>;
    async fn cancel_task(&self, task: TaskId, reason: Option<&str>, now: Timestamp)
    -> Result<Task>;
    async fn reassign_task(
        &self,
        task: TaskId,
        to: Option<&SessionKey>,
        now: Timestamp,
    ) -> Result<Task>;
}

#[async_trait]
pub(crate) trait Orchestration: Send + Sync {
    async fn lease(&self) -> Result<Option<Lease>>;
    async fn take_lead(
        &self,
        daemon: &DaemonRef,
        seen: Option<&Lease>,
        ttl: Duration,
        now: Timestamp,
    ) -> Result<Option<Leader>>;
    async fn renew_lead(&self, leader: &Leader) -> Result<()>;
    async fn give_up_lead(&self, leader: &Leader) -> Result<()>;
    async fn settle(
        &self,
        leader: &Leader,
        findings: &[Finding],
        now: Timestamp,
    ) -> Result<Vec<bool>>;
    async fn waiting_tasks(
        &self,
        stalled: &[SessionKey],
        losses_within: Duration,
        now: Timestamp,
    ) -> Result<Vec<Waiting>>;
    async fn move_tasks(
        &self,
        leader: &Leader,
        moves: &[Move],
        now: Timestamp,
    ) -> Result<Vec<Moved>>;
}
