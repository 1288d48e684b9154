//! What people ask about: who is there, who acts, what was done.

use std::time::Duration;

use super::Bridge;
use crate::api::operations::{
    self, Alerts, CallIn, CheckStore, Daemons, OpenAlerts, Sessions, StatusNow,
};
use crate::model::ConversationId;
use crate::model::health::{Turn, TurnSaid};
use crate::model::session::SessionView;
use crate::model::wake::Mail;
use crate::store::{AlertRow, Caller, DaemonView, Lease, Result, StoreCheck};

impl Bridge {
    /// Everything that `status` shows, as of one commit.
    ///
    /// # Errors
    /// If the store failed.
    pub async fn status(&self) -> Result<StatusNow> {
        self.ask_openly(operations::Status {}).await
    }

    /// Every session of the conversations that are open, and of those that ended
    /// within this time.
    ///
    /// # Errors
    /// If the store failed.
    pub async fn sessions(&self, ended_within: Duration) -> Result<Vec<SessionView>> {
        let conversation = None;
        self.ask_openly(Sessions {
            ended_within,
            conversation,
        })
        .await
    }

    /// Both sessions of a conversation; none if it has ended.
    ///
    /// # Errors
    /// If the store failed.
    pub async fn sessions_of(&self, conversation: &ConversationId) -> Result<Vec<SessionView>> {
        self.ask_openly(Sessions {
            ended_within: Duration::ZERO,
            conversation: Some(conversation.clone()),
        })
        .await
    }

    /// Daemons that are known, by name.
    ///
    /// # Errors
    /// If the store failed.
    pub async fn daemons(&self) -> Result<Vec<DaemonView>> {
        self.ask_openly(Daemons {}).await
    }

    /// Who acts for the fleet, as it stands written.
    ///
    /// # Errors
    /// If the store failed.
    pub async fn lease(&self) -> Result<Option<Lease>> {
        self.ask_openly(operations::Lease {}).await
    }

    /// Alerts that are open, and those that began or ended and were not announced.
    ///
    /// # Errors
    /// If the store failed.
    pub async fn open_alerts(&self) -> Result<Vec<AlertRow>> {
        self.ask_openly(OpenAlerts {}).await
    }

    /// The newest alerts, newest last.
    ///
    /// # Errors
    /// If the store failed.
    pub async fn alerts(&self, limit: u32) -> Result<Vec<AlertRow>> {
        self.ask_openly(Alerts { limit }).await
    }

    /// A thorough look at the store: integrity, versions, sizes.
    ///
    /// # Errors
    /// If the store failed.
    pub async fn check(&self) -> Result<StoreCheck> {
        self.ask_as_operator(CheckStore {}).await
    }

    /// A session's own sign of life. With a turn, its client says that one begins or
    /// ends; without, nothing counts as the agent's doing.
    ///
    /// # Errors
    /// Credentials.
    pub async fn call_in(
        &self,
        caller: &Caller,
        ttl: Duration,
        turn: Option<Turn>,
    ) -> Result<Mail> {
        let said_ms = None;
        self.ask_as(caller, CallIn { ttl, turn, said_ms }).await
    }

    /// The same, with what the client said of its turns before: it counts unless the store
    /// has a later word.
    ///
    /// # Errors
    /// Credentials.
    pub async fn say_turn(
        &self,
        caller: &Caller,
        ttl: Duration,
        TurnSaid { turn, at }: TurnSaid,
    ) -> Result<Mail> {
        let said_ms = u64::try_from(at.as_millis()).ok();
        let turn = Some(turn);
        self.ask_as(caller, CallIn { ttl, turn, said_ms }).await
    }
}
