//! Histories of one wake, by hand and at random.

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
        ..Mail::default()
    }
}

/// The agent has done something else, this second.
fn acted(mail: Mail, second: i64) -> Mail {
    Mail {
        acted_at: Timestamp::from_second(second).ok(),
        ..mail
    }
}

#[test]
fn mail_fires_an_adapter_and_a_fetch_verifies() {
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
fn spent_list_backs_off_longer_each_round() {
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
fn busy_agent_is_left_alone_until_a_fetch() {
    let policy = policy(2);
    let rests = |until| WakeStep::Rest {
        until: Some(until * SECOND),
    };
    let failed = WakeStep::Unverified {
        adapter: 0,
        spent: false,
    };
    let mail = unread(1, 1);
    let (fired, _) = step(WakeState::Quiet, mail, SECOND, &policy);
    // It does something else, and then nothing.
    let (state, did) = step(fired, acted(mail, 5), 5 * SECOND, &policy);
    assert_eq!(did, rests(15));
    let (state, did) = step(state, acted(mail, 5), 14 * SECOND, &policy);
    assert_eq!(did, rests(15));
    assert_eq!(step(state, acted(mail, 5), 15 * SECOND, &policy).1, failed);
    let verified = WakeStep::Verified { adapter: 0 };
    assert_eq!(
        step(state, Mail::default(), 14 * SECOND, &policy).1,
        verified
    );
    // It never comes to an end of something else.
    let (mut state, mut second) = (fired, 1);
    let did = loop {
        second += 5;
        let busy = acted(mail, second.into());
        let (next, did) = step(state, busy, second * SECOND, &policy);
        state = next;
        if did == failed {
            break second;
        }
        assert!(matches!(did, WakeStep::Rest { .. }), "{did:?}");
    };
    assert_eq!(did, 601, "backoff_max after the wake");
    // A turn is work, however quiet it is.
    let turn = Mail {
        in_turn: true,
        ..mail
    };
    let (state, did) = step(fired, turn, 300 * SECOND, &policy);
    assert_eq!(did, rests(310));
    assert_eq!(step(state, mail, 310 * SECOND, &policy).1, failed);
    assert_eq!(step(state, turn, 601 * SECOND, &policy).1, failed);
}

#[test]
fn busy_agent_keeps_the_count_of_rounds() {
    let policy = policy(1);
    let (mut state, mut now) = (WakeState::Quiet, SECOND);
    let mut spent = Vec::new();
    for second in 0.. {
        let (next, did) = step(state, acted(unread(1, 1), second), now, &policy);
        state = next;
        match did {
            WakeStep::Unverified { spent: true, .. } => spent.push(now.as_secs()),
            WakeStep::Rest { until } => now = until.expect("mail is waiting"),
            WakeStep::Fire { .. } => {}
            other => panic!("nothing was fetched: {other:?}"),
        }
        if spent.len() == 3 {
            break;
        }
    }
    // At its limit each time, and pauses of 30 and 60 seconds between.
    assert_eq!(spent, [601, 601 + 30 + 600, 601 + 30 + 600 + 60 + 600]);
}

#[test]
fn spent_list_is_fresh_for_the_next_agent() {
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
    // The session fetched 1 and 2; then came 3.
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
fn shorter_list_after_a_reload_goes_on() {
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
        looks in proptest::collection::vec((0_u32..40, 0_u8..5), 1..200),
    ) {
        let policy = policy(adapters);
        let (mut state, mut now) = (WakeState::Quiet, SECOND);
        let (mut oldest, mut newest, mut second) = (1, 0, 0);
        let mut in_turn = false;
        let mut last_fire: Option<Duration> = None;
        for (pause, event) in looks {
            now += pause * SECOND;
            match event {
                0 => newest += 1,
                1 => oldest = newest + 1,
                2 => second += 1,
                3 => in_turn = !in_turn,
                _ => {}
            }
            let mail = if oldest > newest {
                Mail { in_turn, ..acted(Mail::default(), second) }
            } else {
                Mail { in_turn, ..acted(unread(oldest, newest), second) }
            };
            let fetched = event == 1;
            // No session is busy for ever.
            let longest = policy.verify_within.max(policy.backoff_max);
            let mut overdue = matches!(state, WakeState::Fired { .. })
                && !fetched
                && last_fire.is_some_and(|fire| now >= fire + longest);
            for round in 0.. {
                prop_assert!(round < 5, "it never came to rest");
                let (next, did) = step(state, mail, now, &policy);
                state = next;
                match did {
                    WakeStep::Fire { adapter, mark } => {
                        prop_assert!(adapter < adapters);
                        prop_assert_eq!(Some(mark), mail.newest_unread);
                        prop_assert!(!overdue, "left alone for ever");
                        last_fire = Some(now);
                        break;
                    }
                    WakeStep::Rest { until } => {
                        prop_assert!(!overdue, "left alone for ever");
                        prop_assert_eq!(until.is_some(), mail.unread > 0);
                        if let Some(until) = until {
                            prop_assert!(until > now && until <= now + policy.backoff_max);
                            prop_assert!(last_fire.is_some());
                        }
                        break;
                    }
                    WakeStep::Verified { .. } => {
                        prop_assert!(fetched, "verified without a fetch");
                    }
                    WakeStep::Unverified { .. } => {
                        prop_assert!(!fetched, "all was fetched");
                        let waited = last_fire.map(|fire| now - fire);
                        prop_assert!(waited >= Some(policy.verify_within));
                        overdue = false;
                    }
                }
            }
        }
    }
}
