//! What goes into a store and what comes out of it.

use std::time::Duration;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::StoreName;
use crate::model::message::Message;
use crate::model::process::{Boot, ProcessId};
use crate::model::redact::SecretKind;
use crate::model::session::ProofKind;
use crate::model::token::{Token, TokenStorage};
use crate::model::wake::WakeOutcome;
use crate::model::{ConversationId, Label, MessageId, SessionKey};

/// A conversation to be made.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewConversation {
    /// Its id, random.
    pub id: ConversationId,
    /// Its label.
    pub label: Option<Label>,
    /// Role of side `a`.
    pub role_a: String,
    /// Role of side `b`.
    pub role_b: String,
    /// Token of side `a`.
    #[serde(with = "crate::model::token::presented")]
    #[schemars(with = "crate::model::token::presented::Shape")]
    pub token_a: Token,
    /// Token of side `b`.
    #[serde(with = "crate::model::token::presented")]
    #[schemars(with = "crate::model::token::presented::Shape")]
    pub token_b: Token,
    /// When it ends unless renewed.
    pub expires_at: Timestamp,
}

/// A caller that is who it says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Verified {
    /// The time, as far as the store knows better than the caller's own clock.
    pub now: Timestamp,
    /// When its conversation ends.
    pub expires_at: Timestamp,
    /// The conversation's label.
    pub label: Option<Label>,
    /// The caller's role.
    pub role: String,
    /// The partner's role.
    pub partner_role: String,
}

/// What rows tell of the time: none of them was written later than now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Witness {
    /// When an agent, an operator or a daemon wrote last.
    pub newest: Option<Timestamp>,
    /// When old rows were last deleted.
    pub pruned: Option<Timestamp>,
}

/// A message that was stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Sent {
    /// Its id.
    pub id: MessageId,
    /// Kinds of secrets that were taken out of it.
    pub redacted: Vec<SecretKind>,
    /// Whether it had been sent before, under the same client id.
    pub duplicate: bool,
}

/// Names one fetch, so that its reply can be confirmed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FetchId(pub String);

/// What a fetch handed out.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct Fetched {
    /// Name of this fetch; `None` if there was nothing.
    pub id: Option<FetchId>,
    /// The messages, oldest first.
    pub messages: Vec<crate::model::message::Message>,
    /// Messages that are still unread after this fetch.
    pub remaining: u64,
}

/// A daemon that introduces itself.
#[derive(Debug, Clone)]
pub struct DaemonInfo {
    /// `host:instance`, or `host:user/instance` of a user's own; the same after a restart.
    pub id: String,
    /// `worker` or `orchestrator`.
    pub role: &'static str,
    /// Host name.
    pub host: String,
    /// Boot id of that host.
    pub boot_id: String,
    /// Process id.
    pub pid: u32,
}

/// A daemon in one of its lives.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DaemonRef {
    /// `host:instance`, or `host:user/instance` of a user's own.
    pub id: String,
    /// Grows with each start.
    pub epoch: i64,
}

/// A daemon as `status` shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DaemonView {
    /// `host:instance`, or `host:user/instance` of a user's own.
    pub id: String,
    /// Grows with each start.
    pub epoch: i64,
    /// `worker` or `orchestrator`.
    pub role: String,
    /// Host name.
    pub host: String,
    /// Boot id of its host when it started.
    pub boot_id: String,
    /// Process id on its host.
    pub pid: u32,
    /// The process id namespace that this number belongs to, if it is known.
    #[serde(default)]
    pub pid_ns: Option<i64>,
    /// Program version.
    pub version: String,
    /// When it started.
    pub started_at: Timestamp,
    /// When it stopped cleanly.
    pub stopped_at: Option<Timestamp>,
    /// When it was last heard of, by its own wall clock: about once a minute
    /// while it runs.
    pub seen_at: Timestamp,
    /// Sessions whose heartbeat is its own.
    pub sessions: u64,
}

/// A later process of the same name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Namesake {
    /// The host that it says it runs on.
    pub host: String,
    /// Its process id there.
    pub pid: u32,
}

/// One session's part of a heartbeat.
#[derive(Debug, Clone)]
pub struct Beat {
    /// The session.
    pub session: SessionKey,
    /// What its life was proven by.
    pub proof: ProofKind,
    /// The agent's process, if that is the proof.
    pub process: Option<ProcessId>,
    /// If set, the conversation is renewed to end then.
    pub renew_until: Option<Timestamp>,
}

/// One heartbeat for all sessions of a daemon.
#[derive(Debug, Clone, Copy)]
pub struct BeatRound<'a> {
    /// The sessions that are alive.
    pub beats: &'a [Beat],
    /// The daemon that says so.
    pub daemon: &'a DaemonRef,
    /// How long it is valid.
    pub ttl: Duration,
    /// Whether to copy it into the table that the Python bridge reads, and to
    /// write down that the daemon runs.
    pub mirror: bool,
    /// This machine's boot.
    pub boot: &'a Boot,
    /// The time that conversations are renewed by.
    pub now: Timestamp,
    /// What the machine's own clock shows, right or wrong: the Python bridge
    /// compares the mirrored time with that.
    pub wall: Timestamp,
}

/// What a heartbeat did.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct BeatReport {
    /// Sessions that were kept alive.
    pub beaten: u64,
    /// Sessions that another live daemon owns, and its name.
    pub owned_elsewhere: Vec<(SessionKey, String)>,
    /// Sessions whose agent had ended unseen: this heartbeat is its successor's.
    pub succeeded: Vec<SessionKey>,
    /// Sessions that were not written, because too many new lives began at once: they
    /// want another round.
    pub postponed: Vec<SessionKey>,
}

/// Where a new message is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arrival {
    /// Its id.
    pub id: MessageId,
    /// The session that should read it.
    pub to: SessionKey,
    /// All of it, if it was asked for.
    pub message: Option<Message>,
}

/// Asks for the right to wake.
#[derive(Debug)]
pub struct WakeClaim<'a> {
    /// Whom.
    pub session: &'a SessionKey,
    /// About mail up to here.
    pub mark: MessageId,
    /// By which adapter.
    pub adapter: &'a str,
    /// The process that asks.
    pub claimant: &'a str,
    /// How long the right is needed.
    pub lease: Duration,
    /// This machine's boot.
    pub boot: &'a Boot,
}

/// A claimed wake.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WakeRef {
    /// Row id.
    pub id: i64,
    /// Which claim of that row: another waker may take it over when the lease ends.
    pub claim: i64,
}

/// How a wake ended.
#[derive(Debug)]
pub struct WakeEnd<'a> {
    /// The result.
    pub outcome: WakeOutcome,
    /// Why, for people; never a message's text.
    pub reason: Option<&'a str>,
}

/// A session's last wake, where no way of its agent's own programs led to a fetch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpentWake {
    /// About mail up to here.
    pub mark: MessageId,
    /// Why each way failed; any text, as an agent may have written it.
    pub reason: String,
}

/// How many rows a program gets that names no limit.
pub(super) fn page() -> u32 {
    100
}

/// A cheap look at a store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreProbe {
    /// How long it took to answer.
    pub took: Duration,
    /// Size of the write-ahead log, in bytes.
    pub log_bytes: u64,
}

/// The state of this process's own writes. All times are since boot.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct WriteHealth {
    /// When a write last got through.
    pub last: Option<Duration>,
    /// When the first write began that ended without getting through, if none
    /// got through since. It may have been refused for a reason of its own.
    pub doubtful_since: Option<Duration>,
    /// When the oldest write began that is still under way.
    pub waiting_since: Option<Duration>,
    /// Those of the kind that heartbeats are.
    pub beats: BeatWrites,
}

/// The state of the writes that wait for the lock and not for the disk, as heartbeats
/// do. On the boot clock.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct BeatWrites {
    /// When one last got through.
    pub last: Option<Duration>,
    /// When the oldest began that waits still, or has failed with none getting
    /// through since.
    pub failing_since: Option<Duration>,
    /// When one last got through that had waited, or before which others had
    /// failed, for [`LATE_WRITE`] or longer; and for how long.
    pub regained: Option<(Duration, Duration)>,
}

/// A write that takes so long was kept from the store, as those of others were.
pub const LATE_WRITE: Duration = Duration::from_secs(3);

/// A thorough look at a store.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct StoreCheck {
    /// Where it is.
    pub location: StoreName,
    /// `sqlite 3.51.3`.
    pub engine: String,
    /// Schema version.
    pub schema: i64,
    /// How tokens of new conversations are kept.
    pub token_storage: TokenStorage,
    /// Whether the Python bridge made it.
    pub adopted: bool,
    /// `wal`, for anything sane.
    pub journal_mode: String,
    /// Complaints of the integrity check; empty is good.
    pub problems: Vec<String>,
    /// Rows of the four shared tables.
    pub conversations: u64,
    /// Messages of all conversations.
    pub messages: u64,
    /// Unread messages.
    pub unread: u64,
    /// Bytes of the database file.
    pub bytes: u64,
    /// Bytes of its write-ahead log.
    pub log_bytes: u64,
}
