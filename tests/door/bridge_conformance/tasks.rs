//! Tasks: added, claimed, reported on, ended, moved.

use mcp_bridge::bridge::{Bridge, Ending};
use mcp_bridge::model::redact::SecretKind;
use mcp_bridge::model::task::{Fence, TaskId, TaskState};
use mcp_bridge::store::{
    Added, Caller, ControlKind, Ended, NewTask, StoreError, Task, TaskError, TaskFilter,
};
use std::time::Duration;

use super::site::{Pair, Site, pair, pairs, receive, refused};

pub(crate) fn task(title: &str) -> NewTask {
    NewTask {
        role: "worker".into(),
        title: title.parse().expect("a title"),
        body: "what is to be done".parse().expect("a body"),
        files: vec!["src/a.rs".into()],
        client_id: None,
    }
}

fn named(title: &str, id: &str) -> NewTask {
    NewTask {
        client_id: Some(id.parse().expect("a client id")),
        ..task(title)
    }
}

fn review(title: &str) -> NewTask {
    let role = "reviewer".into();
    NewTask {
        role,
        ..task(title)
    }
}

async fn add(bridge: &Bridge, tasks: &[NewTask]) -> Vec<Added> {
    bridge.add_tasks(None, tasks).await.expect("added")
}

async fn add_one(bridge: &Bridge, title: &str) -> TaskId {
    add(bridge, &[task(title)]).await[0].id
}

async fn claim(bridge: &Bridge, caller: &Caller) -> Task {
    let claimed = bridge.claim_task(caller, None).await;
    claimed.expect("claimed").expect("a task that waits")
}

/// One that is added and claimed at once.
async fn claimed(bridge: &Bridge, caller: &Caller, title: &str) -> Task {
    let id = add_one(bridge, title).await;
    let claimed = bridge.claim_task(caller, Some(id)).await;
    claimed.expect("claimed").expect("the task")
}

async fn shown(bridge: &Bridge, id: TaskId) -> Task {
    bridge.task(id).await.expect("it is there").0
}

async fn events(bridge: &Bridge, id: TaskId) -> Vec<String> {
    let (_, history) = bridge.task(id).await.expect("it is there");
    let line = |event: mcp_bridge::store::TaskEvent| format!("{} {}", event.event, event.fence);
    history.into_iter().map(line).collect()
}

fn done(result: &str) -> Ending {
    Ending::Done(result.parse().expect("a result"))
}

fn failed() -> Ending {
    Ending::Failed("it does not build".parse().expect("a reason"))
}

async fn end(bridge: &Bridge, caller: &Caller, task: &Task, ending: Ending) -> Ended {
    let ended = bridge.end_task(caller, task.id, task.fence, ending).await;
    ended.expect("ended")
}

async fn progress(
    bridge: &Bridge,
    caller: &Caller,
    task: &Task,
    note: &str,
) -> Result<(), TaskError> {
    let note = note.parse().expect("a note");
    let noted = bridge.task_progress(caller, task.id, task.fence, &note, None);
    match noted.await {
        Ok(()) => Ok(()),
        Err(error) => Err(refused::<()>(Err(error))),
    }
}

/// Lets these sessions have many.
async fn roomy(bridge: &Bridge, pairs: &[&Pair]) {
    for pair in pairs {
        let session = &pair.b.session;
        let set = bridge.set_session_capacity(session, Some(1_000)).await;
        set.expect("set");
    }
}

pub(crate) async fn added_task_is_shown(site: &Site) {
    let (bridge, elsewhere) = site.two().await;
    let pair = pair(&bridge).await;
    let added = elsewhere.add_tasks(Some(&pair.a), &[task("first")]).await;
    let id = added.expect("added")[0].id;
    let (task, history) = bridge.task(id).await.expect("there");
    assert_eq!(
        (task.title.as_str(), task.body.as_str()),
        ("first", "what is to be done")
    );
    assert_eq!(
        (task.role.as_str(), task.state),
        ("worker", TaskState::Queued)
    );
    assert_eq!((task.fence, task.attempts), (Fence(0), 0));
    assert_eq!((task.files, task.owner), (vec!["src/a.rs".into()], None));
    assert_eq!(task.creator, Some(pair.a.session));
    assert_eq!((history.len(), history[0].event.as_str()), (1, "added"));
    let none = refused(bridge.task(TaskId(99)).await);
    assert_eq!(none, TaskError::NoTask(TaskId(99)));
}

pub(crate) async fn all_tasks_are_added_or_none(site: &Site) {
    let bridge = site.bridge().await;
    add(&bridge, &[named("one", "x")]).await;
    let batch = [task("two"), named("other", "x"), task("three")];
    let refusal = refused(bridge.add_tasks(None, &batch).await);
    assert!(matches!(refusal, TaskError::IdReused { .. }), "{refusal}");
    let counts = bridge.task_counts().await.expect("counted");
    assert_eq!(counts.get("queued"), Some(&1), "{counts:?}");
    let mut intruder = pair(&bridge).await.a;
    intruder.token = Pair::random().a.token;
    let denied = bridge.add_tasks(Some(&intruder), &[task("x")]).await;
    assert!(matches!(denied, Err(StoreError::WrongToken(_))));
    assert_eq!(bridge.task_counts().await.expect("counted").len(), 1);
}

pub(crate) async fn a_client_id_makes_one_task(site: &Site) {
    let (bridge, elsewhere) = site.two().await;
    let pair = pair(&bridge).await;
    let first = add(&bridge, &[named("one", "x")]).await.remove(0);
    assert!(!first.duplicate);
    let again = add(&elsewhere, &[named("one", "x"), named("one", "x")]).await;
    let is_first = |added: &Added| added.duplicate && added.id == first.id;
    assert!(again.iter().all(is_first), "{again:?}");
    let other = refused(bridge.add_tasks(None, &[named("two", "x")]).await);
    let (id, task) = ("x".into(), first.id);
    assert_eq!(other, TaskError::IdReused { id, task });
    // Another creator's ids are its own.
    let theirs = bridge.add_tasks(Some(&pair.a), &[named("two", "x")]).await;
    assert!(!theirs.expect("added")[0].duplicate);
}

pub(crate) async fn secrets_are_taken_out(site: &Site) {
    let bridge = site.bridge().await;
    let pair = pair(&bridge).await;
    let key = format!("AKIA{}", "IOSFODNN7EXAMPLE");
    let new = NewTask {
        body: format!("use {key} for it").parse().expect("a body"),
        files: vec![format!("notes/{key}.md")],
        ..task(&format!("with {key}"))
    };
    let added = add(&bridge, &[new]).await;
    assert_eq!(added[0].redacted, [SecretKind::AwsKey]);
    let task = claim(&bridge, &pair.b).await;
    let noted = progress(&bridge, &pair.b, &task, &format!("found {key}")).await;
    noted.expect("noted");
    end(&bridge, &pair.b, &task, done(&format!("put {key} there"))).await;
    let other = add_one(&bridge, "other").await;
    let reason = format!("{key} is out").parse().expect("a reason");
    let cancelled = bridge.cancel_task(other, Some(reason)).await;
    let cancelled = cancelled.expect("cancelled");
    let reason = cancelled.reason.as_deref().expect("a reason");
    assert!(reason.ends_with("is out"), "{reason}");
    let all = format!(
        "{cancelled:?} {:?} {:?}",
        bridge.task(task.id).await.expect("shown"),
        bridge.task(other).await.expect("shown"),
    );
    assert!(!all.contains(&key), "{all}");
}

pub(crate) async fn oldest_of_the_caller_s_role_is_claimed(site: &Site) {
    let bridge = site.bridge().await;
    let pairs = pairs(&bridge, 3).await;
    add(&bridge, &[review("not theirs")]).await;
    let one = add_one(&bridge, "one").await;
    let two = add_one(&bridge, "two").await;
    let first = claim(&bridge, &pairs[0].b).await;
    assert_eq!((first.id, first.fence, first.attempts), (one, Fence(1), 1));
    assert_eq!(first.owner, Some(pairs[0].b.session.clone()));
    assert_eq!(first.state, TaskState::Leased);
    assert_eq!(claim(&bridge, &pairs[1].b).await.id, two);
    for caller in [&pairs[2].b, &pairs[2].a] {
        let nothing = bridge.claim_task(caller, None).await;
        assert_eq!(nothing.expect("asked"), None);
    }
    assert_eq!(events(&bridge, one).await, ["added 0", "claimed 1"]);
}

pub(crate) async fn a_named_task_is_had_or_refused(site: &Site) {
    let bridge = site.bridge().await;
    let (one, two) = (Pair::random(), Pair::random());
    let wanted = [one.labelled("backend-1"), two.labelled("backend-2")];
    bridge.create_conversations(&wanted).await.expect("made");
    add_one(&bridge, "first").await;
    let task = claimed(&bridge, &one.b, "second").await;
    let id = task.id;
    // Asked again, because the answer was lost.
    let again = bridge.claim_task(&one.b, Some(id)).await;
    assert_eq!(again.expect("claimed"), Some(task.clone()));
    let taken = refused(bridge.claim_task(&two.b, Some(id)).await);
    let owner = "backend-1/b".to_owned();
    assert_eq!(taken, TaskError::Taken { task: id, owner });
    end(&bridge, &one.b, &task, done("x")).await;
    let over = refused(bridge.claim_task(&two.b, Some(id)).await);
    let state = TaskState::Done;
    assert_eq!(over, TaskError::Over { task: id, state });
    let third = add(&bridge, &[review("third")]).await[0].id;
    let other = refused(bridge.claim_task(&two.b, Some(third)).await);
    let TaskError::OtherRole { role, yours, .. } = &other else {
        panic!("{other}");
    };
    assert_eq!((role.as_str(), yours.as_str()), ("reviewer", "worker"));
    let none = refused(bridge.claim_task(&two.b, Some(TaskId(99))).await);
    assert_eq!(none, TaskError::NoTask(TaskId(99)));
}

#[track_caller]
fn is_full(refusal: &TaskError, most: i64, oldest: Option<&Task>) {
    let TaskError::AtCapacity {
        open,
        capacity,
        held,
        ..
    } = refusal
    else {
        panic!("{refusal}");
    };
    assert_eq!((*open, *capacity), (most, most));
    let held = held.as_ref().map(|held| (held.task, held.fence));
    assert_eq!(held, oldest.map(|task| (task.id, task.fence)));
}

pub(crate) async fn a_session_has_as_many_as_it_may(site: &Site) {
    let bridge = site.bridge().await;
    let one = pair(&bridge).await.b;
    for n in 0..5 {
        add_one(&bridge, &format!("task {n}")).await;
    }
    let first = claim(&bridge, &one).await;
    is_full(
        &refused(bridge.claim_task(&one, None).await),
        1,
        Some(&first),
    );
    let set = bridge.set_session_capacity(&one.session, Some(3)).await;
    set.expect("set");
    claim(&bridge, &one).await;
    claim(&bridge, &one).await;
    is_full(
        &refused(bridge.claim_task(&one, None).await),
        3,
        Some(&first),
    );
    let nowhere = Pair::random().b.session;
    let unknown = bridge.set_session_capacity(&nowhere, Some(1)).await;
    assert!(matches!(unknown, Err(StoreError::NoConversation(..))));
}

pub(crate) async fn a_session_that_is_drained_claims_nothing(site: &Site) {
    let bridge = site.bridge().await;
    let one = pair(&bridge).await.b;
    add_one(&bridge, "one").await;
    let (kind, subject) = (ControlKind::Drain, one.session.to_string());
    let hour = Duration::from_secs(3_600);
    bridge
        .order(kind, subject.clone(), hour)
        .await
        .expect("set");
    let refusal = refused(bridge.claim_task(&one, None).await);
    assert_eq!(refusal, TaskError::Draining(one.session.clone().into()));
    assert!(bridge.take_back(kind, &subject).await.expect("asked"));
    claim(&bridge, &one).await;
}

pub(crate) async fn a_wrong_token_claims_and_writes_nothing(site: &Site) {
    let bridge = site.bridge().await;
    let pairs = pairs(&bridge, 2).await;
    let task = claimed(&bridge, &pairs[0].b, "one").await;
    let waits = add_one(&bridge, "two").await;
    let intruder = Caller {
        token: pairs[1].b.token.clone(),
        ..pairs[0].b.clone()
    };
    let before = (shown(&bridge, task.id).await, shown(&bridge, waits).await);
    let claim = bridge.claim_task(&intruder, Some(waits)).await;
    assert!(matches!(claim, Err(StoreError::WrongToken(_))), "{claim:?}");
    let note = "x".parse().expect("a note");
    let noted = bridge.task_progress(&intruder, task.id, task.fence, &note, None);
    assert!(matches!(noted.await, Err(StoreError::WrongToken(_))));
    let ended = bridge.end_task(&intruder, task.id, task.fence, done("x"));
    assert!(matches!(ended.await, Err(StoreError::WrongToken(_))));
    let after = (shown(&bridge, task.id).await, shown(&bridge, waits).await);
    assert_eq!(before, after);
}

pub(crate) async fn one_of_two_concurrent_claims_succeeds(site: &Site) {
    let (one, two) = site.two().await;
    let pairs = pairs(&one, 2).await;
    roomy(&one, &[&pairs[0], &pairs[1]]).await;
    for round in 0..20 {
        let id = add_one(&one, &format!("task {round}")).await;
        // Half of the rounds name it; the other half take what waits.
        let wanted = (round % 2 == 0).then_some(id);
        let (left, right) = tokio::join!(
            one.claim_task(&pairs[0].b, wanted),
            two.claim_task(&pairs[1].b, wanted),
        );
        let got = [&left, &right].map(|answer| matches!(answer, Ok(Some(_))));
        assert!(got[0] != got[1], "{left:?} {right:?}");
        let task = shown(&one, id).await;
        assert_eq!((task.fence, task.attempts), (Fence(1), 1));
        let winner = &pairs[usize::from(got[1])].b.session;
        assert_eq!(task.owner.as_ref(), Some(winner));
    }
}

pub(crate) async fn lists_are_filtered(site: &Site) {
    let bridge = site.bridge().await;
    let pairs = pairs(&bridge, 2).await;
    let tasks = [task("1"), task("2"), task("3"), review("review"), task("5")];
    let ids: Vec<TaskId> = add(&bridge, &tasks).await.iter().map(|t| t.id).collect();
    claim(&bridge, &pairs[0].b).await;
    let broken = claim(&bridge, &pairs[1].b).await;
    end(&bridge, &pairs[1].b, &broken, failed()).await;
    let listed = async |filter: TaskFilter| -> Vec<TaskId> {
        let tasks = bridge.tasks(&filter).await.expect("listed");
        tasks.into_iter().map(|task| task.id).collect()
    };
    let any = || TaskFilter {
        limit: 100,
        ..TaskFilter::default()
    };
    assert_eq!(listed(any()).await, ids, "oldest first");
    let newest = TaskFilter { limit: 2, ..any() };
    assert_eq!(listed(newest).await, ids[3..]);
    let states = vec![TaskState::Leased, TaskState::RetryWait];
    assert_eq!(listed(TaskFilter { states, ..any() }).await, ids[..2]);
    let role = Some("reviewer".into());
    assert_eq!(listed(TaskFilter { role, ..any() }).await, ids[3..4]);
    let owner = Some(pairs[0].b.session.clone());
    assert_eq!(listed(TaskFilter { owner, ..any() }).await, ids[..1]);
    let owner = Some(pairs[1].b.session.clone());
    assert!(listed(TaskFilter { owner, ..any() }).await.is_empty());
    let counts = bridge.task_counts().await.expect("counted");
    let expected = [("queued", 3), ("leased", 1), ("retry_wait", 1)];
    let expected = expected.map(|(word, n)| (word.to_owned(), n));
    assert_eq!(counts, expected.into());
}

pub(crate) async fn a_session_lists_its_own_alone(site: &Site) {
    let bridge = site.bridge().await;
    let pairs = pairs(&bridge, 2).await;
    let own = claimed(&bridge, &pairs[0].b, "one's").await;
    let other = claimed(&bridge, &pairs[1].b, "two's").await;
    let added = bridge.add_tasks(Some(&pairs[0].a), &[task("made")]).await;
    let made = added.expect("added")[0].id;
    let list = async |callers: &[&Caller], states: Vec<TaskState>| {
        let filter = TaskFilter {
            states,
            limit: 10,
            ..TaskFilter::default()
        };
        let callers: Vec<Caller> = callers.iter().copied().cloned().collect();
        let tasks = bridge.tasks_of(&callers, &filter).await.expect("listed");
        tasks.iter().map(|task| task.id).collect::<Vec<_>>()
    };
    let (a, b) = (&pairs[0].a, &pairs[0].b);
    assert_eq!(list(&[b], Vec::new()).await, [own.id]);
    assert_eq!(list(&[a, b], Vec::new()).await, [own.id, made]);
    assert_eq!(list(&[a, b], vec![TaskState::Queued]).await, [made]);
    assert_eq!(list(&[&pairs[1].b], Vec::new()).await, [other.id]);
}

pub(crate) async fn old_fence_hears_who_has_the_task_now(site: &Site) {
    let bridge = site.bridge().await;
    let (one, two) = (Pair::random(), Pair::random());
    let wanted = [one.labelled("backend-1"), two.labelled("backend-2")];
    bridge.create_conversations(&wanted).await.expect("made");
    let task = claimed(&bridge, &one.b, "one").await;
    let moved = bridge.reassign_task(task.id, Some(&two.b.session)).await;
    assert_eq!(moved.expect("moved").fence, Fence(2));
    let before = (
        shown(&bridge, task.id).await,
        events(&bridge, task.id).await,
    );
    let stale = TaskError::StaleLease {
        task: task.id,
        yours: Fence(1),
        fence: Fence(2),
        now_with: "is now with backend-2/b".into(),
    };
    let late = progress(&bridge, &one.b, &task, "late").await;
    assert_eq!(late, Err(stale.clone()));
    for ending in [done("late"), failed()] {
        let ended = bridge.end_task(&one.b, task.id, task.fence, ending);
        assert_eq!(refused(ended.await), stale);
    }
    // Nor does the right fence help a session that does not have the task.
    let ended = bridge.end_task(&one.b, task.id, Fence(2), done("x")).await;
    assert!(matches!(refused(ended), TaskError::StaleLease { .. }));
    let after = (
        shown(&bridge, task.id).await,
        events(&bridge, task.id).await,
    );
    assert_eq!(before, after, "something was written");
}

pub(crate) async fn an_old_fence_hears_how_the_task_ended(site: &Site) {
    let bridge = site.bridge().await;
    let pairs = pairs(&bridge, 2).await;
    roomy(&bridge, &[&pairs[0], &pairs[1]]).await;
    let (one, two) = (&pairs[0].b, &pairs[1].b);
    let words = async |task: &Task| match progress(&bridge, one, task, "x").await {
        Err(TaskError::StaleLease { now_with, .. }) => now_with,
        other => panic!("{other:?}"),
    };
    let task = claimed(&bridge, one, "done by another").await;
    let moved = bridge.reassign_task(task.id, Some(&two.session)).await;
    end(&bridge, two, &moved.expect("moved"), done("x")).await;
    assert_eq!(words(&task).await, "is done already");
    let task = claimed(&bridge, one, "cancelled").await;
    bridge.cancel_task(task.id, None).await.expect("cancelled");
    assert_eq!(words(&task).await, "was cancelled");
    let task = claimed(&bridge, one, "queued").await;
    bridge.reassign_task(task.id, None).await.expect("moved");
    let expected = "was moved and waits for another worker";
    assert_eq!(words(&task).await, expected);
}

pub(crate) async fn task_that_failed_is_tried_again_after_a_pause(site: &Site) {
    let bridge = site.bridge().await;
    let pairs = pairs(&bridge, 2).await;
    let task = claimed(&bridge, &pairs[0].b, "one").await;
    for repeated in [false, true] {
        let state = TaskState::RetryWait;
        let ended = end(&bridge, &pairs[0].b, &task, failed()).await;
        assert_eq!(ended, Ended { state, repeated });
    }
    let waits = shown(&bridge, task.id).await;
    assert_eq!((waits.failures, waits.owner), (1, None));
    assert_eq!(waits.reason.as_deref(), Some("it does not build"));
    assert!(waits.retry_at.is_some_and(|at| at > waits.changed_at));
    let early = bridge.claim_task(&pairs[1].b, None).await;
    assert_eq!(early.expect("asked"), None);
    // By name: its owner need not wait for the pause.
    let again = bridge.claim_task(&pairs[0].b, Some(task.id)).await;
    let again = again.expect("claimed").expect("it waits");
    assert_eq!((again.fence, again.attempts), (Fence(2), 2));
}

pub(crate) async fn a_failure_that_is_repeated_counts_once(site: &Site) {
    let bridge = site.bridge().await;
    let pairs = pairs(&bridge, 2).await;
    let (one, two) = (&pairs[0].b, &pairs[1].b);
    let task = claimed(&bridge, one, "one").await;
    end(&bridge, one, &task, failed()).await;
    let next = bridge.claim_task(two, Some(task.id)).await;
    let next = next.expect("claimed").expect("it waits");
    let expected = Ended {
        state: TaskState::Leased,
        repeated: true,
    };
    assert_eq!(end(&bridge, one, &task, failed()).await, expected);
    assert_eq!(shown(&bridge, task.id).await.failures, 1);
    let late = bridge.end_task(one, task.id, task.fence, done("x")).await;
    assert!(matches!(refused(late), TaskError::StaleLease { .. }));
    end(&bridge, two, &next, done("x")).await;
    let expected = ["added 0", "claimed 1", "failed 1", "claimed 2", "done 2"];
    assert_eq!(events(&bridge, task.id).await, expected);
}

pub(crate) async fn cancelling_tells_the_owner(site: &Site) {
    let bridge = site.bridge().await;
    let pair = pair(&bridge).await;
    let task = claimed(&bridge, &pair.b, "one").await;
    let reason = "not needed".parse().expect("a reason");
    let cancelled = bridge.cancel_task(task.id, Some(reason)).await;
    let cancelled = cancelled.expect("cancelled");
    assert_eq!(cancelled.state, TaskState::Cancelled);
    assert_eq!(cancelled.reason.as_deref(), Some("not needed"));
    assert_eq!((cancelled.owner, cancelled.fence), (None, Fence(2)));
    let told = receive(&bridge, &pair.b).await;
    assert!(told.len() == 1 && told[0].contains("was cancelled"));
    let over = refused(bridge.cancel_task(task.id, None).await);
    let state = TaskState::Cancelled;
    let task = task.id;
    assert_eq!(over, TaskError::Over { task, state });
    let none = refused(bridge.cancel_task(TaskId(99), None).await);
    assert_eq!(none, TaskError::NoTask(TaskId(99)));
}

pub(crate) async fn progress_is_noted(site: &Site) {
    let bridge = site.bridge().await;
    let pair = pair(&bridge).await;
    let task = claimed(&bridge, &pair.b, "one").await;
    let minutes = Duration::from_secs(600);
    let note = "half way".parse().expect("a note");
    let noted = bridge.task_progress(&pair.b, task.id, task.fence, &note, Some(minutes));
    noted.await.expect("noted");
    let noted = shown(&bridge, task.id).await;
    assert_eq!(noted.progress.as_deref(), Some("half way"));
    assert!(noted.progress_at.is_some() && noted.fence == task.fence);
    let sessions = bridge.sessions(Duration::ZERO).await.expect("listed");
    let view = sessions.iter().find(|view| view.key == pair.b.session);
    let view = view.expect("it is open");
    assert!(view.busy_until.is_some() && view.activity_at.is_some());
    assert_eq!(view.open_tasks, 1);
}

pub(crate) async fn a_task_is_done_once(site: &Site) {
    let bridge = site.bridge().await;
    let pair = pair(&bridge).await;
    let added = bridge.add_tasks(Some(&pair.a), &[task("one")]).await;
    let id = added.expect("added")[0].id;
    let task = claim(&bridge, &pair.b).await;
    for (round, repeated) in [(0, false), (1, true), (2, true)] {
        let state = TaskState::Done;
        let ended = end(&bridge, &pair.b, &task, done(&format!("result {round}"))).await;
        assert_eq!(ended, Ended { state, repeated });
    }
    let ended = shown(&bridge, id).await;
    assert_eq!((ended.state, ended.owner), (TaskState::Done, None));
    assert_eq!(ended.result.as_deref(), Some("result 0"), "the first holds");
    let expected = ["added 0", "claimed 1", "done 1"];
    assert_eq!(events(&bridge, id).await, expected);
    let told = receive(&bridge, &pair.a).await;
    assert_eq!(told.len(), 1, "the creator hears it once: {told:?}");
    assert!(told[0].contains("is done") && told[0].contains("result 0"));
    // It cannot fail any more.
    let late = bridge.end_task(&pair.b, id, task.fence, failed()).await;
    assert!(matches!(refused(late), TaskError::StaleLease { .. }));
}

pub(crate) async fn the_history_tells_it_all_in_order(site: &Site) {
    let bridge = site.bridge().await;
    let (one, two) = (Pair::random(), Pair::random());
    let wanted = [one.labelled("backend-1"), two.labelled("backend-2")];
    bridge.create_conversations(&wanted).await.expect("made");
    let id = add_one(&bridge, "one").await;
    let first = claim(&bridge, &one.b).await;
    end(&bridge, &one.b, &first, failed()).await;
    let given = bridge.reassign_task(id, Some(&one.b.session)).await;
    given.expect("given");
    bridge.reassign_task(id, None).await.expect("queued");
    let last = claim(&bridge, &two.b).await;
    end(&bridge, &two.b, &last, done("x")).await;
    let (task, history) = bridge.task(id).await.expect("there");
    assert_eq!((task.attempts, task.failures), (3, 1));
    let lines: Vec<(String, i64, Option<String>)> = history
        .into_iter()
        .map(|event| (event.event, event.fence.0, event.session))
        .collect();
    let (first, second) = (Some("backend-1/b"), Some("backend-2/b"));
    let expected = [
        ("added", 0, None),
        ("claimed", 1, first),
        ("failed", 1, first),
        ("given", 2, first),
        ("taken", 2, first),
        ("queued", 3, None),
        ("claimed", 4, second),
        ("done", 4, second),
    ];
    let expected = expected.map(|(event, fence, session)| {
        let session = session.map(str::to_owned);
        (event.to_owned(), fence, session)
    });
    assert_eq!(lines, expected);
}

pub(crate) async fn to_another_session(site: &Site) {
    let bridge = site.bridge().await;
    let pairs = pairs(&bridge, 2).await;
    let task = claimed(&bridge, &pairs[0].b, "one").await;
    let noted = progress(&bridge, &pairs[0].b, &task, "half way").await;
    noted.expect("noted");
    let to = &pairs[1].b.session;
    let moved = bridge.reassign_task(task.id, Some(to)).await;
    let moved = moved.expect("moved");
    assert_eq!((moved.state, moved.fence), (TaskState::Leased, Fence(2)));
    assert_eq!((moved.owner.as_ref(), moved.attempts), (Some(to), 2));
    assert_eq!(moved.last_owner.as_ref(), Some(&pairs[0].b.session));
    let told = receive(&bridge, &pairs[1].b).await;
    assert_eq!(told.len(), 1);
    for part in [
        "one",
        "what is to be done",
        "src/a.rs",
        "half way",
        "attempt 2",
        "--fence 2",
    ] {
        assert!(told[0].contains(part), "`{part}` is not in:\n{}", told[0]);
    }
    // Its owner lives, and must stop.
    let told = receive(&bridge, &pairs[0].b).await;
    assert!(told.len() == 1 && told[0].contains("was given to another session"));
}

pub(crate) async fn into_the_queue(site: &Site) {
    let bridge = site.bridge().await;
    let pairs = pairs(&bridge, 2).await;
    let task = claimed(&bridge, &pairs[0].b, "one").await;
    let moved = bridge.reassign_task(task.id, None).await.expect("moved");
    assert_eq!((moved.state, moved.owner), (TaskState::Queued, None));
    assert_eq!((moved.fence, moved.attempts), (Fence(2), 1));
    // The word to stop is for its owner, and stays there when another gets the task.
    assert_eq!(claim(&bridge, &pairs[1].b).await.id, task.id);
    let told = receive(&bridge, &pairs[0].b).await;
    assert!(told.len() == 1 && told[0].contains("put back"), "{told:?}");
    assert!(receive(&bridge, &pairs[1].b).await.is_empty());
}

pub(crate) async fn a_task_that_waits_is_given(site: &Site) {
    let bridge = site.bridge().await;
    let pair = pair(&bridge).await;
    roomy(&bridge, &[&pair]).await;
    let to = Some(&pair.b.session);
    let id = add_one(&bridge, "queued").await;
    let given = bridge.reassign_task(id, to).await;
    assert_eq!(given.expect("given").fence, Fence(1));
    let broken = claimed(&bridge, &pair.b, "failed").await;
    end(&bridge, &pair.b, &broken, failed()).await;
    let given = bridge.reassign_task(broken.id, to).await.expect("given");
    assert_eq!((given.state, given.retry_at), (TaskState::Leased, None));
    let told = receive(&bridge, &pair.b).await;
    assert_eq!(told.len(), 2, "the tasks, and no word to stop");
    assert!(told[1].contains("it does not build"), "{}", told[1]);
}

/// Nothing about the task changes, and its target hears nothing.
async fn unfit(bridge: &Bridge, task: TaskId, to: &Pair) -> TaskError {
    let to = &to.b.session;
    let before = (shown(bridge, task).await, events(bridge, task).await);
    let refusal = refused(bridge.reassign_task(task, Some(to)).await);
    let after = (shown(bridge, task).await, events(bridge, task).await);
    assert_eq!(before, after);
    let mail = bridge.unread(std::slice::from_ref(to)).await;
    assert_eq!(mail.expect("looked")[0].unread, 0, "it gets no notice");
    refusal
}

#[track_caller]
fn why(refusal: &TaskError) -> &str {
    match refusal {
        TaskError::Unfit { why, .. } => why,
        other => panic!("{other:?}"),
    }
}

pub(crate) async fn to_the_one_that_has_it_is_refused(site: &Site) {
    let bridge = site.bridge().await;
    let pair = pair(&bridge).await;
    roomy(&bridge, &[&pair]).await;
    let task = claimed(&bridge, &pair.b, "one").await;
    let refusal = unfit(&bridge, task.id, &pair).await;
    assert_eq!(why(&refusal), "it has the task already");
}

pub(crate) async fn finished_task_is_not_moved(site: &Site) {
    let bridge = site.bridge().await;
    let pairs = pairs(&bridge, 2).await;
    let claimed = claimed(&bridge, &pairs[0].b, "one").await;
    end(&bridge, &pairs[0].b, &claimed, done("x")).await;
    for to in [None, Some(&pairs[1].b.session)] {
        let over = refused(bridge.reassign_task(claimed.id, to).await);
        let (task, state) = (claimed.id, TaskState::Done);
        assert_eq!(over, TaskError::Over { task, state });
    }
    let none = refused(bridge.reassign_task(TaskId(99), None).await);
    assert_eq!(none, TaskError::NoTask(TaskId(99)));
}

pub(crate) async fn to_a_session_that_cannot_is_refused(site: &Site) {
    let bridge = site.bridge().await;
    let pairs = pairs(&bridge, 3).await;
    let task = add_one(&bridge, "one").await;
    let closed = bridge.close_conversation(&pairs[0].id).await;
    closed.expect("closed");
    let refusal = unfit(&bridge, task, &pairs[0]).await;
    assert_eq!(why(&refusal), "its conversation was closed");
    claimed(&bridge, &pairs[1].b, "other").await;
    is_full(&unfit(&bridge, task, &pairs[1]).await, 1, None);
    let drained = &pairs[2].b.session;
    let hour = Duration::from_secs(3_600);
    let order = bridge.order(ControlKind::Drain, drained.to_string(), hour);
    order.await.expect("set");
    let refusal = unfit(&bridge, task, &pairs[2]).await;
    assert_eq!(refusal, TaskError::Draining(drained.clone().into()));
    let refusal = unfit(&bridge, task, &Pair::random()).await;
    assert_eq!(why(&refusal), "its conversation has ended");
}
