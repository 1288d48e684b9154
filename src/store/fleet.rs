//! What an orchestrator sees of the fleet, and does to it.

use std::borrow::Cow;
use std::time::Duration;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::DaemonRef;
use crate::model::alert::AlertKind;
use crate::model::process::Process;
use crate::model::standing::Standing;
use crate::model::task::{Fence, TaskId};
use crate::model::{ConversationId, Label, SessionKey, Side};

/// The lease of the acting orchestrator.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Lease {
    /// Grows with each holder.
    pub epoch: i64,
    /// Who has it; `None` if it was given back.
    pub holder: Option<DaemonRef>,
    /// Grows with each renewal.
    pub renew_seq: i64,
    /// Without a renewal for this time, by the observer's clock, another may take it.
    #[serde(rename = "ttl_seconds", with = "crate::model::wire::seconds")]
    #[schemars(with = "f64")]
    pub ttl: Duration,
    /// When this holder took it.
    pub since: Timestamp,
}

/// The right to act, in one epoch. Every write of an orchestrator carries it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leader {
    /// Who.
    pub daemon: DaemonRef,
    /// In which epoch.
    pub epoch: i64,
}

/// How far the fleet was read: two counters, of heartbeats and of sessions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Cursor {
    pub(crate) beats: i64,
    pub(crate) sessions: i64,
}

/// Which sessions are wanted.
#[derive(Debug)]
pub enum Wanted<'a> {
    /// All, of conversations that are open or whose sessions still have tasks.
    All,
    /// The same, a page at a time: at most `limit` conversations after this one, in the
    /// order of their ids. What it costs does not grow with the fleet.
    Page {
        /// Where the last part ended; `None` begins.
        after: Option<ConversationId>,
        /// How many.
        conversations: u32,
    },
    /// Those that changed since. One of which only the heartbeat is new comes as
    /// a pulse.
    Since(Cursor),
    /// These.
    These(Cow<'a, [SessionKey]>),
}

impl Wanted<'_> {
    /// The same, without what it borrows.
    #[must_use]
    pub fn into_owned(self) -> Wanted<'static> {
        match self {
            Self::All => Wanted::All,
            Self::Page {
                after,
                conversations,
            } => Wanted::Page {
                after,
                conversations,
            },
            Self::Since(cursor) => Wanted::Since(cursor),
            Self::These(sessions) => Wanted::These(sessions.into_owned().into()),
        }
    }
}

/// A session's last heartbeat, as far as an observer needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeenBeat {
    /// Grows with each beat.
    pub seq: i64,
    /// How long it is valid.
    pub ttl: Duration,
    /// Whether a daemon keeps the session: it beat by itself and has not let
    /// go of it.
    pub kept: bool,
    /// Whether the agent's process was seen to have ended.
    pub exited: bool,
    /// Whether that process is stopped: it lives, and does nothing.
    pub stopped: bool,
    /// The agent's process, if that is what was proven.
    pub process: Option<Process>,
}

/// Everything that decides about one session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeenSession {
    /// Which.
    pub key: SessionKey,
    /// Its conversation's label.
    pub label: Option<Label>,
    /// Its role.
    pub role: String,
    /// The host of the daemon that keeps it.
    pub host: Option<String>,
    /// Its last heartbeat.
    pub beat: Option<SeenBeat>,
    /// Grows with each call of the agent itself.
    pub activity: i64,
    /// What another program wrote of it into the shared tables.
    pub foreign: Option<String>,
    /// When it sent its newest message, through any program.
    pub spoken: Option<String>,
    /// The newest message that it read through the other bridge, where nothing
    /// beats for it.
    pub read_there: Option<i64>,
    /// Whether it ever fetched its mail here.
    pub fetched: bool,
    /// Grows with each declaration of being busy, and for how long the last
    /// one was.
    pub busy: Option<(i64, Duration)>,
    /// Whether it is inside a turn; `None` where the client does not tell.
    pub turn: Option<bool>,
    /// What the agent said of itself: `waiting`, `blocked`, ...
    pub reported: Option<String>,
    /// Messages that it has not read.
    pub unread: u64,
    /// Tasks that it has.
    pub open_tasks: u32,
    /// How many it may have, if that was said of it; none once its
    /// conversation has ended.
    pub capacity: Option<u32>,
    /// How many times in a row its agent ended right after it was given a task.
    pub crashes: u32,
    /// What was found before: `well`, `stalled`, `lost`, ...
    pub standing: Option<Standing>,
    /// The heartbeat that was found on; below zero if the session did
    /// something since, so that the verdict does not hold any more.
    pub standing_seq: Option<i64>,
}

impl SeenSession {
    /// Only the other bridge, or a script, speaks for it.
    #[must_use]
    pub fn is_elsewhere(&self) -> bool {
        let heard = self.foreign.is_some() || self.spoken.is_some() || self.read_there.is_some();
        self.beat.is_none() && self.activity == 0 && heard
    }

    /// A side `a` that no agent uses: an operator sends from it, and may look into
    /// its mail, if anyone does. What a program keeps, a hook reports on, or another
    /// bridge uses, is an agent's.
    #[must_use]
    pub fn is_unused(&self) -> bool {
        self.key.side == Side::A
            && self.beat.is_none()
            && self.foreign.is_none()
            && self.read_there.is_none()
            && self.turn.is_none()
            && self.busy.is_none()
            && self.open_tasks == 0
    }
}

/// A session's heartbeat and what comes with one: what is new of most sessions
/// most of the time, and cheap to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pulse {
    /// Which session.
    pub key: SessionKey,
    /// As in [`SeenSession`].
    pub host: Option<String>,
    /// As in [`SeenSession`].
    pub beat: SeenBeat,
    /// As in [`SeenSession`].
    pub foreign: Option<String>,
    /// As in [`SeenSession`].
    pub reported: Option<String>,
}

/// What was read of the fleet.
#[derive(Debug, Default)]
pub struct Fleet {
    /// The sessions that were wanted.
    pub sessions: Vec<SeenSession>,
    /// Those of which nothing is new but this; also of conversations that have
    /// ended. None of them is among `sessions`.
    pub pulses: Vec<Pulse>,
    /// Sessions that were named, or changed, and are not in the fleet: their
    /// conversations have ended, and they have no task.
    pub gone: Vec<SessionKey>,
    /// Of a page: the conversation that it ended with; `None` if it was the
    /// last.
    pub page_end: Option<ConversationId>,
    /// Where the next look begins.
    pub cursor: Cursor,
}

/// A finding about one session, to be written if what it rests on still holds.
#[derive(Debug, Clone)]
pub struct Finding {
    /// Which session.
    pub session: SessionKey,
    /// What it is now.
    pub standing: Standing,
    /// The heartbeat that was judged; `None` if there was none.
    pub seq: Option<i64>,
    /// The activity that was judged.
    pub activity: i64,
    /// What another program had written of it, empty if nothing: an agent of
    /// that program gives its signs of life there alone.
    pub foreign: String,
    /// The alert that begins with it; every other open one of the session ends.
    pub alert: Option<AlertKind>,
    /// What was seen, for the alert, which names the session itself.
    pub what: String,
    /// The same as a sentence.
    pub text: String,
}

/// Why a task is moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// It waits.
    Waited,
    /// Its owner is lost.
    Lost,
    /// Its owner's process ended.
    Exited,
    /// Its owner owes and does not move.
    Stalled,
}

/// A move that was planned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Move {
    /// Which task.
    pub task: TaskId,
    /// Its fence when it was planned.
    pub fence: Fence,
    /// The session that gets it; `None` into the queue.
    pub to: Option<SessionKey>,
    /// Why.
    pub why: Why,
    /// Instead of moving it: give it up, for this reason.
    pub give_up: Option<String>,
}

/// What became of a planned move.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Moved {
    /// It was made, and this is the fence that holds.
    Made(Fence),
    /// The world had changed meanwhile; why.
    Void(String),
}

/// A task that waits, or whose owner is gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    /// Which.
    pub task: TaskId,
    /// The role that it waits for.
    pub role: String,
    /// Its fence.
    pub fence: Fence,
    /// The session that has it.
    pub owner: Option<SessionKey>,
    /// Who had it before.
    pub last_owner: Option<SessionKey>,
    /// Other sessions that had fetched it and that it lost lately.
    pub losses: u32,
    /// Whether the one that has it had fetched it, now or before.
    pub fetched: bool,
}

/// How long what has ended is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// Messages that were read, receipts and wakes, and conversations that
    /// ended, with all that belongs to them.
    pub messages: Duration,
    /// Audit rows, and daemons that keep no session and have not reported.
    pub audit: Duration,
    /// Tasks that are over.
    pub tasks: Duration,
    /// Alerts that recovered.
    pub alerts: Duration,
}

/// What was taken away, by kind of row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Pruned {
    /// Messages.
    pub messages: u64,
    /// Conversations.
    pub conversations: u64,
    /// Audit rows.
    pub audit: u64,
    /// Tasks.
    pub tasks: u64,
    /// Alerts.
    pub alerts: u64,
    /// Wakes.
    pub wakes: u64,
}

impl std::ops::AddAssign for Pruned {
    fn add_assign(&mut self, other: Self) {
        self.messages += other.messages;
        self.conversations += other.conversations;
        self.audit += other.audit;
        self.tasks += other.tasks;
        self.alerts += other.alerts;
        self.wakes += other.wakes;
    }
}

impl Pruned {
    /// All rows.
    #[must_use]
    pub fn total(self) -> u64 {
        self.messages + self.conversations + self.audit + self.tasks + self.alerts + self.wakes
    }
}
