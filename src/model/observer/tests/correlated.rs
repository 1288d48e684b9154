//! Many hosts at once.

use super::*;

/// Ten hosts with one session each, last seen at 100 s.
pub(super) fn ten_hosts() -> Observer {
    let mut observer = observer();
    let fleet: Vec<_> = (0..10).map(|n| kept(n * 10, 1)).collect();
    look(&mut observer, &fleet, at(100));
    observer
}

/// The first `n` hosts beat every five seconds.
fn beats(observer: &mut Observer, hosts: u64, seconds: std::ops::Range<u32>) -> Vec<Change> {
    let mut said = Vec::new();
    for second in seconds.step_by(5) {
        let fleet: Vec<_> = (0..hosts)
            .map(|n| kept(n * 10, i64::from(second)))
            .collect();
        said.extend(look(observer, &fleet, at(second)));
    }
    said
}

#[test]
fn hosts_silent_together_expire_after_the_hold() {
    let mut observer = ten_hosts();
    let said = beats(&mut observer, 4, 105..420);
    assert_eq!(verdicts(&said), []);
    let correlated = observer.correlated().expect("six of ten");
    let expected = Correlated {
        silent: 6,
        hosts: 10,
        since: at(120),
    };
    assert_eq!(correlated, expected);
    let said = beats(&mut observer, 4, 420..425);
    assert_eq!(verdicts(&said).len(), 6, "and then all of them");
    assert_eq!(observer.correlated(), None);
    // The lost ones do not count any more: the rest is judged for itself.
    let said = beats(&mut observer, 3, 425..450);
    assert_eq!(verdicts(&said).len(), 1);
}

#[test]
fn fewer_hosts_than_the_share_are_lost_singly() {
    let mut observer = ten_hosts();
    let said = beats(&mut observer, 5, 105..125);
    assert_eq!(verdicts(&said).len(), 5);
    assert_eq!(observer.correlated(), None);
}

#[test]
fn two_hosts_say_nothing_about_each_other() {
    let mut observer = observer();
    look(&mut observer, &[kept(0, 1), kept(10, 1)], at(100));
    assert_eq!(verdicts(&observer.due(at(120))).len(), 2);
}

#[test]
fn hosts_still_silent_get_a_full_ttl_again() {
    let mut observer = ten_hosts();
    beats(&mut observer, 4, 105..200);
    assert!(observer.correlated().is_some());
    let said = beats(&mut observer, 6, 200..220);
    assert_eq!(verdicts(&said), []);
    assert_eq!(observer.correlated(), None);
    let said = beats(&mut observer, 6, 220..225);
    assert_eq!(verdicts(&said).len(), 4);
}

#[test]
fn exit_is_said_also_while_all_are_silent() {
    let mut observer = ten_hosts();
    beats(&mut observer, 4, 105..130);
    assert!(observer.correlated().is_some());
    let mut gone = kept(90, 2);
    gone.beat = gone.beat.map(|beat| Beat {
        exited: true,
        ..beat
    });
    let changes = look(&mut observer, &[gone], at(130));
    assert_eq!(one(&changes).1, Health::Exited);
}

#[test]
fn expiry_goes_on_after_the_hold() {
    let mut observer = ten_hosts();
    beats(&mut observer, 4, 105..406);
    assert!(observer.correlated().is_some());
    let said = beats(&mut observer, 1, 410..421);
    assert_eq!(verdicts(&said).len(), 6, "those who were kept");
    let said = beats(&mut observer, 1, 425..426);
    assert_eq!(verdicts(&said).len(), 3, "no second hold for one silence");
    assert_eq!(observer.correlated(), None);
}

#[test]
fn operators_hold_starts_no_correlated_hold() {
    let mut observer = ten_hosts();
    beats(&mut observer, 4, 105..200);
    assert!(observer.correlated().is_some());
    observer.set_hold(true, at(200));
    let said = beats(&mut observer, 4, 200..421);
    assert_eq!(observer.correlated(), None, "its time is over");
    assert!(
        observer.next().is_none_or(|next| next > at(420)),
        "it spins"
    );
    let said = [said, beats(&mut observer, 0, 425..500)].concat();
    assert_eq!(verdicts(&said), [], "the operator's is on");
    assert_eq!(observer.correlated(), None, "and was planned");
    // And if the others come back before.
    let mut observer = ten_hosts();
    beats(&mut observer, 4, 105..200);
    observer.set_hold(true, at(200));
    beats(&mut observer, 10, 200..206);
    assert_eq!(observer.correlated(), None, "they are back");
}

#[test]
fn standby_begins_a_hold_of_its_own() {
    let mut observer = ten_hosts();
    beats(&mut observer, 4, 105..200);
    let first = observer.correlated().expect("six of ten").since;
    assert_eq!(first, at(120));
    observer.stand_by();
    assert_eq!(observer.correlated(), None);
    // It looks on, and does not ask; it acts again when the first were over.
    let fleet: Vec<_> = (0..4).map(|n| kept(n * 10, 900)).collect();
    for sighting in &fleet {
        observer.sighted(sighting, at(600));
    }
    assert_eq!(verdicts(&observer.due(at(601))), []);
    let correlated = observer.correlated().expect("they are silent still");
    assert_eq!(correlated.since, at(601));
}
