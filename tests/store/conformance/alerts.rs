//! Alerts, from edge to edge, and what operators say, until its end.

use mcp_bridge::model::alert::AlertKind;
use mcp_bridge::store::{
    AlertNote, AlertRef, Control, ControlKind, NewAlert, Noted, Store, ToldEdge,
};

use super::Backend;
use super::work::{alarms, audited};
use crate::common::store::{at, pair};

fn alert(kind: AlertKind, subject: &str) -> NewAlert {
    NewAlert {
        kind,
        subject: subject.into(),
        session: None,
        text: "what happened".into(),
        by: "host:orchestrator".into(),
        told: false,
    }
}

async fn raise(store: &Store, kind: AlertKind, subject: &str, second: i64) -> bool {
    let raised = store
        .raise_alert(None, &alert(kind, subject), at(second))
        .await;
    raised.expect("asked")
}

async fn recover(store: &Store, kind: AlertKind, subject: &str, second: i64) -> bool {
    let ended = store.recover_alert(None, kind, subject, at(second)).await;
    ended.expect("asked")
}

pub(crate) async fn one_of_a_kind_is_open_for_a_subject(backend: &impl Backend) {
    let store = backend.open().await;
    let (lost, trouble) = (AlertKind::Lost, AlertKind::StoreTrouble);
    assert!(raise(&store, lost, "x", 1).await);
    assert!(!raise(&*backend.open().await, lost, "x", 2).await);
    assert!(raise(&store, lost, "y", 3).await);
    assert!(raise(&store, trouble, "x", 4).await);
    assert!(!recover(&store, trouble, "y", 5).await);
    assert!(recover(&store, lost, "x", 6).await);
    assert!(!recover(&store, lost, "x", 7).await, "it has ended");
    assert!(raise(&store, lost, "x", 8).await, "a new edge");
    let expected = [(lost, "y"), (trouble, "x"), (lost, "x")];
    let expected = expected.map(|(kind, subject)| (kind, subject.to_owned()));
    assert_eq!(alarms(&store).await, expected);
    let all = store.alerts(100).await.expect("listed");
    assert_eq!(all.len(), 4);
    assert_eq!(
        (all[0].raised_at, all[0].recovered_at),
        (at(1), Some(at(6)))
    );
    assert_eq!(
        store.alerts(2).await.expect("listed"),
        all[2..],
        "the newest, newest last"
    );
}

pub(crate) async fn an_alert_says_what_it_is_about(backend: &impl Backend) {
    let store = backend.open().await;
    let session = pair(&store, at(0)).await.b.session;
    let new = NewAlert {
        session: Some(session.clone()),
        ..alert(AlertKind::WakeListSpent, "x")
    };
    assert!(store.raise_alert(None, &new, at(1)).await.expect("raised"));
    let shown = store.open_alerts().await.expect("listed").remove(0);
    assert_eq!(
        (shown.kind, shown.session),
        (AlertKind::WakeListSpent, Some(session))
    );
    assert_eq!(
        (shown.text.as_str(), shown.raised_by.as_str()),
        ("what happened", "host:orchestrator")
    );
    assert_eq!(
        (shown.task, shown.reminders, shown.told),
        (None, 0, ToldEdge::None)
    );
}

pub(crate) async fn each_edge_is_announced_once(backend: &impl Backend) {
    let store = backend.open().await;
    let kind = AlertKind::Lost;
    raise(&store, kind, "x", 1).await;
    let leader = super::work::lead(&store).await;
    let alert = store.open_alerts().await.expect("listed")[0].reference();
    let note = async |alert, told| {
        let notes = [AlertNote { alert, told }];
        store.note_alerts(&leader, &notes).await.expect("noted");
    };
    let shown = async || {
        let open = store.open_alerts().await.expect("listed");
        open.first()
            .map(|alert| (alert.told, alert.reminders, alert.recovered_at.is_some()))
    };
    assert_eq!(shown().await, Some((ToldEdge::None, 0, false)));
    // One of before a backup was brought back, that had the same number.
    let other = AlertRef {
        raised_at: at(0),
        ..alert
    };
    note(other, Noted::Raised).await;
    assert_eq!(shown().await, Some((ToldEdge::None, 0, false)));
    note(alert, Noted::Raised).await;
    assert_eq!(shown().await, Some((ToldEdge::Raised, 0, false)));
    for round in 1..=2 {
        note(alert, Noted::Reminder).await;
        assert_eq!(shown().await, Some((ToldEdge::Raised, round, false)));
    }
    recover(&store, kind, "x", 2).await;
    assert_eq!(
        shown().await,
        Some((ToldEdge::Raised, 2, true)),
        "its end is still to be told"
    );
    note(alert, Noted::Raised).await;
    assert_eq!(
        shown().await,
        Some((ToldEdge::Raised, 2, true)),
        "that was its beginning"
    );
    note(alert, Noted::Recovered).await;
    assert_eq!(shown().await, None);
    // One that began and ended before it was announced is still there to be announced.
    raise(&store, kind, "y", 3).await;
    recover(&store, kind, "y", 4).await;
    assert_eq!(shown().await, Some((ToldEdge::None, 0, true)));
}

fn control(kind: ControlKind, subject: &str, until: i64) -> Control {
    Control {
        kind,
        subject: subject.into(),
        since: at(1),
        until: at(until),
    }
}

pub(crate) async fn controls_hold_until_their_end(backend: &impl Backend) {
    let store = backend.open().await;
    let drain = control(ControlKind::Drain, "host:hera", 100);
    let hold = control(ControlKind::Hold, "", 50);
    let mute = control(ControlKind::Mute, "stalled", 70);
    for one in [&mute, &hold, &drain] {
        store.set_control(one).await.expect("set");
    }
    let held = async |second| store.controls(at(second)).await.expect("listed");
    assert_eq!(held(49).await, [drain.clone(), hold.clone(), mute.clone()]);
    assert_eq!(held(50).await, [drain.clone(), mute.clone()]);
    assert_eq!(held(70).await, std::slice::from_ref(&drain));
    assert_eq!(held(100).await, []);
    // Said again, the later word holds.
    let longer = control(ControlKind::Hold, "", 200);
    store.set_control(&longer).await.expect("set");
    assert_eq!(held(150).await, [longer]);
}

pub(crate) async fn a_control_is_taken_back(backend: &impl Backend) {
    let store = backend.open().await;
    let drain = control(ControlKind::Drain, "host:hera", 100);
    store.set_control(&drain).await.expect("set");
    let clear = async |kind, subject: &str, second| {
        let cleared = store.clear_control(kind, subject, at(second)).await;
        cleared.expect("asked")
    };
    let before = audited(&store).await;
    assert!(!clear(ControlKind::Drain, "host:ares", 10).await);
    assert!(!clear(ControlKind::Hold, "host:hera", 10).await);
    assert_eq!(audited(&store).await, before, "nothing was taken back");
    assert_eq!(
        store.controls(at(10)).await.expect("listed"),
        std::slice::from_ref(&drain)
    );
    assert!(clear(ControlKind::Drain, "host:hera", 10).await);
    assert_eq!(store.controls(at(10)).await.expect("listed"), []);
    assert!(!clear(ControlKind::Drain, "host:hera", 11).await);
    store.set_control(&drain).await.expect("set");
    assert!(
        !clear(ControlKind::Drain, "host:hera", 100).await,
        "it had ended"
    );
    let said = audited(&store).await;
    assert_eq!(said, ["drain_on", "drain_off", "drain_on"]);
}
