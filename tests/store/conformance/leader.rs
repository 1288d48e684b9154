//! Who acts: one, by compare-and-set on what was seen.

use std::fmt::Debug;
use std::time::Duration;

use mcp_bridge::model::alert::AlertKind;
use mcp_bridge::model::standing::Standing;
use mcp_bridge::store::{
    AlertNote, DaemonRef, Leader, Lease, NewAlert, Noted, Result, Store, StoreError, Why,
};

use super::Backend;
use super::work::{add, audited, finding, planned, seen, shown};
use crate::common::store::{at, pair};

const TTL: Duration = Duration::from_secs(10);

fn named(name: &str) -> DaemonRef {
    DaemonRef {
        id: name.into(),
        epoch: 3,
    }
}

async fn take(store: &Store, name: &str, seen: Option<&Lease>) -> Option<Leader> {
    let taken = store.take_lead(&named(name), seen, TTL, at(7)).await;
    taken.expect("asked")
}

async fn lease(store: &Store) -> Lease {
    store
        .lease()
        .await
        .expect("looked")
        .expect("a daemon had it")
}

pub(crate) async fn the_first_takes_it(backend: &impl Backend) {
    let store = backend.open().await;
    assert_eq!(store.lease().await.expect("looked"), None);
    let leader = take(&store, "one", None).await.expect("free");
    assert_eq!((leader.epoch, &leader.daemon), (1, &named("one")));
    let other = backend.open().await;
    assert_eq!(take(&other, "two", None).await, None, "it was not seen");
    let seen = lease(&other).await;
    assert_eq!((seen.epoch, seen.holder.as_ref()), (1, Some(&named("one"))));
    assert_eq!((seen.ttl, seen.since), (TTL, at(7)));
    let audit = audited(&store).await;
    assert_eq!(audit, ["leader_changed"]);
}

pub(crate) async fn a_lease_that_stood_still_is_taken_over(backend: &impl Backend) {
    let store = backend.open().await;
    let old = take(&store, "one", None).await.expect("free");
    let seen = lease(&store).await;
    let new = take(&store, "two", Some(&seen))
        .await
        .expect("it stood still");
    assert_eq!(new.epoch, old.epoch + 1);
    assert!(matches!(
        store.renew_lead(&old).await,
        Err(StoreError::NotLeading(2))
    ));
    store.renew_lead(&new).await.expect("it leads");
    assert_eq!(
        take(&store, "three", Some(&seen)).await,
        None,
        "an old sight"
    );
    assert_eq!(lease(&store).await.holder, Some(named("two")));
}

pub(crate) async fn a_renewed_lease_is_not_taken(backend: &impl Backend) {
    let store = backend.open().await;
    let leader = take(&store, "one", None).await.expect("free");
    let seen = lease(&store).await;
    store.renew_lead(&leader).await.expect("renewed");
    let renewed = lease(&store).await;
    assert!(renewed.renew_seq > seen.renew_seq);
    assert_eq!(take(&store, "two", Some(&seen)).await, None);
    assert_eq!(lease(&store).await, renewed, "nothing was written");
}

pub(crate) async fn a_lease_that_was_given_up_is_free(backend: &impl Backend) {
    let store = backend.open().await;
    let old = take(&store, "one", None).await.expect("free");
    let seen = lease(&store).await;
    store.give_up_lead(&old).await.expect("given up");
    let free = lease(&store).await;
    assert_eq!(free.holder, None);
    assert!(matches!(
        store.renew_lead(&old).await,
        Err(StoreError::NotLeading(_))
    ));
    assert_eq!(
        take(&store, "two", Some(&seen)).await,
        None,
        "not what was seen"
    );
    let new = take(&store, "two", Some(&free)).await.expect("free");
    assert_eq!(new.epoch, old.epoch + 1);
    // A daemon that leads no more gives up nothing.
    store.give_up_lead(&old).await.expect("asked");
    store.renew_lead(&new).await.expect("it still leads");
}

pub(crate) async fn later_life_of_the_same_daemon_is_another(backend: &impl Backend) {
    let store = backend.open().await;
    let leader = take(&store, "one", None).await.expect("free");
    let later = Leader {
        daemon: DaemonRef {
            epoch: 4,
            ..leader.daemon.clone()
        },
        epoch: leader.epoch,
    };
    let refused = store.renew_lead(&later).await;
    assert!(matches!(refused, Err(StoreError::NotLeading(_))));
}

/// Everything that an orchestrator may have written, and how far the audit log
/// goes.
const WRITTEN: [&str; 7] = [
    "SELECT group_concat(id || read) FROM messages",
    "SELECT group_concat(id) FROM audit_log",
    "SELECT group_concat(task_id || state || fence) FROM bridge_task",
    "SELECT group_concat(alert_id || kind || reminders || told || coalesce(recovered_ms, ''))
     FROM bridge_alert",
    "SELECT group_concat(conversation_id || coalesce(standing, '')) FROM bridge_session",
    "SELECT group_concat(key || value) FROM bridge_setting",
    "SELECT group_concat(epoch || coalesce(holder, '') || renew_seq) FROM bridge_leader",
];

pub(crate) async fn deposed_leader_writes_nothing(backend: &impl Backend) {
    let store = backend.open().await;
    let pair = pair(&store, at(0)).await;
    let task = add(&store, "Port the parser").await;
    let old = take(&store, "one", None).await.expect("free");
    let open = NewAlert {
        kind: AlertKind::NoHealthyWorker,
        subject: "role worker".into(),
        session: None,
        text: "what happened".into(),
        by: "one".into(),
        told: false,
    };
    let raised = store.raise_alert(Some(&old), &open, at(8)).await;
    assert!(raised.expect("it leads"));
    let alert = store.open_alerts().await.expect("listed")[0].reference();
    // It has what it would write in hand, and is paused.
    let lost = finding(&seen(&store, &pair.b.session).await, Standing::Lost);
    let to = planned(
        &shown(&store, task).await,
        Some(&pair.b.session),
        Why::Waited,
    );
    let note = |told| AlertNote { alert, told };
    let another = NewAlert {
        kind: AlertKind::CorrelatedSilence,
        ..open.clone()
    };
    let keep = super::prune::keep(Duration::from_secs(1));
    let lease = lease(&store).await;
    take(&store, "two", Some(&lease)).await.expect("taken");
    let written = || WRITTEN.map(|sql| backend.foreign(sql));
    let before = written();

    fn refused<T: Debug>(answer: &Result<T>) {
        assert!(
            matches!(answer, Err(StoreError::NotLeading(2))),
            "{answer:?}"
        );
    }
    // Long after everything has ended that can.
    let now = at(1_000_000);
    refused(&store.renew_lead(&old).await);
    refused(&store.write_findings(&old, &[lost], now).await);
    refused(&store.move_tasks(&old, &[to], now).await);
    refused(&store.raise_alert(Some(&old), &another, now).await);
    let (kind, subject) = (open.kind, open.subject.as_str());
    refused(&store.recover_alert(Some(&old), kind, subject, now).await);
    for told in [Noted::Raised, Noted::Reminder, Noted::Recovered] {
        refused(&store.note_alerts(&old, &[note(told)]).await);
    }
    refused(&store.set_capacity(Some(&old), 7, 3).await);
    refused(&store.prune(Some(&old), &keep, now).await);
    store.give_up_lead(&old).await.expect("asked");
    assert_eq!(written(), before);
}

pub(crate) async fn one_of_two_concurrent_takers_leads(backend: &impl Backend) {
    let (one, two) = (backend.open().await, backend.open().await);
    let mut epoch = 0;
    for round in 0..30 {
        let seen = one.lease().await.expect("looked");
        let (left, right) = tokio::join!(
            take(&one, "one", seen.as_ref()),
            take(&two, "two", seen.as_ref())
        );
        assert!(
            left.is_some() != right.is_some(),
            "round {round}: {left:?} {right:?}"
        );
        let winner = left.or(right).expect("one of them");
        assert!(winner.epoch > epoch);
        epoch = winner.epoch;
        assert_eq!(lease(&one).await.holder, Some(winner.daemon));
    }
}
