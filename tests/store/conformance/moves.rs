//! Moves of an orchestrator: made with all that belongs to them, or void.

use mcp_bridge::model::alert::AlertKind;
use mcp_bridge::model::standing::Standing;
use mcp_bridge::model::task::{Fence, TaskState};
use mcp_bridge::model::{SessionKey, TaskId};
use mcp_bridge::store::{
    Control, ControlKind, Leader, Move, Moved, Outcome, Store, StoreError, Task, TaskError, Why,
};

use super::Backend;
use super::work::{
    WITHIN, add, add_for, alarms, audited, beat, claim, claimed, daemon, done, events, find, lead,
    lose, make, news, planned, read, refused, roomy, seen, shown, void,
};
use crate::common::store::{Pair, at, pair, pairs, say};

/// A fleet in which one session was lost with a task.
struct Scene {
    leader: Leader,
    gone: Pair,
    heir: Pair,
    task: Task,
}

async fn scene(store: &Store) -> Scene {
    let leader = lead(store).await;
    let mut pairs = pairs(store, 2, at(0)).await;
    let (heir, gone) = (pairs.remove(1), pairs.remove(0));
    let task = claimed(store, &gone.b, "one").await;
    let note = "half way".parse().expect("a note");
    let noted = store
        .task_progress(&gone.b, task.id, task.fence, &note, None, at(12))
        .await;
    noted.expect("noted");
    lose(store, &leader, &gone.b.session).await;
    Scene {
        leader,
        gone,
        heir,
        task,
    }
}

impl Scene {
    fn to_heir(&self) -> Move {
        planned(&self.task, Some(&self.heir.b.session), Why::Lost)
    }
}

/// Nothing about the task changed, and the session heard nothing.
async fn untouched(store: &Store, task: &Task, session: &SessionKey) {
    assert_eq!(shown(store, task.id).await.fence, task.fence);
    let mail = store.mail(std::slice::from_ref(session)).await;
    assert_eq!(mail.expect("looked")[0].unread, 0);
}

pub(crate) async fn everything_that_belongs_to_a_move(backend: &impl Backend) {
    let store = backend.open().await;
    let scene = scene(&store).await;
    let (task, heir) = (&scene.task, &scene.heir.b);
    news(&store, &scene.gone.a).await;
    let audit = audited(&store).await.len();
    let moved = make(&store, &scene.leader, scene.to_heir()).await;
    assert_eq!(moved, Moved::Made(Fence(2)));
    let now = shown(&store, task.id).await;
    assert_eq!((now.state, now.fence), (TaskState::Leased, Fence(2)));
    assert_eq!((now.owner, now.attempts), (Some(heir.session.clone()), 2));
    assert_eq!(now.last_owner, Some(scene.gone.b.session.clone()));
    let expected = ["added 0", "claimed 1", "lost 1", "given 2"];
    assert_eq!(events(&store, task.id).await, expected);
    let told = read(&store, heir).await;
    assert_eq!(told.len(), 1);
    let words = &told[0].message;
    let parts = [
        "what is to be done",
        "src/a.rs",
        "attempt 2",
        "fell silent",
        "half way",
        "--fence 2",
    ];
    for part in parts {
        assert!(words.contains(part), "`{part}` is not in:\n{words}");
    }
    assert_eq!(told[0].metadata["event"], "task");
    assert_eq!(told[0].metadata["task_id"], task.id.0);
    let told = read(&store, &scene.gone.a).await;
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!(told[0].metadata["event"], "task-moved");
    assert_eq!(told[0].metadata["to"], heir.session.to_string());
    assert!(told[0].message.contains("fence 2") && told[0].message.contains("fell silent"));
    assert_eq!(audited(&store).await[audit..][0], "task_given");
}

pub(crate) async fn creator_of_the_task_hears_of_it(backend: &impl Backend) {
    let store = backend.open().await;
    let leader = lead(&store).await;
    let pairs = pairs(&store, 2, at(0)).await;
    add_for(&store, Some(&pairs[1].a), "one").await;
    let task = claim(&store, &pairs[0].b).await;
    lose(&store, &leader, &pairs[0].b.session).await;
    make(&store, &leader, planned(&task, None, Why::Lost)).await;
    assert_eq!(news(&store, &pairs[1].a).await, ["task-moved"]);
    assert_eq!(news(&store, &pairs[0].a).await, ["session-gone"]);
    // That it is given out from the queue is news to its new owner only.
    let waits = shown(&store, task.id).await;
    let given = planned(&waits, Some(&pairs[1].b.session), Why::Waited);
    assert_eq!(make(&store, &leader, given).await, Moved::Made(Fence(3)));
    assert_eq!(news(&store, &pairs[1].b).await, ["task"]);
    assert!(read(&store, &pairs[1].a).await.is_empty());
}

pub(crate) async fn a_fence_that_moved_on_voids_it(backend: &impl Backend) {
    let store = backend.open().await;
    let scene = scene(&store).await;
    let moved = scene.to_heir();
    let queued = planned(&scene.task, None, Why::Lost);
    assert_eq!(
        make(&store, &scene.leader, queued).await,
        Moved::Made(Fence(2))
    );
    let why = void(make(&store, &scene.leader, moved).await);
    assert_eq!(why, "another program moved or ended it");
    let waits = shown(&store, scene.task.id).await;
    untouched(&store, &waits, &scene.heir.b.session).await;
    // Ended under the same fence.
    let given = planned(&waits, Some(&scene.heir.b.session), Why::Waited);
    assert_eq!(
        make(&store, &scene.leader, given).await,
        Moved::Made(Fence(3))
    );
    let ended = store
        .end_task(&scene.heir.b, waits.id, Fence(3), &done("x"), at(55))
        .await;
    ended.expect("ended");
    let late = Task {
        fence: Fence(3),
        ..waits.clone()
    };
    void(make(&store, &scene.leader, planned(&late, None, Why::Lost)).await);
    let none = Task {
        id: TaskId(99),
        ..waits
    };
    let why = void(make(&store, &scene.leader, planned(&none, None, Why::Lost)).await);
    assert_eq!(why, "it does not exist any more");
}

pub(crate) async fn an_owner_that_is_back_voids_it(backend: &impl Backend) {
    let store = backend.open().await;
    let scene = scene(&store).await;
    let session = &scene.gone.b.session;
    find(&store, &scene.leader, session, Standing::Well, at(45)).await;
    for why in [Why::Lost, Why::Exited, Why::Stalled, Why::Waited] {
        let moved = Move {
            why,
            ..scene.to_heir()
        };
        let why = void(make(&store, &scene.leader, moved).await);
        assert_eq!(why, "its owner is back");
    }
    untouched(&store, &scene.task, &scene.heir.b.session).await;
}

pub(crate) async fn a_beat_after_the_verdict_voids_it(backend: &impl Backend) {
    let store = backend.open().await;
    let scene = scene(&store).await;
    let keeper = daemon(&store, "hera").await;
    // Its return is not written yet.
    beat(&store, &keeper, &[&scene.gone.b.session]).await;
    let why = void(make(&store, &scene.leader, scene.to_heir()).await);
    assert_eq!(why, "its owner is back");
    untouched(&store, &scene.task, &scene.heir.b.session).await;
}

pub(crate) async fn a_call_after_the_verdict_voids_it(backend: &impl Backend) {
    let store = backend.open().await;
    let scene = scene(&store).await;
    // With a heartbeat and without one.
    let keeper = daemon(&store, "hera").await;
    let other = pair(&store, at(0)).await;
    beat(&store, &keeper, &[&other.b.session]).await;
    let kept = claimed(&store, &other.b, "kept").await;
    for (owner, task) in [(&scene.gone.b, &scene.task), (&other.b, &kept)] {
        for (standing, why) in [
            (Standing::Lost, Why::Lost),
            (Standing::Stalled, Why::Stalled),
        ] {
            find(&store, &scene.leader, &owner.session, standing, at(40)).await;
            let note = "still at it".parse().expect("a note");
            let noted = store.task_progress(owner, task.id, task.fence, &note, None, at(41));
            noted.await.expect("noted");
            let to_heir = planned(task, Some(&scene.heir.b.session), why);
            let why = void(make(&store, &scene.leader, to_heir).await);
            assert_eq!(why, "its owner is back", "{standing}");
            untouched(&store, task, &scene.heir.b.session).await;
        }
        // A message of a session that is gone is no sign of life.
        find(
            &store,
            &scene.leader,
            &owner.session,
            Standing::Exited,
            at(42),
        )
        .await;
        read(&store, owner).await;
    }
    let exited = planned(&kept, Some(&scene.heir.b.session), Why::Exited);
    assert_eq!(
        make(&store, &scene.leader, exited).await,
        Moved::Made(Fence(2))
    );
}

pub(crate) async fn daemon_that_stops_after_an_exit_voids_nothing(backend: &impl Backend) {
    let store = backend.open().await;
    let leader = lead(&store).await;
    let pairs = pairs(&store, 2, at(0)).await;
    let keeper = daemon(&store, "hera").await;
    let session = &pairs[0].b.session;
    let task = claimed(&store, &pairs[0].b, "one").await;
    beat(&store, &keeper, &[session]).await;
    let noted = store.record_exit(session, &keeper, at(20)).await;
    assert!(noted.expect("noted"));
    find(&store, &leader, session, Standing::Exited, at(21)).await;
    store.release(&keeper, None, at(22)).await.expect("stopped");
    let moved = planned(&task, Some(&pairs[1].b.session), Why::Exited);
    assert_eq!(make(&store, &leader, moved).await, Moved::Made(Fence(2)));
}

pub(crate) async fn a_stalled_owner_hears_that_it_must_stop(backend: &impl Backend) {
    let store = backend.open().await;
    let leader = lead(&store).await;
    let pairs = pairs(&store, 2, at(0)).await;
    let task = claimed(&store, &pairs[0].b, "one").await;
    let session = &pairs[0].b.session;
    let moved = planned(&task, Some(&pairs[1].b.session), Why::Stalled);
    void(make(&store, &leader, moved.clone()).await);
    find(&store, &leader, session, Standing::Stalled, at(40)).await;
    let lost = Move {
        why: Why::Lost,
        ..moved.clone()
    };
    void(make(&store, &leader, lost).await);
    assert_eq!(make(&store, &leader, moved).await, Moved::Made(Fence(2)));
    assert_eq!(events(&store, task.id).await[2..], ["stalled 1", "given 2"]);
    assert_eq!(news(&store, &pairs[0].b).await, ["task-taken"]);
}

pub(crate) async fn a_target_that_cannot_voids_it(backend: &impl Backend) {
    let store = backend.open().await;
    let scene = scene(&store).await;
    let heir = &scene.heir.b;
    let try_it = async |what: &str| {
        let why = void(make(&store, &scene.leader, scene.to_heir()).await);
        assert!(why.contains(what), "{why}");
        assert_eq!(shown(&store, scene.task.id).await.fence, scene.task.fence);
    };
    let own = claimed(&store, heir, "its own").await;
    try_it("1 open task;").await;
    let ended = store
        .end_task(heir, own.id, own.fence, &done("x"), at(20))
        .await;
    ended.expect("ended");
    let drain = Control {
        kind: ControlKind::Drain,
        subject: heir.session.to_string(),
        since: at(0),
        until: at(1_000),
    };
    store.set_control(&drain).await.expect("set");
    try_it("being drained").await;
    let cleared = store
        .clear_control(ControlKind::Drain, &drain.subject, at(45))
        .await;
    assert!(cleared.expect("cleared"));
    lose(&store, &scene.leader, &heir.session).await;
    try_it("its agent is gone").await;
    find(&store, &scene.leader, &heir.session, Standing::Well, at(45)).await;
    store
        .close_conversation(&scene.heir.id, at(46))
        .await
        .expect("closed");
    try_it("its conversation was closed").await;
    untouched(&store, &scene.task, &heir.session).await;
}

pub(crate) async fn one_that_is_void_does_not_void_the_others(backend: &impl Backend) {
    let store = backend.open().await;
    let scene = scene(&store).await;
    roomy(&store).await;
    let waits = shown(&store, add(&store, "two").await).await;
    let none = Task {
        id: TaskId(99),
        ..waits.clone()
    };
    let moves = [
        planned(&none, None, Why::Lost),
        scene.to_heir(),
        planned(&waits, Some(&scene.heir.b.session), Why::Waited),
    ];
    let made = store
        .move_tasks(&scene.leader, &moves, at(50))
        .await
        .expect("tried");
    assert!(matches!(made[0], Moved::Void(_)));
    assert_eq!(made[1..], [Moved::Made(Fence(2)), Moved::Made(Fence(1))]);
    assert_eq!(seen(&store, &scene.heir.b.session).await.open_tasks, 2);
    let nothing = store.move_tasks(&scene.leader, &[], at(50)).await;
    assert_eq!(nothing.expect("tried"), []);
}

pub(crate) async fn its_unread_messages_go_with_it(backend: &impl Backend) {
    let store = backend.open().await;
    let leader = lead(&store).await;
    let pairs = pairs(&store, 3, at(0)).await;
    let id = add(&store, "one").await;
    let gone = &pairs[0];
    let given = store.reassign_task(id, Some(&gone.b.session), at(10)).await;
    let task = given.expect("given");
    let foreign = |text: &str, metadata: &str, to: &str| {
        backend.foreign(&format!(
            "INSERT INTO messages (conversation_id, from_session, to_session, message, metadata,
                 timestamp)
             VALUES ('{}', 'a', '{to}', '{text}', '{metadata}', '2025-11-13T02:13:30')",
            gone.id
        ));
    };
    foreign("by number", &format!("{{\"task_id\":{id}}}"), "b");
    foreign("by text", &format!("{{\"task_id\":\"{id}\"}}"), "session_b");
    foreign("of another", "{\"task_id\":77}", "b");
    foreign("broken", "{", "b");
    say(&store, &gone.a, "of none", at(11)).await;
    lose(&store, &leader, &gone.b.session).await;
    let to = planned(&task, Some(&pairs[1].b.session), Why::Lost);
    assert_eq!(make(&store, &leader, to).await, Moved::Made(Fence(2)));
    // The heir dies before it has read anything: all goes on once more.
    lose(&store, &leader, &pairs[1].b.session).await;
    let task = shown(&store, id).await;
    let to = planned(&task, Some(&pairs[2].b.session), Why::Lost);
    assert_eq!(make(&store, &leader, to).await, Moved::Made(Fence(3)));
    let told = read(&store, &pairs[2].b).await;
    let events: Vec<_> = told.iter().map(|m| m.metadata["event"].as_str()).collect();
    let over = Some("handed-over");
    assert_eq!(events, [Some("task"), over, over], "{told:?}");
    assert!(told[1].message.contains("by number") && told[2].message.contains("by text"));
    assert!(
        told[1].message.contains(&gone.a.session.to_string()),
        "who sent it"
    );
    assert!(read(&store, &pairs[1].b).await.is_empty());
    let left: Vec<String> = read(&store, &gone.b)
        .await
        .into_iter()
        .map(|m| m.message)
        .collect();
    assert_eq!(
        left,
        ["of another", "broken", "of none"],
        "what is not of the task stays"
    );
    assert!(read(&store, &pairs[2].b).await.is_empty(), "once");
}

pub(crate) async fn mail_of_a_dead_call_goes_with_the_task(backend: &impl Backend) {
    let store = backend.open().await;
    let leader = lead(&store).await;
    let pairs = pairs(&store, 2, at(0)).await;
    let id = add(&store, "one").await;
    let (gone, heir) = (&pairs[0].b, &pairs[1].b);
    let given = store.reassign_task(id, Some(&gone.session), at(10)).await;
    backend.foreign(&format!(
        "INSERT INTO messages (conversation_id, from_session, to_session, message, metadata, timestamp)
         VALUES ('{}', 'a', 'b', 'look at this', '{{\"task_id\":{id}}}', '2025-11-13T02:13:30')",
        pairs[0].id
    ));
    // Handed out, but its reply was never written.
    let fetched = store.fetch(gone, 9, at(20)).await.expect("fetched");
    assert_eq!(fetched.messages.len(), 2);
    lose(&store, &leader, &gone.session).await;
    let to = planned(&given.expect("given"), Some(&heir.session), Why::Lost);
    make(&store, &leader, to).await;
    assert_eq!(news(&store, heir).await, ["task", "handed-over"]);
    assert!(
        read(&store, gone).await.is_empty(),
        "it is not its any more"
    );
}

pub(crate) async fn the_old_owner_is_too_late(backend: &impl Backend) {
    let store = backend.open().await;
    let scene = scene(&store).await;
    make(&store, &scene.leader, scene.to_heir()).await;
    let (old, task) = (&scene.gone.b, &scene.task);
    let note = "late".parse().expect("a note");
    let late = store
        .task_progress(old, task.id, task.fence, &note, None, at(60))
        .await;
    assert!(matches!(refused(late), TaskError::StaleLease { .. }));
    let reason = "late".parse().expect("a reason");
    let failed = Outcome::Failed {
        reason,
        random: 0.0,
    };
    for outcome in [done("late"), failed] {
        let late = store
            .end_task(old, task.id, task.fence, &outcome, at(60))
            .await;
        assert!(matches!(refused(late), TaskError::StaleLease { .. }));
    }
    let now = shown(&store, task.id).await;
    assert_eq!(now.progress.as_deref(), Some("half way"));
    assert_eq!((now.state, now.failures), (TaskState::Leased, 0));
}

pub(crate) async fn buried_is_dead_and_told(backend: &impl Backend) {
    let store = backend.open().await;
    let leader = lead(&store).await;
    let pair = pair(&store, at(0)).await;
    let id = add_for(&store, Some(&pair.a), "one").await;
    let task = claim(&store, &pair.b).await;
    lose(&store, &leader, &pair.b.session).await;
    news(&store, &pair.a).await;
    let give_up = Move {
        give_up: Some("it lost three owners".into()),
        ..planned(&task, None, Why::Exited)
    };
    assert_eq!(make(&store, &leader, give_up).await, Moved::Made(Fence(2)));
    let now = shown(&store, id).await;
    assert_eq!((now.state, now.owner), (TaskState::Dead, None));
    assert_eq!(now.reason.as_deref(), Some("it lost three owners"));
    assert_eq!(events(&store, id).await[2..], ["exited 1", "dead 2"]);
    let alarms = alarms(&store).await;
    assert!(
        alarms.contains(&(AlertKind::TaskDead, format!("task {id}"))),
        "{alarms:?}"
    );
    let told = read(&store, &pair.a).await;
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].message.contains("it lost three owners"));
    let waiting = store.waiting_tasks(&[], WITHIN, at(60)).await;
    assert_eq!(waiting.expect("looked"), []);
}

pub(crate) async fn an_old_leader_moves_and_finds_nothing(backend: &impl Backend) {
    let store = backend.open().await;
    let scene = scene(&store).await;
    let new = lead(&store).await;
    assert!(new.epoch > scene.leader.epoch);
    let before = audited(&store).await.len();
    let moved = store
        .move_tasks(&scene.leader, &[scene.to_heir()], at(50))
        .await;
    assert!(matches!(moved, Err(StoreError::NotLeading(epoch)) if epoch == new.epoch));
    let seen = seen(&store, &scene.heir.b.session).await;
    let found = [super::work::finding(&seen, Standing::Lost)];
    let settled = store.write_findings(&scene.leader, &found, at(50)).await;
    assert!(matches!(settled, Err(StoreError::NotLeading(_))));
    assert_eq!(audited(&store).await.len(), before);
    assert_eq!(alarms(&store).await.len(), 1, "only the one of before");
    untouched(&store, &scene.task, &scene.heir.b.session).await;
}

pub(crate) async fn many_of_one_role_hide_no_other(backend: &impl Backend) {
    let store = backend.open().await;
    backend.foreign(
        "WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 5100)
         INSERT INTO bridge_task (role, title, body, created_ms, changed_ms)
         SELECT 'wroker', 'x', 'x', 0, 0 FROM n",
    );
    let id = add(&store, "for an agent").await;
    let waiting = store.waiting_tasks(&[], WITHIN, at(50)).await;
    let waiting = waiting.expect("looked");
    assert_eq!(waiting.len(), 5_001, "of each the oldest");
    assert_eq!((waiting[0].task, waiting[5_000].task), (TaskId(1), id));
    assert!(waiting.is_sorted_by_key(|waiting| waiting.task));
}

pub(crate) async fn tasks_that_need_an_agent_are_waiting(backend: &impl Backend) {
    let store = backend.open().await;
    let leader = lead(&store).await;
    let pairs = pairs(&store, 4, at(0)).await;
    let mut tasks = Vec::new();
    for pair in &pairs {
        tasks.push(claimed(&store, &pair.b, "leased").await);
    }
    let queued = add(&store, "queued").await;
    lose(&store, &leader, &pairs[0].b.session).await;
    find(
        &store,
        &leader,
        &pairs[1].b.session,
        Standing::Exited,
        at(40),
    )
    .await;
    find(
        &store,
        &leader,
        &pairs[2].b.session,
        Standing::Stalled,
        at(40),
    )
    .await;
    let ids = async |stalled: &[SessionKey]| -> Vec<TaskId> {
        let waiting = store.waiting_tasks(stalled, WITHIN, at(50)).await;
        waiting
            .expect("looked")
            .into_iter()
            .map(|w| w.task)
            .collect()
    };
    assert_eq!(ids(&[]).await, [tasks[0].id, tasks[1].id, queued]);
    let stalled = [pairs[2].b.session.clone(), pairs[0].b.session.clone()];
    let expected = [tasks[0].id, tasks[1].id, tasks[2].id, queued];
    assert_eq!(ids(&stalled).await, expected, "each once");
    make(&store, &leader, planned(&tasks[0], None, Why::Lost)).await;
    let waiting = store
        .waiting_tasks(&[], WITHIN, at(51))
        .await
        .expect("looked");
    assert_eq!((waiting[0].task, waiting[0].losses), (tasks[0].id, 1));
    assert_eq!((&waiting[0].owner, waiting[0].fence), (&None, Fence(2)));
    assert_eq!(waiting[0].last_owner.as_ref(), Some(&pairs[0].b.session));
    assert_eq!(waiting[0].role, "worker");
    assert_eq!(waiting[1].owner.as_ref(), Some(&pairs[1].b.session));
    assert_eq!(waiting[1].losses, 0);
    // Only what was lost lately counts.
    let late = at(50) + jiff::SignedDuration::from_hours(73);
    let waiting = store
        .waiting_tasks(&[], WITHIN, late)
        .await
        .expect("looked");
    assert_eq!(waiting[0].losses, 0);
}

pub(crate) async fn owner_whose_conversation_was_cleaned_away_is_gone(backend: &impl Backend) {
    let store = backend.open().await;
    let leader = lead(&store).await;
    let pairs = pairs(&store, 4, at(0)).await;
    let (heir, kept) = (&pairs[0].b, &pairs[1].b);
    let held = claimed(&store, kept, "held").await;
    let mut left = Vec::new();
    for pair in &pairs[2..] {
        left.push(claimed(&store, &pair.b, "left behind").await);
        // As the other bridge's cleanup does it.
        for table in ["messages WHERE conversation_id", "conversations WHERE id"] {
            backend.foreign(&format!("DELETE FROM {table} = '{}'", pair.id));
        }
    }
    let waiting = store.waiting_tasks(&[], WITHIN, at(50)).await;
    let waiting = waiting.expect("looked");
    let found: Vec<_> = waiting.iter().map(|w| (w.task, w.owner.clone())).collect();
    let expected = [0, 1].map(|n| (left[n].id, Some(pairs[n + 2].b.session.clone())));
    assert_eq!(found, expected);
    // No verdict can stand for it any more, nor will one come.
    let to_heir = planned(&left[0], Some(&heir.session), Why::Lost);
    assert_eq!(make(&store, &leader, to_heir).await, Moved::Made(Fence(2)));
    assert_eq!(news(&store, heir).await, ["task"]);
    assert_eq!(events(&store, left[0].id).await[2..], ["lost 1", "given 2"]);
    let to_queue = planned(&left[1], None, Why::Stalled);
    assert_eq!(make(&store, &leader, to_queue).await, Moved::Made(Fence(2)));
    void(make(&store, &leader, planned(&held, None, Why::Lost)).await);
}
