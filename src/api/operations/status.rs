//! What people ask about: who is there, who acts, what was done.

use std::time::Duration;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::api::{Actor, At, Operation, Rights, Route};
use crate::model::health::{DEFAULT_TTL, Turn, TurnSaid};
use crate::model::session::SessionView;
use crate::model::wake::Mail;
use crate::model::wire::{object, seconds};
use crate::model::{ConversationId, StoreName};
use crate::store::{self, AlertRow, AuditEntry, AuditFilter, DaemonView, Result, StoreCheck};
use crate::{clock, host, liveness};

/// Who answers, and for which store.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct Health {}

/// A daemon and its store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Answering {
    /// The program's version.
    pub version: String,
    /// The store.
    pub store: StoreName,
    /// The daemon's process.
    pub pid: u32,
    /// The versions of the API that it speaks.
    #[serde(default)]
    pub api: Spoken,
}

/// Versions of the API, from the oldest to the newest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Spoken {
    /// The oldest.
    pub from: u32,
    /// The newest.
    pub to: u32,
}

impl Default for Spoken {
    /// This version alone.
    fn default() -> Self {
        Self { from: 1, to: 1 }
    }
}

impl Spoken {
    /// Whether this program's is among them.
    #[must_use]
    pub fn is_understood(self) -> bool {
        (self.from..=self.to).contains(&1)
    }
}

impl Operation for Health {
    const ROUTE: Route = Route::get(
        "health",
        Rights::ANYONE,
        "Shows the daemon and its version.",
    );
    type Answer = Answering;

    fn answering(answer: &Answering) -> Option<&Answering> {
        Some(answer)
    }

    async fn run(self, at: At<'_>) -> Result<Answering> {
        Ok(Answering {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            store: at.store.location().clone(),
            pid: std::process::id(),
            api: Spoken::default(),
        })
    }
}

/// Everything that `mcp-bridge status` shows, as of one commit.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct Status {}

/// A daemon, its store, and what is true of that.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StatusNow {
    /// Who answers.
    pub answering: Answering,
    /// What is true.
    #[serde(flatten)]
    pub status: store::Status,
}

impl Operation for Status {
    const ROUTE: Route = Route::get(
        "status",
        Rights::ANYONE,
        "Shows the current state of everything.",
    )
    .long();
    type Answer = StatusNow;

    fn answering(answer: &StatusNow) -> Option<&Answering> {
        Some(&answer.answering)
    }

    async fn run(self, at: At<'_>) -> Result<StatusNow> {
        let mut status = at.store.status(clock::now()).await?;
        ask_for_clients(&mut status.sessions);
        status.alerts.last = status.alerts.last.map(|last| one_for_actor(at.actor, last));
        let answering = Health {}.run(at).await?;
        Ok(StatusNow { answering, status })
    }
}

/// Every session of the conversations that are open, and of those that ended lately.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Sessions {
    /// How lately.
    #[serde(rename = "ended_within_seconds", with = "seconds", default)]
    #[schemars(with = "f64")]
    pub ended_within: Duration,
    /// Those of this conversation alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conversation: Option<ConversationId>,
}

impl Operation for Sessions {
    const ROUTE: Route = Route::post("sessions", Rights::ANYONE, "Lists sessions.").long();
    type Answer = Vec<SessionView>;

    async fn run(self, at: At<'_>) -> Result<Vec<SessionView>> {
        let since = clock::now().checked_sub(self.ended_within);
        let since = since.unwrap_or(Timestamp::MIN);
        let mut sessions = match &self.conversation {
            Some(one) => at.store.sessions_of(one, since).await?,
            None => at.store.sessions(since).await?,
        };
        ask_for_clients(&mut sessions);
        Ok(sessions)
    }
}

/// Asks this machine whether the clients that registered on it run.
fn ask_for_clients(sessions: &mut [SessionView]) {
    let boot = host::boot();
    for session in sessions {
        session.client_runs = session.registered.as_ref().and_then(|process| {
            let is_here = process.boot_id == boot.id && process.pid_ns == boot.pid_ns;
            match is_here {
                true if liveness::has_ended(process.id) => Some(false),
                true if liveness::runs(process.id) => Some(true),
                // No process outlives its boot.
                false if process.boot_id != boot.id => Some(false),
                _ => None,
            }
        });
        let runs = session
            .registered
            .as_ref()
            .filter(|_| session.client_runs == Some(true));
        session.client_stopped = runs.map(|process| liveness::is_stopped(process.id));
    }
}

/// Daemons that are known, by name.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct Daemons {}

impl Operation for Daemons {
    const ROUTE: Route = Route::get("daemons", Rights::ANYONE, "Lists daemons.").long();
    type Answer = Vec<DaemonView>;

    async fn run(self, at: At<'_>) -> Result<Vec<DaemonView>> {
        at.store.daemons().await
    }
}

/// Who acts for the fleet, as it stands written.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct Lease {}

impl Operation for Lease {
    const ROUTE: Route = Route::get("lease", Rights::ANYONE, "Shows which orchestrator acts.");
    type Answer = Option<store::Lease>;

    async fn run(self, at: At<'_>) -> Result<Option<store::Lease>> {
        at.store.lease().await
    }
}

/// Alerts that are open, and those that began or ended and were not announced.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct OpenAlerts {}

impl Operation for OpenAlerts {
    const ROUTE: Route = Route::get("alerts/open", Rights::ANYONE, "Lists open alerts.").long();
    type Answer = Vec<AlertRow>;

    async fn run(self, at: At<'_>) -> Result<Vec<AlertRow>> {
        Ok(for_actor(at.actor, at.store.open_alerts().await?))
    }
}

/// The newest alerts, newest last.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Alerts {
    /// Maximum number.
    pub limit: u32,
}

impl Operation for Alerts {
    const ROUTE: Route = Route::post("alerts", Rights::ANYONE, "Lists alerts.").long();
    type Answer = Vec<AlertRow>;

    async fn run(self, at: At<'_>) -> Result<Vec<AlertRow>> {
        Ok(for_actor(at.actor, at.store.alerts(self.limit).await?))
    }
}

/// What is said of a task has its title in it, which is its parties' alone.
fn for_actor(actor: &Actor, alerts: Vec<AlertRow>) -> Vec<AlertRow> {
    let alerts = alerts.into_iter();
    alerts.map(|alert| one_for_actor(actor, alert)).collect()
}

fn one_for_actor(actor: &Actor, mut alert: AlertRow) -> AlertRow {
    if alert.task.is_some() && !matches!(actor, Actor::Operator) {
        "only operators may read it".clone_into(&mut alert.text);
    }
    alert
}

/// The newest audit rows, newest last.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Events {
    /// Which of them.
    #[serde(deserialize_with = "object")]
    pub filter: AuditFilter,
}

impl Operation for Events {
    const ROUTE: Route = Route::post("events", Rights::OPERATOR, "Shows the audit log.").long();
    type Answer = Vec<AuditEntry>;

    async fn run(self, at: At<'_>) -> Result<Vec<AuditEntry>> {
        at.store.audit(&self.filter).await
    }
}

/// A thorough look at the store: integrity, versions, sizes.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct CheckStore {}

impl Operation for CheckStore {
    const ROUTE: Route = Route::get("store/check", Rights::OPERATOR, "Checks the store.").long();
    type Answer = StoreCheck;

    async fn run(self, at: At<'_>) -> Result<StoreCheck> {
        at.store.check().await
    }
}

/// A session's own sign of life. With a turn, its client says that one begins or
/// ends; without, nothing counts as the agent's doing. Returns its unread mail.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CallIn {
    /// How long it is valid.
    #[serde(rename = "ttl_seconds", with = "seconds", default = "usual")]
    #[schemars(with = "f64")]
    pub ttl: Duration,
    /// What the client says of its turn.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub turn: Option<Turn>,
    /// When it said so, in milliseconds since this machine's boot: the last word counts, and
    /// not the one that arrives last. If left out, now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub said_ms: Option<u64>,
}

fn usual() -> Duration {
    DEFAULT_TTL
}

impl Operation for CallIn {
    const ROUTE: Route = Route::post("heartbeat", Rights::SESSION, "Records a heartbeat.");
    type Answer = Mail;

    async fn run(self, at: At<'_>) -> Result<Mail> {
        let caller = at.caller::<Self>()?;
        let boot = host::boot();
        let said = self.said_ms.map_or(boot.now, Duration::from_millis);
        let said = self.turn.map(|turn| TurnSaid { turn, at: said });
        at.store
            .call_in_with(caller, (self.ttl, said), &boot, clock::now())
            .await
    }
}
