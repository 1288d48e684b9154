//! Calls that still hold their own SQL; they move to `calls` and `ops`.

use std::collections::HashSet;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;

use super::*;
use crate::model::SessionKey;
use crate::model::health::Turn;
use crate::model::wake::Mail;

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
