//! An operator's moves: to a session that can take the task, into the queue, or
//! nothing at all.

use jiff::SignedDuration;
use mcp_bridge::model::SessionKey;
use mcp_bridge::model::standing::Standing;
use mcp_bridge::model::task::{Fence, TaskState};
use mcp_bridge::store::{Control, ControlKind, Store, TaskError};

use super::Backend;
use super::task_ends::dead;
use super::work::{
    add, alarms, claim, claimed, done, events, fail, find, lead, lose, news, read, refused, roomy,
    shown,
};
use crate::common::store::{Pair, at, pair, pairs};

pub(crate) async fn to_another_session(backend: &impl Backend) {
    let store = backend.open().await;
    let pairs = pairs(&store, 2, at(0)).await;
    let task = claimed(&store, &pairs[0].b, "one").await;
    let note = "half way".parse().expect("a note");
    let noted = store
        .task_progress(&pairs[0].b, task.id, task.fence, &note, None, at(15))
        .await;
    noted.expect("noted");
    let to = &pairs[1].b.session;
    let moved = store
        .reassign_task(task.id, Some(to), at(20))
        .await
        .expect("moved");
    assert_eq!((moved.state, moved.fence), (TaskState::Leased, Fence(2)));
    assert_eq!((moved.owner.as_ref(), moved.attempts), (Some(to), 2));
    assert_eq!(moved.last_owner.as_ref(), Some(&pairs[0].b.session));
    let told = read(&store, &pairs[1].b).await;
    assert_eq!(told.len(), 1);
    let words = &told[0].message;
    for part in [
        "one",
        "what is to be done",
        "src/a.rs",
        "half way",
        "attempt 2",
        "--fence 2",
    ] {
        assert!(words.contains(part), "`{part}` is not in:\n{words}");
    }
    assert_eq!(told[0].metadata["fence"], 2);
    // Its owner lives, and must stop.
    let told = read(&store, &pairs[0].b).await;
    assert_eq!(told.len(), 1);
    assert!(
        told[0].message.contains("was given to another session"),
        "{}",
        told[0].message
    );
    assert_eq!(news(&store, &pairs[0].a).await, ["task-moved"]);
}

pub(crate) async fn into_the_queue(backend: &impl Backend) {
    let store = backend.open().await;
    let pairs = pairs(&store, 2, at(0)).await;
    let task = claimed(&store, &pairs[0].b, "one").await;
    let moved = store
        .reassign_task(task.id, None, at(20))
        .await
        .expect("moved");
    assert_eq!((moved.state, moved.owner), (TaskState::Queued, None));
    assert_eq!((moved.fence, moved.attempts), (Fence(2), 1));
    // The word to stop is for its owner, and stays there when another agent gets the
    // task.
    assert_eq!(claim(&store, &pairs[1].b).await.id, task.id);
    let told = read(&store, &pairs[0].b).await;
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].message.contains("put back"), "{}", told[0].message);
    assert!(read(&store, &pairs[1].b).await.is_empty());
}

pub(crate) async fn a_task_that_waits_is_given(backend: &impl Backend) {
    let store = backend.open().await;
    let pair = pair(&store, at(0)).await;
    roomy(&store).await;
    let id = add(&store, "queued").await;
    let given = store.reassign_task(id, Some(&pair.b.session), at(20)).await;
    assert_eq!(given.expect("given").fence, Fence(1));
    let failed = claimed(&store, &pair.b, "failed").await;
    fail(&store, &pair.b, &failed, 20).await;
    let given = store
        .reassign_task(failed.id, Some(&pair.b.session), at(21))
        .await;
    let given = given.expect("given");
    assert_eq!((given.state, given.retry_at), (TaskState::Leased, None));
    let told = read(&store, &pair.b).await;
    assert_eq!(told.len(), 2, "the tasks, and no word to stop");
    assert!(
        told[1].message.contains("it does not build"),
        "{}",
        told[1].message
    );
}

pub(crate) async fn a_dead_task_gets_another_life(backend: &impl Backend) {
    let store = backend.open().await;
    let pair = pair(&store, at(0)).await;
    let leader = lead(&store).await;
    roomy(&store).await;
    let session = &pair.b.session;
    let id = dead(&store, &pair.b).await;
    let given = store.reassign_task(id, Some(session), at(700)).await;
    assert_eq!(given.expect("given").failures, 0);
    assert!(alarms(&store).await.is_empty(), "it lives");
    let task = shown(&store, id).await;
    assert_eq!(
        fail(&store, &pair.b, &task, 701).await.state,
        TaskState::RetryWait
    );
    // What it lost in the life before is not held against it either.
    let poison = add(&store, "poison").await;
    // Each session counts once, and only if it had read the task.
    let owners = pairs(&store, 3, at(705)).await;
    for (owner, reads) in owners
        .iter()
        .chain(&owners[..1])
        .zip([true, true, true, false])
    {
        let session = &owner.b.session;
        let given = store.reassign_task(poison, Some(session), at(710)).await;
        let task = given.expect("given");
        if reads {
            read(&store, &owner.b).await;
        }
        lose(&store, &leader, session).await;
        let to_queue = super::work::planned(&task, None, mcp_bridge::store::Why::Lost);
        super::work::make(&store, &leader, to_queue).await;
        find(&store, &leader, session, Standing::Well, at(720)).await;
    }
    assert_eq!(losses(&store).await, 3);
    let waits = shown(&store, poison).await;
    let give_up = mcp_bridge::store::Move {
        give_up: Some("it lost three owners".into()),
        ..super::work::planned(&waits, None, mcp_bridge::store::Why::Waited)
    };
    super::work::make(&store, &leader, give_up).await;
    assert_eq!(shown(&store, poison).await.state, TaskState::Dead);
    assert_eq!(alarms(&store).await.len(), 1);
    store
        .reassign_task(poison, None, at(800))
        .await
        .expect("queued");
    assert_eq!(losses(&store).await, 0);
    assert!(alarms(&store).await.is_empty());
}

async fn losses(store: &Store) -> u32 {
    let waiting = store.waiting_tasks(&[], super::work::WITHIN, at(100)).await;
    let waiting = waiting.expect("looked");
    waiting
        .iter()
        .map(|waiting| waiting.losses)
        .max()
        .expect("one")
}

/// Nothing about the task changes, and no session gets a message.
async fn unfit(store: &Store, task: mcp_bridge::model::TaskId, to: &SessionKey) -> TaskError {
    unfit_at(store, task, to, 30).await
}

async fn unfit_at(
    store: &Store,
    task: mcp_bridge::model::TaskId,
    to: &SessionKey,
    now: i64,
) -> TaskError {
    let before = (shown(store, task).await, events(store, task).await);
    let refusal = refused(store.reassign_task(task, Some(to), at(now)).await);
    assert_eq!(
        before,
        (shown(store, task).await, events(store, task).await)
    );
    let mail = store.mail(std::slice::from_ref(to)).await.expect("looked");
    assert_eq!(mail[0].unread, 0, "it gets no notice");
    refusal
}

fn why(refusal: &TaskError) -> &str {
    match refusal {
        TaskError::Unfit { why, .. } => why,
        other => panic!("{other:?}"),
    }
}

pub(crate) async fn to_a_session_that_cannot_is_refused(backend: &impl Backend) {
    let store = backend.open().await;
    let pairs = pairs(&store, 5, at(0)).await;
    let leader = lead(&store).await;
    let task = add(&store, "one").await;
    let [gone, exited, closed, full, drained] = [0, 1, 2, 3, 4].map(|n| &pairs[n].b.session);
    lose(&store, &leader, gone).await;
    assert_eq!(why(&unfit(&store, task, gone).await), "its agent is gone");
    find(&store, &leader, exited, Standing::Exited, at(20)).await;
    assert_eq!(why(&unfit(&store, task, exited).await), "its agent is gone");
    store
        .close_conversation(&pairs[2].id, at(20))
        .await
        .expect("closed");
    assert_eq!(
        why(&unfit(&store, task, closed).await),
        "its conversation was closed"
    );
    claimed(&store, &pairs[3].b, "other").await;
    let refusal = unfit(&store, task, full).await;
    assert!(
        matches!(
            refusal,
            TaskError::AtCapacity {
                open: 1,
                capacity: 1,
                ..
            }
        ),
        "{refusal}"
    );
    let drain = Control {
        kind: ControlKind::Drain,
        subject: drained.to_string(),
        since: at(0),
        until: at(1_000),
    };
    store.set_control(&drain).await.expect("set");
    assert_eq!(
        unfit(&store, task, drained).await,
        TaskError::Draining(drained.clone().into())
    );
    let nowhere = Pair::random().b.session;
    assert_eq!(
        why(&unfit(&store, task, &nowhere).await),
        "its conversation has ended"
    );
    // Last, because then all of them have.
    let late = SignedDuration::from_hours(4).as_secs();
    let expired = &pairs[4].a.session;
    let refusal = unfit_at(&store, task, expired, late).await;
    assert_eq!(why(&refusal), "its conversation has ended");
}

pub(crate) async fn to_the_one_that_has_it_is_refused(backend: &impl Backend) {
    let store = backend.open().await;
    let pair = pair(&store, at(0)).await;
    roomy(&store).await;
    let task = claimed(&store, &pair.b, "one").await;
    let refusal = unfit(&store, task.id, &pair.b.session).await;
    assert_eq!(why(&refusal), "it has the task already");
}

pub(crate) async fn finished_task_is_not_moved(backend: &impl Backend) {
    let store = backend.open().await;
    let pairs = pairs(&store, 2, at(0)).await;
    let task = claimed(&store, &pairs[0].b, "one").await;
    let ended = store
        .end_task(&pairs[0].b, task.id, task.fence, &done("x"), at(20))
        .await;
    ended.expect("ended");
    for to in [None, Some(&pairs[1].b.session)] {
        let over = refused(store.reassign_task(task.id, to, at(30)).await);
        let state = TaskState::Done;
        assert_eq!(
            over,
            TaskError::Over {
                task: task.id,
                state
            }
        );
    }
    let none = mcp_bridge::model::TaskId(99);
    let refusal = refused(store.reassign_task(none, None, at(30)).await);
    assert_eq!(refusal, TaskError::NoTask(none));
}
