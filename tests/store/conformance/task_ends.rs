//! What owners write of their tasks, always with their fence, and how tasks
//! end.

use std::time::Duration;

use jiff::SignedDuration;
use mcp_bridge::model::SessionKey;
use mcp_bridge::model::alert::AlertKind;
use mcp_bridge::model::task::{Fence, TaskId, TaskState, retry_delay};
use mcp_bridge::store::{Caller, Ended, Outcome, Store, Task, TaskError, Why};

use super::Backend;
use super::work::{
    WITHIN, add, add_for, alarms, audited, claim, claimed, done, events, fail, lead, lose, make,
    planned, read, refused, roomy, seen, shown,
};
use crate::common::store::{Pair, at, pair, pairs};

async fn progress(
    store: &Store,
    caller: &Caller,
    task: &Task,
    note: &str,
) -> Result<(), TaskError> {
    let note = note.parse().expect("a note");
    let noted = store
        .task_progress(caller, task.id, task.fence, &note, None, at(30))
        .await;
    match noted {
        Ok(()) => Ok(()),
        Err(error) => Err(refused::<()>(Err(error))),
    }
}

pub(crate) async fn progress_is_noted_and_counts_as_activity(backend: &impl Backend) {
    let store = backend.open().await;
    let pair = pair(&store, at(0)).await;
    let task = claimed(&store, &pair.b, "one").await;
    let before = seen(&store, &pair.b.session).await;
    assert_eq!((before.busy, before.open_tasks), (None, 1));
    let minutes = Duration::from_secs(600);
    for round in 1..=2 {
        let note = format!("half way {round}").parse().expect("a note");
        let noted = store
            .task_progress(&pair.b, task.id, task.fence, &note, Some(minutes), at(30))
            .await;
        noted.expect("noted");
        let after = seen(&store, &pair.b.session).await;
        assert_eq!(after.busy, Some((round, minutes)));
        assert!(after.activity > before.activity);
    }
    let noted = shown(&store, task.id).await;
    assert_eq!(noted.progress.as_deref(), Some("half way 2"));
    assert_eq!((noted.progress_at, noted.fence), (Some(at(30)), task.fence));
}

pub(crate) async fn old_fence_hears_who_has_the_task_now(backend: &impl Backend) {
    let store = backend.open().await;
    let (one, two) = (Pair::random(), Pair::random());
    let wanted = [
        one.wanted(at(10_000)),
        two.labelled("backend-2", at(10_000)),
    ];
    store
        .create_conversations(&wanted, at(0))
        .await
        .expect("made");
    let task = claimed(&store, &one.b, "one").await;
    let moved = store
        .reassign_task(task.id, Some(&two.b.session), at(20))
        .await;
    assert_eq!(moved.expect("moved").fence, Fence(2));
    let before = (shown(&store, task.id).await, events(&store, task.id).await);
    let stale = TaskError::StaleLease {
        task: task.id,
        yours: Fence(1),
        fence: Fence(2),
        now_with: "is now with backend-2/b".into(),
    };
    assert_eq!(
        progress(&store, &one.b, &task, "late").await,
        Err(stale.clone())
    );
    for outcome in [
        done("late"),
        Outcome::Failed {
            reason: "late".parse().expect("a reason"),
            random: 0.5,
        },
    ] {
        let ended = store
            .end_task(&one.b, task.id, task.fence, &outcome, at(31))
            .await;
        assert_eq!(refused(ended), stale);
    }
    // Nor does the right fence help a session that does not have the task.
    let guessed = Task {
        fence: Fence(2),
        ..task.clone()
    };
    let refusal = progress(&store, &one.b, &guessed, "x").await;
    assert!(matches!(refusal, Err(TaskError::StaleLease { .. })));
    let ended = store
        .end_task(&one.b, task.id, Fence(2), &done("x"), at(31))
        .await;
    assert!(matches!(refused(ended), TaskError::StaleLease { .. }));
    let after = (shown(&store, task.id).await, events(&store, task.id).await);
    assert_eq!(before, after, "something was written");
    let words = stale.to_string();
    assert!(
        words.starts_with("STALE_LEASE") && words.contains("stop working"),
        "{words}"
    );
}

pub(crate) async fn an_old_fence_hears_how_the_task_ended(backend: &impl Backend) {
    let store = backend.open().await;
    let pairs = pairs(&store, 2, at(0)).await;
    roomy(&store).await;
    let (one, two) = (&pairs[0].b, &pairs[1].b.session);
    let words = async |task: &Task| match progress(&store, one, task, "x").await {
        Err(TaskError::StaleLease { now_with, .. }) => now_with,
        other => panic!("{other:?}"),
    };
    let task = claimed(&store, one, "done by another").await;
    let moved = store
        .reassign_task(task.id, Some(two), at(20))
        .await
        .expect("moved");
    let ended = store
        .end_task(&pairs[1].b, task.id, moved.fence, &done("x"), at(21))
        .await;
    ended.expect("ended");
    assert_eq!(words(&task).await, "is done already");
    let task = claimed(&store, one, "cancelled").await;
    store
        .cancel_task(task.id, None, at(20))
        .await
        .expect("cancelled");
    assert_eq!(words(&task).await, "was cancelled");
    let task = claimed(&store, one, "queued").await;
    store
        .reassign_task(task.id, None, at(20))
        .await
        .expect("moved");
    assert_eq!(words(&task).await, "was moved and waits for another worker");
    let gone = Task {
        id: TaskId(99),
        ..task
    };
    let none = progress(&store, one, &gone, "x").await;
    assert_eq!(none, Err(TaskError::NoTask(TaskId(99))));
}

pub(crate) async fn a_task_is_done_once(backend: &impl Backend) {
    let store = backend.open().await;
    let pair = pair(&store, at(0)).await;
    let id = add_for(&store, Some(&pair.a), "one").await;
    let task = claim(&store, &pair.b).await;
    for (round, repeated) in [(0, false), (1, true), (2, true)] {
        let end = done(&format!("result {round}"));
        let ended = store
            .end_task(&pair.b, id, task.fence, &end, at(20 + round))
            .await;
        let state = TaskState::Done;
        assert_eq!(ended.expect("ended"), Ended { state, repeated });
    }
    let ended = shown(&store, id).await;
    assert_eq!((ended.state, ended.owner), (TaskState::Done, None));
    assert_eq!(ended.result.as_deref(), Some("result 0"), "the first holds");
    assert_eq!(ended.last_owner, Some(pair.b.session.clone()));
    assert_eq!(events(&store, id).await, ["added 0", "claimed 1", "done 1"]);
    let told = read(&store, &pair.a).await;
    assert_eq!(told.len(), 1, "the creator hears it once: {told:?}");
    assert!(told[0].message.contains("is done") && told[0].message.contains("result 0"));
    assert_eq!(told[0].metadata["task_id"], id.0);
    let audit = audited(&store).await;
    assert_eq!(
        audit.iter().filter(|action| *action == "task_done").count(),
        1
    );
    // It cannot fail any more.
    let reason = "x".parse().expect("a reason");
    let fails = Outcome::Failed {
        reason,
        random: 0.5,
    };
    let late = refused(
        store
            .end_task(&pair.b, id, task.fence, &fails, at(30))
            .await,
    );
    assert!(matches!(late, TaskError::StaleLease { .. }), "{late}");
    assert_eq!(seen(&store, &pair.b.session).await.open_tasks, 0);
}

pub(crate) async fn task_that_failed_is_tried_again_after_a_pause(backend: &impl Backend) {
    let store = backend.open().await;
    let pairs = pairs(&store, 2, at(0)).await;
    let task = claimed(&store, &pairs[0].b, "one").await;
    let expected = Ended {
        state: TaskState::RetryWait,
        repeated: false,
    };
    assert_eq!(fail(&store, &pairs[0].b, &task, 20).await, expected);
    let repeated = fail(&store, &pairs[0].b, &task, 21).await;
    assert!(repeated.repeated);
    let failed = shown(&store, task.id).await;
    assert_eq!(failed.state, TaskState::RetryWait);
    assert_eq!((failed.failures, failed.owner), (1, None));
    assert_eq!(failed.reason.as_deref(), Some("it does not build"));
    let pause = retry_delay(1, 0.5);
    let pause_end = at(20) + SignedDuration::try_from(pause).expect("short");
    assert_eq!(failed.retry_at, Some(pause_end));
    let waiting = async |now| {
        let waiting = store.waiting_tasks(&[], WITHIN, now).await;
        waiting.expect("looked").len()
    };
    let early = pause_end - SignedDuration::from_millis(1);
    assert_eq!(waiting(early).await, 0);
    let nothing = store.claim_task(&pairs[1].b, None, early).await;
    assert_eq!(nothing.expect("asked"), None);
    assert_eq!(waiting(pause_end).await, 1);
    let again = store.claim_task(&pairs[1].b, None, pause_end).await;
    let again = again.expect("asked").expect("its pause is over");
    assert_eq!(
        (again.fence, again.attempts, again.retry_at),
        (Fence(2), 2, None)
    );
    // A clock that was set back must not keep it waiting for hours.
    fail(&store, &pairs[1].b, &again, 10_000).await;
    assert_eq!(waiting(at(100)).await, 1);
    let claimed = store.claim_task(&pairs[0].b, None, at(100)).await;
    assert!(claimed.expect("asked").is_some());
}

pub(crate) async fn a_failure_that_is_repeated_counts_once(backend: &impl Backend) {
    let store = backend.open().await;
    let pairs = pairs(&store, 2, at(0)).await;
    let (one, two) = (&pairs[0].b, &pairs[1].b);
    let task = claimed(&store, one, "one").await;
    fail(&store, one, &task, 20).await;
    let next = store.claim_task(two, Some(task.id), at(30)).await;
    let next = next.expect("claimed").expect("it waits");
    assert_eq!(next.fence, Fence(2));
    let before = (shown(&store, task.id).await, events(&store, task.id).await);
    let audit_before = audited(&store).await;
    // Its owner did not get the answer, and another has the task meanwhile.
    let expected = Ended {
        state: TaskState::Leased,
        repeated: true,
    };
    assert_eq!(fail(&store, one, &task, 40).await, expected);
    let after = (shown(&store, task.id).await, events(&store, task.id).await);
    assert_eq!(before, after, "something was written");
    assert_eq!(audited(&store).await, audit_before);
    // Only the same end of the same lease by the same session is a repetition.
    let failed = Outcome::Failed {
        reason: "x".parse().expect("a reason"),
        random: 0.5,
    };
    for (caller, fence, outcome) in [
        (one, Fence(1), done("x")),
        (one, Fence(2), failed.clone()),
        (two, Fence(1), failed),
    ] {
        let ended = store
            .end_task(caller, task.id, fence, &outcome, at(41))
            .await;
        let refusal = refused(ended);
        assert!(matches!(refusal, TaskError::StaleLease { .. }), "{refusal}");
    }
    // The second owner can still end it.
    let ended = store
        .end_task(two, task.id, next.fence, &done("x"), at(42))
        .await;
    assert!(!ended.expect("ended").repeated);
    assert_eq!(shown(&store, task.id).await.failures, 1);
}

pub(crate) async fn the_fifth_failure_is_the_end(backend: &impl Backend) {
    let store = backend.open().await;
    let pair = pair(&store, at(0)).await;
    let id = add_for(&store, Some(&pair.a), "one").await;
    for round in 1..=5_i64 {
        let task = store.claim_task(&pair.b, Some(id), at(round * 90)).await;
        // By name: its owner need not wait for the pause.
        let task = task.expect("claimed").expect("it waits");
        let ended = fail(&store, &pair.b, &task, round * 100).await;
        let last = round == 5;
        let expected = if last {
            TaskState::Dead
        } else {
            TaskState::RetryWait
        };
        assert_eq!(ended.state, expected, "failure {round}");
        assert_eq!(alarms(&store).await.len(), usize::from(last));
    }
    let alert = (AlertKind::TaskDead, format!("task {id}"));
    assert_eq!(alarms(&store).await, [alert]);
    let open = store.open_alerts().await.expect("listed");
    assert_eq!(open[0].task, Some(id));
    let told = read(&store, &pair.a).await;
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].message.contains("is dead"), "{}", told[0].message);
    assert_eq!(shown(&store, id).await.failures, 5);
    let over = refused(store.claim_task(&pair.b, Some(id), at(9_000)).await);
    let state = TaskState::Dead;
    assert_eq!(over, TaskError::Over { task: id, state });
}

pub(crate) async fn cancelling_tells_the_owner(backend: &impl Backend) {
    let store = backend.open().await;
    let pair = pair(&store, at(0)).await;
    let id = add(&store, "one").await;
    let given = store.reassign_task(id, Some(&pair.b.session), at(10)).await;
    given.expect("given");
    // The hand-out is not read yet: what is left is the word to stop.
    let task = store.cancel_task(id, Some("not needed"), at(20)).await;
    let task = task.expect("cancelled");
    assert_eq!(task.state, TaskState::Cancelled);
    assert_eq!(task.reason.as_deref(), Some("not needed"));
    assert_eq!((task.owner, task.fence), (None, Fence(2)));
    let told = read(&store, &pair.b).await;
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!(told[0].metadata["event"], "task-taken");
    assert!(
        told[0].message.contains("was cancelled"),
        "{}",
        told[0].message
    );
    let over = refused(store.cancel_task(id, None, at(21)).await);
    let state = TaskState::Cancelled;
    assert_eq!(over, TaskError::Over { task: id, state });
    let none = refused(store.cancel_task(TaskId(99), None, at(21)).await);
    assert_eq!(none, TaskError::NoTask(TaskId(99)));
    let waits = add(&store, "two").await;
    store
        .cancel_task(waits, None, at(22))
        .await
        .expect("cancelled");
    assert!(read(&store, &pair.b).await.is_empty());
}

pub(crate) async fn dead_task_that_is_cancelled_alarms_no_more(backend: &impl Backend) {
    let store = backend.open().await;
    let pair = pair(&store, at(0)).await;
    let id = dead(&store, &pair.b).await;
    assert_eq!(alarms(&store).await.len(), 1);
    store
        .cancel_task(id, None, at(9_000))
        .await
        .expect("cancelled");
    assert!(alarms(&store).await.is_empty());
}

/// A task that failed five times.
pub(crate) async fn dead(store: &Store, caller: &Caller) -> TaskId {
    let id = add(store, "hopeless").await;
    for round in 1..=5 {
        let task = store.claim_task(caller, Some(id), at(10)).await;
        let task = task.expect("claimed").expect("it waits");
        fail(store, caller, &task, round * 100).await;
    }
    id
}

pub(crate) async fn gone_creator_stops_no_end(backend: &impl Backend) {
    let store = backend.open().await;
    let pairs = pairs(&store, 2, at(0)).await;
    roomy(&store).await;
    let owner = &pairs[1].b;
    let mut tasks = Vec::new();
    for n in 0..3 {
        let id = add_for(&store, Some(&pairs[0].a), &format!("task {n}")).await;
        let task = store.claim_task(owner, Some(id), at(10)).await;
        tasks.push(task.expect("claimed").expect("it waits"));
    }
    // As the other bridge's cleanup does it.
    for table in ["messages WHERE conversation_id", "conversations WHERE id"] {
        backend.foreign(&format!("DELETE FROM {table} = '{}'", pairs[0].id));
    }
    let ended = store
        .end_task(owner, tasks[0].id, Fence(1), &done("x"), at(20))
        .await;
    assert_eq!(ended.expect("ended").state, TaskState::Done);
    let queued = store.reassign_task(tasks[1].id, None, at(20)).await;
    assert_eq!(queued.expect("moved").state, TaskState::Queued);
    let leader = lead(&store).await;
    lose(&store, &leader, &owner.session).await;
    let moved = make(&store, &leader, planned(&tasks[2], None, Why::Lost)).await;
    assert_eq!(moved, mcp_bridge::store::Moved::Made(Fence(2)));
}

pub(crate) async fn the_history_tells_it_all_in_order(backend: &impl Backend) {
    let store = backend.open().await;
    let (one, two) = (Pair::random(), Pair::random());
    let end = at(100_000);
    let wanted = [one.labelled("backend-1", end), two.wanted(end)];
    store
        .create_conversations(&wanted, at(0))
        .await
        .expect("made");
    let leader = lead(&store).await;
    let id = add(&store, "one").await;
    let to = |session: &SessionKey| Some(session.clone());
    let first = claim(&store, &one.b).await;
    fail(&store, &one.b, &first, 20).await;
    let given = store
        .reassign_task(id, to(&one.b.session).as_ref(), at(30))
        .await;
    let given = given.expect("given");
    lose(&store, &leader, &one.b.session).await;
    let moved = planned(&given, Some(&two.b.session), Why::Lost);
    make(&store, &leader, moved).await;
    store.reassign_task(id, None, at(60)).await.expect("queued");
    let last = claim(&store, &two.b).await;
    let ended = store
        .end_task(&two.b, id, last.fence, &done("x"), at(70))
        .await;
    ended.expect("ended");
    let (task, history) = store.task(id).await.expect("there");
    assert_eq!((task.attempts, task.failures), (4, 1));
    let lines: Vec<(String, i64, Option<String>)> = history
        .into_iter()
        .map(|event| (event.event, event.fence.0, event.session))
        .collect();
    let (first, second) = (
        Some("backend-1/b".to_owned()),
        Some(two.b.session.to_string()),
    );
    let expected = [
        ("added", 0, None),
        ("claimed", 1, first.clone()),
        ("failed", 1, first.clone()),
        ("given", 2, first.clone()),
        ("lost", 2, first),
        ("given", 3, second.clone()),
        ("taken", 3, second.clone()),
        ("queued", 4, None),
        ("claimed", 5, second.clone()),
        ("done", 5, second),
    ]
    .map(|(event, fence, session)| (event.to_owned(), fence, session));
    assert_eq!(lines, expected);
}
