//! Tasks are added and claimed: once, whole, by a session that may have them.

use jiff::SignedDuration;
use mcp_bridge::model::SessionKey;
use mcp_bridge::model::redact::SecretKind;
use mcp_bridge::model::standing::Standing;
use mcp_bridge::model::task::{Fence, TaskId, TaskState};
use mcp_bridge::store::{
    Caller, Control, ControlKind, HeldTask, NewTask, Store, StoreError, Task, TaskError, TaskFilter,
};

use super::Backend;
use super::work::{
    add, add_for, audited, beat, claim, claimed, daemon, done, events, fail, find, lead, lose,
    refused, roomy, shown, task,
};
use crate::common::store::{Pair, at, pair, pairs};

fn named(title: &str, id: &str) -> NewTask {
    NewTask {
        client_id: Some(id.parse().expect("a client id")),
        ..task(title)
    }
}

pub(crate) async fn added_task_is_shown(backend: &impl Backend) {
    let store = backend.open().await;
    let pair = pair(&store, at(0)).await;
    let id = add_for(&*backend.open().await, Some(&pair.a), "first").await;
    let (task, history) = store.task(id).await.expect("there");
    assert_eq!(
        (task.title.as_str(), task.body.as_str()),
        ("first", "what is to be done")
    );
    assert_eq!(
        (task.role.as_str(), task.state),
        ("worker", TaskState::Queued)
    );
    assert_eq!((task.fence, task.attempts), (Fence(0), 0));
    assert_eq!(task.files, ["src/a.rs"]);
    assert_eq!(task.creator, Some(pair.a.session.clone()));
    assert_eq!((task.created_at, task.owner), (at(5), None));
    assert_eq!(history.len(), 1);
    assert_eq!((history[0].at, history[0].event.as_str()), (at(5), "added"));
    assert_eq!(audited(&store).await.last().expect("one"), "task_added");
    let none = refused(store.task(TaskId(99)).await);
    assert_eq!(none, TaskError::NoTask(TaskId(99)));
}

pub(crate) async fn all_tasks_are_added_or_none(backend: &impl Backend) {
    let store = backend.open().await;
    add_named(&store, &[named("one", "x")]).await;
    let batch = [task("two"), named("other", "x"), task("three")];
    let refusal = refused(store.add_tasks(None, &batch, at(6)).await);
    assert!(matches!(refusal, TaskError::IdReused { .. }), "{refusal}");
    let counts = store.task_counts().await.expect("counted");
    assert_eq!(counts.get("queued"), Some(&1), "{counts:?}");
    let mut intruder = pair(&store, at(0)).await.a;
    intruder.token = Pair::random().a.token;
    let denied = store.add_tasks(Some(&intruder), &[task("x")], at(6)).await;
    assert!(matches!(denied, Err(StoreError::WrongToken(_))));
    assert_eq!(store.task_counts().await.expect("counted").len(), 1);
}

async fn add_named(store: &Store, tasks: &[NewTask]) -> Vec<mcp_bridge::store::Added> {
    store.add_tasks(None, tasks, at(5)).await.expect("added")
}

pub(crate) async fn a_client_id_makes_one_task(backend: &impl Backend) {
    let store = backend.open().await;
    let pair = pair(&store, at(0)).await;
    let first = add_named(&store, &[named("one", "x")]).await.remove(0);
    assert!(!first.duplicate);
    let again = add_named(
        &*backend.open().await,
        &[named("one", "x"), named("one", "x")],
    )
    .await;
    assert!(
        again
            .iter()
            .all(|added| added.duplicate && added.id == first.id)
    );
    let other = refused(store.add_tasks(None, &[named("two", "x")], at(6)).await);
    let expected = TaskError::IdReused {
        id: "x".into(),
        task: first.id,
    };
    assert_eq!(other, expected);
    // Another creator's ids are that creator's alone.
    let theirs = store
        .add_tasks(Some(&pair.a), &[named("two", "x")], at(6))
        .await;
    assert!(!theirs.expect("added")[0].duplicate);
}

pub(crate) async fn secrets_in_the_names_of_files_are_taken_out(backend: &impl Backend) {
    let store = backend.open().await;
    let pair = pair(&store, at(0)).await;
    let key = format!("AKIA{}", "IOSFODNN7EXAMPLE");
    let new = NewTask {
        files: vec!["src/a.rs".into(), format!("notes/{key}.md")],
        ..task("one")
    };
    let added = store.add_tasks(None, &[new], at(5)).await.expect("added");
    assert_eq!(added[0].redacted, [SecretKind::AwsKey]);
    let task = claim(&store, &pair.b).await;
    assert_eq!(task.files[0], "src/a.rs");
    assert!(task.files[1].starts_with("notes/") && !task.files[1].contains(&key));
    // Neither where it stands nor where it went.
    let stored = backend.foreign(
        "SELECT message || metadata FROM messages
         UNION ALL SELECT files FROM bridge_task UNION ALL SELECT details FROM audit_log",
    );
    assert!(stored.iter().any(|text| text.contains("src/a.rs")));
    assert!(!stored.concat().contains(&key), "{stored:#?}");
}

pub(crate) async fn secrets_are_taken_out(backend: &impl Backend) {
    let store = backend.open().await;
    let pair = pair(&store, at(0)).await;
    let key = format!("AKIA{}", "IOSFODNN7EXAMPLE");
    let new = NewTask {
        body: format!("use {key} for it").parse().expect("a body"),
        ..task(&format!("with {key}"))
    };
    let added = store.add_tasks(None, &[new], at(5)).await.expect("added");
    assert_eq!(added[0].redacted, [SecretKind::AwsKey]);
    let task = claim(&store, &pair.b).await;
    assert!(!task.title.contains(&key) && !task.body.contains(&key));
    let note = format!("found {key}").parse().expect("a note");
    let said = store
        .task_progress(&pair.b, task.id, task.fence, &note, None, at(11))
        .await;
    said.expect("noted");
    let noted = shown(&store, task.id).await.progress.expect("a note");
    assert!(
        noted.starts_with("found") && !noted.contains(&key),
        "{noted}"
    );
    let end = done(&format!("put {key} there"));
    let ended = store
        .end_task(&pair.b, task.id, task.fence, &end, at(12))
        .await;
    ended.expect("ended");
    let result = shown(&store, task.id).await.result.expect("a result");
    assert!(
        result.starts_with("put") && !result.contains(&key),
        "{result}"
    );
    let cancelled = add(&store, "other").await;
    let reason = format!("{key} is out");
    let task = store.cancel_task(cancelled, Some(&reason), at(13)).await;
    let reason = task.expect("cancelled").reason.expect("a reason");
    assert!(
        reason.ends_with("is out") && !reason.contains(&key),
        "{reason}"
    );
}

pub(crate) async fn oldest_of_the_caller_s_role_is_claimed(backend: &impl Backend) {
    let store = backend.open().await;
    let pairs = pairs(&store, 3, at(0)).await;
    let other = NewTask {
        role: "reviewer".into(),
        ..task("not theirs")
    };
    store.add_tasks(None, &[other], at(5)).await.expect("added");
    let (one, two) = (add(&store, "one").await, add(&store, "two").await);
    let first = claim(&store, &pairs[0].b).await;
    assert_eq!((first.id, first.fence, first.attempts), (one, Fence(1), 1));
    assert_eq!(first.owner, Some(pairs[0].b.session.clone()));
    assert_eq!(first.state, TaskState::Leased);
    assert_eq!(claim(&store, &pairs[1].b).await.id, two);
    let nothing = store.claim_task(&pairs[2].b, None, at(11)).await;
    assert_eq!(nothing.expect("asked"), None);
    let nothing = store.claim_task(&pairs[2].a, None, at(11)).await;
    assert_eq!(
        nothing.expect("asked"),
        None,
        "an orchestrator is no worker"
    );
    assert_eq!(events(&store, one).await, ["added 0", "claimed 1"]);
    // Its agent knows already: a message would only cost it a turn.
    assert!(super::work::read(&store, &pairs[0].b).await.is_empty());
}

pub(crate) async fn claims_of_one_name_are_one(backend: &impl Backend) {
    let store = backend.open().await;
    let pairs = pairs(&store, 2, at(0)).await;
    let (one, two) = (add(&store, "one").await, add(&store, "two").await);
    let claim = async |caller: &Caller, name: &str, second| {
        let name = name.parse().expect("a name");
        let claimed = store.claim_oldest_task(caller, name, at(second)).await;
        claimed.expect("asked")
    };
    let (mine, theirs) = (&pairs[0].b, &pairs[1].b);
    let first = claim(mine, "my-claim", 10).await.expect("it waits");
    assert_eq!((first.id, first.fence), (one, Fence(1)));
    assert_eq!(claim(mine, "my-claim", 11).await, Some(first.clone()));
    // A name is its session's own.
    let other = claim(theirs, "my-claim", 11).await.expect("it waits");
    assert_eq!(other.id, two);
    assert_eq!(claim(mine, "my-claim", 12).await, Some(first.clone()));
    assert_eq!(events(&store, one).await, ["added 0", "claimed 1"]);
    // What is over is not had again.
    let end = done("x");
    let ended = store.end_task(mine, one, Fence(1), &end, at(13)).await;
    ended.expect("ended");
    assert_eq!(claim(mine, "my-claim", 14).await, None);
    // It does not go with the task to its next owner.
    fail(&store, theirs, &other, 15).await;
    let again = store.claim_task(mine, Some(two), at(15)).await;
    assert_eq!(again.expect("claimed").expect("the task").id, two);
    assert_eq!(claim(mine, "my-claim", 16).await, None);
}

pub(crate) async fn a_named_task_is_had_or_refused(backend: &impl Backend) {
    let store = backend.open().await;
    let (one, two) = (Pair::random(), Pair::random());
    let end = at(10_000);
    let wanted = [one.labelled("backend-1", end), two.wanted(end)];
    let made = store.create_conversations(&wanted, at(0)).await;
    made.expect("made");
    add(&store, "first").await;
    let id = add(&store, "second").await;
    let task = store.claim_task(&one.b, Some(id), at(10)).await;
    let task = task.expect("claimed").expect("the one that was named");
    assert_eq!(task.id, id);
    // Asked again, because the answer was lost.
    let again = store.claim_task(&one.b, Some(id), at(11)).await;
    assert_eq!(again.expect("claimed"), Some(task.clone()));
    let taken = refused(store.claim_task(&two.b, Some(id), at(11)).await);
    let owner = "backend-1/b".to_owned();
    assert_eq!(taken, TaskError::Taken { task: id, owner });
    let ended = store
        .end_task(&one.b, id, task.fence, &done("x"), at(12))
        .await;
    ended.expect("ended");
    let over = refused(store.claim_task(&two.b, Some(id), at(13)).await);
    let state = TaskState::Done;
    assert_eq!(over, TaskError::Over { task: id, state });
    let review = NewTask {
        role: "reviewer".into(),
        ..super::work::task("third")
    };
    let added = store.add_tasks(None, &[review], at(14)).await;
    let third = added.expect("added")[0].id;
    let other = refused(store.claim_task(&two.b, Some(third), at(15)).await);
    let expected = TaskError::OtherRole {
        task: third,
        role: "reviewer".into(),
        session: two.b.session.clone().into(),
        yours: "worker".into(),
    };
    assert_eq!(other, expected);
    let none = refused(store.claim_task(&two.b, Some(TaskId(99)), at(15)).await);
    assert_eq!(none, TaskError::NoTask(TaskId(99)));
}

fn full(session: &SessionKey, open: i64, oldest: &Task) -> TaskError {
    TaskError::AtCapacity {
        session: session.clone().into(),
        open,
        capacity: open,
        held: Some(HeldTask {
            task: oldest.id,
            fence: oldest.fence,
        }),
    }
}

pub(crate) async fn a_session_has_as_many_as_it_may(backend: &impl Backend) {
    let store = backend.open().await;
    let pairs = pairs(&store, 2, at(0)).await;
    for n in 0..9 {
        add(&store, &format!("task {n}")).await;
    }
    let (one, two) = (&pairs[0].b, &pairs[1].b);
    let first = claim(&store, one).await;
    let refusal = refused(store.claim_task(one, None, at(11)).await);
    assert_eq!(refusal, full(&one.session, 1, &first), "one is the default");
    store.set_capacity(None, 2, 3).await.expect("set");
    let second = claim(&store, one).await;
    let refusal = refused(store.claim_task(one, None, at(11)).await);
    assert_eq!(refusal, full(&one.session, 2, &first), "two for everyone");
    let set = store.set_session_capacity(&one.session, Some(3)).await;
    set.expect("set");
    claim(&store, one).await;
    let refusal = refused(store.claim_task(one, None, at(11)).await);
    assert_eq!(refusal, full(&one.session, 3, &first), "three for this one");
    let of_two = claim(&store, two).await;
    claim(&store, two).await;
    assert_eq!(
        refused(store.claim_task(two, None, at(11)).await),
        full(&two.session, 2, &of_two)
    );
    let taken_back = store.set_session_capacity(&one.session, None).await;
    taken_back.expect("set");
    let ended = store
        .end_task(one, first.id, first.fence, &done("x"), at(12))
        .await;
    ended.expect("ended");
    assert_eq!(
        refused(store.claim_task(one, None, at(13)).await),
        full(&one.session, 2, &second)
    );
    let nowhere = Pair::random().b.session;
    let unknown = store.set_session_capacity(&nowhere, Some(1)).await;
    assert!(matches!(unknown, Err(StoreError::NoConversation(..))));
}

pub(crate) async fn an_agent_that_has_ended_claims_nothing(backend: &impl Backend) {
    let store = backend.open().await;
    let leader = lead(&store).await;
    let pairs = pairs(&store, 2, at(0)).await;
    let (ended, silent) = (&pairs[0].b, &pairs[1].b);
    let keeper = daemon(&store, "hera").await;
    beat(&store, &keeper, &[&ended.session, &silent.session]).await;
    let noted = store.record_exit(&ended.session, &keeper, at(8)).await;
    assert!(noted.expect("noted"));
    let id = add(&store, "one").await;
    let refusal = TaskError::Exited(ended.session.clone().into());
    // Whether or not an orchestrator has seen it by now.
    for named in [None, Some(id)] {
        assert_eq!(
            refused(store.claim_task(ended, named, at(10)).await),
            refusal
        );
        find(&store, &leader, &ended.session, Standing::Exited, at(9)).await;
    }
    assert_eq!(events(&store, id).await, ["added 0"]);
    // Silence is only a lack of signs: a session that asks is there.
    lose(&store, &leader, &silent.session).await;
    assert_eq!(claim(&store, silent).await.id, id);
    // A new agent is in its place.
    beat(&store, &keeper, &[&ended.session]).await;
    claimed(&store, ended, "two").await;
}

pub(crate) async fn a_session_that_is_drained_claims_nothing(backend: &impl Backend) {
    let store = backend.open().await;
    let pairs = pairs(&store, 3, at(0)).await;
    let hosts = [daemon(&store, "hera").await, daemon(&store, "ares").await];
    beat(
        &store,
        &hosts[0],
        &[&pairs[0].b.session, &pairs[1].b.session],
    )
    .await;
    beat(&store, &hosts[1], &[&pairs[2].b.session]).await;
    for n in 0..3 {
        add(&store, &format!("task {n}")).await;
    }
    let drain = |subject: &str| Control {
        kind: ControlKind::Drain,
        subject: subject.into(),
        since: at(0),
        until: at(100),
    };
    let one = &pairs[0].b;
    let set = store.set_control(&drain(&one.session.to_string())).await;
    set.expect("set");
    let refusal = refused(store.claim_task(one, None, at(10)).await);
    assert_eq!(refusal, TaskError::Draining(one.session.clone().into()));
    claim(&store, &pairs[1].b).await;
    store.set_control(&drain("host:ares")).await.expect("set");
    let two = &pairs[2].b;
    let refusal = refused(store.claim_task(two, None, at(10)).await);
    assert_eq!(refusal, TaskError::Draining(two.session.clone().into()));
    let later = store.claim_task(two, None, at(100)).await;
    assert!(later.expect("it has ended").is_some());
}

pub(crate) async fn a_wrong_token_claims_and_writes_nothing(backend: &impl Backend) {
    let store = backend.open().await;
    let pairs = pairs(&store, 2, at(0)).await;
    let task = claimed(&store, &pairs[0].b, "one").await;
    let waits = add(&store, "two").await;
    let intruder = Caller {
        token: pairs[1].b.token.clone(),
        ..pairs[0].b.clone()
    };
    let before = (shown(&store, task.id).await, shown(&store, waits).await);
    let claim = store.claim_task(&intruder, Some(waits), at(11)).await;
    assert!(matches!(claim, Err(StoreError::WrongToken(_))), "{claim:?}");
    let note = "x".parse().expect("a note");
    let progress = store
        .task_progress(&intruder, task.id, task.fence, &note, None, at(11))
        .await;
    assert!(matches!(progress, Err(StoreError::WrongToken(_))));
    let ended = store
        .end_task(&intruder, task.id, task.fence, &done("x"), at(11))
        .await;
    assert!(matches!(ended, Err(StoreError::WrongToken(_))));
    let late = at(0) + SignedDuration::from_hours(4);
    let expired = store.claim_task(&pairs[1].b, Some(waits), late).await;
    assert!(matches!(expired, Err(StoreError::Expired { .. })));
    let after = (shown(&store, task.id).await, shown(&store, waits).await);
    assert_eq!(before, after);
}

pub(crate) async fn one_of_two_concurrent_claims_succeeds(backend: &impl Backend) {
    let (one, two) = (backend.open().await, backend.open().await);
    roomy(&one).await;
    one.set_capacity(None, 100, 3).await.expect("set");
    let pairs = pairs(&one, 2, at(0)).await;
    for round in 0..50 {
        let id = add(&one, &format!("task {round}")).await;
        // Half of the rounds name it; the other half take what waits.
        let wanted = (round % 2 == 0).then_some(id);
        let (left, right) = tokio::join!(
            one.claim_task(&pairs[0].b, wanted, at(10)),
            two.claim_task(&pairs[1].b, wanted, at(10)),
        );
        let got = [&left, &right].map(|answer| matches!(answer, Ok(Some(_))));
        assert!(got[0] != got[1], "{left:?} {right:?}");
        let task = shown(&one, id).await;
        assert_eq!((task.fence, task.attempts), (Fence(1), 1));
        let winner = &pairs[usize::from(got[1])].b.session;
        assert_eq!(task.owner.as_ref(), Some(winner));
    }
}

pub(crate) async fn lists_are_filtered(backend: &impl Backend) {
    let store = backend.open().await;
    let pairs = pairs(&store, 2, at(0)).await;
    roomy(&store).await;
    let review = NewTask {
        role: "reviewer".into(),
        ..task("review")
    };
    let tasks = [task("1"), task("2"), task("3"), review, task("5")];
    let added = store.add_tasks(None, &tasks, at(5)).await.expect("added");
    let ids: Vec<TaskId> = added.into_iter().map(|added| added.id).collect();
    claim(&store, &pairs[0].b).await;
    let failed = claim(&store, &pairs[1].b).await;
    fail(&store, &pairs[1].b, &failed, 11).await;
    let listed = async |filter: TaskFilter| -> Vec<TaskId> {
        let tasks = store.tasks(&filter).await.expect("listed");
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
    let counts = store.task_counts().await.expect("counted");
    let expected = [("queued", 3), ("leased", 1), ("retry_wait", 1)];
    assert_eq!(
        counts,
        expected.map(|(word, n)| (word.to_owned(), n)).into()
    );
}
