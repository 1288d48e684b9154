//! Findings: written if what they rest on still holds, with all notices that they need.

use std::time::Duration;

use mcp_bridge::model::ConversationId;
use mcp_bridge::model::alert::AlertKind;
use mcp_bridge::model::health::Turn;
use mcp_bridge::model::standing::Standing;
use mcp_bridge::model::{SessionKey, Side};
use mcp_bridge::store::{Control, ControlKind, Moved, Why};

use super::Backend;
use super::work::{
    alarms, audited, beat, claimed, daemon, find, finding, lead, lose, make, news, planned, read,
    roomy, seen,
};
use crate::common::store::{at, boot, pair, pairs, receive, say};

pub(crate) async fn life_that_was_not_seen_is_life(backend: &impl Backend) {
    let store = backend.open().await;
    let leader = lead(&store).await;
    let pair = pair(&store, at(0)).await;
    let keeper = daemon(&store, "hera").await;
    let session = &pair.b.session;
    beat(&store, &keeper, &[session]).await;
    let before = audited(&store).await.len();
    for round in 0..4 {
        let found = finding(&seen(&store, session).await, Standing::Lost);
        match round {
            0 => beat(&store, &keeper, &[session]).await,
            1 => drop(read(&store, &pair.b).await),
            // A daemon that lets go does so alive.
            2 => drop(
                store
                    .release(&keeper, None, at(30))
                    .await
                    .expect("released"),
            ),
            _ => {
                beat(&store, &keeper, &[session]).await;
                let exit = store.record_exit(session, &keeper, at(31)).await;
                assert!(exit.expect("noted"));
            }
        }
        let settled = store.write_findings(&leader, &[found], at(40)).await;
        assert_eq!(settled.expect("settled"), [false], "round {round}");
    }
    assert_eq!(seen(&store, session).await.standing, None);
    assert!(alarms(&store).await.is_empty());
    let audit = audited(&store).await.split_off(before);
    assert_eq!(audit, ["session_exited"]);
    assert!(read(&store, &pair.a).await.is_empty());
}

pub(crate) async fn a_finding_that_holds_is_written(backend: &impl Backend) {
    let store = backend.open().await;
    let leader = lead(&store).await;
    let pairs = pairs(&store, 2, at(0)).await;
    let keeper = daemon(&store, "hera").await;
    let (one, two) = (&pairs[0].b.session, &pairs[1].b.session);
    beat(&store, &keeper, &[one, two]).await;
    let found = [one, two].map(Clone::clone);
    let stale = finding(&seen(&store, &found[0]).await, Standing::Lost);
    let good = finding(&seen(&store, &found[1]).await, Standing::Lost);
    beat(&store, &keeper, &[one]).await;
    let settled = store.write_findings(&leader, &[stale, good], at(40)).await;
    assert_eq!(settled.expect("settled"), [false, true], "each by itself");
    let lost = seen(&store, two).await;
    assert_eq!(
        (lost.standing, lost.standing_seq),
        (Some(Standing::Lost), Some(1))
    );
    assert_eq!(seen(&store, one).await.standing, None);
    assert_eq!(alarms(&store).await, [(AlertKind::Lost, two.to_string())]);
    assert_eq!(
        audited(&store).await.last().expect("one"),
        "session_standing"
    );
    let nothing = store.write_findings(&leader, &[], at(41)).await;
    assert!(nothing.expect("asked").is_empty());
}

pub(crate) async fn hold_since_the_look_voids_only_losses(backend: &impl Backend) {
    let store = backend.open().await;
    let leader = lead(&store).await;
    let pair = pair(&store, at(0)).await;
    let session = &pair.b.session;
    let hold = Control {
        kind: ControlKind::Hold,
        subject: String::new(),
        since: at(30),
        until: at(45),
    };
    let found = async |standing| finding(&seen(&store, session).await, standing);
    let (lost, exited) = (found(Standing::Lost).await, found(Standing::Exited).await);
    store.set_control(&hold).await.expect("set");
    let settled = store.write_findings(&leader, &[lost, exited], at(40)).await;
    assert_eq!(settled.expect("settled"), [false, true]);
    find(&store, &leader, session, Standing::Well, at(41)).await;
    find(&store, &leader, session, Standing::Lost, at(46)).await;
}

pub(crate) async fn an_end_since_the_look_voids_it(backend: &impl Backend) {
    let store = backend.open().await;
    let leader = lead(&store).await;
    let pairs = pairs(&store, 3, at(0)).await;
    let keeper = daemon(&store, "hera").await;
    let sessions = [0, 1, 2].map(|n| &pairs[n].b.session);
    beat(&store, &keeper, &sessions).await;
    claimed(&store, &pairs[2].b, "one").await;
    let standings = [
        Standing::Lost,
        Standing::Exited,
        Standing::Stalled,
        Standing::NeverStarted,
    ];
    let mut looks = Vec::new();
    for session in sessions {
        let seen = seen(&store, session).await;
        looks.push(standings.map(|standing| finding(&seen, standing)));
    }
    for ended in [&pairs[0].id, &pairs[2].id] {
        let closed = store.close_conversation(ended, at(30)).await;
        closed.expect("closed");
    }
    for table in ["messages WHERE conversation_id", "conversations WHERE id"] {
        backend.foreign(&format!("DELETE FROM {table} = '{}'", pairs[1].id));
    }
    for (look, watched) in looks.iter().zip([false, false, true]) {
        let settled = store.write_findings(&leader, look, at(40)).await;
        // One with a task is watched until that has moved.
        assert_eq!(settled.expect("settled"), [watched; 4], "{look:?}");
    }
    let subject = sessions[2].to_string();
    assert_eq!(
        alarms(&store).await,
        [(AlertKind::NeverStarted, subject)],
        "no other's"
    );
}

pub(crate) async fn an_alert_is_raised_once(backend: &impl Backend) {
    let store = backend.open().await;
    let leader = lead(&store).await;
    let pair = pair(&store, at(0)).await;
    let session = &pair.b.session;
    for second in 40..43 {
        find(&store, &leader, session, Standing::Lost, at(second)).await;
    }
    assert_eq!(store.alerts(100).await.expect("listed").len(), 1);
    assert_eq!(news(&store, &pair.a).await, ["session-gone"], "told once");
    find(&store, &leader, session, Standing::Well, at(50)).await;
    assert!(alarms(&store).await.is_empty());
    let ended = store.alerts(100).await.expect("listed");
    assert_eq!((ended.len(), ended[0].recovered_at), (1, Some(at(50))));
    assert_eq!(ended[0].raised_at, at(40));
    find(&store, &leader, session, Standing::Lost, at(60)).await;
    assert_eq!(
        store.alerts(100).await.expect("listed").len(),
        2,
        "a new edge"
    );
}

pub(crate) async fn stall_may_be_announced_later(backend: &impl Backend) {
    let store = backend.open().await;
    let leader = lead(&store).await;
    let pair = pair(&store, at(0)).await;
    claimed(&store, &pair.b, "Port the parser").await;
    let session = &pair.b.session;
    let since = async || {
        let all = store.sessions(at(90)).await.expect("listed");
        all.into_iter().find(|view| view.key == *session)
    };
    let mut quiet = finding(&seen(&store, session).await, Standing::Stalled);
    quiet.alert = None;
    let settled = store.write_findings(&leader, &[quiet], at(40)).await;
    assert_eq!(settled.expect("settled"), [true]);
    assert!(alarms(&store).await.is_empty());
    find(&store, &leader, session, Standing::Stalled, at(60)).await;
    assert_eq!(
        alarms(&store).await,
        [(AlertKind::Stalled, session.to_string())]
    );
    let view = since().await.expect("there");
    assert_eq!(view.standing_at, Some(at(40)), "it is the same stall");
    assert_eq!(read(&store, &pair.b).await.len(), 1, "reminded once");
    // It moved, and no look saw that before it stood still again.
    find(&store, &leader, session, Standing::Stalled, at(80)).await;
    let view = since().await.expect("there");
    assert_eq!(view.standing_at, Some(at(80)), "and this is another");
}

pub(crate) async fn one_standing_ends_the_alert_of_another(backend: &impl Backend) {
    let store = backend.open().await;
    let leader = lead(&store).await;
    let pairs = pairs(&store, 2, at(0)).await;
    let (session, other) = (&pairs[0].b.session, &pairs[1].b.session);
    find(&store, &leader, other, Standing::Stalled, at(30)).await;
    for (standing, kind) in [
        (Standing::NeverStarted, AlertKind::NeverStarted),
        (Standing::Stalled, AlertKind::Stalled),
        (Standing::Lost, AlertKind::Lost),
        (Standing::Exited, AlertKind::Exited),
    ] {
        find(&store, &leader, session, standing, at(40)).await;
        let expected = [
            (AlertKind::Stalled, other.to_string()),
            (kind, session.to_string()),
        ];
        assert_eq!(alarms(&store).await, expected);
    }
}

pub(crate) async fn the_notice_names_unread_mail(backend: &impl Backend) {
    let store = backend.open().await;
    let leader = lead(&store).await;
    let pair = pair(&store, at(0)).await;
    read(&store, &pair.b).await;
    let mut ids = Vec::new();
    for n in 0..12 {
        ids.push(say(&store, &pair.a, &format!("m{n}"), at(n)).await);
    }
    lose(&store, &leader, &pair.b.session).await;
    let told = read(&store, &pair.a).await;
    assert_eq!(told.len(), 1);
    let words = &told[0].message;
    assert!(
        words.contains("is lost") && words.contains("12 messages"),
        "{words}"
    );
    assert!(
        words.contains(&format!("{}, {}", ids[0], ids[1])),
        "{words}"
    );
    assert!(words.contains("and 2 more"), "{words}");
    assert_eq!(
        told[0].metadata["unread"].as_array().expect("a list").len(),
        12
    );
    assert!(!words.contains("m0"), "never a text");
    // They are still the session's: it may come back.
    assert_eq!(seen(&store, &pair.b.session).await.unread, 12);
    // An orchestrator's own side has no one above it to hear of it.
    lose(&store, &leader, &pair.a.session).await;
    assert_eq!(seen(&store, &pair.b.session).await.unread, 12);
}

pub(crate) async fn the_notice_names_what_was_in_its_hand(backend: &impl Backend) {
    let store = backend.open().await;
    let leader = lead(&store).await;
    let pairs = pairs(&store, 2, at(0)).await;
    let keeper = daemon(&store, "hera").await;
    for (pair, standing) in pairs.iter().zip([Standing::Lost, Standing::Exited]) {
        let session = &pair.b.session;
        beat(&store, &keeper, &[session]).await;
        let done = say(&store, &pair.a, "done with", at(1)).await;
        read(&store, &pair.b).await;
        let held = say(&store, &pair.a, "in its hand", at(2)).await;
        // This call acknowledges what the one before handed out.
        read(&store, &pair.b).await;
        let unread = say(&store, &pair.a, "unread", at(3)).await;
        if standing == Standing::Exited {
            let noted = store.record_exit(session, &keeper, at(4)).await;
            assert!(noted.expect("noted"));
        }
        find(&store, &leader, session, standing, at(40)).await;
        let told = read(&store, &pair.a).await;
        assert_eq!(told.len(), 1);
        assert_eq!(
            told[0].metadata["unread"],
            serde_json::json!([held, unread])
        );
        let words = &told[0].message;
        assert!(
            words.contains(&format!("2 messages: {held}, {unread}.")),
            "{words}"
        );
        assert!(!words.contains(&format!(" {done},")), "{words}");
    }
}

pub(crate) async fn later_foreign_write_voids_a_loss(backend: &impl Backend) {
    let store = backend.open().await;
    let leader = lead(&store).await;
    let pair = pair(&store, at(0)).await;
    let session = &pair.b.session;
    let write = |status: &str, time: &str| {
        backend.foreign(&format!(
            "INSERT OR REPLACE INTO session_status (conversation_id, session_id, status, last_heartbeat)
             VALUES ('{}', 'b', '{status}', '2025-11-13T02:13:{time}')",
            pair.id
        ));
    };
    let mut looks = vec![finding(&seen(&store, session).await, Standing::Lost)];
    for (status, time) in [("working", "21"), ("blocked", "21"), ("blocked", "59")] {
        write(status, time);
        let settled = store.write_findings(&leader, &looks, at(40)).await;
        assert_eq!(settled.expect("settled"), [false], "{status} {time}");
        looks = vec![finding(&seen(&store, session).await, Standing::Lost)];
    }
    let settled = store.write_findings(&leader, &looks, at(41)).await;
    assert_eq!(settled.expect("settled"), [true], "as it was seen");
}

async fn epoch(backend: &impl Backend, session: &SessionKey) -> String {
    let row = backend.foreign(&format!(
        "SELECT epoch FROM bridge_session WHERE conversation_id = '{}' AND session_id = '{}'",
        session.conversation, session.side
    ));
    row.into_iter().next().expect("a row")
}

pub(crate) async fn one_that_returns_hears_what_it_lost(backend: &impl Backend) {
    let store = backend.open().await;
    let leader = lead(&store).await;
    roomy(&store).await;
    let pairs = pairs(&store, 2, at(0)).await;
    let (gone, heir) = (&pairs[0].b, &pairs[1].b);
    let one = claimed(&store, gone, "one").await;
    let two = claimed(&store, gone, "two").await;
    assert_eq!(epoch(backend, &gone.session).await, "1");
    lose(&store, &leader, &gone.session).await;
    let to_heir = planned(&one, Some(&heir.session), Why::Lost);
    assert!(matches!(
        make(&store, &leader, to_heir).await,
        Moved::Made(_)
    ));
    make(&store, &leader, planned(&two, None, Why::Lost)).await;
    // Then its process was seen to have ended, too: still the same absence.
    find(&store, &leader, &gone.session, Standing::Exited, at(100)).await;
    find(&store, &leader, &gone.session, Standing::Well, at(160)).await;
    assert_eq!(epoch(backend, &gone.session).await, "2");
    let told = read(&store, gone).await;
    assert_eq!(told.len(), 1, "{told:?}");
    let words = &told[0].message;
    assert!(
        words.contains(&format!("Task {} is now with {}", one.id, heir.session)),
        "{words}"
    );
    assert!(
        words.contains(&format!("Task {} waits for another session", two.id)),
        "{words}"
    );
    assert!(words.contains("2 minutes"), "{words}");
    assert_eq!(
        told[0].metadata["tasks"],
        serde_json::json!([one.id.0, two.id.0])
    );
    // Well once more is no return.
    find(&store, &leader, &gone.session, Standing::Well, at(170)).await;
    assert_eq!(epoch(backend, &gone.session).await, "2");
    assert!(read(&store, gone).await.is_empty());
}

pub(crate) async fn one_that_lost_nothing_hears_nothing(backend: &impl Backend) {
    let store = backend.open().await;
    let leader = lead(&store).await;
    let pairs = pairs(&store, 2, at(0)).await;
    let task = claimed(&store, &pairs[0].b, "one").await;
    for (pair, standing) in [(&pairs[0], Standing::Lost), (&pairs[1], Standing::Stalled)] {
        find(&store, &leader, &pair.b.session, standing, at(40)).await;
        find(&store, &leader, &pair.b.session, Standing::Well, at(50)).await;
        assert!(read(&store, &pair.b).await.is_empty());
    }
    assert_eq!(epoch(backend, &pairs[0].b.session).await, "2");
    assert_eq!(
        epoch(backend, &pairs[1].b.session).await,
        "1",
        "it was never given up"
    );
    // What was taken in an earlier absence was announced then.
    lose(&store, &leader, &pairs[0].b.session).await;
    make(&store, &leader, planned(&task, None, Why::Lost)).await;
    find(&store, &leader, &pairs[0].b.session, Standing::Well, at(60)).await;
    assert_eq!(news(&store, &pairs[0].b).await, ["returned"]);
    // Its next call says that it has seen that.
    assert!(read(&store, &pairs[0].b).await.is_empty());
    find(&store, &leader, &pairs[0].b.session, Standing::Lost, at(70)).await;
    find(&store, &leader, &pairs[0].b.session, Standing::Well, at(80)).await;
    assert!(read(&store, &pairs[0].b).await.is_empty());
}

pub(crate) async fn a_foreign_session_is_found_like_any(backend: &impl Backend) {
    let store = backend.open().await;
    let leader = lead(&store).await;
    let id = ConversationId::from_random([7; 8]);
    backend.foreign(&format!(
        "INSERT INTO conversations VALUES ('{id}', 'boss', 'hand', 'x', 'y',
             '2025-11-13T02:13:20', '2025-11-13T05:13:20')"
    ));
    let session = SessionKey::new(id.clone(), Side::B);
    let before = seen(&store, &session).await;
    assert_eq!(
        (before.beat, before.activity, before.role.as_str()),
        (None, 0, "hand")
    );
    find(&store, &leader, &session, Standing::NeverStarted, at(40)).await;
    lose(&store, &leader, &session).await;
    assert_eq!(
        alarms(&store).await,
        [(AlertKind::Lost, session.to_string())]
    );
    find(&store, &leader, &session, Standing::Well, at(50)).await;
    assert!(alarms(&store).await.is_empty());
    // Cleaned away by that bridge between the look and the finding.
    let found = finding(&seen(&store, &session).await, Standing::Lost);
    for table in ["messages WHERE conversation_id", "conversations WHERE id"] {
        backend.foreign(&format!("DELETE FROM {table} = '{id}'"));
    }
    store
        .write_findings(&leader, &[found], at(60))
        .await
        .expect("the others go on");
}

pub(crate) async fn mail_of_a_lost_agent_is_handed_out_again(backend: &impl Backend) {
    let store = backend.open().await;
    let leader = lead(&store).await;
    let keeper = daemon(&store, "hera").await;
    let pairs = pairs(&store, 3, at(0)).await;
    let in_turn = async || {
        let sessions: Vec<_> = pairs.iter().map(|pair| pair.b.session.clone()).collect();
        let mail = store.mail(&sessions).await.expect("looked");
        mail.iter().map(|mail| mail.in_turn).collect::<Vec<_>>()
    };
    for pair in &pairs {
        beat(&store, &keeper, &[&pair.b.session]).await;
        let (ttl, turn, here) = (Duration::from_secs(20), Some(Turn::Inside), boot("x", 1));
        let call = store.call_in(&pair.b, ttl, turn, &here, at(1));
        call.await.expect("called");
        say(&store, &pair.a, "acknowledged", at(1)).await;
        receive(&store, &pair.b, at(2)).await;
        say(&store, &pair.a, "in its hand", at(3)).await;
        assert_eq!(receive(&store, &pair.b, at(4)).await, ["in its hand"]);
    }
    lose(&store, &leader, &pairs[0].b.session).await;
    let exit = store.record_exit(&pairs[1].b.session, &keeper, at(5)).await;
    assert!(exit.expect("noted"));
    // Nor does a turn outlive its agent.
    assert_eq!(in_turn().await, [false, false, true]);
    for ended in &pairs[..2] {
        assert_eq!(receive(&store, &ended.b, at(6)).await, ["in its hand"]);
    }
    // Its own next call says that it has seen it.
    assert!(receive(&store, &pairs[2].b, at(6)).await.is_empty());
}
