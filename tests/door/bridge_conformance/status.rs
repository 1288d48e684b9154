//! What people ask about, and what operators say.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use mcp_bridge::bridge::{Bridge, Ending, StatusNow};
use mcp_bridge::clock;
use mcp_bridge::model::Side;
use mcp_bridge::model::alert::AlertKind;
use mcp_bridge::model::health::{Turn, TurnSaid};
use mcp_bridge::model::rate::RateLimits;
use mcp_bridge::model::token::TokenStorage;
use mcp_bridge::store::{AuditFilter, Control, ControlKind, DaemonRef, NewAlert};

use super::site::{Pair, Site, pair, pairs, receive, say};
use super::tasks::task;

const HOUR: Duration = Duration::from_secs(3_600);

pub(crate) async fn limits_are_kept_in_the_store(site: &Site) {
    let (bridge, elsewhere) = site.two().await;
    let found = bridge.rate_limits().await.expect("read");
    assert_eq!(found, RateLimits::default());
    let limits = RateLimits {
        per_minute: 7,
        per_hour: 0,
        per_day: 70_000,
    };
    bridge.set_rate_limits(limits).await.expect("set");
    assert_eq!(elsewhere.rate_limits().await.expect("read"), limits);
}

pub(crate) async fn a_check_of_a_sound_store(site: &Site) {
    let bridge = site.bridge().await;
    let pair = pair(&bridge).await;
    say(&bridge, &pair.a, "one").await;
    say(&bridge, &pair.b, "two").await;
    receive(&bridge, &pair.b).await;
    let check = bridge.check().await.expect("checked");
    assert!(check.problems.is_empty(), "{:?}", check.problems);
    assert_eq!(
        (check.conversations, check.messages, check.unread),
        (1, 2, 1)
    );
    assert_eq!(
        (check.token_storage, check.adopted),
        (TokenStorage::Hashed, false)
    );
    assert!(check.bytes > 0 && check.schema >= 1);
    assert_eq!(check.location.file(), site.rig.path("bridge.db"));
}

pub(crate) async fn sessions_show_everything(site: &Site) {
    let bridge = site.bridge().await;
    let (named, plain) = (Pair::random(), pair(&bridge).await);
    let made = bridge.create_conversations(&[named.labelled("api")]).await;
    made.expect("made");
    say(&bridge, &named.a, "hello").await;
    say(&bridge, &named.a, "again").await;
    let shown = bridge.sessions(Duration::ZERO).await.expect("listed");
    let keys: Vec<_> = shown.iter().map(|view| &view.key).collect();
    let expected = [&named.a, &named.b, &plain.a, &plain.b].map(|caller| &caller.session);
    assert_eq!(keys, expected, "labels first, side a before side b");
    let (a, b) = (&shown[0], &shown[1]);
    assert_eq!(
        a.label.as_ref().map(mcp_bridge::model::Label::as_str),
        Some("api")
    );
    assert_eq!((&*a.role, &*b.role), ("orchestrator", "worker"));
    assert_eq!((a.unread, b.unread), (0, 2));
    assert!(a.activity_at.is_some() && b.expires_at.is_some());
    let own = bridge.sessions_of(&named.id).await.expect("listed");
    assert_eq!(own, shown[..2], "of one conversation");
    bridge.close_conversation(&named.id).await.expect("closed");
    let open = bridge.sessions(Duration::ZERO).await.expect("listed");
    assert_eq!(open.len(), 2, "one that is closed shows no more");
}

pub(crate) async fn the_audit_log_is_filtered(site: &Site) {
    let bridge = site.bridge().await;
    let pairs = pairs(&bridge, 2).await;
    say(&bridge, &pairs[0].a, "hello").await;
    receive(&bridge, &pairs[0].b).await;
    say(&bridge, &pairs[1].a, "hello").await;
    let ask = async |filter: AuditFilter| bridge.events(&filter).await.expect("read");
    let everything = AuditFilter {
        limit: 100,
        ..AuditFilter::default()
    };
    let all = ask(everything.clone()).await;
    let actions: Vec<&str> = all.iter().map(|entry| &*entry.action).collect();
    let expected = [
        "create_conversation",
        "create_conversation",
        "send_message",
        "get_messages",
        "send_message",
    ];
    assert_eq!(actions, expected);
    assert!(all.is_sorted_by_key(|entry| entry.id));
    assert_eq!(all[2].conversation.as_deref(), Some(pairs[0].id.as_str()));
    assert_eq!(all[2].details["message_length"], 5);
    let newest = AuditFilter {
        limit: 2,
        ..AuditFilter::default()
    };
    assert_eq!(ask(newest).await, all[3..]);
    let of_b = AuditFilter {
        conversation: Some(pairs[0].id.clone()),
        side: Some(Side::B),
        ..everything.clone()
    };
    assert_eq!(ask(of_b).await.len(), 1);
    let sends = AuditFilter {
        action: Some("send_message".into()),
        ..everything
    };
    assert_eq!(ask(sends).await.len(), 2);
}

pub(crate) async fn daemons_are_listed(site: &Site) {
    let bridge = site.bridge().await;
    let listed = bridge.daemons().await.expect("listed");
    // This test's own, where there is one.
    assert_eq!(listed.len(), usize::from(site.has_daemon()), "{listed:?}");
    for daemon in listed {
        assert_eq!((&*daemon.role, daemon.epoch), ("worker", 1));
        assert_eq!(daemon.version, env!("CARGO_PKG_VERSION"));
        assert!(daemon.stopped_at.is_none() && daemon.pid > 0);
    }
}

async fn ordered(bridge: &Bridge) -> Vec<Control> {
    bridge.status().await.expect("read").status.orders
}

pub(crate) async fn a_status_has_all_that_is_true(site: &Site) {
    let bridge = site.bridge().await;
    let pair = pair(&bridge).await;
    say(&bridge, &pair.a, "hello").await;
    let added = bridge.add_tasks(None, &[task("paint it")]).await;
    added.expect("added");
    let alert = NewAlert {
        kind: AlertKind::Lost,
        subject: "x".into(),
        session: Some(pair.b.session.clone()),
        text: "what happened".into(),
        by: "host:orchestrator".into(),
        told: true,
    };
    let raised = site.rig.store.raise_alert(None, &alert, clock::now()).await;
    assert!(raised.expect("raised"));
    let held = bridge.order(ControlKind::Hold, "fleet".to_owned(), HOUR);
    held.await.expect("given");
    let StatusNow { answering, status } = bridge.status().await.expect("read");
    assert_eq!(answering, bridge.answering().await.expect("it answers"));
    let ended_within = Duration::from_mins(15);
    let sessions = bridge.sessions(ended_within).await.expect("listed");
    assert_eq!(status.sessions, sessions);
    assert_eq!(status.sessions[1].unread, 1);
    assert_eq!(status.daemons, bridge.daemons().await.expect("listed"));
    assert_eq!(status.lease, bridge.lease().await.expect("read"));
    assert_eq!(status.tasks, bridge.task_counts().await.expect("counted"));
    assert_eq!(status.orders.len(), 1);
    let numbers = (status.alerts.in_24h, status.alerts.open);
    assert_eq!(numbers, (1, 1));
    assert!(!status.alerts.leaderless && status.alerts.overdue == 0);
    let last = bridge.alerts(1).await.expect("listed").pop();
    assert_eq!(status.alerts.last, last);
    assert!(!format!("{status:?}").contains("paint it"));
}

pub(crate) async fn a_status_is_of_one_commit(site: &Site) {
    let (bridge, elsewhere) = site.two().await;
    let pair = pair(&bridge).await;
    let stop = Arc::new(AtomicBool::new(false));
    let works = tokio::spawn({
        let stop = Arc::clone(&stop);
        async move {
            let mut rounds = 0;
            while !stop.load(Ordering::Relaxed) {
                let added = elsewhere.add_tasks(None, &[task("a task")]).await;
                let id = added.expect("added")[0].id;
                // Its state and its owner's count change in one commit.
                let claimed = elsewhere.claim_task(&pair.b, Some(id)).await;
                let fence = claimed.expect("claimed").expect("there").fence;
                let done = Ending::Done("well".parse().expect("a result"));
                let ended = elsewhere.end_task(&pair.b, id, fence, done).await;
                ended.expect("ended");
                rounds += 1;
            }
            rounds
        }
    });
    for _ in 0..300 {
        let status = bridge.status().await.expect("read").status;
        let owned: u64 = status.sessions.iter().map(|one| one.open_tasks).sum();
        let leased = status.tasks.get("leased").copied().unwrap_or(0);
        assert_eq!(owned, leased, "{status:?}");
    }
    stop.store(true, Ordering::Relaxed);
    assert!(works.await.expect("it worked") > 0);
}

pub(crate) async fn controls_hold_until_their_end(site: &Site) {
    let (bridge, elsewhere) = site.two().await;
    let orders = [
        (ControlKind::Mute, "stalled"),
        (ControlKind::Hold, "fleet"),
        (ControlKind::Drain, "host:hera"),
    ];
    for (kind, subject) in orders {
        let order = bridge.order(kind, subject.to_owned(), HOUR).await;
        let order = order.expect("given");
        assert_eq!((order.kind, order.subject.as_str()), (kind, subject));
        assert!(order.until > order.since);
    }
    let held = ordered(&elsewhere).await;
    let held: Vec<_> = held.iter().map(|one| (one.kind, &*one.subject)).collect();
    let expected: Vec<_> = orders.into_iter().rev().collect();
    assert_eq!(held, expected);
    // Said again, the later word holds.
    let moment = Duration::from_millis(1);
    let short = bridge.order(ControlKind::Hold, "fleet".to_owned(), moment);
    let short = short.await.expect("given");
    super::site::past(short.until).await;
    assert_eq!(ordered(&elsewhere).await.len(), 2);
}

pub(crate) async fn a_control_is_taken_back(site: &Site) {
    let (bridge, elsewhere) = site.two().await;
    let order = bridge.order(ControlKind::Drain, "host:hera".to_owned(), HOUR);
    order.await.expect("given");
    let clear = async |kind, subject: &str| {
        let cleared = elsewhere.take_back(kind, subject).await;
        cleared.expect("asked")
    };
    assert!(!clear(ControlKind::Drain, "host:ares").await);
    assert!(!clear(ControlKind::Hold, "host:hera").await);
    assert_eq!(ordered(&bridge).await.len(), 1);
    assert!(clear(ControlKind::Drain, "host:hera").await);
    assert_eq!(ordered(&bridge).await, []);
    assert!(!clear(ControlKind::Drain, "host:hera").await);
}

pub(crate) async fn an_alert_says_what_it_is_about(site: &Site) {
    let bridge = site.bridge().await;
    let named = Pair::random();
    let made = bridge.create_conversations(&[named.labelled("api")]).await;
    made.expect("made");
    let store = &site.rig.store;
    for subject in ["x", "y"] {
        let new = NewAlert {
            kind: AlertKind::WakeListSpent,
            subject: subject.into(),
            session: Some(named.b.session.clone()),
            text: "what happened".into(),
            by: "host:orchestrator".into(),
            told: true,
        };
        let raised = store.raise_alert(None, &new, clock::now()).await;
        assert!(raised.expect("raised"));
    }
    let over = store.recover_alert(None, AlertKind::WakeListSpent, "x", clock::now());
    assert!(over.await.expect("recovered"));
    let open = bridge.open_alerts().await.expect("listed");
    let open: Vec<_> = open
        .iter()
        .filter(|one| one.recovered_at.is_none())
        .collect();
    assert_eq!((open.len(), open[0].subject.as_str()), (1, "y"));
    assert_eq!(open[0].session.as_ref(), Some(&named.b.session));
    assert_eq!(
        open[0].label.as_ref().map(mcp_bridge::model::Label::as_str),
        Some("api")
    );
    assert_eq!(open[0].text, "what happened");
    let all = bridge.alerts(100).await.expect("listed");
    assert_eq!(all.len(), 2);
    assert_eq!(bridge.alerts(1).await.expect("listed"), all[1..]);
}

pub(crate) async fn the_lease_names_who_acts(site: &Site) {
    let bridge = site.bridge().await;
    assert!(bridge.lease().await.expect("read").is_none());
    let daemon = DaemonRef {
        id: "host:orchestrator".into(),
        epoch: 1,
    };
    let ttl = Duration::from_secs(20);
    let taken = site.rig.store.take_lead(&daemon, None, ttl, clock::now());
    assert!(taken.await.expect("asked").is_some());
    let lease = bridge.lease().await.expect("read").expect("it acts");
    let text = format!("{lease:?}");
    assert!(text.contains("host:orchestrator"), "{text}");
}

pub(crate) async fn a_call_counts_as_life_and_steals_nothing(site: &Site) {
    let bridge = site.bridge().await;
    let pair = pair(&bridge).await;
    say(&bridge, &pair.a, "hello").await;
    let ttl = Duration::from_secs(60);
    for (round, turn) in [(1, None), (2, Some(Turn::Inside)), (3, Some(Turn::Outside))] {
        let mail = bridge.call_in(&pair.b, ttl, turn).await.expect("called");
        assert_eq!(mail.unread, 1);
        let shown = bridge.sessions(Duration::ZERO).await.expect("listed");
        let view = shown.iter().find(|view| view.key == pair.b.session);
        let view = view.expect("it is open");
        let beat = view.heartbeat.as_ref().expect("a sign of life");
        assert_eq!((beat.seq, beat.ttl), (round, ttl));
        assert_eq!(view.turn, turn.unwrap_or_default());
    }
    assert_eq!(receive(&bridge, &pair.b).await, ["hello"]);
}

pub(crate) async fn the_last_word_of_a_turn_counts(site: &Site) {
    let bridge = site.bridge().await;
    let pair = pair(&bridge).await;
    let (now, ttl) = (clock::since_boot(), Duration::from_secs(60));
    for (ago, turn, counts) in [
        (9, Turn::Inside, Turn::Inside),
        (7, Turn::Outside, Turn::Outside),
        // A call that was held up.
        (8, Turn::Inside, Turn::Outside),
        (6, Turn::Inside, Turn::Inside),
    ] {
        let at = now.saturating_sub(Duration::from_secs(ago));
        let said = bridge.say_turn(&pair.b, ttl, TurnSaid { turn, at });
        let mail = said.await.expect("said");
        assert_eq!(mail.in_turn, counts == Turn::Inside, "{ago} s ago");
    }
    // What is yet to come holds no later word up.
    let (turn, at) = (Turn::Inside, now + Duration::from_hours(1));
    let said = bridge.say_turn(&pair.b, ttl, TurnSaid { turn, at });
    said.await.expect("said");
    let ended = bridge.call_in(&pair.b, ttl, Some(Turn::Outside)).await;
    assert!(!ended.expect("called").in_turn);
}

pub(crate) async fn foreign_rows_are_pruned_where_that_is_wanted(site: &Site) {
    let bridge = site.bridge().await;
    for prune in [true, true, false] {
        bridge.set_prune_foreign(prune).await.expect("set");
    }
    let newest = AuditFilter {
        limit: 10,
        ..AuditFilter::default()
    };
    let said = format!("{:?}", bridge.events(&newest).await.expect("read"));
    assert!(said.contains("foreign"), "{said}");
}

pub(crate) async fn an_answer_names_the_store(site: &Site) {
    let bridge = site.bridge().await;
    let answering = bridge.answering().await.expect("it answers");
    assert_eq!(answering.version, env!("CARGO_PKG_VERSION"));
    assert_eq!(answering.store.file(), site.rig.path("bridge.db"));
    let here = std::process::id();
    assert_eq!(answering.pid != here, site.has_daemon());
}
