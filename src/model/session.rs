//! What the store tells about sessions and their conversations.

use std::fmt;
use std::time::Duration;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::health::{DEFAULT_TTL, Turn};
use super::ids::{ConversationId, Label, SessionKey, Side};
use super::process::Process;
use super::standing::Standing;
use super::token::Token;
use super::wire::{Word, word, word_if_any};

/// Life of a conversation after its creation: the Python bridge's.
pub const CONVERSATION_LIFE: Duration = Duration::from_secs(3 * 3600);

/// A session and its proof of being that session.
#[derive(Debug, Clone)]
pub struct Caller {
    /// Who.
    pub session: SessionKey,
    /// The token, as presented.
    pub token: Token,
}

/// A conversation as people see it; tokens are not part of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Conversation {
    /// Its id.
    pub id: ConversationId,
    /// Its label.
    pub label: Option<Label>,
    /// The role of side `a`.
    pub role_a: String,
    /// The role of side `b`.
    pub role_b: String,
    /// When it was made; `None` if the text in the store is unreadable.
    pub created_at: Option<Timestamp>,
    /// When it ends unless it is renewed.
    pub expires_at: Option<Timestamp>,
    /// When it was closed.
    pub closed_at: Option<Timestamp>,
    /// Messages in it.
    pub messages: u64,
    /// Unread messages.
    pub unread: u64,
}

impl Conversation {
    /// The role of one side.
    #[must_use]
    pub fn role(&self, side: Side) -> &str {
        match side {
            Side::A => &self.role_a,
            Side::B => &self.role_b,
        }
    }

    /// Open, expired or closed, at `now`.
    #[must_use]
    pub fn state(&self, now: Timestamp) -> ConversationState {
        match (self.closed_at, self.expires_at) {
            (Some(_), _) => ConversationState::Closed,
            (None, Some(end)) if end > now => ConversationState::Open,
            _ => ConversationState::Expired,
        }
    }
}

/// A session as people call it, everywhere: `backend-1/b`, or with the
/// conversation's id where that has no label.
#[must_use]
pub fn session_name(label: Option<&Label>, session: &SessionKey) -> String {
    match label {
        Some(label) => format!("{label}/{}", session.side),
        None => session.to_string(),
    }
}

/// A conversation as people call it.
#[must_use]
pub fn conversation_name(label: Option<&Label>, id: &ConversationId) -> String {
    label.map_or_else(|| id.to_string(), ToString::to_string)
}

/// Whether a text can be a role: 1 to 64 printable characters.
#[must_use]
pub fn is_role(text: &str) -> bool {
    !text.trim().is_empty() && text.chars().count() <= 64 && !text.contains(char::is_control)
}

/// Whether a conversation carries messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ConversationState {
    /// It does.
    Open,
    /// Its time ran out; renewing opens it again.
    Expired,
    /// A user ended it on purpose.
    Closed,
}

impl fmt::Display for ConversationState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Open => "open",
            Self::Expired => "expired",
            Self::Closed => "closed",
        })
    }
}

/// What proves that a session's agent lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ProofKind {
    /// A process, by pidfd and start time.
    Process,
    /// The same, and it is stopped (Ctrl-Z, SIGSTOP): it lives, and does nothing.
    Stopped,
    /// A command that was run.
    Probe,
    /// Nothing: the operator said so.
    None,
    /// The agent called by itself.
    Call,
    /// A word of a newer program: it stands in answers alone.
    #[serde(skip_deserializing)]
    #[schemars(skip)]
    Unknown,
}

impl Word for ProofKind {
    const UNKNOWN: Self = Self::Unknown;
}

impl ProofKind {
    /// The word in the store.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Process => "process",
            Self::Stopped => "stopped",
            Self::Probe => "probe",
            Self::None => "none",
            Self::Call => "call",
            Self::Unknown => "unknown",
        }
    }

    /// Reads [`Self::as_str`] back.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        [
            Self::Process,
            Self::Stopped,
            Self::Probe,
            Self::None,
            Self::Call,
        ]
        .into_iter()
        .find(|kind| kind.as_str() == word)
    }
}

/// The last heartbeat of a session. `at` is for people; no decision across machines is based on it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Heartbeat {
    /// Grows by one with each beat.
    pub seq: i64,
    /// Wall time of the machine that beat.
    pub at: Timestamp,
    /// How long it is valid.
    #[serde(rename = "ttl_seconds", with = "super::wire::seconds")]
    #[schemars(with = "f64")]
    pub ttl: Duration,
    /// What it rests on.
    #[serde(deserialize_with = "word")]
    pub proof: ProofKind,
    /// When the agent's process was seen to have ended.
    pub exited_at: Option<Timestamp>,
    /// The daemon that beat last; `None` for a single call.
    pub daemon: Option<String>,
    /// Whether that daemon stopped cleanly and let the session go.
    pub released: bool,
}

/// Everything that `status` shows of one session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SessionView {
    /// Which session.
    #[serde(flatten)]
    pub key: SessionKey,
    /// The conversation's label.
    pub label: Option<Label>,
    /// Its role in the conversation.
    pub role: String,
    /// When the conversation ends.
    pub expires_at: Option<Timestamp>,
    /// Its last heartbeat, if there was one.
    pub heartbeat: Option<Heartbeat>,
    /// Its last authenticated call.
    pub activity_at: Option<Timestamp>,
    /// What the agent said of itself (`working`, `waiting`, ...).
    pub reported: Option<String>,
    /// Messages that it has not read.
    pub unread: u64,
    /// How its last wake ended.
    pub wake: Option<String>,
    /// The number of that wake: its outcome may be the same as that of the wake before.
    #[serde(default)]
    pub wake_id: Option<i64>,
    /// Tasks that it has.
    #[serde(rename = "tasks")]
    pub open_tasks: u64,
    /// How many it may have, if that was said of it.
    pub capacity: Option<u32>,
    /// What an orchestrator found of it last: `well`, `stalled`, `lost`,
    /// `exited`, `never_started`. Valid while an orchestrator is active.
    #[serde(default, deserialize_with = "word_if_any")]
    pub standing: Option<Standing>,
    /// When it found that.
    pub standing_at: Option<Timestamp>,
    /// What its client reports about turns.
    #[serde(deserialize_with = "word")]
    pub turn: Turn,
    /// Until when it said to be busy.
    pub busy_until: Option<Timestamp>,
    /// The host of the daemon that keeps it.
    pub host: Option<String>,
    /// The process of its client, as that registered; else the one on that host that
    /// proves its life.
    pub pid: Option<i64>,
    /// The agent's client, and its version.
    pub client: Option<String>,
    /// The process of its client as that registered, to be asked about on its machine.
    #[serde(skip)]
    pub registered: Option<Process>,
    /// Whether that process runs. `null` if no client registered, or if the process
    /// cannot be asked about from here.
    #[serde(default)]
    pub client_runs: Option<bool>,
    /// Whether that process is stopped (Ctrl-Z, or a signal). `null` as for `client_runs`.
    #[serde(default)]
    pub client_stopped: Option<bool>,
}

/// An agent's own status; the values are those of the Python bridge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// It works.
    Working,
    /// It waits: for a permission, for an answer, for its rate limit.
    Waiting,
    /// It cannot continue without help.
    Blocked,
    /// It is done.
    Complete,
}

impl Status {
    /// The word in the store.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Working => "working",
            Self::Waiting => "waiting",
            Self::Blocked => "blocked",
            Self::Complete => "complete",
        }
    }
}

/// Life as the last heartbeat shows it. The orchestrator's verdict (lost,
/// stalled) is its own; this is only what can be read off the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Life {
    /// No heartbeat yet.
    Starting,
    /// The heartbeat is within its ttl.
    Alive,
    /// It is older than its ttl.
    Silent,
    /// The agent's process ended.
    Exited,
}

impl SessionView {
    /// A side `a` that no agent uses: an operator sends from it, if anyone does.
    #[must_use]
    pub fn is_operators(&self) -> bool {
        self.key.side == Side::A
            && self.heartbeat.is_none()
            && self.reported.is_none()
            && self.turn == Turn::Unknown
            && self.busy_until.is_none()
            && self.open_tasks == 0
    }

    /// Whether its agent's process is stopped: its client's, if that could be asked about,
    /// or the one that its daemon asked about.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        let beat = self.heartbeat.as_ref();
        let by_daemon = beat.is_some_and(|beat| beat.proof == ProofKind::Stopped);
        self.client_stopped.unwrap_or(by_daemon)
    }

    /// Reads the session's life off its last heartbeat. Where no daemon keeps it, its
    /// client's process decides if that is known: calls alone could be those of an
    /// operator, and an idle agent makes none.
    #[must_use]
    pub fn life(&self, now: Timestamp) -> Life {
        let beat = self.heartbeat.as_ref();
        let kept = beat.is_some_and(|beat| beat.daemon.is_some() && !beat.released);
        match self.client_runs {
            Some(true) if !kept => return Life::Alive,
            Some(false) if !kept => return Life::Exited,
            _ => {}
        }
        let Some(beat) = beat else {
            return Life::Starting;
        };
        if beat.exited_at.is_some() {
            return Life::Exited;
        }
        let ttl = if beat.released {
            DEFAULT_TTL.max(beat.ttl)
        } else {
            beat.ttl
        };
        // Where no daemon keeps it, its own word is life, too.
        let vouched = !kept && self.busy_until.is_some_and(|end| end > now);
        match Duration::try_from(now.duration_since(beat.at)) {
            Ok(age) if age > ttl && !vouched => Life::Silent,
            _ => Life::Alive,
        }
    }
}
