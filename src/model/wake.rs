//! When to wake a session, with which adapter, and when to give up: pure.
//!
//! The last hop into an agent's client is the weak one, so a wake counts as
//! failed until the session itself gave evidence. Times are durations since
//! boot, taken from one clock by the caller.

use std::time::Duration;

use super::ids::MessageId;

/// The settings that decisions depend on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WakePolicy {
    /// Length of the wake list.
    pub adapters: usize,
    /// How long an adapter has to lead to evidence.
    pub verify_within: Duration,
    /// Pause after the whole list failed; doubles each round.
    pub backoff: Duration,
    /// Longest pause.
    pub backoff_max: Duration,
}

impl WakePolicy {
    fn pause(&self, rounds: u32) -> Duration {
        self.backoff
            .saturating_mul(2_u32.saturating_pow(rounds))
            .min(self.backoff_max)
    }
}

/// What the store says of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Mail {
    /// Oldest unread message.
    pub oldest_unread: Option<MessageId>,
    /// Newest unread message.
    pub newest_unread: Option<MessageId>,
    /// Messages not yet read.
    pub unread: u64,
    /// Grows with every authenticated call of the agent itself.
    pub activity: i64,
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
    /// An adapter ran; evidence is awaited.
    Fired {
        /// Newest message that the wake was about.
        mark: MessageId,
        /// Index in the list.
        adapter: usize,
        /// When evidence is overdue.
        until: Duration,
        /// The session's activity when it was fired.
        activity: i64,
        /// Rounds through the whole list that failed before.
        rounds: u32,
    },
    /// Not now: the list failed, or the agent is awake and has not fetched.
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
    /// The last wake led to evidence. Call again at once.
    Verified {
        /// The adapter that did it.
        adapter: usize,
    },
    /// The adapter's time is over without evidence. Call again at once.
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
            activity: mail.activity,
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
            activity,
            ..
        } => {
            if fetched_past(mark) {
                (WakeState::Quiet, WakeStep::Verified { adapter })
            } else if mail.activity != activity {
                // Awake, but it has not fetched: do not interrupt it now, and
                // do not forget it either.
                let until = now + policy.pause(0);
                let state = WakeState::BackingOff {
                    mark,
                    until,
                    rounds: 0,
                };
                (state, WakeStep::Verified { adapter })
            } else if now < until {
                rest(state, Some(until))
            } else {
                fail(state, now, policy)
            }
        }
        // Once it has looked, by itself or as somebody new, nothing stands in
        // the way of the next wake.
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
/// (no such command, exit 1), and waiting for evidence would be pointless.
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn policy(adapters: usize) -> WakePolicy {
        WakePolicy {
            adapters,
            verify_within: 10 * SECOND,
            backoff: 30 * SECOND,
            backoff_max: 600 * SECOND,
        }
    }

    fn unread(oldest: i64, newest: i64) -> Mail {
        Mail {
            oldest_unread: Some(MessageId(oldest)),
            newest_unread: Some(MessageId(newest)),
            unread: u64::try_from(newest - oldest + 1).expect("ordered"),
            activity: 0,
        }
    }

    #[test]
    fn mail_fires_the_first_adapter_and_a_fetch_verifies_it() {
        let policy = policy(2);
        let (state, did) = step(WakeState::Quiet, unread(5, 7), SECOND, &policy);
        assert_eq!(
            did,
            WakeStep::Fire {
                adapter: 0,
                mark: MessageId(7)
            }
        );
        let (state, did) = step(state, Mail::default(), 2 * SECOND, &policy);
        assert_eq!(did, WakeStep::Verified { adapter: 0 });
        assert_eq!(state, WakeState::Quiet);
    }

    #[test]
    fn more_mail_while_evidence_is_awaited_is_one_wake() {
        let policy = policy(1);
        let (state, _) = step(WakeState::Quiet, unread(5, 5), SECOND, &policy);
        let (again, did) = step(state, unread(5, 9), 2 * SECOND, &policy);
        assert_eq!(
            did,
            WakeStep::Rest {
                until: Some(11 * SECOND)
            }
        );
        assert_eq!(again, state);
    }

    #[test]
    fn the_next_adapter_is_tried_and_a_spent_list_backs_off_longer_each_round() {
        let policy = policy(2);
        let mut state = WakeState::Quiet;
        let mut now = SECOND;
        let mut fired = Vec::new();
        let mut spent = Vec::new();
        while now < 400 * SECOND {
            let (next, did) = step(state, unread(1, 1), now, &policy);
            state = next;
            match did {
                WakeStep::Fire { adapter, .. } => fired.push((now.as_secs(), adapter)),
                WakeStep::Unverified { spent: true, .. } => spent.push(now.as_secs()),
                WakeStep::Unverified { spent: false, .. } => {}
                WakeStep::Rest { until } => now = until.expect("mail is waiting"),
                WakeStep::Verified { .. } => panic!("nothing was fetched"),
            }
        }
        assert_eq!(fired[..4], [(1, 0), (11, 1), (51, 0), (61, 1)]);
        assert_eq!(spent[..3], [21, 71, 151], "pauses of 30, 60, 120 seconds");
    }

    #[test]
    fn a_busy_agent_is_not_interrupted_and_not_forgotten() {
        let policy = policy(1);
        let (state, _) = step(WakeState::Quiet, unread(1, 1), SECOND, &policy);
        let busy = Mail {
            activity: 3,
            ..unread(1, 1)
        };
        let (state, did) = step(state, busy, 2 * SECOND, &policy);
        assert_eq!(did, WakeStep::Verified { adapter: 0 });
        assert_eq!(
            step(state, busy, 3 * SECOND, &policy).1,
            WakeStep::Rest {
                until: Some(32 * SECOND)
            }
        );
        assert_eq!(
            step(state, busy, 32 * SECOND, &policy).1,
            WakeStep::Fire {
                adapter: 0,
                mark: MessageId(1)
            }
        );
    }

    #[test]
    fn a_list_that_was_spent_on_one_agent_is_fresh_for_the_next() {
        let policy = policy(1);
        let (state, _) = step(WakeState::Quiet, unread(1, 1), SECOND, &policy);
        let (state, did) = fail(state, SECOND, &policy);
        assert_eq!(
            did,
            WakeStep::Unverified {
                adapter: 0,
                spent: true
            }
        );
        let waits = step(state, unread(1, 2), 2 * SECOND, &policy).1;
        assert_eq!(
            waits,
            WakeStep::Rest {
                until: Some(31 * SECOND)
            }
        );
        // Somebody fetched 1 and 2; then came 3.
        let fires = step(state, unread(3, 3), 3 * SECOND, &policy).1;
        assert_eq!(
            fires,
            WakeStep::Fire {
                adapter: 0,
                mark: MessageId(3)
            }
        );
    }

    #[test]
    fn a_shorter_list_after_a_reload_is_no_panic_and_no_dead_end() {
        let due = WakeState::Due {
            adapter: 4,
            rounds: 0,
        };
        let (state, did) = step(due, unread(1, 1), SECOND, &policy(1));
        assert_eq!(
            (state, did),
            (WakeState::Quiet, WakeStep::Rest { until: None })
        );
        assert!(matches!(
            step(state, unread(1, 1), SECOND, &policy(1)).1,
            WakeStep::Fire { .. }
        ));
    }

    proptest! {
        /// Unread mail is never abandoned, and a wake is never repeated faster
        /// than its adapters may take.
        #[test]
        fn mail_is_always_either_awaited_or_due(
            adapters in 1_usize..4,
            looks in proptest::collection::vec((0_u32..40, 0_u8..4), 1..200),
        ) {
            let policy = policy(adapters);
            let (mut state, mut now) = (WakeState::Quiet, SECOND);
            let (mut oldest, mut newest, mut activity) = (1, 0, 0);
            let mut last_fire: Option<Duration> = None;
            for (pause, event) in looks {
                now += pause * SECOND;
                match event {
                    0 => newest += 1,
                    1 => oldest = newest + 1,
                    2 => activity += 1,
                    _ => {}
                }
                let mail = if oldest > newest {
                    Mail { activity, ..Mail::default() }
                } else {
                    Mail { activity, ..unread(oldest, newest) }
                };
                let fetched = event == 1;
                for round in 0.. {
                    prop_assert!(round < 5, "it never came to rest");
                    let (next, did) = step(state, mail, now, &policy);
                    state = next;
                    match did {
                        WakeStep::Fire { adapter, mark } => {
                            prop_assert!(adapter < adapters);
                            prop_assert_eq!(Some(mark), mail.newest_unread);
                            last_fire = Some(now);
                            break;
                        }
                        WakeStep::Rest { until } => {
                            prop_assert_eq!(until.is_some(), mail.unread > 0);
                            if let Some(until) = until {
                                prop_assert!(until > now && until <= now + policy.backoff_max);
                                prop_assert!(last_fire.is_some());
                            }
                            break;
                        }
                        WakeStep::Verified { .. } | WakeStep::Unverified { .. } => {
                            let failed = matches!(did, WakeStep::Unverified { .. });
                            prop_assert!(!(fetched && failed), "all was fetched");
                        }
                    }
                }
            }
        }
    }
}
