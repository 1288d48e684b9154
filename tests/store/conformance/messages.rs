//! Messages: sent with their limits kept, handed out at least once.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::SignedDuration;
use mcp_bridge::model::message::{ActionType, Draft, InvalidMessage, MAX_FILES, Sender};
use mcp_bridge::model::rate::RateLimits;
use mcp_bridge::model::redact::SecretKind;
use mcp_bridge::model::session::Status;
use mcp_bridge::model::{MessageId, Side};
use mcp_bridge::store::{Caller, ErrorClass, Store, StoreError};

use super::Backend;
use crate::common::store::{
    Pair, at, boot, draft, named, pair, pairs, receive, say, texts, unlimited,
};

pub(crate) async fn messages_arrive_in_order(backend: &impl Backend) {
    let store = backend.open().await;
    let pair = pair(&store, at(0)).await;
    let batch: Vec<Draft> = (0..20).map(|n| draft(&format!("batch {n}"))).collect();
    say(&store, &pair.a, "before", at(1)).await;
    let sent = store.send(&pair.a, &batch, at(2)).await.expect("sent");
    // Sent later by a clock that runs behind: still the last.
    say(&store, &pair.a, "after", at(0)).await;
    let ids: Vec<_> = sent.iter().map(|sent| sent.id).collect();
    assert!(ids.is_sorted() && ids.len() == 20);
    let fetched = store.fetch(&pair.b, 100, at(3)).await.expect("fetched");
    assert_eq!(fetched.remaining, 0);
    let got: Vec<&str> = fetched.messages.iter().map(|m| &*m.message).collect();
    let mut expected = vec!["before".to_owned()];
    expected.extend((0..20).map(|n| format!("batch {n}")));
    expected.push("after".into());
    assert_eq!(got, expected);
    let second = &fetched.messages[1];
    assert_eq!(
        (second.id, second.sent_at, &second.from, second.to),
        (ids[0], Some(at(2)), &Sender::Session(Side::A), Side::B)
    );
    assert!(
        store
            .send(&pair.a, &[], at(4))
            .await
            .expect("sent")
            .is_empty()
    );
}

pub(crate) async fn each_side_gets_only_its_own(backend: &impl Backend) {
    let store = backend.open().await;
    let pairs = pairs(&store, 2, at(0)).await;
    say(&store, &pairs[0].a, "0 to b", at(1)).await;
    say(&store, &pairs[0].b, "0 to a", at(1)).await;
    say(&store, &pairs[1].a, "1 to b", at(1)).await;
    assert_eq!(texts(&store, &pairs[0].b, at(2)).await, ["0 to b"]);
    assert_eq!(texts(&store, &pairs[1].b, at(2)).await, ["1 to b"]);
    assert_eq!(texts(&store, &pairs[0].a, at(2)).await, ["0 to a"]);
    assert!(texts(&store, &pairs[1].a, at(2)).await.is_empty());
}

/// Every call that takes a caller, and what it answers to this one.
async fn refusals(store: &Store, caller: &Caller, second: i64) -> Vec<StoreError> {
    let now = at(second);
    vec![
        store
            .send(caller, &[draft("x")], now)
            .await
            .expect_err("send"),
        store.fetch(caller, 9, now).await.expect_err("fetch"),
        store.peek(caller, None, 9, now).await.expect_err("peek"),
        store
            .acknowledge(caller, &[], now)
            .await
            .expect_err("acknowledge"),
        store
            .call_in(caller, Duration::from_secs(60), None, &boot("x", 1), now)
            .await
            .expect_err("call_in"),
    ]
}

pub(crate) async fn callers_without_the_right_to_send_or_read(backend: &impl Backend) {
    let store = backend.open().await;
    let pairs = pairs(&store, 2, at(0)).await;
    let swapped = Caller {
        session: pairs[0].a.session.clone(),
        token: pairs[0].b.token.clone(),
    };
    for error in refusals(&store, &swapped, 1).await {
        assert!(matches!(&error, StoreError::WrongToken(key) if *key == swapped.session));
        assert_eq!(error.class(), ErrorClass::Denied);
        let shown = format!("{error} {error:?}");
        assert!(!shown.contains(swapped.token.expose()), "{shown}");
    }
    let unknown = Pair::random();
    for error in refusals(&store, &unknown.a, 1).await {
        assert!(matches!(error, StoreError::NoConversation(..)));
    }
    for error in refusals(&store, &pairs[0].a, 3 * 3_600).await {
        assert!(matches!(error, StoreError::Expired { .. }), "{error}");
    }
    store
        .close_conversation(&pairs[1].id, at(2))
        .await
        .expect("closed");
    for error in refusals(&store, &pairs[1].a, 1).await {
        assert!(matches!(error, StoreError::Closed(_)), "{error}");
    }
    assert_eq!(backend.foreign("SELECT count(*) FROM messages"), ["0"]);
}

pub(crate) async fn secrets_are_taken_out(backend: &impl Backend) {
    let store = backend.open().await;
    let pair = pair(&store, at(0)).await;
    let github = format!("ghp_{}", "a1B2".repeat(9));
    let mut message = draft(&format!("use {github} for the push"));
    message.files = vec!["keys/AKIAIOSFODNN7EXAMPLE.txt".into()];
    let sent = store
        .send(&pair.a, &[message, draft("the password reset page")], at(1))
        .await
        .expect("sent");
    let mut kinds = sent[0].redacted.clone();
    kinds.sort();
    assert_eq!(kinds, [SecretKind::AwsKey, SecretKind::GithubToken]);
    assert!(sent[1].redacted.is_empty());
    let everything = backend.foreign(
        "SELECT message || metadata FROM messages UNION ALL SELECT details FROM audit_log",
    );
    for text in &everything {
        assert!(
            !text.contains(&github) && !text.contains("AKIAIOSFODNN7"),
            "{text}"
        );
    }
    let got = store.fetch(&pair.b, 9, at(2)).await.expect("fetched");
    assert_eq!(
        got.messages[0].message,
        "use GITHUB_TOKEN_REDACTED for the push"
    );
    assert_eq!(got.messages[1].message, "the password reset page");
}

pub(crate) async fn the_metadata_has_the_shared_keys(backend: &impl Backend) {
    let store = backend.open().await;
    let pair = pair(&store, at(0)).await;
    let mut message = draft("done");
    message.action_type = Some(ActionType::Complete);
    message.files = vec!["src/lib.rs".into()];
    store
        .send(&pair.a, &[message.clone(), draft("plain")], at(1))
        .await
        .expect("sent");
    assert_eq!(
        backend.foreign("SELECT metadata FROM messages ORDER BY id"),
        [
            r#"{"action_type":"complete","files_involved":["src/lib.rs"]}"#,
            "{}"
        ]
    );
    message.files = vec!["x".into(); MAX_FILES + 1];
    let error = store
        .send(&pair.a, &[draft("first"), message], at(2))
        .await
        .expect_err("too many");
    assert!(matches!(
        error,
        StoreError::Invalid(InvalidMessage::TooManyFiles(21))
    ));
    assert_eq!(backend.foreign("SELECT count(*) FROM messages"), ["2"]);
}

pub(crate) async fn a_client_id_makes_one_message(backend: &impl Backend) {
    let store = backend.open().await;
    let pair = pair(&store, at(0)).await;
    let first = store
        .send(&pair.a, &[named("hello", "m-1")], at(1))
        .await
        .expect("sent");
    let again = store
        .send(&pair.a, &[named("hello", "m-1")], at(2))
        .await
        .expect("sent");
    assert!(!first[0].duplicate && again[0].duplicate);
    assert_eq!(first[0].id, again[0].id);
    // Also within one batch, beside a new one.
    let batch = [
        named("two", "m-2"),
        named("two", "m-2"),
        named("hello", "m-1"),
    ];
    let sent = store.send(&pair.a, &batch, at(3)).await.expect("sent");
    assert_eq!(
        sent.iter().map(|s| s.duplicate).collect::<Vec<_>>(),
        [false, true, true]
    );
    let error = store
        .send(&pair.a, &[draft("ok"), named("other words", "m-1")], at(4))
        .await
        .expect_err("reused");
    let StoreError::ClientIdReused { id, message } = &error else {
        panic!("{error}");
    };
    assert_eq!((&**id, *message), ("m-1", first[0].id));
    // The id is the sender's: its partner has its own.
    let partner = store
        .send(&pair.b, &[named("mine", "m-1")], at(5))
        .await
        .expect("sent");
    assert!(!partner[0].duplicate);
    // A retry whose secret was taken out is the same message too.
    let secret = named("password: hunter2secret", "m-3");
    let sent = store
        .send(&pair.a, std::slice::from_ref(&secret), at(6))
        .await
        .expect("sent");
    let again = store.send(&pair.a, &[secret], at(7)).await.expect("sent");
    assert!(!sent[0].redacted.is_empty() && again[0].duplicate);
    // And so is one whose message was cleaned up meanwhile.
    backend.foreign(&format!("DELETE FROM messages WHERE id = {}", first[0].id));
    let again = store
        .send(&pair.a, &[named("hello", "m-1")], at(8))
        .await
        .expect("sent");
    assert!(again[0].duplicate);
    assert_eq!(texts(&store, &pair.b, at(9)).await.len(), 2);
}

pub(crate) async fn batch_is_stored_whole_or_not_at_all(backend: &impl Backend) {
    let store = backend.open().await;
    let pair = pair(&store, at(0)).await;
    store
        .set_rate_limits(RateLimits {
            per_minute: 3,
            ..RateLimits::NONE
        })
        .await
        .expect("set");
    let batch: Vec<Draft> = (0..4).map(|n| named("x", &format!("id-{n}"))).collect();
    let error = store.send(&pair.a, &batch, at(1)).await.expect_err("four");
    assert!(matches!(error, StoreError::BatchTooBig(..)), "{error}");
    assert!(texts(&store, &pair.b, at(2)).await.is_empty());
    // Nor did it use up the ids, or the limit.
    let sent = store
        .send(&pair.a, &batch[..3], at(3))
        .await
        .expect("three");
    assert!(sent.iter().all(|sent| !sent.duplicate));
    let audit = backend.foreign("SELECT count(*) FROM audit_log WHERE action = 'send_message'");
    assert_eq!(audit, ["3"], "a refused message was put on record");
}

pub(crate) async fn rate_limits_say_how_long_to_wait(backend: &impl Backend) {
    let store = backend.open().await;
    let pair = pair(&store, at(0)).await;
    store
        .set_rate_limits(RateLimits {
            per_minute: 2,
            per_hour: 4,
            per_day: 5,
        })
        .await
        .expect("set");
    let send = async |second| {
        store
            .send(&pair.a, &[draft("x")], at(second))
            .await
            .map(drop)
    };
    let wait = async |second| match send(second).await {
        Err(StoreError::RateLimited(key, full)) if key == pair.a.session => {
            (full.window.name, full.wait.as_secs())
        }
        other => panic!("at {second}: {other:?}"),
    };
    send(0).await.expect("1");
    send(10).await.expect("2");
    assert_eq!(wait(20).await, ("minute", 40));
    assert_eq!(wait(59).await, ("minute", 1));
    send(60).await.expect("3: the first is a minute old");
    assert_eq!(wait(61).await, ("minute", 9));
    send(70).await.expect("4");
    assert_eq!(wait(200).await, ("hour", 3_400));
    store
        .renew_conversation(&pair.id, at(100_000), at(1))
        .await
        .expect("renewed");
    send(3_600).await.expect("5");
    assert_eq!(wait(7_300).await, ("day", 86_400 - 7_300));
    send(86_400).await.expect("a day later");
    unlimited(&store).await;
    for _ in 0..10 {
        send(86_401).await.expect("no limits");
    }
}

pub(crate) async fn duplicates_do_not_count(backend: &impl Backend) {
    let store = backend.open().await;
    let pair = pair(&store, at(0)).await;
    store
        .set_rate_limits(RateLimits {
            per_minute: 2,
            ..RateLimits::NONE
        })
        .await
        .expect("set");
    let batch = [named("x", "1"), named("y", "2")];
    for second in 0..5 {
        let sent = store.send(&pair.a, &batch, at(second)).await;
        assert!(sent.is_ok(), "a retry was refused: {sent:?}");
    }
    assert!(store.send(&pair.a, &[draft("z")], at(6)).await.is_err());
}

/// One text a line under a limit that many earlier messages count against.
pub(crate) async fn a_batch_keeps_the_limits_line_by_line(backend: &impl Backend) {
    let store = backend.open().await;
    let pair = pair(&store, at(0)).await;
    let limits = RateLimits {
        per_minute: 5,
        per_hour: 0,
        per_day: 0,
    };
    store.set_rate_limits(limits).await.expect("set");
    let batch = |count: usize| {
        (0..count)
            .map(|n| draft(&format!("{n}")))
            .collect::<Vec<_>>()
    };
    store.send(&pair.a, &batch(2), at(1)).await.expect("sent");
    let full = store.send(&pair.a, &batch(4), at(2)).await;
    assert!(matches!(full, Err(StoreError::RateLimited(..))), "{full:?}");
    store.send(&pair.a, &batch(3), at(2)).await.expect("sent");
    let full = store.send(&pair.a, &batch(1), at(3)).await;
    assert!(matches!(full, Err(StoreError::RateLimited(..))), "{full:?}");
    // The first two are a minute old.
    store.send(&pair.a, &batch(2), at(61)).await.expect("sent");
    let full = store.send(&pair.a, &batch(1), at(61)).await;
    assert!(matches!(full, Err(StoreError::RateLimited(..))), "{full:?}");
    assert_eq!(texts(&store, &pair.b, at(62)).await.len(), 7);
}

/// The lock is held for bounded work, however long the batch is.
pub(crate) async fn a_long_batch_holds_up_no_other_writer(backend: &impl Backend) {
    let store = backend.open().await;
    let pairs = pairs(&store, 2, at(0)).await;
    let limits = RateLimits {
        per_minute: 20_000,
        per_hour: 20_000,
        per_day: 20_000,
    };
    store.set_rate_limits(limits).await.expect("set");
    let batch: Vec<Draft> = (0..10_000).map(|n| draft(&format!("line {n}"))).collect();
    let other = backend.open().await;
    let (sent, longest) = tokio::join!(store.send(&pairs[0].a, &batch, at(1)), async {
        let mut longest = Duration::ZERO;
        for n in 0..50 {
            let begun = std::time::Instant::now();
            say(&other, &pairs[1].a, &format!("{n}"), at(1)).await;
            longest = longest.max(begun.elapsed());
            tokio::task::yield_now().await;
        }
        longest
    });
    let sent = sent.expect("sent");
    assert!(sent.is_sorted_by_key(|sent| sent.id) && sent.len() == 10_000);
    // Generous for a loaded machine; one look at the limits a line took a minute.
    assert!(longest < Duration::from_secs(10), "{longest:?}");
}

pub(crate) async fn batch_beyond_a_window_is_refused_at_once(backend: &impl Backend) {
    let store = backend.open().await;
    let pair = pair(&store, at(0)).await;
    let limits = RateLimits {
        per_minute: 5,
        per_hour: 3,
        per_day: 0,
    };
    store.set_rate_limits(limits).await.expect("set");
    let send = async |count: usize, second| {
        let drafts = vec![draft("x"); count];
        store.send(&pair.a, &drafts, at(second)).await.map(drop)
    };
    let too_big = async |count, second| match send(count, second).await {
        Err(StoreError::BatchTooBig(key, size, window)) if key == pair.a.session => {
            (size, window.name, window.limit)
        }
        other => panic!("{count} at {second}: {other:?}"),
    };
    assert_eq!(too_big(4, 0).await, (4, "hour", 3));
    assert_eq!(too_big(6, 0).await, (6, "minute", 5));
    // Ids of the sender's own make it no smaller, unless they are known already.
    let own: Vec<Draft> = (0..4).map(|n| named("x", &format!("own-{n}"))).collect();
    let refused = store.send(&pair.a, &own, at(0)).await;
    let Err(StoreError::BatchTooBig(_, 4, window)) = &refused else {
        panic!("{refused:?}");
    };
    assert_eq!(window.name, "hour");
    send(1, 1).await.expect("a part of it");
    assert_eq!(too_big(4, 2).await, (4, "hour", 3), "not first a wait");
    let later = send(3, 3).await;
    assert!(
        matches!(later, Err(StoreError::RateLimited(..))),
        "{later:?}"
    );
    let all = store.conversation(&pair.id).await.expect("shown");
    assert_eq!(all.messages, 1, "all or none");
}

pub(crate) async fn a_sender_s_limits_are_its_own(backend: &impl Backend) {
    let store = backend.open().await;
    let pairs = pairs(&store, 2, at(0)).await;
    store
        .set_rate_limits(RateLimits {
            per_minute: 1,
            ..RateLimits::NONE
        })
        .await
        .expect("set");
    for sender in [&pairs[0].a, &pairs[0].b, &pairs[1].a] {
        say(&store, sender, "x", at(1)).await;
        assert!(store.send(sender, &[draft("y")], at(2)).await.is_err());
    }
    // Counted in the messages themselves: what another program sent counts.
    backend.foreign(&format!(
        "INSERT INTO messages (conversation_id, from_session, to_session, message, timestamp)
         VALUES ('{}', 'b', 'a', 'foreign', '2025-11-13T02:13:21')",
        pairs[1].id
    ));
    assert!(store.send(&pairs[1].b, &[draft("y")], at(2)).await.is_err());
}

pub(crate) async fn clock_that_jumped_locks_no_sender_out(backend: &impl Backend) {
    let store = backend.open().await;
    let pair = pair(&store, at(0)).await;
    store
        .set_rate_limits(RateLimits {
            per_minute: 2,
            per_hour: 2,
            per_day: 0,
        })
        .await
        .expect("set");
    for _ in 0..2 {
        say(&store, &pair.a, "from the future", at(9_000)).await;
    }
    say(&store, &pair.a, "the clock was put right", at(1)).await;
}

pub(crate) async fn fetching_marks_read(backend: &impl Backend) {
    let store = backend.open().await;
    let pair = pair(&store, at(0)).await;
    let empty = store.fetch(&pair.b, 9, at(1)).await.expect("fetched");
    assert!(empty.id.is_none() && empty.messages.is_empty() && empty.remaining == 0);
    say(&store, &pair.a, "hello", at(1)).await;
    assert_eq!(backend.foreign("SELECT read FROM messages"), ["0"]);
    assert_eq!(receive(&store, &pair.b, at(2)).await, ["hello"]);
    // The shared column: no other reader of these tables gets it again.
    assert_eq!(backend.foreign("SELECT read FROM messages"), ["1"]);
    assert!(receive(&store, &pair.b, at(3)).await.is_empty());
    let mail = store.mail(&[pair.b.session]).await.expect("looked");
    assert_eq!(mail[0].unread, 0);
}

pub(crate) async fn a_fetch_that_died_is_repeated(backend: &impl Backend) {
    let store = backend.open().await;
    let pair = pair(&store, at(0)).await;
    say(&store, &pair.a, "one", at(1)).await;
    let died = store.fetch(&pair.b, 9, at(2)).await.expect("fetched");
    say(&store, &pair.a, "two", at(3)).await;
    let mail = store
        .mail(std::slice::from_ref(&pair.b.session))
        .await
        .expect("looked");
    assert_eq!(mail[0].unread, 2, "what was not received is still owed");
    let again = store.fetch(&pair.b, 9, at(4)).await.expect("fetched");
    let got: Vec<&str> = again.messages.iter().map(|m| &*m.message).collect();
    assert_eq!(got, ["one", "two"]);
    // The dead call's late word changes nothing: its message went out again.
    let (died, again) = (died.id.expect("some"), again.id.expect("some"));
    assert_ne!(died, again);
    let by = &pair.b.session;
    store.fetch_written(by, &died, at(5)).await.expect("heard");
    assert_eq!(texts(&store, &pair.b, at(6)).await, ["one", "two"]);
}

/// `acked` of each message, oldest first, as our own tables have it.
fn acknowledged(backend: &impl Backend) -> Vec<String> {
    backend.foreign("SELECT acked_ms IS NOT NULL FROM bridge_receipt ORDER BY message_id")
}

pub(crate) async fn the_next_call_acknowledges(backend: &impl Backend) {
    let store = backend.open().await;
    let pair = pair(&store, at(0)).await;
    say(&store, &pair.a, "one", at(1)).await;
    assert_eq!(receive(&store, &pair.b, at(2)).await, ["one"]);
    assert_eq!(acknowledged(backend), ["0"], "written is not seen");
    say(&store, &pair.a, "two", at(3)).await;
    assert_eq!(receive(&store, &pair.b, at(4)).await, ["two"]);
    assert_eq!(acknowledged(backend), ["1", "0"]);
    say(&store, &pair.b, "I did what you said", at(5)).await;
    assert_eq!(acknowledged(backend), ["1", "1"]);
    // A fetch whose reply was not written is acknowledged by nothing.
    say(&store, &pair.a, "three", at(6)).await;
    let _lost = store.fetch(&pair.b, 9, at(7)).await.expect("fetched");
    say(&store, &pair.b, "still here", at(8)).await;
    assert_eq!(acknowledged(backend), ["1", "1", "0"]);
    assert_eq!(receive(&store, &pair.b, at(9)).await, ["three"]);
}

pub(crate) async fn heartbeats_and_looks_acknowledge_nothing(backend: &impl Backend) {
    let store = backend.open().await;
    let pair = pair(&store, at(0)).await;
    say(&store, &pair.a, "one", at(1)).await;
    receive(&store, &pair.b, at(2)).await;
    let ttl = Duration::from_secs(60);
    store
        .call_in(&pair.b, ttl, None, &boot("x", 1), at(3))
        .await
        .expect("called");
    store.peek(&pair.b, None, 9, at(4)).await.expect("peeked");
    store.touch(&pair.b, at(4)).await.expect("noted");
    store
        .verify(std::slice::from_ref(&pair.b), at(5))
        .await
        .expect("verified");
    say(&store, &pair.a, "the partner's call is not its own", at(6)).await;
    assert_eq!(acknowledged(backend), ["0"]);
}

/// The other bridge shows it as its own sessions' word.
pub(crate) async fn agent_reports_its_state(backend: &impl Backend) {
    let store = backend.open().await;
    let pair = pair(&store, at(0)).await;
    let said = async || {
        let views = store.sessions(at(0)).await.expect("looked");
        let views = views.into_iter();
        let said = views.map(|view| (view.key.side.to_string(), view.reported));
        said.collect::<std::collections::BTreeMap<_, _>>()
    };
    assert_eq!((&said().await["a"], &said().await["b"]), (&None, &None));
    for (caller, status) in [
        (&pair.b, Status::Waiting),
        (&pair.b, Status::Working),
        (&pair.a, Status::Blocked),
    ] {
        store
            .say_status(caller, status, at(3))
            .await
            .expect("noted");
    }
    let said = said().await;
    assert_eq!(said["a"].as_deref(), Some("blocked"));
    assert_eq!(said["b"].as_deref(), Some("working"));
    let mut stranger = pair.a.clone();
    stranger.token = pair.b.token.clone();
    let refused = store.say_status(&stranger, Status::Complete, at(4)).await;
    refused.expect_err("another's token");
}

pub(crate) async fn acknowledging_by_id(backend: &impl Backend) {
    let store = backend.open().await;
    let pairs = pairs(&store, 2, at(0)).await;
    let (pair, other) = (&pairs[0], &pairs[1]);
    let mut ids = Vec::new();
    for n in 0..3 {
        ids.push(MessageId(
            say(&store, &pair.a, &format!("{n}"), at(1)).await,
        ));
    }
    let to_a = MessageId(say(&store, &pair.b, "to a", at(1)).await);
    let elsewhere = MessageId(say(&store, &other.a, "to other b", at(1)).await);
    // None of a list with a stranger in it.
    for stranger in [to_a, elsewhere, MessageId(12_345)] {
        let error = store
            .acknowledge(&pair.b, &[ids[0], stranger], at(2))
            .await
            .expect_err("not its own");
        assert!(matches!(&error, StoreError::NoMessage(id, key)
                if *id == stranger && *key == pair.b.session));
    }
    assert!(acknowledged(backend).is_empty());
    let acknowledge = async |ids: &[MessageId], second| {
        store
            .acknowledge(&pair.b, ids, at(second))
            .await
            .expect("acknowledged")
    };
    // Even without a fetch: a pushed message was seen without one.
    assert_eq!(acknowledge(&ids[..1], 3).await, 1);
    assert_eq!(acknowledge(&ids[..2], 4).await, 1, "one was new");
    assert_eq!(acknowledge(&[], 5).await, 0);
    assert_eq!(texts(&store, &pair.b, at(6)).await, ["2"]);
    // What is acknowledged is not handed out again, reply or not.
    assert_eq!(acknowledge(&ids, 7).await, 1);
    assert!(texts(&store, &pair.b, at(8)).await.is_empty());
    assert_eq!(texts(&store, &other.b, at(9)).await, ["to other b"]);
}

pub(crate) async fn a_limit_leaves_the_rest(backend: &impl Backend) {
    let store = backend.open().await;
    let pair = pair(&store, at(0)).await;
    for n in 0..5 {
        say(&store, &pair.a, &format!("{n}"), at(1)).await;
    }
    let first = store.fetch(&pair.b, 2, at(2)).await.expect("fetched");
    assert_eq!((first.messages.len(), first.remaining), (2, 3));
    let id = first.id.expect("some");
    let by = &pair.b.session;
    store.fetch_written(by, &id, at(3)).await.expect("written");
    let second = store.fetch(&pair.b, 2, at(4)).await.expect("fetched");
    assert_eq!((&*second.messages[0].message, second.remaining), ("2", 1));
    // Its reply was lost: the same two come first next time.
    let third = store.fetch(&pair.b, 2, at(5)).await.expect("fetched");
    assert_eq!((&*third.messages[0].message, third.remaining), ("2", 1));
    let none = store.fetch(&pair.b, 0, at(6)).await.expect("fetched");
    assert!(none.messages.is_empty() && none.id.is_none());
    assert_eq!(none.remaining, 3);
}

pub(crate) async fn peeking_marks_nothing(backend: &impl Backend) {
    let store = backend.open().await;
    let pair = pair(&store, at(0)).await;
    for n in 0..3 {
        say(&store, &pair.a, &format!("{n}"), at(1)).await;
    }
    for _ in 0..2 {
        let seen = store.peek(&pair.b, None, 2, at(2)).await.expect("peeked");
        let seen: Vec<&str> = seen.iter().map(|m| &*m.message).collect();
        assert_eq!(seen, ["0", "1"]);
    }
    assert!(acknowledged(backend).is_empty());
    let session = std::slice::from_ref(&pair.b.session);
    let mail = store.mail(session).await.expect("looked");
    assert_eq!((mail[0].unread, mail[0].acted_at), (3, None));
    // What a dead call took is shown too.
    let _lost = store.fetch(&pair.b, 1, at(3)).await.expect("fetched");
    let seen = store.peek(&pair.b, None, 9, at(4)).await.expect("peeked");
    assert_eq!(seen.len(), 3);
}

/// An answer is held whole in memory: what is more than fits comes with the next.
pub(crate) async fn a_page_ends_at_a_mebibyte(backend: &impl Backend) {
    let store = backend.open().await;
    let pair = pair(&store, at(0)).await;
    unlimited(&store).await;
    let mut sent = Vec::new();
    for n in 0..50 {
        // Written as JSON, the second half takes six times as much.
        let filling = if n < 25 { "x" } else { "\u{1}" };
        let text = format!("{n} {}", filling.repeat(49_000));
        sent.push(say(&store, &pair.a, &text, at(1)).await);
    }
    backend.foreign(&format!(
        "INSERT INTO messages (conversation_id, from_session, to_session, message, timestamp)
         VALUES ('{}', 'a', 'b', hex(zeroblob(1100000)), '2025-11-13T02:13:25')",
        pair.id
    ));
    let mut pages = Vec::new();
    let mut got = Vec::new();
    let mut peeked: Option<MessageId> = None;
    loop {
        let seen = store.peek(&pair.b, peeked, 1_000, at(2)).await;
        let seen: Vec<MessageId> = seen.expect("peeked").iter().map(|m| m.id).collect();
        peeked = seen.last().copied();
        let page = store.fetch(&pair.b, 1_000, at(2)).await.expect("fetched");
        let Some(id) = page.id else { break };
        let ids: Vec<MessageId> = page.messages.iter().map(|m| m.id).collect();
        assert_eq!(seen, ids);
        pages.push(page.messages.len());
        got.extend(ids);
        assert_eq!(page.remaining, 51 - got.len() as u64);
        let by = &pair.b.session;
        store.fetch_written(by, &id, at(3)).await.expect("written");
    }
    assert_eq!(
        got[..50],
        sent.into_iter().map(MessageId).collect::<Vec<_>>()
    );
    assert!(got.is_sorted() && got.len() == 51, "each once, in order");
    assert_eq!(pages, [21, 6, 3, 3, 3, 3, 3, 3, 3, 2, 1]);
}

pub(crate) async fn a_page_begins_behind_a_message(backend: &impl Backend) {
    let store = backend.open().await;
    let pair = pair(&store, at(0)).await;
    let mut ids = Vec::new();
    for n in 0..4 {
        ids.push(say(&store, &pair.a, &format!("{n}"), at(1)).await);
    }
    // Two that a dead call took, and one as a script spells its reader.
    let _lost = store.fetch(&pair.b, 2, at(2)).await.expect("fetched");
    backend.foreign(&format!(
        "INSERT INTO messages (conversation_id, from_session, to_session, message, timestamp)
         VALUES ('{}', 'a', 'session_b', 'long', '2025-11-13T02:13:25')",
        pair.id
    ));
    let page = async |after: Option<MessageId>, limit: u32| -> Vec<MessageId> {
        let page = store.peek(&pair.b, after, limit, at(3)).await;
        page.expect("peeked").into_iter().map(|m| m.id).collect()
    };
    let all = page(None, 9).await;
    assert_eq!(all.len(), 5);
    assert_eq!(
        all[..4],
        ids.iter().copied().map(MessageId).collect::<Vec<_>>()
    );
    for limit in [1, 2, 3, 5] {
        let mut paged = Vec::new();
        for _ in &all {
            paged.extend(page(paged.last().copied(), limit).await);
        }
        assert_eq!(paged, all, "{limit} at a time");
    }
    assert_eq!(page(all.last().copied(), 9).await, []);
    // One that the other bridge's cleanup took takes no place on the page.
    backend.foreign(&format!("DELETE FROM messages WHERE id = {}", ids[0]));
    assert_eq!(page(None, 1).await, all[1..2]);
    let fetched = store.fetch(&pair.b, 1, at(4)).await.expect("fetched");
    assert_eq!(fetched.messages[0].id, all[1]);
}

pub(crate) async fn mail_is_answered_in_order(backend: &impl Backend) {
    let store = backend.open().await;
    let pairs = pairs(&store, 3, at(0)).await;
    let first = say(&store, &pairs[0].a, "x", at(1)).await;
    say(&store, &pairs[0].a, "y", at(1)).await;
    let last = say(&store, &pairs[0].a, "z", at(1)).await;
    let to_a = say(&store, &pairs[2].b, "w", at(1)).await;
    let sessions = [
        pairs[2].a.session.clone(),
        Pair::random().a.session,
        pairs[0].b.session.clone(),
        pairs[1].b.session.clone(),
        pairs[0].b.session.clone(),
        pairs[0].a.session.clone(),
    ];
    let mail = store.mail(&sessions).await.expect("looked");
    let counts: Vec<u64> = mail.iter().map(|mail| mail.unread).collect();
    assert_eq!(counts, [1, 0, 3, 0, 3, 0]);
    assert_eq!(mail[0].oldest_unread, Some(MessageId(to_a)));
    assert_eq!(mail[2].oldest_unread, Some(MessageId(first)));
    assert_eq!(mail[2].newest_unread, Some(MessageId(last)));
    assert_eq!((mail[3].oldest_unread, mail[3].newest_unread), (None, None));
    assert_eq!(mail[2], mail[4]);
    assert_eq!((mail[2].acted_at, mail[5].acted_at), (None, Some(at(1))));
    receive(&store, &pairs[0].b, at(2)).await;
    let mail = store.mail(&sessions).await.expect("looked");
    assert_eq!((mail[2].unread, mail[2].acted_at), (0, Some(at(2))));
    assert!(store.mail(&[]).await.expect("looked").is_empty());
}

pub(crate) async fn foreign_spellings_are_read(backend: &impl Backend) {
    let store = backend.open().await;
    let pair = pair(&store, at(0)).await;
    let insert = |from: &str, to: &str, message: &str, metadata: &str, timestamp: &str| {
        backend.foreign(&format!(
            "INSERT INTO messages
             (conversation_id, from_session, to_session, message, metadata, timestamp)
             VALUES ('{}', '{from}', '{to}', {message}, {metadata}, '{timestamp}')",
            pair.id
        ));
    };
    insert(
        "system",
        "b",
        "'welcome'",
        "'{\"x\": 1}'",
        "2025-11-13T02:13:25",
    );
    insert(
        "session_a",
        "session_b",
        "'long'",
        "NULL",
        "2025-11-13 02:13:26.5",
    );
    insert("watchdog", "b", "'word'", "'not json'", "soon");
    insert("a", "b", "x'68ff69'", "x'ff'", "2025-11-13T02:13:25.000001");
    insert(
        "a",
        "c",
        "'without a reader'",
        "'{}'",
        "2025-11-13T02:13:25",
    );
    let session = std::slice::from_ref(&pair.b.session);
    let mail = store.mail(session).await.expect("looked");
    assert_eq!(mail[0].unread, 4);
    let peeked = store.peek(&pair.b, None, 9, at(6)).await.expect("peeked");
    let fetched = store.fetch(&pair.b, 9, at(6)).await.expect("fetched");
    assert_eq!(peeked, fetched.messages);
    let [system, long, word, bytes] = &fetched.messages[..] else {
        panic!("{:?}", fetched.messages);
    };
    assert_eq!(
        (&system.from, system.sent_at),
        (&Sender::System, Some(at(5)))
    );
    assert_eq!(system.metadata, serde_json::json!({ "x": 1 }));
    assert_eq!((&long.from, long.to), (&Sender::Session(Side::A), Side::B));
    let half = SignedDuration::from_millis(500);
    assert_eq!(long.sent_at, Some(at(6) + half));
    assert_eq!(long.metadata, serde_json::json!({}));
    assert_eq!(word.from, Sender::Other("watchdog".into()));
    assert_eq!(
        (word.sent_at, &word.metadata),
        (None, &serde_json::json!({}))
    );
    assert_eq!(bytes.message, "h\u{fffd}i", "odd bytes stopped the mail");
    let id = fetched.id.expect("some");
    let by = &pair.b.session;
    store.fetch_written(by, &id, at(7)).await.expect("written");
    let sessions = store.sessions(at(0)).await.expect("listed");
    assert!(sessions.iter().all(|session| session.unread == 0));
    assert_eq!(
        store
            .acknowledge(&pair.b, &[long.id], at(8))
            .await
            .expect("ours"),
        1
    );
}

pub(crate) async fn concurrent_fetches_lose_nothing(backend: &impl Backend) {
    let store = backend.open().await;
    let pair = pair(&store, at(0)).await;
    unlimited(&store).await;
    let batch: Vec<Draft> = (0..200).map(|n| draft(&format!("{n}"))).collect();
    store.send(&pair.a, &batch, at(1)).await.expect("sent");
    let mut readers = tokio::task::JoinSet::new();
    for _ in 0..4 {
        let (store, caller) = (backend.open().await, pair.b.clone());
        readers.spawn(async move {
            let mut got = Vec::new();
            loop {
                let fetched = store.fetch(&caller, 7, at(2)).await.expect("fetched");
                let Some(id) = &fetched.id else { return got };
                got.extend(fetched.messages.iter().map(|m| m.message.clone()));
                let by = &caller.session;
                store.fetch_written(by, id, at(3)).await.expect("written");
            }
        });
    }
    let got: BTreeSet<String> = readers.join_all().await.into_iter().flatten().collect();
    assert_eq!(got.len(), 200);
}

pub(crate) async fn a_cancelled_call_leaves_the_store_usable(backend: &impl Backend) {
    let store = backend.open().await;
    let pair = pair(&store, at(0)).await;
    unlimited(&store).await;
    let mut acknowledged = BTreeSet::new();
    for n in 0..200_u64 {
        let text = format!("{n}");
        let (drafts, polls) = ([draft(&text)], n % 40);
        let mut call = std::pin::pin!(store.send(&pair.a, &drafts, at(1)));
        // Dropped after some polls, wherever in the transaction that is.
        let mut left = polls;
        let finished = std::future::poll_fn(|context| {
            if left == 0 {
                return std::task::Poll::Ready(None);
            }
            left -= 1;
            call.as_mut().poll(context).map(Some)
        })
        .await;
        if let Some(sent) = finished {
            sent.expect("sent");
            acknowledged.insert(text);
        }
    }
    // A heartbeat uses the other writer.
    for _ in 0..3 {
        say(&store, &pair.a, "and on it goes", at(2)).await;
        let ttl = Duration::from_secs(60);
        store
            .call_in(&pair.b, ttl, None, &boot("x", 1), at(3))
            .await
            .expect("called");
    }
    let got: BTreeSet<String> = receive(&store, &pair.b, at(4)).await.into_iter().collect();
    assert!(acknowledged.is_subset(&got), "an acknowledged one is lost");
    assert!(!acknowledged.is_empty(), "no call was let finish");
}
