//! Wakes: one at a time for each session.

use std::time::Duration;

use mcp_bridge::model::wake::WakeOutcome;
use mcp_bridge::model::{MessageId, SessionKey};
use mcp_bridge::store::{Boot, Store, StoreError, WakeClaim, WakeEnd, WakeRef};

use super::Backend;
use crate::common::store::{at, boot, pair, pairs, receive, say};

const LEASE: Duration = Duration::from_secs(30);

async fn claim(store: &Store, session: &SessionKey, who: &str, boot: &Boot) -> Option<WakeRef> {
    let claim = WakeClaim {
        session,
        mark: MessageId(7),
        adapter: "exec",
        claimant: who,
        lease: LEASE,
        boot,
    };
    store.claim_wake(&claim, at(1)).await.expect("asked")
}

/// A session that has a message to be woken for.
async fn with_mail(store: &Store) -> SessionKey {
    let pair = pair(store, at(0)).await;
    say(store, &pair.a, "wake up", at(0)).await;
    pair.b.session
}

/// What `status` says of a session's last wake.
async fn last_shown(store: &Store, session: &SessionKey) -> String {
    let shown = store.sessions(at(0)).await.expect("listed");
    let view = shown.into_iter().find(|view| view.key == *session);
    view.and_then(|view| view.wake).expect("a wake")
}

const SPENT: WakeEnd<'_> = WakeEnd {
    outcome: WakeOutcome::Spent,
    reason: Some("no fetch in time"),
};

pub(crate) async fn one_of_many_may_wake(backend: &impl Backend) {
    let store = backend.open().await;
    let session = with_mail(&store).await;
    for round in 0..20 {
        let mut claimants = tokio::task::JoinSet::new();
        for who in 0..4 {
            let (store, session) = (backend.open().await, session.clone());
            claimants.spawn(async move {
                let who = format!("daemon-{who}");
                claim(&store, &session, &who, &boot("x", 100)).await
            });
        }
        let won: Vec<_> = claimants.join_all().await.into_iter().flatten().collect();
        assert_eq!(won.len(), 1, "round {round}: {won:?}");
        let ended = store.end_wake(&won[0], &SPENT, at(2)).await.expect("asked");
        assert!(ended);
    }
}

pub(crate) async fn a_wake_that_ended_makes_room(backend: &impl Backend) {
    let store = backend.open().await;
    let session = with_mail(&store).await;
    let boot = boot("x", 100);
    let first = claim(&store, &session, "one", &boot).await.expect("free");
    assert!(claim(&store, &session, "two", &boot).await.is_none());
    assert!(claim(&store, &session, "one", &boot).await.is_none());
    assert!(store.end_wake(&first, &SPENT, at(2)).await.expect("asked"));
    let again = store.end_wake(&first, &SPENT, at(3)).await.expect("asked");
    assert!(!again, "ended twice");
    let second = claim(&store, &session, "two", &boot).await.expect("free");
    assert_ne!(first.id, second.id);
    assert_eq!(last_shown(&store, &session).await, "exec: waiting");
}

pub(crate) async fn no_wake_without_unread_mail(backend: &impl Backend) {
    let store = backend.open().await;
    let pair = pair(&store, at(0)).await;
    let session = &pair.b.session;
    let boot = boot("x", 100);
    assert_eq!(claim(&store, session, "one", &boot).await, None);
    say(&store, &pair.a, "wake up", at(0)).await;
    receive(&store, &pair.b, at(0)).await;
    assert_eq!(claim(&store, session, "one", &boot).await, None);
}

pub(crate) async fn a_lease_that_ran_out_is_taken_over(backend: &impl Backend) {
    let store = backend.open().await;
    let session = with_mail(&store).await;
    let first = claim(&store, &session, "one", &boot("x", 100)).await;
    let first = first.expect("free");
    let early = claim(&store, &session, "two", &boot("x", 130)).await;
    assert!(early.is_none(), "the lease is good to its last moment");
    let second = claim(&store, &session, "two", &boot("x", 131)).await;
    let second = second.expect("the lease is over");
    assert_eq!(first.id, second.id, "it is the same wake");
    let late = store.end_wake(&first, &SPENT, at(40)).await.expect("asked");
    assert!(!late, "who lost the claim ended it");
    assert!(
        store
            .end_wake(&second, &SPENT, at(41))
            .await
            .expect("asked")
    );
}

pub(crate) async fn another_boot_s_lease_is_over(backend: &impl Backend) {
    let store = backend.open().await;
    let session = with_mail(&store).await;
    let before = claim(&store, &session, "one", &boot("x", 9_000)).await;
    assert!(before.is_some());
    let after = claim(&store, &session, "one", &boot("y", 5)).await;
    assert!(after.is_some(), "the claimant died with its machine");
}

pub(crate) async fn sessions_do_not_stand_in_each_other_s_way(backend: &impl Backend) {
    let store = backend.open().await;
    let pairs = pairs(&store, 2, at(0)).await;
    let boot = boot("x", 100);
    for pair in &pairs {
        say(&store, &pair.a, "wake up", at(0)).await;
        say(&store, &pair.b, "wake up", at(0)).await;
        for caller in [&pair.a, &pair.b] {
            let won = claim(&store, &caller.session, "one", &boot).await;
            assert!(won.is_some());
        }
    }
    let unknown = WakeRef { id: 999, claim: 1 };
    assert!(
        !store
            .end_wake(&unknown, &SPENT, at(2))
            .await
            .expect("asked")
    );
}

pub(crate) async fn wake_without_a_way_is_found_until_one_works(backend: &impl Backend) {
    let store = backend.open().await;
    let pairs = pairs(&store, 2, at(0)).await;
    let keys: Vec<_> = pairs.iter().map(|pair| pair.b.session.clone()).collect();
    say(&store, &pairs[1].a, "wake up", at(0)).await;
    let spent = async || store.spent_wakes(&keys).await.expect("asked");
    let boot = boot("x", 100);
    let ends = async |outcome, second| {
        let wake = claim(&store, &keys[1], "one", &boot).await.expect("free");
        let reason = Some("no hook waits");
        let end = WakeEnd { outcome, reason };
        assert!(
            store
                .end_wake(&wake, &end, at(second))
                .await
                .expect("asked")
        );
    };
    assert_eq!(spent().await, [None, None]);
    ends(WakeOutcome::Unverified, 1).await;
    assert_eq!(spent().await, [None, None]);
    ends(WakeOutcome::Spent, 2).await;
    let found = spent().await;
    assert_eq!(found[0], None);
    let wake = found[1].as_ref().expect("the second's");
    assert_eq!(wake.reason, "no hook waits");
    // What is tried anew says nothing before it is over.
    ends(WakeOutcome::Unverified, 3).await;
    ends(WakeOutcome::Abandoned, 4).await;
    assert_eq!(spent().await, found);
    ends(WakeOutcome::Verified, 5).await;
    assert_eq!(spent().await, [None, None]);
}

pub(crate) async fn an_agent_claims_its_own(backend: &impl Backend) {
    let store = backend.open().await;
    let pairs = pairs(&store, 2, at(0)).await;
    let (own, other) = (&pairs[0].b, &pairs[1].b);
    say(&store, &pairs[0].a, "wake up", at(0)).await;
    let what = (MessageId(7), "hook");
    let day = Duration::from_secs(86_400);
    let boots = [100, 110, 170, 200].map(|now| boot("x", now));
    let claimed = store.claim_own_wake(own, what, day, &boots[0], at(1));
    let claimed = claimed.await.expect("asked").expect("free");
    assert!(
        claim(&store, &own.session, "daemon", &boot("x", 160))
            .await
            .is_none()
    );
    let twice = store.claim_own_wake(own, what, LEASE, &boots[1], at(1));
    assert_eq!(twice.await.expect("asked"), None);

    // Another session's agent does not end it.
    let theirs = store.end_own_wake(other, &claimed, &SPENT, at(2)).await;
    assert!(!theirs.expect("asked"));
    // However long it asked for it, a daemon waits a minute.
    let taken = claim(&store, &own.session, "daemon", &boot("x", 161)).await;
    let taken = taken.expect("its lease is over");
    let late = store.end_own_wake(own, &claimed, &SPENT, at(3)).await;
    assert!(!late.expect("asked"), "who lost the claim ended it");
    assert!(store.end_wake(&taken, &SPENT, at(4)).await.expect("asked"));

    let again = store.claim_own_wake(own, what, LEASE, &boots[2], at(5));
    let again = again.await.expect("asked").expect("free");
    let verified = WakeEnd {
        outcome: WakeOutcome::Verified,
        reason: None,
    };
    // Its program may have looked before the mail came.
    let ended = store.end_own_wake(own, &again, &verified, at(6)).await;
    assert!(!ended.expect("asked"), "its mail is unread");
    let shown = store.sessions(at(6)).await.expect("listed").into_iter();
    let mine = shown.filter(|view| view.key == own.session);
    let wakes: Vec<_> = mine.map(|view| (view.wake, view.activity_at)).collect();
    // It is nothing that the agent did.
    assert_eq!(wakes, [(Some("hook: waiting".into()), None)]);
    let unverified = WakeEnd {
        outcome: WakeOutcome::Unverified,
        reason: None,
    };
    let ended = store.end_own_wake(own, &again, &unverified, at(6)).await;
    assert!(ended.expect("asked"));

    let mut stranger = own.clone();
    stranger.token = other.token.clone();
    let refused = store.claim_own_wake(&stranger, what, LEASE, &boots[3], at(7));
    let refused = refused.await.expect_err("a wrong token");
    assert!(matches!(refused, StoreError::WrongToken(_)), "{refused}");
    let refused = store
        .end_own_wake(&stranger, &again, &verified, at(7))
        .await;
    let refused = refused.expect_err("a wrong token");
    assert!(matches!(refused, StoreError::WrongToken(_)), "{refused}");
}

pub(crate) async fn a_fetch_makes_room(backend: &impl Backend) {
    let store = backend.open().await;
    let pair = pair(&store, at(0)).await;
    let session = &pair.b.session;
    say(&store, &pair.a, "wake up", at(0)).await;
    let boot = boot("x", 100);
    let first = claim(&store, session, "one", &boot).await.expect("free");
    assert!(claim(&store, session, "two", &boot).await.is_none());
    assert_eq!(receive(&store, &pair.b, at(1)).await, ["wake up"]);
    // Nothing is left to be woken for, and the first has done what it was for.
    assert!(claim(&store, session, "two", &boot).await.is_none());
    let late = store.end_wake(&first, &SPENT, at(2)).await.expect("asked");
    assert!(!late, "it was verified");
    say(&store, &pair.a, "wake up again", at(2)).await;
    let second = claim(&store, session, "two", &boot)
        .await
        .expect("it was read");
    assert_ne!(first.id, second.id);
}

pub(crate) async fn read_mail_ends_its_wake(backend: &impl Backend) {
    let store = backend.open().await;
    let pair = pair(&store, at(0)).await;
    let session = &pair.b.session;
    let id = say(&store, &pair.a, "one", at(0)).await;
    say(&store, &pair.a, "two", at(0)).await;
    // The program that claimed it is gone: no other ends it.
    let claimed = claim(&store, session, "one", &boot("x", 100)).await;
    assert!(claimed.is_some());
    let one = [MessageId(id)];
    store.acknowledge(&pair.b, &one, at(1)).await.expect("read");
    assert_eq!(last_shown(&store, session).await, "exec: waiting");
    let fetched = store.fetch(&pair.b, 10, at(1)).await.expect("fetched");
    assert_eq!(last_shown(&store, session).await, "exec: waiting");
    let fetch = fetched.id.expect("mail");
    let read = store.fetch_written(session, &fetch, at(1)).await;
    read.expect("noted");
    assert_eq!(last_shown(&store, session).await, "exec: verified");

    let id = say(&store, &pair.a, "three", at(2)).await;
    let claimed = claim(&store, session, "two", &boot("x", 100)).await;
    assert!(claimed.is_some());
    let three = [MessageId(id)];
    store
        .acknowledge(&pair.b, &three, at(3))
        .await
        .expect("read");
    assert_eq!(last_shown(&store, session).await, "exec: verified");
    let ended = store.end_wake(&claimed.expect("one"), &SPENT, at(4)).await;
    assert!(!ended.expect("asked"), "it is over");
}
