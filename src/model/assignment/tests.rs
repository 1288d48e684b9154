use std::collections::BTreeMap;

use proptest::prelude::*;

use super::super::ids::{ConversationId, Side};
use super::*;

fn key(n: u64) -> SessionKey {
    SessionKey::new(ConversationId::from_random(n.to_be_bytes()), Side::B)
}

fn worker(n: u64, open: u32) -> Candidate {
    Candidate {
        key: key(n),
        role: "backend".into(),
        health: Health::Idle,
        draining: false,
        paused: false,
        open,
        capacity: 3,
    }
}

fn queued(id: i64) -> OpenTask {
    OpenTask {
        id: TaskId(id),
        role: "backend".into(),
        place: TaskPlace::Queued,
        fence: Fence(id * 10),
        last_owner: None,
        losses: 0,
        fetched: true,
    }
}

fn orphan(id: i64, owner: u64) -> OpenTask {
    OpenTask {
        place: TaskPlace::Orphaned,
        last_owner: Some(key(owner)),
        ..queued(id)
    }
}

/// `(task, new owner)` of the moves of a plan.
fn moves(actions: &[Action]) -> Vec<(i64, SessionKey)> {
    actions
        .iter()
        .filter_map(|action| match action {
            Action::Assign { task, to, .. } => Some((task.0, to.clone())),
            _ => None,
        })
        .collect()
}

fn planned(tasks: &[OpenTask], sessions: &[Candidate]) -> Vec<Action> {
    plan(tasks, sessions, &AssignmentPolicy::default(), usize::MAX)
}

#[test]
fn least_loaded_session_gets_it_within_capacity() {
    let sessions = [worker(1, 2), worker(2, 0)];
    let tasks: Vec<_> = (1..=6).map(queued).collect();
    let to = moves(&planned(&tasks, &sessions));
    assert_eq!(
        to,
        [(1, key(2)), (2, key(2)), (3, key(1)), (4, key(2))],
        "two wait"
    );
}

#[test]
fn orphans_go_first_and_carry_their_fence_and_owner() {
    let actions = plan(
        &[queued(1), orphan(9, 7)],
        &[worker(1, 0)],
        &AssignmentPolicy::default(),
        1,
    );
    assert_eq!(
        actions,
        [Action::Assign {
            task: TaskId(9),
            fence: Fence(90),
            from: Some(key(7)),
            to: key(1)
        }]
    );
}

#[test]
fn orphan_is_queued_while_no_session_is_healthy() {
    let unfit = [
        Candidate {
            health: Health::Suspect,
            ..worker(1, 0)
        },
        Candidate {
            health: Health::Waiting,
            ..worker(2, 0)
        },
        Candidate {
            draining: true,
            ..worker(3, 0)
        },
        Candidate {
            role: "frontend".into(),
            ..worker(4, 0)
        },
        worker(5, 3),
    ];
    assert_eq!(
        planned(&[queued(1), orphan(2, 7)], &unfit),
        [Action::Requeue {
            task: TaskId(2),
            fence: Fence(20),
            from: Some(key(7))
        }]
    );
}

#[test]
fn last_owner_gets_it_only_without_other_room() {
    let again = OpenTask {
        last_owner: Some(key(1)),
        ..queued(5)
    };
    let busier = [worker(1, 0), worker(2, 2)];
    assert_eq!(
        moves(&planned(std::slice::from_ref(&again), &busier)),
        [(5, key(2))]
    );
    let full = [worker(1, 0), worker(2, 3)];
    assert_eq!(moves(&planned(&[again], &full)), [(5, key(1))]);
}

#[test]
fn another_role_helps_when_its_own_is_full() {
    let helper = Candidate {
        role: "frontend".into(),
        ..worker(1, 0)
    };
    let sessions = [helper, worker(2, 2)];
    let tasks: Vec<_> = (1..=2).map(queued).collect();
    assert_eq!(moves(&planned(&tasks, &sessions)), [(1, key(2))]);
    let policy = AssignmentPolicy {
        any_role: true,
        ..AssignmentPolicy::default()
    };
    let to = moves(&plan(&tasks, &sessions, &policy, usize::MAX));
    assert_eq!(to, [(1, key(2)), (2, key(1))]);
}

#[test]
fn the_third_lost_owner_is_the_last() {
    let poison = OpenTask {
        losses: 2,
        ..orphan(1, 7)
    };
    assert_eq!(
        planned(&[poison], &[worker(1, 0)]),
        [Action::Bury {
            task: TaskId(1),
            fence: Fence(10),
            from: Some(key(7)),
            losses: 3
        }]
    );
    let twice = OpenTask {
        losses: 2,
        ..queued(1)
    };
    assert_eq!(moves(&planned(&[twice], &[worker(1, 0)])), [(1, key(1))]);
}

#[test]
fn owner_without_a_fetch_does_not_count() {
    let innocent = OpenTask {
        losses: 2,
        fetched: false,
        ..orphan(1, 7)
    };
    let again = moves(&planned(&[innocent], &[worker(1, 0)]));
    assert_eq!(again, [(1, key(1))]);
}

#[test]
fn a_session_in_a_pause_is_given_nothing() {
    let paused = Candidate {
        paused: true,
        ..worker(1, 0)
    };
    assert_eq!(planned(&[queued(1)], std::slice::from_ref(&paused)), []);
    let other = [paused, worker(2, 0)];
    assert_eq!(moves(&planned(&[queued(1)], &other)), [(1, key(2))]);
}

#[test]
fn the_budget_slides_and_counts_what_was_written() {
    let at = Duration::from_millis;
    let mut budget = MoveBudget::new(5);
    assert_eq!(budget.left(at(0)), 5);
    budget.spend(3, at(400));
    budget.spend(2, at(900));
    assert_eq!((budget.left(at(900)), budget.left(at(1_399))), (0, 0));
    assert_eq!(budget.next(at(1_399)), Some(at(1_400)));
    assert_eq!(budget.left(at(1_400)), 3);
    assert_eq!(budget.next(at(1_400)), None);
    assert_eq!(budget.left(at(1_900)), 5);
}

fn role() -> impl Strategy<Value = String> {
    proptest::sample::select(vec!["backend", "frontend", "review"]).prop_map(String::from)
}

fn candidates() -> impl Strategy<Value = Vec<Candidate>> {
    let health = proptest::sample::select(Health::ALL.to_vec());
    let one = (
        role(),
        health,
        proptest::bool::weighted(0.1),
        0_u32..4,
        0_u32..5,
    );
    proptest::collection::vec(one, 0..12).prop_map(|sessions| {
        (0..)
            .zip(sessions)
            .map(|(n, (role, health, draining, open, capacity))| Candidate {
                key: key(n),
                role,
                health,
                draining,
                paused: false,
                open,
                capacity,
            })
            .collect()
    })
}

fn tasks() -> impl Strategy<Value = Vec<OpenTask>> {
    let one = (
        role(),
        any::<bool>(),
        proptest::option::of(0_u64..14),
        0_u32..4,
    );
    proptest::collection::vec(one, 0..40).prop_map(|tasks| {
        (1..)
            .zip(tasks)
            .map(|(id, (role, orphaned, owner, losses))| OpenTask {
                role,
                place: if orphaned {
                    TaskPlace::Orphaned
                } else {
                    TaskPlace::Queued
                },
                last_owner: owner.map(key),
                losses,
                fetched: true,
                ..queued(id)
            })
            .collect()
    })
}

proptest! {
    #[test]
    fn a_plan_keeps_capacity_roles_health_and_budget(
        tasks in tasks(),
        sessions in candidates(),
        any_role: bool,
        budget in 0_usize..45,
    ) {
        let policy = AssignmentPolicy { any_role, ..AssignmentPolicy::default() };
        let actions = plan(&tasks, &sessions, &policy, budget);
        prop_assert!(actions.len() <= budget);
        let mut open: BTreeMap<&SessionKey, u32> =
            sessions.iter().map(|session| (&session.key, session.open)).collect();
        let session_of = |key: &SessionKey| sessions.iter().find(|session| session.key == *key);
        for action in &actions {
            let task = tasks.iter().find(|task| task.id == action.task()).expect("known");
            match action {
                Action::Assign { to, fence, .. } => {
                    let session = session_of(to).expect("known");
                    prop_assert!(session.health.takes_work() && !session.draining);
                    prop_assert!(any_role || session.role == task.role);
                    prop_assert_eq!(*fence, task.fence);
                    // No session with more room was passed over, but the last owner.
                    let count = open[to];
                    prop_assert!(count < session.capacity);
                    for other in sessions.iter().filter(|other| {
                        other.role == task.role
                            && other.may_take()
                            && open[&other.key] < other.capacity
                            && Some(&other.key) != task.last_owner.as_ref()
                    }) {
                        prop_assert!(session.role == task.role);
                        prop_assert!(open[&other.key] >= count);
                        prop_assert!(Some(to) != task.last_owner.as_ref());
                    }
                    open.insert(to, count + 1);
                }
                Action::Requeue { .. } => {
                    prop_assert_eq!(task.place, TaskPlace::Orphaned);
                    for other in sessions.iter().filter(|other| other.may_take()) {
                        let fits = any_role || other.role == task.role;
                        prop_assert!(!fits || open[&other.key] >= other.capacity);
                    }
                }
                Action::Bury { losses, .. } => prop_assert!(*losses >= policy.max_losses),
            }
        }
        let mut decided: Vec<_> = actions.iter().map(Action::task).collect();
        decided.sort_unstable();
        decided.dedup();
        prop_assert_eq!(decided.len(), actions.len(), "one action a task");
        if actions.len() < budget {
            for task in tasks.iter().filter(|task| task.place == TaskPlace::Orphaned) {
                prop_assert!(decided.contains(&task.id), "no orphan is left with a dead owner");
            }
        }
    }

    #[test]
    fn plan_does_not_depend_on_input_order(
        tasks in tasks(),
        sessions in candidates(),
        any_role: bool,
    ) {
        let policy = AssignmentPolicy { any_role, ..AssignmentPolicy::default() };
        let forward = plan(&tasks, &sessions, &policy, 20);
        let (mut tasks, mut sessions) = (tasks, sessions);
        tasks.reverse();
        sessions.reverse();
        prop_assert_eq!(plan(&tasks, &sessions, &policy, 20), forward);
    }
}
