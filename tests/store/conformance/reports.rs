//! What people ask about.

use std::time::Duration;

use mcp_bridge::model::alert::AlertKind;
use mcp_bridge::model::rate::RateLimits;
use mcp_bridge::model::token::TokenStorage;
use mcp_bridge::model::wake::WakeOutcome;
use mcp_bridge::model::{Label, MessageId, Side};
use mcp_bridge::store::{AuditFilter, DaemonInfo, NewAlert, WakeClaim, WakeEnd};

use super::Backend;
use crate::common::store::{Pair, at, boot, pair, pairs, receive, say};

pub(crate) async fn sessions_show_everything(backend: &impl Backend) {
    let store = backend.open().await;
    let (named, plain) = (Pair::random(), Pair::random());
    store
        .create_conversations(
            &[plain.wanted(at(500)), named.labelled("api", at(600))],
            at(0),
        )
        .await
        .expect("made");
    say(&store, &named.a, "hello", at(5)).await;
    say(&store, &named.a, "again", at(6)).await;
    backend.foreign(&format!(
        "INSERT INTO session_status VALUES ('{}', 'b', 'waiting', '2025-11-13T02:13:20')",
        named.id
    ));
    let session = &named.b.session;
    let claim = WakeClaim {
        session,
        mark: MessageId(2),
        adapter: "file",
        claimant: "host:worker",
        lease: Duration::from_secs(1),
        boot: &boot("x", 1),
    };
    let wake = store.claim_wake(&claim, at(7)).await.expect("asked");
    let end = WakeEnd {
        outcome: WakeOutcome::Spent,
        reason: Some("no such file"),
    };
    let ended = store.end_wake(&wake.expect("free"), &end, at(8)).await;
    assert!(ended.expect("asked"));
    let shown = store.sessions(at(0)).await.expect("listed");
    let keys: Vec<_> = shown.iter().map(|view| view.key.clone()).collect();
    assert_eq!(
        keys,
        [&named.a, session_of(&named), &plain.a, &plain.b].map(|caller| caller.session.clone()),
        "labels first, side a before side b"
    );
    let [a, b, c, _] = &shown[..] else {
        unreachable!()
    };
    assert_eq!(a.label.as_ref().map(Label::as_str), Some("api"));
    assert_eq!((&*a.role, &*b.role), ("orchestrator", "worker"));
    assert_eq!((a.activity_at, b.activity_at), (Some(at(6)), Some(at(0))));
    assert_eq!((a.unread, b.unread), (0, 2));
    assert_eq!(b.reported.as_deref(), Some("waiting"));
    assert_eq!(b.wake.as_deref(), Some("file: spent (no such file)"));
    assert_eq!((c.wake.as_deref(), c.reported.as_deref()), (None, None));
    assert_eq!(b.expires_at, Some(at(600)));
}

fn session_of(pair: &Pair) -> &mcp_bridge::store::Caller {
    &pair.b
}

pub(crate) async fn sessions_leave_out_what_is_over(backend: &impl Backend) {
    let store = backend.open().await;
    let (ended, open, closed) = (Pair::random(), Pair::random(), Pair::random());
    store
        .create_conversations(
            &[
                ended.wanted(at(10)),
                open.wanted(at(500)),
                closed.wanted(at(500)),
            ],
            at(0),
        )
        .await
        .expect("made");
    store
        .close_conversation(&closed.id, at(1))
        .await
        .expect("closed");
    let of = async |pair: &Pair, since| {
        let shown = store.sessions_of(&pair.id, at(since)).await;
        shown.expect("listed")
    };
    let shown = of(&open, 10).await;
    assert!(shown.iter().all(|view| view.key.conversation == open.id));
    assert_eq!(shown.len(), 2, "of one conversation");
    assert_eq!(of(&ended, 11).await, []);
    assert_eq!(of(&closed, 10).await, []);
    let listed = async |since| store.sessions(at(since)).await.expect("listed").len();
    assert_eq!(listed(10).await, 4, "one that ends now still shows");
    assert_eq!(listed(11).await, 2);
    // A space for the T sorts before every time of its day.
    backend.foreign("UPDATE conversations SET expires_at = replace(expires_at, 'T', ' ')");
    assert_eq!(listed(11).await, 2);
}

pub(crate) async fn daemons_are_listed(backend: &impl Backend) {
    let store = backend.open().await;
    assert!(store.daemons().await.expect("listed").is_empty());
    for (id, role) in [("host:worker", "worker"), ("host:boss", "orchestrator")] {
        let info = DaemonInfo {
            id: id.into(),
            role,
            host: "host".into(),
            boot_id: "boot".into(),
            pid: 77,
        };
        store.register_daemon(&info, at(3)).await.expect("known");
    }
    let listed = store.daemons().await.expect("listed");
    let names: Vec<&str> = listed.iter().map(|daemon| &*daemon.id).collect();
    assert_eq!(names, ["host:boss", "host:worker"]);
    let boss = &listed[0];
    assert_eq!(
        (&*boss.role, &*boss.host, boss.pid),
        ("orchestrator", "host", 77)
    );
    assert_eq!((boss.epoch, &*boss.boot_id), (1, "boot"));
    assert_eq!((boss.started_at, boss.stopped_at), (at(3), None));
    assert_eq!(boss.version, env!("CARGO_PKG_VERSION"));
}

pub(crate) async fn a_status_has_all_that_is_true(backend: &impl Backend) {
    let store = backend.open().await;
    let pair = pair(&store, at(0)).await;
    say(&store, &pair.a, "hello", at(1)).await;
    for (subject, second) in [("old", 2), ("new", 100_000)] {
        let alert = NewAlert {
            kind: AlertKind::NoActingLeader,
            subject: subject.into(),
            session: None,
            text: "x".into(),
            by: "x".into(),
            told: false,
        };
        let raised = store.raise_alert(None, &alert, at(second)).await;
        assert!(raised.expect("raised"));
    }
    let now = at(100_001);
    let status = store.status(now).await.expect("read");
    assert_eq!(status.at, now);
    // Its conversation ended long ago.
    assert_eq!(status.sessions, []);
    assert_eq!((status.orders.len(), status.lease), (0, None));
    let alerts = status.alerts;
    assert_eq!((alerts.in_24h, alerts.open, alerts.overdue), (1, 2, 1));
    assert!(alerts.leaderless);
    assert_eq!(alerts.last.map(|last| last.subject), Some("new".into()));
    let early = store.status(at(2)).await.expect("read");
    assert_eq!(early.sessions, store.sessions(at(2)).await.expect("listed"));
    assert_eq!(early.sessions.len(), 2);
}

pub(crate) async fn the_audit_log_is_read_in_parts(backend: &impl Backend) {
    let store = backend.open().await;
    let filter = |limit| AuditFilter {
        limit,
        ..AuditFilter::default()
    };
    let page = async |filter: &AuditFilter, behind| {
        let page = store.audit_page(filter, behind).await;
        page.expect("read")
    };
    let none = page(&filter(10), None).await;
    assert_eq!((none.entries.len(), none.is_full), (0, false));
    let pairs = pairs(&store, 3, at(0)).await;
    for pair in &pairs {
        say(&store, &pair.a, "hello", at(1)).await;
    }
    let all = store.audit(&filter(100)).await.expect("read");
    assert_eq!(page(&filter(2), None).await.entries, all[4..]);
    let (mut read, mut cursor) = (Vec::new(), none.cursor);
    for is_full in [true, false] {
        let part = page(&filter(4), Some(cursor)).await;
        assert_eq!(part.is_full, is_full);
        cursor = part.cursor;
        read.extend(part.entries);
    }
    assert_eq!(read, all);
    // What is not wanted is passed by.
    let of_one = AuditFilter {
        conversation: Some(pairs[0].id.clone()),
        action: Some("send_message".into()),
        ..filter(10)
    };
    let part = page(&of_one, Some(none.cursor)).await;
    assert_eq!((part.entries.len(), part.cursor), (1, cursor));
    let part = page(&of_one, Some(cursor)).await;
    assert_eq!((part.entries.len(), part.cursor), (0, cursor));
    let since = AuditFilter {
        since: Some(at(1)),
        ..filter(10)
    };
    assert_eq!(page(&since, None).await.entries, all[3..]);
    say(&store, &pairs[0].b, "news", at(2)).await;
    let part = page(&of_one, Some(cursor)).await;
    assert_eq!(part.entries.len(), 1);
}

pub(crate) async fn the_audit_log_is_filtered(backend: &impl Backend) {
    let store = backend.open().await;
    let pairs = pairs(&store, 2, at(0)).await;
    say(&store, &pairs[0].a, "hello", at(1)).await;
    receive(&store, &pairs[0].b, at(2)).await;
    say(&store, &pairs[1].a, "hello", at(3)).await;
    // As scripts spelled it, and with nothing in it.
    backend.foreign(&format!(
        "INSERT INTO audit_log (conversation_id, session_id, action, details, timestamp)
         VALUES ('{}', 'session_b', 'ping', NULL, '2025-11-13 02:13:24')",
        pairs[0].id
    ));
    backend.foreign(
        "INSERT INTO audit_log (conversation_id, session_id, action, details, timestamp)
         VALUES (NULL, NULL, x'fe', 'not json', 'then')",
    );
    let ask = async |filter: AuditFilter| store.audit(&filter).await.expect("read");
    let everything = AuditFilter {
        limit: 100,
        ..AuditFilter::default()
    };
    let all = ask(everything.clone()).await;
    let actions: Vec<&str> = all.iter().map(|entry| &*entry.action).collect();
    assert_eq!(
        actions,
        [
            "create_conversation",
            "create_conversation",
            "send_message",
            "get_messages",
            "send_message",
            "ping",
            "\u{fffd}"
        ]
    );
    assert!(all.is_sorted_by_key(|entry| entry.id));
    let sent = &all[2];
    assert_eq!(sent.at, Some(at(1)));
    assert_eq!(sent.conversation.as_deref(), Some(pairs[0].id.as_str()));
    assert_eq!(sent.details["message_length"], 5);
    assert_eq!((all[5].at, all[6].at), (Some(at(4)), None));
    assert!(all[6].conversation.is_none() && all[6].details.is_null());
    let newest = AuditFilter {
        limit: 2,
        ..AuditFilter::default()
    };
    assert_eq!(ask(newest).await, all[5..]);
    let of_b = AuditFilter {
        conversation: Some(pairs[0].id.clone()),
        side: Some(Side::B),
        ..everything.clone()
    };
    assert_eq!(ask(of_b).await.len(), 2, "both spellings of b");
    let sends = AuditFilter {
        action: Some("send_message".into()),
        ..everything
    };
    assert_eq!(ask(sends).await.len(), 2);
}

pub(crate) async fn limits_are_kept_in_the_store(backend: &impl Backend) {
    let store = backend.open().await;
    assert_eq!(
        store.rate_limits().await.expect("read"),
        RateLimits::default()
    );
    let limits = RateLimits {
        per_minute: 7,
        per_hour: 0,
        per_day: 70_000,
    };
    store.set_rate_limits(limits).await.expect("set");
    assert_eq!(store.rate_limits().await.expect("read"), limits);
    let elsewhere = backend.open().await;
    assert_eq!(elsewhere.rate_limits().await.expect("read"), limits);
}

pub(crate) async fn a_check_of_a_sound_store(backend: &impl Backend) {
    let store = backend.open().await;
    let pair = pair(&store, at(0)).await;
    say(&store, &pair.a, "one", at(1)).await;
    say(&store, &pair.b, "two", at(1)).await;
    receive(&store, &pair.b, at(2)).await;
    let check = store.check().await.expect("checked");
    assert!(check.problems.is_empty(), "{:?}", check.problems);
    assert_eq!(
        (check.conversations, check.messages, check.unread),
        (1, 2, 1)
    );
    assert_eq!(
        (check.token_storage.as_str(), check.adopted),
        ("hashed", false)
    );
    assert!(check.bytes > 0 && check.schema >= 1);
    assert_eq!(check.location.to_string(), backend.name());
    store
        .set_token_storage(TokenStorage::Plain)
        .await
        .expect("set");
    let check = store.check().await.expect("checked");
    assert_eq!(check.token_storage.as_str(), "plain");
}

pub(crate) async fn a_probe_and_a_checkpoint(backend: &impl Backend) {
    let store = backend.open().await;
    let pair = pair(&store, at(0)).await;
    for n in 0..20 {
        say(&store, &pair.a, &format!("{n}"), at(1)).await;
    }
    assert!(store.probe().await.is_ok());
    store.checkpoint().await.expect("written back");
    store.checkpoint().await.expect("nothing left");
    assert!(store.probe().await.is_ok());
    assert_eq!(receive(&store, &pair.b, at(2)).await.len(), 20);
    assert_eq!(store.location().to_string(), backend.name());
}

pub(crate) async fn a_closed_handle_does_not_hang(backend: &impl Backend) {
    let store = backend.open().await;
    let pair = pair(&store, at(0)).await;
    store.close().await;
    store.close().await;
    let sent = store
        .send(&pair.a, &[crate::common::store::draft("late")], at(1))
        .await;
    assert!(sent.is_err());
    assert!(store.mail(&[pair.b.session]).await.is_err());
    assert_eq!(backend.foreign("SELECT count(*) FROM messages"), ["0"]);
}

pub(crate) async fn a_write_that_got_through_is_known(backend: &impl Backend) {
    let store = backend.open().await;
    store.try_write().await.expect("written");
    let health = store.writes();
    assert!(health.last.is_some(), "{health:?}");
    assert_eq!((health.doubtful_since, health.waiting_since), (None, None));
}

pub(crate) async fn a_store_that_is_tended_counts_on(backend: &impl Backend) {
    let store = backend.open().await;
    assert_eq!(store.writes().last, None);
    store.tend().await.expect("tended");
    let first = store.writes().last;
    assert!(first.is_some(), "it counts");
    store.tend().await.expect("tended");
    assert_eq!(store.writes().last, first, "not at once again");
    store.probe().await.expect("no older copy");
}
