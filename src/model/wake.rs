//! When to wake a session, with which adapter, and when to give up: pure.
//!
//! The last hop into an agent's client is the weak one, so a wake counts as
//! failed until the session has fetched: nothing else is evidence. An agent
//! that does something else meanwhile is busy, and is not interrupted at once,
//! nor left alone for ever. Times are durations since boot, taken from one clock
//! by the caller.

#[cfg(test)]
mod tests;

use std::time::Duration;

use jiff::Timestamp;

use super::ids::MessageId;

/// The settings that decisions depend on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WakePolicy {
    /// Length of the wake list.
    pub adapters: usize,
    /// How long an adapter has to lead to a fetch.
    pub verify_within: Duration,
    /// Pause after the whole list failed; doubles each round.
    pub backoff: Duration,
    /// Longest pause, and how long a busy agent is left alone at most.
    pub backoff_max: Duration,
}

impl WakePolicy {
    fn pause(&self, rounds: u32) -> Duration {
        self.backoff
            .saturating_mul(2_u32.saturating_pow(rounds))
            .min(self.backoff_max)
    }
}

/// How a wake ended.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum WakeOutcome {
    /// The agent fetched its mail.
    Verified,
    /// It did not, and another adapter is tried.
    Unverified,
    /// It did not, and no adapter is left.
    Spent,
    /// The session is not kept any more, or its agent has ended.
    Abandoned,
}

impl WakeOutcome {
    /// The word in the store.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Verified => "verified",
            Self::Unverified => "unverified",
            Self::Spent => "spent",
            Self::Abandoned => "abandoned",
        }
    }
}

/// A way into an agent's client that the agent's own programs take, the first one first.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum ClientWay {
    /// A hook that the client runs in the background, and whose end wakes it.
    Hook,
    /// Claude Code's socket for messages of other sessions.
    ClaudeInbox,
    /// Codex's queue of a thread, by its app server.
    CodexAppServer,
    /// The same by its command.
    CodexQueue,
    /// opencode's server, which takes a text into a session.
    OpencodeServer,
}

impl ClientWay {
    /// The word in the store.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Hook => "hook",
            Self::ClaudeInbox => "claude-inbox",
            Self::CodexAppServer => "codex-app-server",
            Self::CodexQueue => "codex-queue",
            Self::OpencodeServer => "opencode-server",
        }
    }
}

/// What the store says of a session.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Default,
    serde::Serialize,
    serde::Deserialize,
    schemars::JsonSchema,
)]
pub struct Mail {
    /// Oldest unread message.
    pub oldest_unread: Option<MessageId>,
    /// Newest unread message.
    pub newest_unread: Option<MessageId>,
    /// Messages not yet read.
    pub unread: u64,
    /// When the agent itself last did something: a call with its token, a turn that its
    /// client reported. A bare heartbeat is nothing that it did.
    pub acted_at: Option<Timestamp>,
    /// Its client says that it is in a turn.
    pub in_turn: bool,
}

/// Where a session's wake stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WakeState {
    /// Nothing owed.
    #[default]
    Quiet,
    /// The adapter before this one failed; this one is next.
    Due {
        /// Index in the list.
        adapter: usize,
        /// Rounds through the whole list that failed before.
        rounds: u32,
    },
    /// An adapter ran; a fetch is awaited.
    Fired {
        /// Newest message that the wake was about.
        mark: MessageId,
        /// Index in the list.
        adapter: usize,
        /// When it is overdue.
        until: Duration,
        /// When it is overdue however busy the agent is.
        limit: Duration,
        /// When the agent had last done something.
        acted_at: Option<Timestamp>,
        /// Rounds through the whole list that failed before.
        rounds: u32,
    },
    /// Not now: the list failed, or another program is waking it.
    BackingOff {
        /// Newest message that the session did not look at.
        mark: MessageId,
        /// When to look again.
        until: Duration,
        /// Rounds through the whole list that failed.
        rounds: u32,
    },
}

/// What to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WakeStep {
    /// Nothing before the given time since boot, or before new mail.
    Rest {
        /// When to call again.
        until: Option<Duration>,
    },
    /// Run an adapter about all mail up to `mark`.
    Fire {
        /// Index in the list.
        adapter: usize,
        /// Newest message to point at.
        mark: MessageId,
    },
    /// The session fetched past the mark. Call again at once.
    Verified {
        /// The adapter that did it.
        adapter: usize,
    },
    /// The adapter's time is over without a fetch. Call again at once.
    Unverified {
        /// The adapter that failed.
        adapter: usize,
        /// Whether it was the last of the list: tell the operator.
        spent: bool,
    },
}

/// One step. Call it again until it rests or fires; it always comes to that.
#[must_use]
pub fn step(
    state: WakeState,
    mail: Mail,
    now: Duration,
    policy: &WakePolicy,
) -> (WakeState, WakeStep) {
    let rest = |state, until| (state, WakeStep::Rest { until });
    let fire = |adapter: usize, rounds: u32, mark: MessageId| {
        let fired = WakeState::Fired {
            mark,
            adapter,
            until: now + policy.verify_within,
            limit: now + policy.verify_within.max(policy.backoff_max),
            acted_at: mail.acted_at,
            rounds,
        };
        (fired, WakeStep::Fire { adapter, mark })
    };
    let fetched_past = |mark| mail.oldest_unread.is_none_or(|oldest| oldest > mark);
    match state {
        WakeState::Fired {
            mark,
            adapter,
            until,
            limit,
            acted_at,
            rounds,
        } => {
            if fetched_past(mark) {
                (WakeState::Quiet, WakeStep::Verified { adapter })
            } else if now < limit && (mail.in_turn || mail.acted_at != acted_at) {
                // At work, and it has not fetched: do not interrupt it now, and
                // do not forget it either.
                let until = until.max(now + policy.verify_within).min(limit);
                let state = WakeState::Fired {
                    mark,
                    adapter,
                    until,
                    limit,
                    acted_at: mail.acted_at,
                    rounds,
                };
                rest(state, Some(until))
            } else if now < until {
                rest(state, Some(until))
            } else {
                fail(state, now, policy)
            }
        }
        // Once it has looked, by itself or as a new agent, nothing stands in the way of
        // the next wake.
        WakeState::BackingOff { mark, until, .. } if !fetched_past(mark) && now < until => {
            rest(state, Some(until))
        }
        WakeState::Quiet | WakeState::Due { .. } | WakeState::BackingOff { .. } => {
            let (adapter, rounds) = match state {
                WakeState::Due { adapter, rounds } => (adapter, rounds),
                WakeState::BackingOff { mark, rounds, .. } if !fetched_past(mark) => (0, rounds),
                _ => (0, 0),
            };
            match mail.newest_unread {
                Some(mark) if adapter < policy.adapters => fire(adapter, rounds, mark),
                _ => rest(WakeState::Quiet, None),
            }
        }
    }
}

/// The adapter that was fired failed: its time is over, or it said so itself
/// (no such command, exit 1), and waiting for a fetch would be pointless.
#[must_use]
pub fn fail(state: WakeState, now: Duration, policy: &WakePolicy) -> (WakeState, WakeStep) {
    let WakeState::Fired {
        mark,
        adapter,
        rounds,
        ..
    } = state
    else {
        return (state, WakeStep::Rest { until: None });
    };
    let spent = adapter + 1 >= policy.adapters;
    let state = if spent {
        WakeState::BackingOff {
            mark,
            until: now + policy.pause(rounds),
            rounds: rounds.saturating_add(1),
        }
    } else {
        WakeState::Due {
            adapter: adapter + 1,
            rounds,
        }
    };
    (state, WakeStep::Unverified { adapter, spent })
}
