//! What was said and stands, and what came since.

use super::*;

#[test]
fn session_back_for_an_unjudged_beat_is_lost_again() {
    let lost = |beat| Sighting {
        standing: Held::Lost { seq: 7 },
        ..kept(1, beat)
    };
    // It was known before, or comes to us as it is.
    for first in [vec![kept(1, 7), lost(7), lost(8)], vec![lost(8)]] {
        let mut standby = observer();
        for sighting in &first {
            standby.sighted(sighting, at(100));
        }
        let changes = standby.due(at(120));
        assert_eq!(one(&changes), (Health::Suspect, Health::Lost));
        let change = &changes[0];
        assert_eq!(change.standing(), Some(Held::Lost { seq: 8 }));
        assert!(change.is_news_to(Held::Lost { seq: 7 }));
        assert!(!change.is_news_to(Held::Lost { seq: 8 }));
        // As often as it could not be written.
        standby.take_back(change);
        assert_eq!(standby.due(at(121)), changes_at(&changes, at(21)));
        assert_eq!(look(&mut standby, &[lost(8)], at(122)), []);
    }
    // The same of a stall, and of a session that was suspect in between.
    let stalled = |second: u32, standing, activity| Sighting {
        standing,
        activity,
        open_tasks: 1,
        ..kept(1, i64::from(second))
    };
    let mut standby = observer();
    standby.sighted(&stalled(100, Held::Stalled, 1), at(100));
    standby.sighted(&stalled(105, Held::Stirred, 2), at(105));
    standby.sighted(&stalled(225, Held::Stirred, 2), at(225));
    let changes = standby.due(at(225));
    assert_eq!(one(&changes), (Health::Active, Health::Stalled));
    assert!(changes[0].is_news_to(Held::Stirred));
    let mut late = observer();
    late.sighted(&lost(7), at(100));
    late.sighted(&lost(8), at(101));
    assert_eq!(one(&late.due(at(112))), (Health::Lost, Health::Suspect));
    assert_eq!(one(&late.due(at(121))), (Health::Suspect, Health::Lost));
}

#[test]
fn stall_during_a_drain_is_reported_at_its_end() {
    let seen = |second: u32, draining, standing| Sighting {
        draining,
        standing,
        open_tasks: 1,
        ..kept(1, i64::from(second))
    };
    let mut said = Vec::new();
    let mut early = observer();
    for second in (100..400).step_by(5) {
        let standing = if second > 220 {
            Held::Stalled
        } else {
            Held::Well
        };
        let sighting = seen(second, second < 300, standing);
        for change in look(&mut early, &[sighting], at(second)) {
            said.push((second, change.from, change.to, change.untold));
            assert!(change.is_news_to(standing));
            // As often as it could not be written.
            if second == 300 {
                early.take_back(&change);
            }
        }
    }
    let stalled = Health::Stalled;
    let expected = [
        (220, Health::Active, stalled, false),
        (300, stalled, stalled, true),
        (305, stalled, stalled, true),
    ];
    assert_eq!(said, expected);
    // An observer that begins while it drains knows it, too, and what was announced is
    // not announced again.
    for (first, untold) in [(true, true), (false, false)] {
        let mut late = observer();
        let stalled = Held::Stalled;
        look(&mut late, &[seen(100, first, stalled)], at(100));
        look(&mut late, &[seen(105, true, stalled)], at(105));
        let changes = look(&mut late, &[seen(110, false, stalled)], at(110));
        assert_eq!(changes.iter().any(|c| c.untold), untold);
    }
}

#[test]
fn agent_stopped_inside_a_turn_stalls() {
    let mut observer = observer();
    let mut all = Vec::new();
    for second in (100..600).step_by(5) {
        let sighting = Sighting {
            turn: Turn::Inside,
            stopped: (200..450).contains(&second),
            ..kept(1, i64::from(second))
        };
        for change in verdicts(&look(&mut observer, &[sighting], at(second))) {
            all.push((second, change.1, change.2));
        }
    }
    assert_eq!(
        all,
        [
            (320, Health::Active, Health::Stalled),
            (450, Health::Stalled, Health::Busy)
        ]
    );
}

#[test]
fn a_stopped_agent_that_owes_nothing_is_idle() {
    let mut observer = observer();
    for second in (100..600).step_by(5) {
        let sighting = Sighting {
            turn: Turn::Outside,
            stopped: true,
            ..kept(1, i64::from(second))
        };
        assert_eq!(verdicts(&look(&mut observer, &[sighting], at(second))), []);
    }
    assert_eq!(observer.health(&key(1)), Some(Health::Idle));
}
