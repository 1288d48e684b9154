//! Clocks that are wrong: of a caller, who gains nothing by it, and of a daemon,
//! whose renewals are taken back.

use jiff::SignedDuration;
use mcp_bridge::model::rate::RateLimits;
use mcp_bridge::store::{Caller, DaemonRef, Store, StoreError};

use super::Backend;
use super::work::daemon;
use crate::common::store::{Pair, at, boot, draft, pair, pairs, say};

async fn two_a_minute(store: &Store) {
    let limits = RateLimits {
        per_minute: 2,
        ..RateLimits::NONE
    };
    store.set_rate_limits(limits).await.expect("set");
}

/// As if the machine had been started again since the ends were set.
fn another_boot(backend: &impl Backend) {
    backend.foreign("UPDATE bridge_conversation SET set_boot_id = 'another'");
}

async fn is_refused(store: &Store, from: &Caller, second: i64) {
    let sent = store.send(from, &[draft("x")], at(second)).await;
    assert!(matches!(sent, Err(StoreError::RateLimited(..))), "{sent:?}");
}

pub(crate) async fn a_clock_set_back_sends_no_more(backend: &impl Backend) {
    let store = backend.open().await;
    let pairs = pairs(&store, 2, at(0)).await;
    two_a_minute(&store).await;
    say(&store, &pairs[0].a, "x", at(0)).await;
    // An hour back, and a further one each time.
    say(&store, &pairs[0].a, "x", at(-3_600)).await;
    is_refused(&store, &pairs[0].a, -7_200).await;
    is_refused(&store, &pairs[0].a, -90_000).await;
    let stamped = backend.foreign("SELECT max(timestamp) - min(timestamp) FROM messages");
    assert_eq!(stamped, ["0"], "the year; the rows of one minute");
    // The other clock of the machine does not show what was set before it began.
    another_boot(backend);
    say(&store, &pairs[1].a, "x", at(1)).await;
    say(&store, &pairs[1].a, "x", at(-100)).await;
    is_refused(&store, &pairs[1].a, -200).await;
}

pub(crate) async fn a_clock_set_back_reopens_nothing(backend: &impl Backend) {
    let store = backend.open().await;
    let pair = pair(&store, at(0)).await;
    let expired = async |second| {
        let fetched = store.fetch(&pair.b, 1, at(second)).await;
        let verified = store
            .verify(std::slice::from_ref(&pair.b), at(second))
            .await;
        let verified = verified.expect("asked").remove(0);
        match (fetched, verified) {
            (Err(StoreError::Expired { .. }), Err(StoreError::Expired { .. })) => true,
            (Ok(_), Ok(_)) => false,
            other => panic!("{other:?}"),
        }
    };
    assert!(!expired(60).await);
    assert!(expired(10_801).await);
    // The clock said four hours more when the end was set. The other clock cannot be moved
    // instead: a machine that runs for less has no time to be set before.
    backend.foreign("UPDATE bridge_conversation SET set_ms = set_ms + 14400000");
    assert!(expired(60).await, "a clock that is four hours behind");
    another_boot(backend);
    assert!(!expired(60).await, "nothing tells");
}

/// Renews the conversation of a daemon's session at a time.
async fn renew(store: &Store, daemon: &DaemonRef, pair: &Pair, now: i64, until: i64) {
    let beats = [mcp_bridge::store::Beat {
        session: pair.b.session.clone(),
        proof: mcp_bridge::model::session::ProofKind::Call,
        process: None,
        renew_until: Some(at(until)),
    }];
    let round = mcp_bridge::store::BeatRound {
        beats: &beats,
        daemon,
        ttl: std::time::Duration::from_secs(20),
        mirror: false,
        boot: &boot("x", 100),
        now: at(now),
        wall: at(now),
    };
    store.beat(&round).await.expect("beaten");
}

pub(crate) async fn a_renewal_far_ahead_is_taken_back(backend: &impl Backend) {
    const YEARS: i64 = 10 * 365 * 86_400;
    let store = backend.open().await;
    let pairs = pairs(&store, 4, at(0)).await;
    let [ahead, meant, closed, usual] = &pairs[..] else {
        unreachable!()
    };
    let keeper = daemon(&store, "hera").await;
    for pair in [ahead, closed] {
        renew(&store, &keeper, pair, YEARS, YEARS + 10_800).await;
    }
    renew(&store, &keeper, usual, 10, 20_000).await;
    let far = at(YEARS);
    let renewed = store.renew_conversation(&meant.id, far, at(10)).await;
    renewed.expect("renewed");
    let close = store.close_conversation(&closed.id, at(10)).await;
    close.expect("closed");
    let end = async |pair: &Pair| {
        let shown = store.conversation(&pair.id).await.expect("shown");
        shown.expires_at.expect("readable")
    };
    say(&store, &meant.a, "x", at(5_000)).await;
    let behind = store.mend_renewals(at(100)).await.expect("mended");
    assert_eq!(behind, 0, "by a clock that is behind the rows");
    assert_eq!(store.mend_renewals(at(5_100)).await.expect("mended"), 1);
    assert_eq!(end(ahead).await, at(5_100 + 10_800));
    assert_eq!(end(meant).await, far, "an operator meant it");
    assert_eq!(end(usual).await, at(20_000));
    assert_eq!(end(closed).await, at(10));
    assert_eq!(store.mend_renewals(at(5_200)).await.expect("mended"), 0);
    // A day more or less is no matter.
    renew(&store, &keeper, usual, 80_000, 90_000).await;
    assert_eq!(store.mend_renewals(at(5_300)).await.expect("mended"), 0);
}

pub(crate) async fn a_witness_is_the_last_row_of_others(backend: &impl Backend) {
    let store = backend.open().await;
    assert_eq!(store.witness().await.expect("read").newest, None);
    let hera = daemon(&store, "hera").await;
    let lead = store.take_lead(
        &hera,
        None,
        std::time::Duration::from_secs(10),
        at(9_000_000),
    );
    let lead = lead.await.expect("asked").expect("leads");
    assert_eq!(
        store.witness().await.expect("read").newest,
        None,
        "a daemon's own first rows"
    );
    let pair = pair(&store, at(0)).await;
    assert_eq!(store.witness().await.expect("read").newest, Some(at(0)));
    // One row of a wrong clock counts until the next.
    say(&store, &pair.a, "x", at(9_000)).await;
    assert_eq!(store.witness().await.expect("read").newest, Some(at(9_000)));
    say(&store, &pair.a, "x", at(70)).await;
    assert_eq!(store.witness().await.expect("read").newest, Some(at(70)));
    let keep = super::prune::keep(std::time::Duration::from_secs(60));
    let later = at(0) + SignedDuration::from_hours(1);
    store
        .prune(Some(&lead), &keep, later)
        .await
        .expect("pruned");
    assert_eq!(store.witness().await.expect("read").pruned, Some(later));
}
