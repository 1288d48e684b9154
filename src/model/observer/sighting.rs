//! What goes into the observer and what comes out.

use std::time::Duration;

use super::super::health::{Health, Turn};
use super::super::ids::SessionKey;

/// A heartbeat, as its row says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Beat {
    /// Grows with each beat.
    pub seq: i64,
    /// How long a beat is good for.
    pub ttl: Duration,
    /// A daemon keeps it: it was neither released nor is it a bare call.
    pub kept: bool,
    /// The agent's process was seen to have ended.
    pub exited: bool,
}

/// What the store already holds about a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Held {
    /// Nothing against it.
    #[default]
    Well,
    /// It was found stalled.
    Stalled,
    /// It was found stalled, and did something since.
    Stirred,
    /// It was lost, judged on this heartbeat.
    Lost {
        /// The heartbeat's number; 0 if there was none, below that if the
        /// session did something since.
        seq: i64,
    },
    /// It ended, as this heartbeat said.
    Exited {
        /// The heartbeat's number; 0 if there was none.
        seq: i64,
    },
    /// It was reported as never started.
    NeverStarted,
}

/// One session's rows, as the store reports them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sighting {
    /// Which session.
    pub key: SessionKey,
    /// Where it runs, if that is known.
    pub host: Option<String>,
    /// Its heartbeat; `None` if it never had one.
    pub beat: Option<Beat>,
    /// Grows with every authenticated call of the agent itself.
    pub activity: i64,
    /// Something that the other bridge changes when the agent does something
    /// there.
    pub foreign: Option<String>,
    /// The same of the messages that it sent through any program.
    pub spoken: Option<String>,
    /// The newest message that it read through the other bridge: a sign of life,
    /// and nothing that it did.
    pub read_there: Option<i64>,
    /// What the other bridge noted of it was noted a short time ago.
    pub fresh: bool,
    /// No agent acts for it: it is where an operator sends from.
    pub unused: bool,
    /// Number and length of its last word that it will be busy.
    pub busy: Option<(i64, Duration)>,
    /// What its client reports about turns.
    pub turn: Turn,
    /// Its process is stopped by a signal.
    pub stopped: bool,
    /// It waits for a permission or is rate limited.
    pub waiting: bool,
    /// Messages that it has not read.
    pub unread: u64,
    /// Tasks that it has.
    pub open_tasks: u32,
    /// It gets nothing new.
    pub draining: bool,
    /// What the store holds about it.
    pub standing: Held,
}

impl Sighting {
    /// A session of which nothing is known yet.
    #[must_use]
    pub fn new(key: SessionKey) -> Self {
        Self {
            key,
            host: None,
            beat: None,
            activity: 0,
            foreign: None,
            spoken: None,
            read_there: None,
            fresh: false,
            unused: false,
            busy: None,
            turn: Turn::Unknown,
            stopped: false,
            waiting: false,
            unread: 0,
            open_tasks: 0,
            draining: false,
            standing: Held::Well,
        }
    }
}

/// A session whose health differs from what was last said of it. Suspicion
/// comes and goes: from `Stalled` to `Suspect` and back is still the same stall,
/// as the store's [`Held`] says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Which session.
    pub key: SessionKey,
    /// What was said last.
    pub from: Health,
    /// Its health now.
    pub to: Health,
    /// The heartbeat that this was judged on: expire only if it still stands.
    pub seq: Option<i64>,
    /// The activity that this was judged on, likewise.
    pub activity: i64,
    /// How long it has been silent under good observation.
    pub silent_for: Duration,
    /// Its tasks may be taken from it although it lives. Becoming so is a
    /// change, too, from `Stalled` to `Stalled`.
    pub may_revoke: bool,
    /// It was to end: planned work is not an incident.
    pub draining: bool,
    /// It was heard through the other bridge: its silence is a loss.
    pub heard: bool,
    /// It was found stalled while it was to end, which is over: the store holds that
    /// already, and it was not announced.
    pub untold: bool,
}

impl Change {
    /// What the store is to hold of it; `None` of suspicion, which comes and
    /// goes.
    #[must_use]
    pub fn standing(&self) -> Option<Held> {
        let seq = self.seq.unwrap_or(0);
        Some(match self.to {
            Health::Suspect => return None,
            Health::NeverStarted => Held::NeverStarted,
            Health::Stalled => Held::Stalled,
            Health::Lost => Held::Lost { seq },
            Health::Exited => Held::Exited { seq },
            _ => Held::Well,
        })
    }

    /// Whether the store, which holds `held`, has to hold something else. The same word
    /// is not enough where a sign of life came after it: a session that may be back
    /// keeps its tasks.
    #[must_use]
    pub fn is_news_to(&self, held: Held) -> bool {
        match (self.standing(), held) {
            // An end stays an end, also if its daemon wrote since.
            (None, _) | (Some(Held::Exited { .. }), Held::Exited { .. }) => false,
            (Some(standing), held) => standing != held || self.untold,
        }
    }
}
