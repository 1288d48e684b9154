//! What the cases about work share: tasks, an orchestrator that acts, sessions
//! that live and are given up.

use std::fmt::Debug;
use std::time::Duration;

use jiff::Timestamp;
use mcp_bridge::model::alert::AlertKind;
use mcp_bridge::model::message::Message;
use mcp_bridge::model::session::ProofKind;
use mcp_bridge::model::standing::Standing;
use mcp_bridge::model::{SessionKey, TaskId};
use mcp_bridge::store::{
    Beat, BeatRound, Caller, DaemonInfo, DaemonRef, Ended, Finding, Leader, Move, Moved, NewTask,
    Outcome, ProcessId, Result, SeenSession, Store, StoreError, Task, TaskError, Wanted, Why,
};

use crate::common::store::{at, boot};

/// How long a daemon's word is good, and a lease.
pub(crate) const TTL: Duration = Duration::from_secs(20);

/// Losses within this are counted.
pub(crate) const WITHIN: Duration = Duration::from_secs(72 * 3_600);

/// A task for the role of every pair's side `b`.
pub(crate) fn task(title: &str) -> NewTask {
    NewTask {
        role: "worker".into(),
        title: title.parse().expect("a title"),
        body: "what is to be done".parse().expect("a body"),
        files: vec!["src/a.rs".into()],
        client_id: None,
    }
}

/// Adds one without a creator.
pub(crate) async fn add(store: &Store, title: &str) -> TaskId {
    add_for(store, None, title).await
}

/// Adds one in the creator's name.
pub(crate) async fn add_for(store: &Store, creator: Option<&Caller>, title: &str) -> TaskId {
    let added = store.add_tasks(creator, &[task(title)], at(5)).await;
    added.expect("added")[0].id
}

/// Claims a task that waits.
pub(crate) async fn claim(store: &Store, caller: &Caller) -> Task {
    let claimed = store.claim_task(caller, None, at(10)).await;
    claimed.expect("claimed").expect("a task that waits")
}

/// A task that is added and claimed at once.
pub(crate) async fn claimed(store: &Store, caller: &Caller, title: &str) -> Task {
    let id = add(store, title).await;
    let claimed = store.claim_task(caller, Some(id), at(10)).await;
    claimed.expect("claimed").expect("the task")
}

pub(crate) async fn shown(store: &Store, id: TaskId) -> Task {
    store.task(id).await.expect("it is there").0
}

/// A task's history: `event fence`, oldest first.
pub(crate) async fn events(store: &Store, id: TaskId) -> Vec<String> {
    let (_, history) = store.task(id).await.expect("it is there");
    let line = |event: mcp_bridge::store::TaskEvent| format!("{} {}", event.event, event.fence);
    history.into_iter().map(line).collect()
}

pub(crate) async fn fail(store: &Store, caller: &Caller, task: &Task, now: i64) -> Ended {
    let outcome = Outcome::Failed {
        reason: "it does not build".parse().expect("a reason"),
        random: 0.5,
    };
    let ended = store
        .end_task(caller, task.id, task.fence, &outcome, at(now))
        .await;
    ended.expect("ended")
}

pub(crate) fn done(result: &str) -> Outcome {
    Outcome::Done(result.parse().expect("a result"))
}

/// The refusal in an answer.
pub(crate) fn refused<T: Debug>(answer: Result<T>) -> TaskError {
    match answer {
        Err(StoreError::Task(refusal)) => refusal,
        other => panic!("{other:?}"),
    }
}

/// The leader, with a fresh lease.
pub(crate) async fn lead(store: &Store) -> Leader {
    let seen = store.lease().await.expect("looked");
    let daemon = DaemonRef {
        id: "host:orchestrator".into(),
        epoch: 1,
    };
    let taken = store.take_lead(&daemon, seen.as_ref(), TTL, at(0)).await;
    taken.expect("asked").expect("no other daemon takes it")
}

/// A worker daemon on the machine `host`.
pub(crate) async fn daemon(store: &Store, host: &str) -> DaemonRef {
    let info = DaemonInfo {
        id: format!("{host}:worker"),
        role: "worker",
        host: host.into(),
        boot_id: "x".into(),
        pid: 4_242,
    };
    store.register_daemon(&info, at(0)).await.expect("known")
}

/// One beat of these sessions, each with the process 1000 and its place.
pub(crate) async fn beat(store: &Store, daemon: &DaemonRef, sessions: &[&SessionKey]) {
    beat_with(store, daemon, sessions, false).await;
}

pub(crate) async fn beat_with(
    store: &Store,
    daemon: &DaemonRef,
    sessions: &[&SessionKey],
    mirror: bool,
) {
    let beats: Vec<Beat> = (1_000..)
        .zip(sessions)
        .map(|(pid, session)| Beat {
            session: (*session).clone(),
            proof: ProofKind::Process,
            process: Some(ProcessId { pid, start: 7 }),
            renew_until: None,
        })
        .collect();
    let round = BeatRound {
        beats: &beats,
        daemon,
        ttl: TTL,
        mirror,
        boot: &boot("x", 100),
        now: at(1),
        wall: at(1),
    };
    store.beat(&round).await.expect("beaten");
}

/// A session as the orchestrator sees it; `None` if it does not.
pub(crate) async fn look(store: &Store, session: &SessionKey) -> Option<SeenSession> {
    let these = std::slice::from_ref(session);
    let fleet = store.fleet(Wanted::These(these.into()), at(20)).await;
    fleet.expect("looked").sessions.pop()
}

pub(crate) async fn seen(store: &Store, session: &SessionKey) -> SeenSession {
    look(store, session).await.expect("it is in the fleet")
}

/// What is found of a session that was last seen so.
pub(crate) fn finding(seen: &SeenSession, standing: Standing) -> Finding {
    let alert = match standing {
        Standing::Lost => Some(AlertKind::Lost),
        Standing::Exited => Some(AlertKind::Exited),
        Standing::Stalled => Some(AlertKind::Stalled),
        Standing::NeverStarted => Some(AlertKind::NeverStarted),
        _ => None,
    };
    Finding {
        session: seen.key.clone(),
        standing,
        seq: seen.beat.as_ref().map(|beat| beat.seq),
        activity: seen.activity,
        foreign: seen.foreign.clone().unwrap_or_default(),
        alert,
        what: "what was seen".into(),
        text: format!("{} is {standing}", seen.key),
    }
}

/// Finds something of a session as it is now.
pub(crate) async fn find(
    store: &Store,
    leader: &Leader,
    session: &SessionKey,
    standing: Standing,
    now: Timestamp,
) {
    let found = finding(&seen(store, session).await, standing);
    let settled = store
        .write_findings(leader, &[found], now)
        .await
        .expect("settled");
    assert_eq!(settled, [true], "{standing}");
}

pub(crate) async fn lose(store: &Store, leader: &Leader, session: &SessionKey) {
    find(store, leader, session, Standing::Lost, at(40)).await;
}

/// A move of a task as it stands.
pub(crate) fn planned(task: &Task, to: Option<&SessionKey>, why: Why) -> Move {
    Move {
        task: task.id,
        fence: task.fence,
        to: to.cloned(),
        why,
        give_up: None,
    }
}

/// Makes one move.
pub(crate) async fn make(store: &Store, leader: &Leader, planned: Move) -> Moved {
    let made = store.move_tasks(leader, &[planned], at(50)).await;
    made.expect("tried").remove(0)
}

/// Why a move was not made.
pub(crate) fn void(moved: Moved) -> String {
    match moved {
        Moved::Void(why) => why,
        Moved::Made(fence) => panic!("it was made, with fence {fence}"),
    }
}

/// An agent's `check`: what it is handed, whole.
pub(crate) async fn read(store: &Store, caller: &Caller) -> Vec<Message> {
    let fetched = store.fetch(caller, 1_000, at(60)).await.expect("fetched");
    if let Some(id) = &fetched.id {
        let by = &caller.session;
        store
            .fetch_written(by, id, at(60))
            .await
            .expect("confirmed");
    }
    fetched.messages
}

/// The `event` of each message that an agent is handed.
pub(crate) async fn news(store: &Store, caller: &Caller) -> Vec<String> {
    let event = |message: Message| {
        let event = message.metadata["event"].as_str().map(str::to_owned);
        event.unwrap_or(message.message)
    };
    read(store, caller).await.into_iter().map(event).collect()
}

/// Kind and subject of the alerts that are open.
pub(crate) async fn alarms(store: &Store) -> Vec<(AlertKind, String)> {
    let open = store.open_alerts().await.expect("listed");
    let open = open.into_iter().filter(|a| a.recovered_at.is_none());
    open.map(|alert| (alert.kind, alert.subject)).collect()
}

/// The actions in the audit log, oldest first.
pub(crate) async fn audited(store: &Store) -> Vec<String> {
    let filter = mcp_bridge::store::AuditFilter {
        limit: 10_000,
        ..Default::default()
    };
    let rows = store.audit(&filter).await.expect("listed");
    rows.into_iter().map(|row| row.action).collect()
}

/// Several tasks for one session.
pub(crate) async fn roomy(store: &Store) {
    store.set_capacity(None, 9, 3).await.expect("set");
}
