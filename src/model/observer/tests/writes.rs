use super::*;

/// Own writes that last got through at `last`.
fn through(last: u32) -> OwnWrites {
    OwnWrites {
        last: Some(at(last)),
        ..OwnWrites::default()
    }
}

#[test]
fn silence_without_a_writable_store_does_not_count() {
    let mut observer = observer();
    observer.own_writes(&through(100), at(100));
    look(&mut observer, &[kept(1, 1)], at(100));
    let failing = OwnWrites {
        failing_since: Some(at(102)),
        ..through(101)
    };
    assert!(
        !observer.own_writes(&failing, at(104)),
        "it may only be slow"
    );
    assert_eq!(observer.unwritable_since(), None);
    observer.own_writes(&failing, at(105));
    assert_eq!(observer.unwritable_since(), Some(at(102)));
    for now in [120, 180] {
        observer.own_writes(&failing, at(now));
        assert_eq!(verdicts(&observer.due(at(now))), [], "at {now}");
    }
    // It gets through, and one whole ttl of good observation begins.
    let regained = OwnWrites {
        regained: Some(at(200)),
        ..through(200)
    };
    assert!(observer.own_writes(&regained, at(200)));
    assert!(!observer.own_writes(&regained, at(201)), "said once");
    assert_eq!(verdicts(&observer.due(at(219))), []);
    assert_eq!(one(&observer.due(at(220))), (Health::Suspect, Health::Lost));
}

#[test]
fn unseen_time_without_writes_begins_anew() {
    // Between two looks a write waited long and got through.
    let mut observer = observer();
    observer.own_writes(&through(100), at(100));
    look(&mut observer, &[kept(1, 1)], at(100));
    let regained = OwnWrites {
        regained: Some(at(119)),
        ..through(119)
    };
    assert!(observer.own_writes(&regained, at(120)));
    assert_eq!(verdicts(&observer.due(at(120))), []);
    assert_eq!(one(&observer.due(at(140))), (Health::Active, Health::Lost));
}

#[test]
fn observer_that_wrote_nothing_for_long_does_not_know() {
    let mut observer = observer();
    observer.own_writes(&through(100), at(100));
    look(&mut observer, &[kept(1, 1)], at(100));
    assert!(observer.own_writes(&through(120), at(120)));
    assert_eq!(verdicts(&observer.due(at(120))), []);
}

#[test]
fn exit_is_said_while_the_store_takes_no_writes() {
    let mut observer = observer();
    look(&mut observer, &[kept(1, 1)], at(100));
    let failing = OwnWrites {
        failing_since: Some(at(101)),
        ..through(101)
    };
    observer.own_writes(&failing, at(110));
    let mut ended = kept(1, 2);
    ended.beat = ended.beat.map(|beat| Beat {
        exited: true,
        ..beat
    });
    let changes = look(&mut observer, &[ended], at(110));
    assert_eq!(one(&changes).1, Health::Exited);
}

/// Ten minutes on a disk that is slow for good: each write of the observer waits for
/// `wait` seconds and gets through. Session 1 writes a heartbeat whenever it can,
/// session 2 is dead. Says when each was lost.
fn on_a_slow_disk(wait: u32) -> [Option<u32>; 2] {
    let mut observer = observer();
    observer.own_writes(&through(100), at(100));
    look(&mut observer, &[kept(1, 1), kept(2, 1)], at(100));
    let mut lost = [None; 2];
    let (mut beats, mut got_through) = (1, 100);
    for now in 101..700 {
        let began = got_through + 1;
        if now >= began + wait {
            got_through = now;
            beats += 1;
        }
        let writes = OwnWrites {
            failing_since: (now > got_through).then(|| at(got_through + 1)),
            regained: (got_through > 100 && wait >= 3).then(|| at(got_through)),
            ..through(got_through)
        };
        observer.own_writes(&writes, at(now));
        // Between two heartbeats there is a pause of 5 s.
        let beat = if wait < 5 { beats / 2 } else { beats };
        let mut changes = look(&mut observer, &[kept(1, beat.max(1)), kept(2, 1)], at(now));
        changes.extend(observer.due(at(now)));
        for change in changes.iter().filter(|change| change.to == Health::Lost) {
            let which = usize::from(change.key == kept(2, 1).key);
            lost[which].get_or_insert(now - 100);
        }
    }
    lost
}

#[test]
fn slow_disk_hides_no_death() {
    for wait in [2, 3, 4, 6, 9] {
        let [living, dead] = on_a_slow_disk(wait);
        assert_eq!(living, None, "waits of {wait} s");
        // The excuses, and one whole ttl after them.
        let limit = 20 + 4 * (wait + 1) + 1;
        assert!(
            dead.is_some_and(|dead| dead <= limit),
            "waits of {wait} s: {dead:?}, not within {limit} s"
        );
    }
}
