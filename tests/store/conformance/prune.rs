//! What ended long ago is taken away; nothing else is.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use mcp_bridge::model::SessionKey;
use mcp_bridge::model::alert::AlertKind;
use mcp_bridge::model::task::TaskState;
use mcp_bridge::store::{BeatRound, DaemonRef, NewAlert, Pruned, Retention, Store, TaskFilter};

use super::Backend;
use super::task_ends::dead;
use super::work::{add, alarms, beat, claimed, daemon, done, roomy};
use crate::common::store::{Pair, at, boot, pair, receive, say, unlimited};

const DAY: Duration = Duration::from_secs(24 * 3_600);

/// Everything is kept equally long.
pub(crate) fn keep(time: Duration) -> Retention {
    Retention {
        messages: time,
        audit: time,
        tasks: time,
        alerts: time,
    }
}

/// Two days after the tests' conversations end.
fn late() -> Timestamp {
    at(0) + SignedDuration::from_hours(51)
}

async fn prune(store: &Store, now: Timestamp) -> Pruned {
    store.prune(None, &keep(DAY), now).await.expect("pruned")
}

/// Rows of a table.
fn count(backend: &impl Backend, table: &str) -> u64 {
    let rows = backend.foreign(&format!("SELECT count(*) FROM {table}"));
    rows[0].parse().expect("a number")
}

/// Every table that has something of a conversation.
const TABLES: [&str; 10] = [
    "conversations",
    "messages",
    "session_status",
    "bridge_conversation",
    "bridge_session",
    "bridge_heartbeat",
    "bridge_registration",
    "bridge_receipt",
    "bridge_client_message",
    "bridge_task_message",
];

/// A conversation that was used in every way there is.
async fn lived(store: &Store, label: &str) -> Pair {
    let pair = Pair::random();
    let new = pair.labelled(label, at(10_800));
    store
        .create_conversations(&[new], at(0))
        .await
        .expect("made");
    let keeper = daemon(store, "hera").await;
    super::work::beat_with(store, &keeper, &[&pair.b.session], true).await;
    let client = super::registrations::client(11);
    let registered = store.register_agent(&pair.b, client, at(3));
    registered.await.expect("registered");
    let drafts = [
        crate::common::store::draft("x"),
        crate::common::store::named("y", "mine"),
    ];
    store.send(&pair.a, &drafts, at(3)).await.expect("sent");
    let id = add(store, "one").await;
    let given = store.reassign_task(id, Some(&pair.b.session), at(4)).await;
    receive(store, &pair.b, at(5)).await;
    let fence = given.expect("given").fence;
    let ended = store.end_task(&pair.b, id, fence, &done("x"), at(6)).await;
    ended.expect("ended");
    pair
}

pub(crate) async fn conversations_that_ended_long_ago_are_removed(backend: &impl Backend) {
    let store = backend.open().await;
    let gone = lived(&store, "gone").await;
    // So that the newest change is another's.
    let open = pair(&store, late()).await;
    let keeper = daemon(&store, "ares").await;
    beat(&store, &keeper, &[&open.b.session]).await;
    say(&store, &open.a, "x", late()).await;
    for table in TABLES {
        assert!(
            count(backend, table) > 0,
            "{table} is empty: nothing is tried"
        );
    }
    let before = prune(&store, at(10_800)).await;
    assert_eq!((before.conversations, before.messages), (0, 0), "too early");
    let pruned = prune(&store, late()).await;
    assert_eq!(
        (pruned.conversations, pruned.messages, pruned.tasks),
        (1, 3, 1)
    );
    for table in TABLES {
        let column = match table {
            "conversations" => "id",
            "bridge_task_message" => "0 || message_id",
            _ => "conversation_id",
        };
        let left = count(backend, &format!("{table} WHERE {column} = '{}'", gone.id));
        assert_eq!(left, 0, "{table}");
    }
    assert_eq!(count(backend, "bridge_task_message"), 0);
    assert_eq!(count(backend, "bridge_task_history"), 0);
    assert_eq!(prune(&store, late()).await.total(), 0, "nothing is left");
    let check = store.check().await.expect("checked");
    assert_eq!(check.problems, [""; 0]);
}

pub(crate) async fn open_conversation_loses_nothing(backend: &impl Backend) {
    let store = backend.open().await;
    let open = lived(&store, "open").await;
    let until = late() + SignedDuration::from_secs(1);
    store
        .renew_conversation(&open.id, until, at(7))
        .await
        .expect("renewed");
    let tables = TABLES
        .iter()
        .filter(|table| **table != "bridge_task_message");
    let counts: Vec<u64> = tables.clone().map(|table| count(backend, table)).collect();
    let pruned = prune(&store, late()).await;
    assert_eq!((pruned.conversations, pruned.messages), (0, 0));
    let after: Vec<u64> = tables.map(|table| count(backend, table)).collect();
    assert_eq!(counts, after);
}

pub(crate) async fn unread_mail_stays(backend: &impl Backend) {
    let store = backend.open().await;
    let unread = pair(&store, at(0)).await;
    let unwritten = pair(&store, at(0)).await;
    for pair in [&unread, &unwritten] {
        say(&store, &pair.a, "read", at(1)).await;
        receive(&store, &pair.b, at(2)).await;
        say(&store, &pair.a, "owed", at(3)).await;
    }
    store
        .fetch(&unwritten.b, 9, at(4))
        .await
        .expect("handed out by a call that died");
    let pruned = prune(&store, late()).await;
    assert_eq!((pruned.conversations, pruned.messages), (0, 2));
    for pair in [&unread, &unwritten] {
        assert!(store.conversation(&pair.id).await.is_ok());
        let mail = store.mail(std::slice::from_ref(&pair.b.session)).await;
        assert_eq!(mail.expect("looked")[0].unread, 1);
    }
    assert_eq!(prune(&store, late()).await.total(), 0);
    // Renewed, it is read as if nothing had been.
    let until = late() + SignedDuration::from_hours(1);
    for pair in [&unread, &unwritten] {
        store
            .renew_conversation(&pair.id, until, late())
            .await
            .expect("renewed");
        assert_eq!(
            crate::common::store::texts(&store, &pair.b, late()).await,
            ["owed"]
        );
    }
}

pub(crate) async fn owner_of_a_task_keeps_its_conversation(backend: &impl Backend) {
    let store = backend.open().await;
    let pair = pair(&store, at(0)).await;
    let task = claimed(&store, &pair.b, "one").await;
    assert_eq!(prune(&store, late()).await.conversations, 0);
    store
        .reassign_task(task.id, None, late())
        .await
        .expect("queued");
    // The word to stop is unread, and will never be read.
    backend.foreign("UPDATE messages SET read = 1, timestamp = '2025-11-13T02:13:30'");
    assert_eq!(prune(&store, late()).await.conversations, 1);
    let (task, _) = store.task(task.id).await.expect("it still waits");
    assert_eq!(task.state, TaskState::Queued);
}

pub(crate) async fn tasks_that_are_over_go_after_their_time(backend: &impl Backend) {
    let store = backend.open().await;
    let pair = pair(&store, at(0)).await;
    roomy(&store).await;
    let over = claimed(&store, &pair.b, "done").await;
    let ended = store
        .end_task(&pair.b, over.id, over.fence, &done("x"), at(20))
        .await;
    ended.expect("ended");
    let dead = dead(&store, &pair.b).await;
    let cancelled = add(&store, "cancelled").await;
    store
        .cancel_task(cancelled, None, at(21))
        .await
        .expect("cancelled");
    let leased = claimed(&store, &pair.b, "leased").await;
    let queued = add(&store, "queued").await;
    assert_eq!(prune(&store, at(80_000)).await.tasks, 0, "too early");
    assert_eq!(
        alarms(&store).await,
        [(AlertKind::TaskDead, format!("task {dead}"))]
    );
    let pruned = prune(&store, at(90_000)).await;
    assert_eq!(pruned.tasks, 3);
    let filter = TaskFilter {
        limit: 9,
        ..TaskFilter::default()
    };
    let left = store.tasks(&filter).await.expect("listed");
    let left: Vec<_> = left.into_iter().map(|task| task.id).collect();
    assert_eq!(left, [leased.id, queued]);
    let orphans = "bridge_task_history WHERE task_id NOT IN (SELECT task_id FROM bridge_task)";
    assert_eq!(count(backend, orphans), 0);
    assert!(alarms(&store).await.is_empty(), "no operator can act on it");
}

pub(crate) async fn alerts_and_audit_go_after_their_time(backend: &impl Backend) {
    let store = backend.open().await;
    let raise = async |subject: &str| {
        let new = NewAlert {
            told: false,
            kind: AlertKind::StoreTrouble,
            subject: subject.into(),
            session: None,
            text: "x".into(),
            by: "x".into(),
        };
        assert!(store.raise_alert(None, &new, at(1)).await.expect("raised"));
    };
    raise("over").await;
    raise("open").await;
    let over = store
        .recover_alert(None, AlertKind::StoreTrouble, "over", at(2))
        .await;
    assert!(over.expect("ended"));
    for n in 0..600 {
        backend.foreign(&format!(
            "INSERT INTO audit_log (action, timestamp) VALUES ('old', '2025-11-13 02:13:{:02}')",
            n % 60
        ));
    }
    let recent = mcp_bridge::model::timestamp::to_text(late());
    backend.foreign(&format!(
        "INSERT INTO audit_log (action, timestamp) VALUES ('recent', '{recent}')"
    ));
    let first = prune(&store, late()).await;
    assert_eq!((first.alerts, first.audit), (1, 500), "a part at a time");
    let second = prune(&store, late()).await;
    // The two that began and the one that ended stood there, too.
    assert_eq!((second.alerts, second.audit), (0, 103));
    assert_eq!(prune(&store, late()).await.total(), 0);
    assert_eq!(
        alarms(&store).await,
        [(AlertKind::StoreTrouble, "open".into())]
    );
    assert_eq!(super::work::audited(&store).await, ["recent"]);
}

pub(crate) async fn audit_behind_a_clock_that_ran_ahead_goes(backend: &impl Backend) {
    let store = backend.open().await;
    let insert = |rows: u32, action: &str, time: &str| {
        backend.foreign(&format!(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {rows})
             INSERT INTO audit_log (action, timestamp) SELECT '{action}', '{time}' FROM n"
        ));
    };
    let recent = mcp_bridge::model::timestamp::to_text(late());
    // More than one look passes by.
    insert(5_100, "ahead", "2099-01-01T00:00:00");
    insert(600, "old", "2025-11-13T02:13:20");
    insert(1, "recent", &recent);
    let mut parts = Vec::new();
    for _ in 0..6 {
        let pruned = prune(&store, late()).await;
        assert_eq!(pruned.total(), pruned.audit);
        parts.push(pruned.audit);
    }
    assert_eq!(parts, [0, 500, 100, 0, 0, 0]);
    insert(7, "old", "2025-11-13T02:13:20");
    let mut later = 0;
    for _ in 0..3 {
        later += prune(&store, late()).await.audit;
    }
    assert_eq!(later, 7, "and so it goes on");
    assert_eq!(count(backend, "audit_log WHERE action = 'ahead'"), 5_100);
    assert_eq!(count(backend, "audit_log WHERE action = 'recent'"), 1);
}

pub(crate) async fn wakes_that_ended_count(backend: &impl Backend) {
    let store = backend.open().await;
    let open = pair(&store, late()).await;
    backend.foreign(&format!(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 700)
         INSERT INTO bridge_wake (conversation_id, session_id, mark, claimant, boot_id,
                                  lease_boot_ms, created_ms, ended_ms)
         SELECT '{}', 'b', i, 'x', 'x', 1, 1, 1 FROM n",
        open.id
    ));
    for (wakes, left) in [(500, 200), (200, 0), (0, 0)] {
        let pruned = prune(&store, late()).await;
        assert_eq!((pruned.wakes, pruned.total()), (wakes, wakes));
        assert_eq!(count(backend, "bridge_wake"), left);
    }
}

pub(crate) async fn daemons_that_do_not_come_back_go(backend: &impl Backend) {
    let store = backend.open().await;
    let pair = pair(&store, late()).await;
    for host in ["gone", "idle", "keeps"] {
        daemon(&store, host).await;
    }
    let [idle, keeps] = ["idle:worker", "keeps:worker"].map(|id| DaemonRef {
        id: id.into(),
        epoch: 1,
    });
    // Heard of once, long ago, and its session's heartbeat is its own.
    beat(&store, &keeps, &[&pair.b.session]).await;
    let leads = super::work::lead(&store).await.daemon.id;
    backend.foreign(&format!(
        "INSERT INTO bridge_daemon (daemon_id, epoch, role, host, boot_id, pid, version, started_ms)
         VALUES ('{leads}', 1, 'orchestrator', 'host', 'x', 1, '1', 0)"
    ));
    // A daemon that keeps no session says that it runs all the same.
    let round = BeatRound {
        beats: &[],
        daemon: &idle,
        ttl: super::work::TTL,
        mirror: true,
        boot: &boot("x", 100),
        now: late(),
        wall: late(),
    };
    store.beat(&round).await.expect("beaten");
    let heard = async |id: &str| {
        let listed = store.daemons().await.expect("listed");
        let found = listed.into_iter().find(|daemon| daemon.id == id);
        found.map(|daemon| daemon.seen_at)
    };
    assert_eq!(heard("gone:worker").await, Some(at(0)));
    assert_eq!(heard("idle:worker").await, Some(late()));
    prune(&store, late()).await;
    assert_eq!(heard("gone:worker").await, None);
    for id in [&idle.id, &keeps.id, &leads] {
        assert!(heard(id).await.is_some(), "{id}");
    }
    // What is left of it would create a later one of its name look old.
    assert_eq!(
        count(backend, "bridge_signal WHERE name = 'seen:gone:worker'"),
        0
    );
}

pub(crate) async fn a_second_call_goes_on(backend: &impl Backend) {
    let store = backend.open().await;
    unlimited(&store).await;
    let pair = pair(&store, at(0)).await;
    for batch in 0..3 {
        let drafts: Vec<_> = (0..250)
            .map(|n| crate::common::store::draft(&format!("{batch} {n}")))
            .collect();
        store.send(&pair.a, &drafts, at(batch)).await.expect("sent");
        receive(&store, &pair.b, at(batch)).await;
    }
    let first = prune(&store, late()).await;
    assert_eq!(
        (first.messages, first.conversations),
        (500, 0),
        "a part at a time"
    );
    assert_eq!(count(backend, "bridge_receipt"), 250);
    let second = prune(&store, late()).await;
    assert_eq!((second.messages, second.conversations), (250, 1));
    while prune(&store, late()).await.total() > 0 {}
    assert_eq!(count(backend, "bridge_receipt"), 0);
}

pub(crate) async fn orphans_of_ours_vanish(backend: &impl Backend) {
    let store = backend.open().await;
    let gone = lived(&store, "gone").await;
    let open = pair(&store, late()).await;
    let keeper = daemon(&store, "ares").await;
    beat(&store, &keeper, &[&open.b.session]).await;
    say(&store, &open.a, "x", late()).await;
    // As the other bridge's cleanup does it: it knows only its own tables.
    for table in ["messages WHERE conversation_id", "conversations WHERE id"] {
        backend.foreign(&format!("DELETE FROM {table} = '{}'", gone.id));
    }
    prune(&store, late()).await;
    let of = |table: &str| format!("{table} WHERE conversation_id = '{}'", gone.id);
    for table in &TABLES[2..9] {
        assert_eq!(count(backend, &of(table)), 0, "{table}");
    }
    assert!(store.conversation(&open.id).await.is_ok());
}

pub(crate) async fn alerts_about_what_has_ended_end(backend: &impl Backend) {
    let store = backend.open().await;
    let leader = super::work::lead(&store).await;
    let (ended, open) = (pair(&store, at(0)).await, pair(&store, at(0)).await);
    let subjects = [&ended, &open].map(|pair| &pair.b.session);
    for session in subjects {
        super::work::lose(&store, &leader, session).await;
    }
    prune(&store, at(50)).await;
    assert_eq!(alarms(&store).await.len(), 2);
    store
        .close_conversation(&ended.id, at(60))
        .await
        .expect("closed");
    prune(&store, at(70)).await;
    let left: &SessionKey = subjects[1];
    assert_eq!(alarms(&store).await, [(AlertKind::Lost, left.to_string())]);
    let told = store.open_alerts().await.expect("listed");
    assert_eq!(
        told.len(),
        1,
        "no recovery is announced: it did not recover"
    );
}

pub(crate) async fn rows_of_an_adopted_store_are_left_alone(backend: &impl Backend) {
    let store = backend.open().await;
    let _ = lived(&store, "one").await;
    let (messages, audit) = (count(backend, "messages"), count(backend, "audit_log"));
    assert!(messages > 0 && audit > 0);
    backend.foreign("UPDATE bridge_setting SET value = 'adopted' WHERE key = 'origin'");
    while prune(&store, late()).await != Pruned::default() {}
    assert_eq!(count(backend, "conversations"), 1);
    assert_eq!(count(backend, "messages"), messages);
    assert_eq!(count(backend, "audit_log"), audit);
    // The operator says otherwise.
    store.set_prune_foreign(true).await.expect("set");
    while prune(&store, late()).await != Pruned::default() {}
    assert_eq!(count(backend, "messages"), 0);
}
