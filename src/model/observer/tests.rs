use std::collections::HashSet;

use super::super::health::Turn;
use super::super::ids::{ConversationId, Side};
use super::*;
use correlated::ten_hosts;

mod correlated;
mod random;
mod standing;
mod unkept;
mod writes;

const SECOND: Duration = Duration::from_secs(1);

fn at(second: u32) -> Duration {
    second * SECOND
}

fn key(n: u64) -> SessionKey {
    SessionKey::new(ConversationId::from_random(n.to_be_bytes()), Side::B)
}

/// Session `n`, kept by a daemon on host `n / 10`, with the default ttl.
fn kept(n: u64, seq: i64) -> Sighting {
    Sighting {
        host: Some(format!("host-{}", n / 10)),
        beat: Some(Beat {
            seq,
            ttl: at(20),
            kept: true,
            exited: false,
        }),
        activity: 1,
        ..Sighting::new(key(n))
    }
}

fn observer() -> Observer {
    Observer::new(
        HealthPolicy::default(),
        CorrelationPolicy::default(),
        at(100),
    )
}

/// `(session, from, to)` of the changes that are verdicts or their end.
fn verdicts(changes: &[Change]) -> Vec<(SessionKey, Health, Health)> {
    let bad = |health: Health| {
        health.is_gone() || matches!(health, Health::Stalled | Health::NeverStarted)
    };
    changes
        .iter()
        .filter(|change| bad(change.to) || bad(change.from))
        .map(|change| (change.key.clone(), change.from, change.to))
        .collect()
}

fn one(changes: &[Change]) -> (Health, Health) {
    match verdicts(changes).as_slice() {
        [(_, from, to)] => (*from, *to),
        other => panic!("one verdict was expected, not {other:?}"),
    }
}

/// Sights and asks.
fn look(observer: &mut Observer, sightings: &[Sighting], now: Duration) -> Vec<Change> {
    for sighting in sightings {
        observer.sighted(sighting, now);
    }
    observer.due(now)
}

#[test]
fn silence_is_noticed_at_its_deadline_and_said_once() {
    let mut observer = observer();
    look(&mut observer, &[kept(1, 1)], at(100));
    look(&mut observer, &[kept(1, 2)], at(105));
    assert_eq!(observer.next(), Some(at(115)));
    assert_eq!(verdicts(&observer.due(at(115))), []);
    assert_eq!(observer.health(&key(1)), Some(Health::Suspect));
    assert_eq!(observer.next(), Some(at(125)));
    let changes = observer.due(at(125));
    assert_eq!(one(&changes), (Health::Suspect, Health::Lost));
    assert_eq!((changes[0].seq, changes[0].silent_for), (Some(2), at(20)));
    assert_eq!(observer.next(), None);
    assert_eq!(observer.due(at(900)), []);
}

#[test]
fn same_row_again_is_no_sign_of_life() {
    let mut observer = observer();
    look(&mut observer, &[kept(1, 1)], at(100));
    for second in 101..120 {
        assert_eq!(
            verdicts(&look(&mut observer, &[kept(1, 1)], at(second))),
            []
        );
    }
    let changes = look(&mut observer, &[kept(1, 1)], at(120));
    assert_eq!(one(&changes).1, Health::Lost);
}

#[test]
fn session_that_returns_is_reported() {
    let mut observer = observer();
    look(&mut observer, &[kept(1, 1)], at(100));
    assert_eq!(one(&observer.due(at(120))).1, Health::Lost);
    let lost = Sighting {
        standing: Held::Lost { seq: 1 },
        ..kept(1, 1)
    };
    assert_eq!(look(&mut observer, &[lost], at(121)), []);
    let back = Sighting {
        standing: Held::Lost { seq: 1 },
        ..kept(1, 2)
    };
    let changes = look(&mut observer, &[back], at(130));
    assert_eq!(one(&changes), (Health::Lost, Health::Active));
    // And it may be lost again.
    assert_eq!(one(&observer.due(at(150))).1, Health::Lost);
}

#[test]
fn new_leader_repeats_no_verdict_and_sees_who_returned() {
    let mut observer = observer();
    let standing = |n, seq, standing| Sighting {
        standing,
        ..kept(n, seq)
    };
    let exited = Sighting {
        beat: kept(3, 4).beat.map(|beat| Beat {
            exited: true,
            ..beat
        }),
        ..standing(3, 4, Held::Exited { seq: 4 })
    };
    let first = [
        standing(1, 7, Held::Lost { seq: 7 }),
        standing(2, 8, Held::Lost { seq: 7 }),
        exited,
        Sighting {
            unread: 3,
            ..standing(4, 1, Held::Stalled)
        },
        Sighting {
            standing: Held::NeverStarted,
            ..Sighting::new(key(5))
        },
    ];
    let changes = look(&mut observer, &first, at(100));
    assert_eq!(
        verdicts(&changes),
        [(key(2), Health::Lost, Health::Active)],
        "only who moved on is news"
    );
    let health: Vec<_> = [1, 3, 4, 5].map(|n| observer.health(&key(n))).to_vec();
    let expected = [
        Health::Lost,
        Health::Exited,
        Health::Stalled,
        Health::NeverStarted,
    ];
    assert_eq!(health, expected.map(Some));
}

#[test]
fn standby_takes_over_with_the_leaders_verdicts() {
    let mut standby = observer();
    standby.sighted(&kept(1, 1), at(100));
    standby.sighted(&kept(2, 1), at(100));
    let lost = Sighting {
        standing: Held::Lost { seq: 1 },
        ..kept(1, 1)
    };
    standby.sighted(&lost, at(120));
    // The leader died with the second session's host: at once, not a ttl later.
    let changes = standby.due(at(131));
    assert_eq!(verdicts(&changes), [(key(2), Health::Active, Health::Lost)]);
}

#[test]
fn interruption_loses_no_session_and_keeps_verdicts() {
    let mut observer = observer();
    let stalled = Sighting {
        unread: 1,
        ..kept(2, 1)
    };
    look(&mut observer, &[kept(1, 1), stalled.clone()], at(100));
    for beat in 1..30 {
        let sighting = Sighting {
            beat: kept(2, 1 + beat).beat,
            ..stalled.clone()
        };
        look(
            &mut observer,
            &[sighting],
            at(100 + 5 * u32::try_from(beat).expect("small")),
        );
    }
    assert_eq!(observer.health(&key(1)), Some(Health::Lost));
    assert_eq!(observer.health(&key(2)), Some(Health::Stalled));
    assert_eq!(verdicts(&look(&mut observer, &[kept(3, 1)], at(250))), []);
    observer.due(at(262));
    assert_eq!(observer.health(&key(3)), Some(Health::Suspect));
    observer.interrupted(at(265));
    observer.due(at(265));
    assert_eq!(observer.health(&key(3)), Some(Health::Active));
    assert_eq!(observer.health(&key(2)), Some(Health::Stalled));
    assert_eq!(observer.health(&key(1)), Some(Health::Lost));
    assert!(observer.due(at(284)).iter().all(|c| !c.to.is_gone()));
    let changes = observer.due(at(285));
    let lost: Vec<_> = verdicts(&changes).into_iter().map(|v| (v.0, v.2)).collect();
    assert_eq!(lost, [(key(2), Health::Lost), (key(3), Health::Lost)]);
}

#[test]
fn a_confirmed_exit_is_said_at_once() {
    let mut observer = observer();
    look(&mut observer, &[kept(1, 1)], at(100));
    let mut gone = kept(1, 2);
    gone.beat = gone.beat.map(|beat| Beat {
        exited: true,
        ..beat
    });
    observer.interrupted(at(101));
    let changes = look(&mut observer, std::slice::from_ref(&gone), at(101));
    assert_eq!(one(&changes), (Health::Active, Health::Exited));
    // A hook that calls after the process ended does not bring the session back.
    gone.activity += 1;
    assert_eq!(look(&mut observer, &[gone], at(102)), []);
    let changes = look(&mut observer, &[kept(1, 3)], at(103));
    assert_eq!(one(&changes), (Health::Exited, Health::Active));
}

#[test]
fn released_session_has_the_default_ttl() {
    let mut observer = observer();
    look(&mut observer, &[kept(1, 1)], at(100));
    let mut released = kept(1, 1);
    released.beat = released.beat.map(|beat| Beat {
        kept: false,
        ..beat
    });
    look(&mut observer, &[released], at(110));
    assert_eq!(verdicts(&observer.due(at(409))), []);
    assert_eq!(one(&observer.due(at(410))).1, Health::Lost);
}

#[test]
fn a_candidate_whose_process_lives_was_never_lost() {
    let mut observer = observer();
    look(&mut observer, &[kept(1, 1)], at(100));
    observer.due(at(110));
    assert_eq!(one(&observer.due(at(120))).1, Health::Lost);
    assert!(observer.process_alive(&key(1), at(120)));
    let changes = observer.due(at(120));
    assert_eq!(verdicts(&changes), [], "no return of who was not gone");
    assert_eq!(observer.health(&key(1)), Some(Health::Active));
    assert_eq!(one(&observer.due(at(140))).1, Health::Lost);
}

#[test]
fn unwritten_verdict_is_reported_again() {
    let mut observer = observer();
    look(&mut observer, &[kept(1, 1)], at(100));
    let changes = observer.due(at(120));
    assert_eq!(one(&changes).1, Health::Lost);
    observer.take_back(&changes[0]);
    assert_eq!(observer.due(at(121)), changes_at(&changes, at(21)));
    observer.take_back(&changes[0]);
    let changes = look(&mut observer, &[kept(1, 2)], at(122));
    assert_eq!(verdicts(&changes), [], "it lives");
}

fn changes_at(changes: &[Change], silent_for: Duration) -> Vec<Change> {
    let later = |change: &Change| Change {
        silent_for,
        ..change.clone()
    };
    changes.iter().map(later).collect()
}

#[test]
fn stall_is_reported_once_and_ends_with_activity() {
    let mut observer = observer();
    let beat = |second: u32, activity| Sighting {
        activity,
        open_tasks: 1,
        turn: Turn::Outside,
        ..kept(1, i64::from(second))
    };
    let mut said = Vec::new();
    for second in (100..700).step_by(5) {
        let changes = look(&mut observer, &[beat(second, 1)], at(second));
        said.extend(changes.into_iter().map(|c| (second, c.to, c.may_revoke)));
    }
    assert_eq!(
        said,
        [(220, Health::Stalled, false), (520, Health::Stalled, true)]
    );
    let changes = look(&mut observer, &[beat(700, 2)], at(700));
    assert_eq!(one(&changes), (Health::Stalled, Health::Active));
}

#[test]
fn operators_hold_delays_losses_and_no_exits() {
    let mut observer = observer();
    look(&mut observer, &[kept(1, 1), kept(2, 1)], at(100));
    observer.set_hold(true, at(101));
    let mut gone = kept(2, 2);
    gone.beat = gone.beat.map(|beat| Beat {
        exited: true,
        ..beat
    });
    let changes = look(&mut observer, std::slice::from_ref(&gone), at(102));
    assert_eq!(
        verdicts(&changes),
        [(key(2), Health::Active, Health::Exited)]
    );
    for second in [111, 130, 900] {
        assert_eq!(verdicts(&observer.due(at(second))), []);
    }
    observer.set_hold(false, at(1_000));
    assert_eq!(verdicts(&observer.due(at(1_000))), []);
    assert_eq!(verdicts(&observer.due(at(1_019))), []);
    assert_eq!(
        verdicts(&observer.due(at(1_020))),
        [(key(1), Health::Suspect, Health::Lost)]
    );
}

#[test]
fn verdict_superseded_before_the_first_look_falls() {
    let called = |standing| Sighting {
        activity: 7,
        standing,
        ..Sighting::new(key(1))
    };
    for (standing, stands) in [
        (Held::Lost { seq: 0 }, Health::Lost),
        (Held::Lost { seq: -1 }, Health::Active),
        (Held::Stirred, Health::Active),
    ] {
        let mut observer = observer();
        look(&mut observer, &[called(standing)], at(100));
        assert_eq!(observer.health(&key(1)), Some(stands), "{standing:?}");
    }
    let mut observer = observer();
    let owes = |standing| Sighting {
        open_tasks: 1,
        ..called(standing)
    };
    look(&mut observer, &[owes(Held::Stalled)], at(100));
    assert_eq!(observer.health(&key(1)), Some(Health::Stalled));
    let mut moved = owes(Held::Stirred);
    moved.activity += 1;
    let changes = look(&mut observer, &[moved], at(101));
    assert_eq!(
        verdicts(&changes),
        [(key(1), Health::Stalled, Health::Active)]
    );
}

#[test]
fn declared_wait_excuses_until_a_call_or_five_minutes() {
    let says = |status: &str, activity| Sighting {
        unread: 1,
        activity,
        waiting: true,
        foreign: Some(status.to_owned()),
        ..kept(1, 1)
    };
    let mut observer = observer();
    let mut health = |sighting: &Sighting, second: u32| {
        let mut beats = sighting.clone();
        beats.beat = kept(1, i64::from(second)).beat;
        look(&mut observer, &[beats], at(second));
        observer.health(&key(1)).expect("known")
    };
    for second in (100..400).step_by(5) {
        assert_eq!(health(&says("t0", 1), second), Health::Waiting, "{second}");
    }
    assert_eq!(health(&says("t0", 1), 400), Health::Stalled);
    // Said again, and then it does something else.
    assert_eq!(health(&says("t1", 1), 405), Health::Waiting);
    assert_eq!(health(&says("t1", 2), 410), Health::Active);
    for second in (415..530).step_by(5) {
        assert_eq!(health(&says("t1", 2), second), Health::Active, "{second}");
    }
    assert_eq!(health(&says("t1", 2), 530), Health::Stalled);
}

#[test]
fn forgotten_session_is_not_reported_or_counted() {
    let mut observer = ten_hosts();
    observer.retain(&HashSet::from([key(0), key(10)]));
    assert_eq!(observer.len(), 2);
    assert_eq!(observer.health(&key(20)), None);
    let changes = look(&mut observer, &[kept(11, 1)], at(112));
    assert_eq!(verdicts(&changes), []);
    let changes = observer.due(at(120));
    assert_eq!(verdicts(&changes).len(), 2, "two hosts are no crowd");
    assert_eq!(observer.iter().count(), 3);
}

#[test]
fn declared_busy_time_counts_from_its_sighting() {
    let mut observer = observer();
    let busy = |second: u32| Sighting {
        unread: 1,
        busy: Some((1, at(90_000))),
        ..kept(1, i64::from(second))
    };
    let mut stalled = None;
    for second in (100..2_200).step_by(5) {
        for change in look(&mut observer, &[busy(second)], at(second)) {
            if change.to == Health::Stalled {
                stalled = Some(second);
            }
        }
    }
    assert_eq!(stalled, Some(100 + 1_800 + 120));
}
