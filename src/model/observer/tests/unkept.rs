//! Sessions that no daemon keeps.

use super::*;

#[test]
fn whoever_no_daemon_keeps_is_not_missed_while_it_is_busy_as_it_said() {
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
fn whoever_gave_its_signs_to_the_other_bridge_alone_has_started_there() {
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
