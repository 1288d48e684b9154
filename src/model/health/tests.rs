use super::*;
use proptest::prelude::*;

const SECOND: Duration = Duration::from_secs(1);
const TTL: Duration = Duration::from_secs(20);

fn at(second: u32) -> Duration {
    second * SECOND
}

/// Kept by a daemon, beat and active at 1000 s.
fn kept() -> Observed {
    Observed {
        beat_seen: Some(at(1_000)),
        activity_seen: Some(at(1_000)),
        promised: true,
        ..Observed::new(at(500), TTL)
    }
}

fn health(seen: &Observed, now: Duration) -> Health {
    judge(seen, now).health
}

fn judge(seen: &Observed, now: Duration) -> Verdict {
    classify(seen, Duration::ZERO, now, &HealthPolicy::default())
}

/// The heartbeat goes on: only the second clock is tried.
fn beating(seen: Observed, now: Duration) -> Observed {
    Observed {
        beat_seen: Some(now),
        ..seen
    }
}

#[test]
fn silence_is_suspect_at_half_and_lost_at_ttl() {
    let seen = kept();
    let just_before = |second| at(second) - Duration::from_nanos(1);
    assert_eq!(health(&seen, just_before(1_010)), Health::Active);
    assert_eq!(health(&seen, at(1_010)), Health::Suspect);
    assert_eq!(health(&seen, just_before(1_020)), Health::Suspect);
    assert_eq!(health(&seen, at(1_020)), Health::Lost);
}

#[test]
fn the_last_sign_of_life_decides() {
    for seen in [
        Observed {
            beat_seen: Some(at(1_015)),
            ..kept()
        },
        Observed {
            activity_seen: Some(at(1_015)),
            ..kept()
        },
        Observed {
            process_seen_alive: Some(at(1_015)),
            ..kept()
        },
    ] {
        assert_eq!(health(&seen, at(1_034)), Health::Suspect);
        assert_eq!(health(&seen, at(1_035)), Health::Lost);
    }
}

#[test]
fn only_an_exit_counts_before_a_full_ttl() {
    let policy = HealthPolicy::default();
    let judged = |seen: &Observed, now| classify(seen, at(5_000), now, &policy).health;
    assert_eq!(judged(&kept(), at(5_019)), Health::Suspect);
    assert_eq!(judged(&kept(), at(5_020)), Health::Lost);
    let exited = Observed {
        exited: true,
        ..kept()
    };
    assert_eq!(judged(&exited, at(5_000)), Health::Exited);
}

#[test]
fn session_without_any_sign_never_started() {
    let new = Observed::new(at(500), at(300));
    assert_eq!(judge(&new, at(500)).until, Some(at(620)));
    assert_eq!(health(&new, at(619)), Health::Starting);
    assert_eq!(health(&new, at(620)), Health::NeverStarted);
    let before_us = Observed {
        promised: true,
        ..new
    };
    assert_eq!(health(&before_us, at(799)), Health::Suspect);
    assert_eq!(health(&before_us, at(800)), Health::Lost);
    let drained = Observed {
        draining: true,
        ..new
    };
    assert_eq!(judge(&drained, at(9_000)).health, Health::Starting);
}

#[test]
fn idle_owes_nothing_and_stalled_owes_something() {
    let now = at(1_060);
    assert_eq!(health(&beating(kept(), now), now - SECOND), Health::Active);
    assert_eq!(health(&beating(kept(), now), now), Health::Idle);
    let owes = Observed {
        owes_since: Some(at(1_100)),
        ..kept()
    };
    let now = at(1_219);
    assert_eq!(health(&beating(owes, now), now), Health::Active);
    let now = at(1_220);
    assert_eq!(health(&beating(owes, now), now), Health::Stalled);
    let moved = Observed {
        activity_seen: Some(at(1_150)),
        ..owes
    };
    assert_eq!(health(&beating(moved, now), now), Health::Active);
}

#[test]
fn busy_or_waiting_session_is_not_stalled() {
    let now = at(9_000);
    let owes = beating(
        Observed {
            owes_since: Some(at(1_000)),
            ..kept()
        },
        now,
    );
    let inside = Observed {
        turn: Turn::Inside,
        ..owes
    };
    assert_eq!(health(&inside, now), Health::Busy);
    let waits = Observed {
        waiting_until: Some(Duration::MAX),
        ..owes
    };
    assert_eq!(health(&waits, now), Health::Waiting);
    let said = Observed {
        busy_until: Some(now + SECOND),
        ..owes
    };
    assert_eq!(judge(&said, now).until, Some(now + SECOND));
    assert_eq!(health(&said, now), Health::Busy);
    // When the time that it declared is over, it has as long as any other.
    assert_eq!(health(&said, now + SECOND), Health::Active);
    let later = now + 121 * SECOND;
    assert_eq!(health(&beating(said, later), later), Health::Stalled);
}

#[test]
fn declared_time_is_life_only_without_a_daemon() {
    let said = Observed {
        busy_until: Some(at(2_200)),
        owes_since: Some(at(1_000)),
        ..kept()
    };
    assert_eq!(health(&said, at(1_020)), Health::Lost);
    let unkept = Observed {
        vouched_until: said.busy_until,
        ttl: at(300),
        ..said
    };
    for second in [1_300, 2_199] {
        assert_eq!(health(&unkept, at(second)), Health::Busy, "{second}");
    }
    assert_eq!(judge(&unkept, at(1_300)).until, Some(at(2_200)));
    assert_eq!(unkept.silent_for(Duration::ZERO, at(1_300)), Duration::ZERO);
    assert_eq!(health(&unkept, at(2_499)), Health::Suspect);
    assert_eq!(health(&unkept, at(2_500)), Health::Lost);
}

#[test]
fn tasks_are_taken_only_where_turns_are_reported() {
    let owes = Observed {
        owes_since: Some(at(1_000)),
        turn: Turn::Outside,
        ..kept()
    };
    let judged = |seen, second| {
        let verdict = judge(&beating(seen, at(second)), at(second));
        (verdict.health, verdict.may_revoke)
    };
    assert_eq!(judged(owes, 1_120), (Health::Stalled, false));
    assert_eq!(judged(owes, 1_419), (Health::Stalled, false));
    assert_eq!(judged(owes, 1_420), (Health::Stalled, true));
    let silent_client = Observed {
        turn: Turn::Unknown,
        ..owes
    };
    assert_eq!(judged(silent_client, 90_000), (Health::Stalled, false));
}

#[test]
fn our_own_lateness_takes_no_verdict_back() {
    let policy = HealthPolicy::default();
    let now = at(2_000);
    let standing = |seen: Observed, health| {
        let seen = Observed {
            standing: Some(health),
            ..seen
        };
        classify(&seen, now, now, &policy).health
    };
    assert_eq!(standing(kept(), Health::Lost), Health::Lost);
    let owes = Observed {
        owes_since: Some(at(1_000)),
        ..kept()
    };
    assert_eq!(standing(owes, Health::Stalled), Health::Stalled);
    assert_eq!(standing(kept(), Health::Stalled), Health::Idle);
    let new = Observed::new(at(1_000), TTL);
    assert_eq!(standing(new, Health::NeverStarted), Health::NeverStarted);
}

#[test]
fn words_are_read_as_they_are_written() {
    for health in Health::ALL {
        assert_eq!(Health::from_word(health.as_str()), Some(health));
        assert_eq!(serde_json::to_value(health).expect("json"), health.as_str());
    }
    assert_eq!(Health::from_word("sleepy"), None);
    for turn in [Turn::Unknown, Turn::Outside, Turn::Inside] {
        assert_eq!(Turn::from_word(turn.as_str()), Some(turn));
    }
}

fn instant() -> impl Strategy<Value = Duration> {
    (0_u32..2_000).prop_map(at)
}

fn observed() -> impl Strategy<Value = Observed> {
    let maybe = || proptest::option::of(instant());
    let lives = (instant(), maybe(), maybe(), maybe(), any::<bool>());
    let turn = proptest::sample::select(vec![Turn::Unknown, Turn::Outside, Turn::Inside]);
    let busy = (maybe(), any::<bool>());
    let progress = (busy, turn, any::<bool>(), maybe(), any::<bool>());
    let ttl = proptest::sample::select(vec![at(2), TTL, at(300)]);
    let standing = proptest::sample::select(vec![
        None,
        Some(Health::Lost),
        Some(Health::Stalled),
        Some(Health::NeverStarted),
    ]);
    (
        lives,
        progress,
        ttl,
        standing,
        proptest::bool::weighted(0.1),
    )
        .prop_map(|(lives, progress, ttl, standing, exited)| Observed {
            first_seen: lives.0,
            beat_seen: lives.1,
            activity_seen: lives.2,
            process_seen_alive: lives.3,
            promised: lives.4,
            busy_until: progress.0.0,
            vouched_until: progress.0.0.filter(|_| progress.0.1),
            turn: progress.1,
            waiting_until: progress.2.then_some(Duration::MAX),
            owes_since: progress.3,
            draining: progress.4,
            ttl,
            stopped_since: None,
            unused: false,
            standing,
            exited,
        })
}

proptest! {
    /// `until` is what lets an orchestrator sleep: nothing changes before
    /// it, and something does at it.
    #[test]
    fn a_verdict_holds_until_it_says(
        seen in observed(),
        good_since in instant(),
        now in (2_000_u32..4_000).prop_map(at),
        part in 0.0..1.0_f64,
    ) {
        let policy = HealthPolicy::default();
        let words = |now| {
            let verdict = classify(&seen, good_since, now, &policy);
            (verdict.health, verdict.may_revoke)
        };
        let verdict = classify(&seen, good_since, now, &policy);
        match verdict.until {
            Some(until) => {
                prop_assert!(until > now);
                prop_assert_eq!(words(now), words(now + (until - now).mul_f64(part * 0.999)));
                // A session that is suspect and was stalled may be either.
                prop_assert_ne!(words(now), words(until));
            }
            None => prop_assert_eq!(words(now), words(now + at(100_000))),
        }
    }

    #[test]
    fn session_is_lost_exactly_after_a_silent_ttl(
        seen in observed(),
        good_since in instant(),
        now in (0_u32..4_000).prop_map(at),
    ) {
        let verdict = classify(&seen, good_since, now, &HealthPolicy::default());
        let signs = [seen.beat_seen, seen.activity_seen, seen.process_seen_alive];
        let lives = signs.iter().chain([&seen.vouched_until]).flatten();
        let fresh = lives.into_iter().any(|&sign| now < sign + seen.ttl)
            || now < good_since + seen.ttl;
        let started = seen.promised || signs.iter().any(Option::is_some);
        if seen.exited {
            prop_assert_eq!(verdict.health, Health::Exited);
        } else if seen.standing == Some(Health::Lost) {
            prop_assert_eq!(verdict.health, Health::Lost);
        } else if fresh {
            prop_assert!(!verdict.health.is_gone());
        } else if started && now >= seen.first_seen + seen.ttl {
            prop_assert_eq!(verdict.health, Health::Lost);
        }
    }

    #[test]
    fn only_idle_sessions_stall_and_only_seen_are_revoked(
        seen in observed(),
        good_since in instant(),
        now in (0_u32..4_000).prop_map(at),
    ) {
        let verdict = classify(&seen, good_since, now, &HealthPolicy::default());
        if verdict.health == Health::Stalled {
            prop_assert!(seen.owes_since.is_some() && seen.waiting_until.is_none());
            prop_assert!(seen.turn != Turn::Inside);
            prop_assert!(seen.busy_until.is_none_or(|until| until <= now));
        }
        if verdict.may_revoke {
            prop_assert!(verdict.health == Health::Stalled && seen.turn == Turn::Outside);
            prop_assert!(now >= good_since + at(420));
        }
    }
}
