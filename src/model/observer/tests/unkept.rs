//! Sessions that no daemon keeps.

use super::*;

#[test]
fn unkept_session_is_alive_while_busy_as_declared() {
    // It only calls; or its daemon stopped cleanly while it was busy.
    let released = kept(1, 2).beat.map(|beat| Beat {
        kept: false,
        ..beat
    });
    for beat in [None, released] {
        let mut observer = observer();
        let calls = |activity, busy| Sighting {
            beat,
            activity,
            open_tasks: 1,
            busy,
            ..kept(1, 2)
        };
        look(&mut observer, &[calls(1, None)], at(100));
        let says = calls(2, Some((1, at(1_200))));
        look(&mut observer, std::slice::from_ref(&says), at(200));
        for second in (201..1_700).step_by(7) {
            let changes = look(&mut observer, std::slice::from_ref(&says), at(second));
            assert!(changes.iter().all(|c| !c.to.is_gone()), "{second}");
        }
        let changes = observer.due(at(1_700));
        assert_eq!(one(&changes).1, Health::Lost, "it has as long as any other");
    }
    // A daemon that keeps it and falls silent is another matter.
    let mut observer = observer();
    let says = Sighting {
        busy: Some((1, at(1_200))),
        ..kept(1, 1)
    };
    look(&mut observer, &[says], at(100));
    assert_eq!(one(&observer.due(at(120))).1, Health::Lost);
}

#[test]
fn signs_through_the_other_bridge_count_as_start() {
    let mut observer = observer();
    let there = Sighting {
        foreign: Some("2026-01-01T00:00:00 working".into()),
        open_tasks: 1,
        ..Sighting::new(key(1))
    };
    look(&mut observer, &[there], at(100));
    assert_eq!(verdicts(&observer.due(at(399))), [], "an old acquaintance");
    assert_eq!(
        verdicts(&observer.due(at(400))),
        [(key(1), Health::Suspect, Health::Lost)],
        "and its task is taken if it died before we came"
    );
}

/// What the other bridge notes of a session that speaks there alone.
fn there(mark: Option<&str>, spoken: Option<&str>, read: Option<i64>) -> Sighting {
    Sighting {
        foreign: mark.map(Into::into),
        spoken: spoken.map(Into::into),
        read_there: read,
        unread: 1,
        ..Sighting::new(key(1))
    }
}

#[test]
fn agent_of_the_other_bridge_is_lost_by_silence() {
    for signs in [
        [
            there(None, None, None),
            there(Some("t1 active"), None, None),
        ],
        [there(None, None, None), there(None, Some("t1"), None)],
        [there(None, None, None), there(None, None, Some(7))],
    ] {
        let mut observer = observer();
        look(&mut observer, &signs[..1], at(100));
        look(&mut observer, &signs[1..], at(210));
        assert_ne!(observer.health(&key(1)), Some(Health::NeverStarted));
        let changes = observer.due(at(509));
        assert!(
            changes.iter().all(|change| !change.to.is_gone()),
            "{changes:?}"
        );
        let changes = observer.due(at(510));
        assert_eq!(one(&changes).1, Health::Lost);
        assert!(changes.iter().all(|change| change.heard), "{changes:?}");
    }
}

#[test]
fn only_a_fresh_foreign_mark_is_a_sign() {
    for fresh in [true, false] {
        let mut observer = observer();
        let first = Sighting {
            fresh,
            ..there(Some("t1 active"), None, None)
        };
        look(&mut observer, &[first], at(100));
        let changes = observer.due(at(400));
        let lost = changes.iter().find(|change| change.to == Health::Lost);
        assert_eq!(lost.map(|change| change.heard), Some(fresh));
    }
}

#[test]
fn message_through_the_other_bridge_is_activity() {
    // A daemon of ours keeps it, so that it is not lost meanwhile.
    let mut now = 100;
    let mut beats = |observer: &mut Observer, sighting: &Sighting, until: u32| {
        let mut all = Vec::new();
        while now < until {
            now += 5;
            let sighting = Sighting {
                beat: kept(1, i64::from(now)).beat,
                ..sighting.clone()
            };
            all.extend(look(observer, &[sighting], at(now)));
        }
        verdicts(&all)
    };
    let mut observer = observer();
    assert_eq!(
        beats(&mut observer, &there(None, Some("t1"), None), 200),
        []
    );
    assert_eq!(
        beats(&mut observer, &there(None, Some("t2"), None), 320),
        []
    );
    let stalled = [(key(1), Health::Active, Health::Stalled)];
    let read = there(None, Some("t2"), Some(7));
    assert_eq!(beats(&mut observer, &read, 330), stalled);
    let again = there(None, Some("t3"), Some(7));
    let moves = [(key(1), Health::Stalled, Health::Active)];
    assert_eq!(beats(&mut observer, &again, 335), moves);
}

#[test]
fn side_that_no_agent_uses_is_not_missed() {
    let mut observer = observer();
    let unused = |activity, unread| Sighting {
        activity,
        unread,
        unused: true,
        ..Sighting::new(key(1))
    };
    for (second, sighting) in [
        (100, unused(0, 0)),
        (150, unused(3, 0)),
        (160, unused(3, 2)),
    ] {
        assert_eq!(look(&mut observer, &[sighting], at(second)), []);
    }
    assert_eq!(observer.due(at(100_000)), []);
    assert_eq!(observer.next(), None);
    // An agent begins to use it.
    let used = Sighting {
        unused: false,
        ..unused(4, 0)
    };
    look(&mut observer, &[used], at(100_100));
    assert_eq!(observer.health(&key(1)), Some(Health::Active));
}
