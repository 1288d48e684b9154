//! Random fleets: the deadlines say exactly when something happens.

use proptest::prelude::*;

use super::*;

fn sighting() -> impl Strategy<Value = Sighting> {
    let beat = proptest::option::of((0_i64..4, any::<bool>(), proptest::bool::weighted(0.1)));
    let turn = proptest::sample::select(vec![Turn::Unknown, Turn::Outside, Turn::Inside]);
    (0_u64..40, beat, 0_i64..3, turn, 0_u64..2, 0_u8..8).prop_map(
        |(n, beat, activity, turn, unread, standing)| Sighting {
            beat: beat.map(|(seq, kept, exited)| Beat {
                seq,
                ttl: at(20),
                kept,
                exited,
            }),
            activity,
            turn,
            unread,
            standing: match standing {
                0 => Held::Lost { seq: 1 },
                1 => Held::Exited { seq: 1 },
                2 => Held::Stalled,
                3 => Held::NeverStarted,
                _ => Held::Well,
            },
            ..kept(n, 0)
        },
    )
}

fn said(changes: Vec<Change>) -> Vec<(SessionKey, Health, Health)> {
    let mut said: Vec<_> = changes
        .into_iter()
        .map(|change| (change.key, change.from, change.to))
        .collect();
    said.sort();
    said
}

proptest! {
    /// An observer that sleeps until `next` reports the same as one that is asked each
    /// second, and no report is without a change.
    #[test]
    fn sleeping_until_next_misses_nothing(
        steps in proptest::collection::vec((sighting(), 0_u32..9, 0_u8..30), 1..60),
    ) {
        let (mut asks, mut sleeps) = (observer(), observer());
        let mut now = at(100);
        for (sighting, pause, event) in steps {
            let end = now + at(pause);
            let mut early = Vec::new();
            while now < end {
                now += SECOND;
                early.extend(asks.due(now));
            }
            let mut late = Vec::new();
            while let Some(next) = sleeps.next().filter(|&next| next <= end) {
                let due = sleeps.due(next);
                late.extend(due);
                prop_assert!(sleeps.next().is_none_or(|again| again > next), "it spins");
            }
            prop_assert_eq!(said(early), said(late));
            for observer in [&mut asks, &mut sleeps] {
                // A session that was named lost is written as lost by now.
                prop_assert_eq!(observer.due(now), []);
                match event {
                    0 => observer.interrupted(now),
                    1 => observer.set_hold(true, now),
                    2 | 3 => observer.set_hold(false, now),
                    4 => prop_assert!(!observer.process_alive(&sighting.key, now)),
                    _ => observer.sighted(&sighting, now),
                }
            }
            let both = [said(asks.due(now)), said(sleeps.due(now))];
            prop_assert_eq!(&both[0], &both[1]);
            prop_assert!(both[0].iter().all(|(_, from, to)| from != to || *to == Health::Stalled));
            prop_assert_eq!(asks.due(now), []);
        }
    }
}
