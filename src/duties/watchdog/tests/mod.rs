//! The watchdog over a store, with a reassignment beside it, as an orchestrator has
//! them.

mod desk;

use std::path::PathBuf;

use tempfile::TempDir;
use tokio::sync::watch;

use super::*;
use crate::config;
use crate::duties::Report;
use crate::duties::alerts;
use crate::duties::reassignment::Reassignment;
use crate::host;
use crate::model::rate::RateLimits;
use crate::model::session::ProofKind;
use crate::model::{ConversationId, Side, TaskId};
use crate::session::made::planned;
use crate::store::sqlite::{Create, SqliteStore};
use crate::store::{Beat, BeatRound, Boot, DaemonInfo, DaemonRef, NewConversation, NewTask};
use desk::{Desk, Host, STORE};

const TTL: Duration = Duration::from_secs(3600);

/// A store with conversations, and one host that has beaten for all of them.
struct Scene {
    desk: Desk,
    host: Host,
}

fn conversation() -> NewConversation {
    let ends = clock::now() + jiff::SignedDuration::from_hours(1);
    planned(None, ["sender", "reader"], ends).expect("random")
}

fn both(id: &ConversationId) -> [SessionKey; 2] {
    Side::BOTH.map(|side| SessionKey::new(id.clone(), side))
}

async fn scene(conversations: usize, text: &str, ttl: Duration) -> Scene {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join(STORE);
    let new: Vec<NewConversation> = (0..conversations).map(|_| conversation()).collect();
    let store = SqliteStore::open(&path, Create::Yes).await.expect("open");
    let unlimited = store.set_rate_limits(RateLimits::NONE).await;
    unlimited.expect("set");
    let made = store.create_conversations(&new, clock::now()).await;
    made.expect("made");
    store.close().await;
    let desk = Desk::open(dir, text).await;
    let keys = new.iter().flat_map(|new| both(&new.id)).collect();
    let host = desk.host("host", keys).await;
    desk.beat(&host, ttl).await;
    Scene { desk, host }
}

/// Three pages of the look at all: a session that is gone by then is forgotten, and no
/// other, also none that came while the pages were turned.
#[tokio::test]
async fn full_look_forgets_sessions_that_are_gone() {
    let Scene { mut desk, host } = scene(600, "", TTL).await;
    let keys = host.keys.clone();
    assert_eq!(desk.tick().await.alive, 1200);

    // One ends: nothing says so but that its row is not there.
    let gone = &keys[700].conversation;
    let raw = rusqlite::Connection::open(&desk.path).expect("open");
    let statement = "UPDATE conversations SET expires_at = '2020-01-01T00:00:00.000000'
         WHERE id = ?1";
    raw.execute(statement, [gone.as_str()]).expect("ended");
    desk.watchdog.look_at_all_soon();
    let mut read = Vec::new();
    read.push(desk.tick().await.read);
    // One begins while the pages are turned, before the first of them.
    let mut new = conversation();
    new.id = ConversationId::from_random([0; 8]);
    let late = both(&new.id).to_vec();
    let made = desk.store.create_conversations(&[new], clock::now()).await;
    made.expect("made");
    let late = desk.host("late", late).await;
    desk.beat(&late, TTL).await;
    for _ in 0..2 {
        read.push(desk.tick().await.read);
    }
    let report = desk.tick().await;
    assert_eq!(report.alive, 1200, "two went, two came; pages {read:?}");
    // A page has 500; besides them the two that began, more than once.
    assert!(read.iter().all(|read| *read <= 510), "{read:?}");
    desk.store.close().await;
}

/// Tasks for the role of all readers.
async fn add(store: &SharedStore, many: usize) -> Vec<TaskId> {
    let task = NewTask {
        role: "reader".into(),
        title: "work".parse().expect("a title"),
        body: "work".parse().expect("a body"),
        files: Vec::new(),
        client_id: None,
    };
    let tasks = vec![task; many];
    let added = store.add_tasks(None, &tasks, clock::now()).await;
    added.expect("added").iter().map(|task| task.id).collect()
}

/// A large plan is several transactions: a store that is too slow for all
/// of it takes a part, and others write between two parts.
#[tokio::test]
async fn many_moves_are_written_in_parts() {
    let text = "[reassignment]\nmoves_per_second = 10000\n";
    let Scene { mut desk, .. } = scene(120, text, TTL).await;
    add(&desk.store, 120).await;
    desk.tick().await;
    let raw = rusqlite::Connection::open(&desk.path).expect("open");
    let signalled = || -> i64 {
        let query = "SELECT n FROM bridge_signal WHERE name = 'work'";
        raw.query_row(query, [], |row| row.get(0)).expect("asked")
    };
    let before = signalled();
    let report = desk.reassignment.tick().await.report;
    assert_eq!((report.given, report.waiting), (120, 0));
    // Each transaction says once that there is something to look at.
    assert_eq!(signalled() - before, 3);
    desk.store.close().await;
}

fn drain(session: &SessionKey) -> Control {
    let since = clock::now();
    Control {
        kind: ControlKind::Drain,
        subject: session.to_string(),
        since,
        until: since + jiff::SignedDuration::from_hours(1),
    }
}

/// Nothing else of a drained session is new, so its row is not read: the next task
/// still goes to another session, and back to this one after the drain.
#[tokio::test]
async fn a_drain_holds_from_the_next_look_on() {
    let Scene { mut desk, host } = scene(2, "", TTL).await;
    desk.tick().await;
    let mut readers = [1, 3].map(|n| host.keys[n].clone());
    // The first of two that have nothing would get it.
    readers.sort();
    let control = drain(&readers[0]);
    desk.store.set_control(&control).await.expect("set");
    for drained in [true, false] {
        let task = add(&desk.store, 1).await[0];
        desk.tick().await;
        let report = desk.reassignment.tick().await.report;
        assert_eq!((report.given, report.waiting), (1, 0), "drained: {drained}");
        let owner = desk.store.task(task).await.expect("there").0.owner;
        assert_eq!(owner.as_ref(), Some(&readers[usize::from(drained)]));
        let (kind, now) = (ControlKind::Drain, clock::now());
        let cleared = desk.store.clear_control(kind, &control.subject, now).await;
        assert_eq!(cleared.expect("asked"), drained);
    }
    desk.store.close().await;
}

/// A session that was drained after the last look is refused what was planned for it,
/// and read again before the next plan.
#[tokio::test]
async fn a_task_that_was_refused_goes_to_another() {
    let Scene { mut desk, host } = scene(2, "", TTL).await;
    desk.tick().await;
    let mut readers = [1, 3].map(|n| host.keys[n].clone());
    readers.sort();
    // As another program ends it: no counter of ours moves by that.
    let raw = rusqlite::Connection::open(&desk.path).expect("open");
    let statement = "UPDATE conversations SET expires_at = '2020-01-01T00:00:00.000000'
         WHERE id = ?1";
    let ended = raw.execute(statement, [readers[0].conversation.as_str()]);
    ended.expect("ended");
    let task = add(&desk.store, 1).await[0];
    let mut given = Vec::new();
    for _ in 0..2 {
        desk.tick().await;
        given.push(desk.reassignment.tick().await.report.given);
    }
    assert_eq!(given, [0, 1], "refused once");
    let owner = desk.store.task(task).await.expect("there").0.owner;
    assert_eq!(owner.as_ref(), Some(&readers[1]));
    desk.store.close().await;
}

/// No daemon keeps the sessions of a conversation that was closed: a watchdog that
/// looked on would take that for silence, of whole hosts at worst.
#[tokio::test]
async fn conversation_that_is_closed_is_forgotten_at_once() {
    let Scene { mut desk, host } = scene(3, "", TTL).await;
    assert_eq!(desk.tick().await.alive, 6);
    let id = &host.keys[0].conversation;
    let closed = desk.store.close_conversation(id, clock::now()).await;
    closed.expect("closed");
    assert_eq!(desk.tick().await.alive, 4);
    desk.store.close().await;
}

/// Where nothing says that a conversation has ended, the verdict on its silence
/// finds it out: it is not written, and not judged again and again.
#[tokio::test]
async fn silence_in_an_ended_conversation_is_no_loss() {
    let Scene { mut desk, .. } = scene(1, "", Duration::from_millis(200)).await;
    assert_eq!(desk.tick().await.alive, 2);
    let raw = rusqlite::Connection::open(&desk.path).expect("open");
    let statement = "UPDATE conversations SET expires_at = '2020-01-01T00:00:00.000000'";
    raw.execute(statement, []).expect("ended");
    let mut report = desk.tick().await;
    while report.alive > 0 {
        report = desk.tick().await;
    }
    // What was not written is read again, and is not there.
    assert_eq!(desk.tick().await.gone, 0);
    let alerts = desk.store.open_alerts().await.expect("listed");
    assert!(alerts.is_empty(), "{alerts:?}");
    desk.store.close().await;
}

/// More than is written in one part, and than a round has time for.
#[tokio::test]
async fn mass_loss_over_many_rounds_is_written() {
    let Scene { mut desk, .. } = scene(600, "", Duration::from_millis(500)).await;
    assert_eq!(desk.tick().await.alive, 1200);

    let store = Arc::clone(&desk.store);
    let mut parts = Vec::new();
    while parts.iter().sum::<usize>() < 1200 {
        match desk.watchdog.round_without_time(&store).await {
            Ok(0) => assert!(parts.is_empty(), "the rest came alive: {parts:?}"),
            Ok(settled) => parts.push(settled),
            Err(error) => panic!("{error}"),
        }
    }
    assert_eq!(parts, [500, 500, 200]);
    assert_eq!(desk.tick().await.gone, 1200);
    desk.store.close().await;
}
