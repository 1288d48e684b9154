//! Messages: sent with their limits kept, handed out at least once, followed.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use mcp_bridge::bridge::{Begin, Bridge, Cursor, FollowError, News, Subscription};
use mcp_bridge::model::message::{ActionType, Draft, InvalidMessage, MAX_FILES, Sender};
use mcp_bridge::model::rate::RateLimits;
use mcp_bridge::model::redact::SecretKind;
use mcp_bridge::model::session::Status;
use mcp_bridge::model::wake::{ClientWay, WakeOutcome};
use mcp_bridge::model::{MessageId, Side};
use mcp_bridge::store::{Caller, ErrorClass, StoreError};

use super::site::{
    Pair, Site, draft, in_hours, named, pair, pairs, past, receive, say, texts, unlimited,
};
use crate::common::daemon::PATIENCE;

pub(crate) async fn messages_arrive_in_order(site: &Site) {
    let bridge = site.bridge().await;
    let pair = pair(&bridge).await;
    unlimited(&bridge).await;
    let batch: Vec<Draft> = (0..20).map(|n| draft(&format!("batch {n}"))).collect();
    say(&bridge, &pair.a, "before").await;
    let sent = bridge.send(&pair.a, &batch).await.expect("sent");
    say(&bridge, &pair.a, "after").await;
    let ids: Vec<_> = sent.iter().map(|sent| sent.id).collect();
    assert!(ids.is_sorted() && ids.len() == 20);
    let fetched = bridge.fetch(&pair.b, 100).await.expect("fetched");
    assert_eq!(fetched.remaining, 0);
    let got: Vec<&str> = fetched.messages.iter().map(|m| &*m.message).collect();
    let mut expected = vec!["before".to_owned()];
    expected.extend((0..20).map(|n| format!("batch {n}")));
    expected.push("after".into());
    assert_eq!(got, expected);
    let second = &fetched.messages[1];
    assert_eq!(
        (second.id, &second.from, second.to),
        (ids[0], &Sender::Session(Side::A), Side::B)
    );
    assert!(second.sent_at.is_some());
    assert!(bridge.send(&pair.a, &[]).await.expect("sent").is_empty());
}

pub(crate) async fn each_side_gets_only_its_own(site: &Site) {
    let bridge = site.bridge().await;
    let pairs = pairs(&bridge, 2).await;
    say(&bridge, &pairs[0].a, "0 to b").await;
    say(&bridge, &pairs[0].b, "0 to a").await;
    say(&bridge, &pairs[1].a, "1 to b").await;
    assert_eq!(texts(&bridge, &pairs[0].b).await, ["0 to b"]);
    assert_eq!(texts(&bridge, &pairs[1].b).await, ["1 to b"]);
    assert_eq!(texts(&bridge, &pairs[0].a).await, ["0 to a"]);
    assert!(texts(&bridge, &pairs[1].a).await.is_empty());
}

/// Every call that takes a caller, and what it answers to this one.
async fn refusals(bridge: &Bridge, caller: &Caller) -> Vec<StoreError> {
    let ttl = Duration::from_secs(60);
    vec![
        bridge.send(caller, &[draft("x")]).await.expect_err("send"),
        bridge.fetch(caller, 9).await.expect_err("fetch"),
        bridge.peek(caller, None, 9).await.expect_err("peek"),
        bridge.acknowledge(caller, &[]).await.expect_err("ack"),
        bridge.call_in(caller, ttl, None).await.expect_err("beat"),
        bridge.claim_task(caller, None).await.expect_err("claim"),
    ]
}

pub(crate) async fn callers_without_the_right_to_send_or_read(site: &Site) {
    let bridge = site.bridge().await;
    let pairs = pairs(&bridge, 2).await;
    let swapped = Caller {
        session: pairs[0].a.session.clone(),
        token: pairs[0].b.token.clone(),
    };
    for error in refusals(&bridge, &swapped).await {
        assert!(matches!(&error, StoreError::WrongToken(key) if *key == swapped.session));
        assert_eq!(error.class(), ErrorClass::Denied);
        let shown = format!("{error} {error:?}");
        assert!(!shown.contains(swapped.token.expose()), "{shown}");
    }
    for error in refusals(&bridge, &Pair::random().a).await {
        assert!(matches!(error, StoreError::NoConversation(..)), "{error}");
    }
    let closed = bridge.close_conversation(&pairs[1].id).await;
    closed.expect("closed");
    for error in refusals(&bridge, &pairs[1].a).await {
        assert!(matches!(error, StoreError::Closed(_)), "{error}");
    }
    let expired = Pair::random();
    let end = mcp_bridge::clock::now() + jiff::SignedDuration::from_millis(1_100);
    let made = bridge.create_conversations(&[expired.wanted(end)]).await;
    made.expect("made");
    past(end).await;
    for error in refusals(&bridge, &expired.a).await {
        assert!(matches!(error, StoreError::Expired { .. }), "{error}");
    }
    let stored = bridge.conversations().await.expect("listed");
    assert!(stored.iter().all(|one| one.messages == 0), "{stored:?}");
}

pub(crate) async fn an_agent_claims_its_own(site: &Site) {
    let bridge = site.bridge().await;
    let pairs = pairs(&bridge, 2).await;
    let (own, other) = (&pairs[0].b, &pairs[1].b);
    say(&bridge, &pairs[0].a, "wake up").await;
    let mark = bridge.unread(std::slice::from_ref(&own.session)).await;
    let mark = mark.expect("asked")[0].newest_unread.expect("a message");
    let lease = Duration::from_secs(30);
    let claimed = bridge.claim_wake(own, mark, ClientWay::Hook, lease).await;
    let claimed = claimed.expect("asked").expect("free");
    let second = bridge.claim_wake(own, mark, ClientWay::ClaudeInbox, lease);
    assert_eq!(second.await.expect("asked"), None);
    let reason = Some("\u{1b}[31mit did not look".to_owned());
    let theirs = bridge.end_wake(other, &claimed, WakeOutcome::Spent, reason.clone());
    assert!(!theirs.await.expect("asked"));
    let ended = bridge.end_wake(own, &claimed, WakeOutcome::Spent, reason);
    assert!(ended.await.expect("asked"));
    let sessions = bridge.sessions(Duration::ZERO).await.expect("listed");
    let mine = sessions.iter().find(|view| view.key == own.session);
    let said = mine.and_then(|view| view.wake.as_deref()).expect("a wake");
    assert!(
        said.starts_with("hook: spent") && !said.contains('\u{1b}'),
        "{said:?}"
    );
    assert!(said.ends_with("it did not look)"), "{said:?}");

    let mut stranger = own.clone();
    stranger.token = other.token.clone();
    let refused = bridge.claim_wake(&stranger, mark, ClientWay::Hook, lease);
    let refused = refused.await.expect_err("a wrong token");
    assert!(matches!(refused, StoreError::WrongToken(_)), "{refused}");
}

pub(crate) async fn secrets_are_taken_out(site: &Site) {
    let bridge = site.bridge().await;
    let pair = pair(&bridge).await;
    let github = format!("ghp_{}", "a1B2".repeat(9));
    let mut message = draft(&format!("use {github} for the push"));
    message.files = vec!["keys/AKIAIOSFODNN7EXAMPLE.txt".into()];
    let sent = [message, draft("the password reset page")];
    let sent = bridge.send(&pair.a, &sent).await.expect("sent");
    let mut kinds = sent[0].redacted.clone();
    kinds.sort();
    assert_eq!(kinds, [SecretKind::AwsKey, SecretKind::GithubToken]);
    assert!(sent[1].redacted.is_empty());
    let got = bridge.fetch(&pair.b, 9).await.expect("fetched");
    let everything = format!("{:?}", got.messages);
    assert!(!everything.contains(&github) && !everything.contains("AKIAIOSFODNN7"));
    assert_eq!(
        got.messages[0].message,
        "use GITHUB_TOKEN_REDACTED for the push"
    );
    assert_eq!(got.messages[1].message, "the password reset page");
}

pub(crate) async fn the_metadata_has_the_shared_keys(site: &Site) {
    let bridge = site.bridge().await;
    let pair = pair(&bridge).await;
    let mut message = draft("done");
    message.action_type = Some(ActionType::Complete);
    message.files = vec!["src/lib.rs".into()];
    let sent = [message.clone(), draft("plain")];
    bridge.send(&pair.a, &sent).await.expect("sent");
    let got = bridge.peek(&pair.b, None, 9).await.expect("peeked");
    let expected =
        serde_json::json!({ "action_type": "complete", "files_involved": ["src/lib.rs"] });
    assert_eq!(got[0].metadata, expected);
    assert_eq!(got[1].metadata, serde_json::json!({}));
    message.files = vec!["x".into(); MAX_FILES + 1];
    let error = bridge.send(&pair.a, &[draft("first"), message]).await;
    let error = error.expect_err("too many");
    let expected = InvalidMessage::TooManyFiles(MAX_FILES + 1);
    assert!(matches!(&error, StoreError::Invalid(why) if *why == expected));
    assert_eq!(
        bridge.peek(&pair.b, None, 9).await.expect("peeked").len(),
        2
    );
}

pub(crate) async fn a_client_id_makes_one_message(site: &Site) {
    let (bridge, elsewhere) = site.two().await;
    let pair = pair(&bridge).await;
    let first = bridge.send(&pair.a, &[named("hello", "m-1")]).await;
    let first = first.expect("sent");
    let again = elsewhere.send(&pair.a, &[named("hello", "m-1")]).await;
    let again = again.expect("sent");
    assert!(!first[0].duplicate && again[0].duplicate);
    assert_eq!(first[0].id, again[0].id);
    // Also within one batch, beside a new one.
    let batch = [
        named("two", "m-2"),
        named("two", "m-2"),
        named("hello", "m-1"),
    ];
    let sent = bridge.send(&pair.a, &batch).await.expect("sent");
    let duplicates: Vec<bool> = sent.iter().map(|sent| sent.duplicate).collect();
    assert_eq!(duplicates, [false, true, true]);
    let reused = [draft("ok"), named("other words", "m-1")];
    let error = bridge.send(&pair.a, &reused).await.expect_err("reused");
    let StoreError::ClientIdReused { id, message } = &error else {
        panic!("{error}");
    };
    assert_eq!((&**id, *message), ("m-1", first[0].id));
    // The id is the sender's: its partner has its own.
    let partner = bridge.send(&pair.b, &[named("mine", "m-1")]).await;
    assert!(!partner.expect("sent")[0].duplicate);
    // A retry whose secret was taken out is the same message too.
    let secret = named("password: hunter2secret", "m-3");
    let secret = std::slice::from_ref(&secret);
    let sent = bridge.send(&pair.a, secret).await.expect("sent");
    let again = bridge.send(&pair.a, secret).await.expect("sent");
    assert!(!sent[0].redacted.is_empty() && again[0].duplicate);
    assert_eq!(texts(&bridge, &pair.b).await.len(), 3);
}

async fn limit(bridge: &Bridge, per_minute: u32, per_hour: u32) {
    let limits = RateLimits {
        per_minute,
        per_hour,
        ..RateLimits::NONE
    };
    bridge.set_rate_limits(limits).await.expect("set");
}

pub(crate) async fn batch_is_stored_whole_or_not_at_all(site: &Site) {
    let bridge = site.bridge().await;
    let pair = pair(&bridge).await;
    limit(&bridge, 3, 0).await;
    let batch: Vec<Draft> = (0..4).map(|n| named("x", &format!("id-{n}"))).collect();
    let error = bridge.send(&pair.a, &batch).await.expect_err("four");
    assert!(matches!(error, StoreError::BatchTooBig(..)), "{error}");
    assert!(texts(&bridge, &pair.b).await.is_empty());
    // Nor did it use up the ids, or the limit.
    let sent = bridge.send(&pair.a, &batch[..3]).await.expect("three");
    assert!(sent.iter().all(|sent| !sent.duplicate));
}

pub(crate) async fn rate_limits_say_how_long_to_wait(site: &Site) {
    let (bridge, elsewhere) = site.two().await;
    let pair = pair(&bridge).await;
    limit(&bridge, 2, 4).await;
    say(&bridge, &pair.a, "1").await;
    say(&elsewhere, &pair.a, "2").await;
    let error = elsewhere.send(&pair.a, &[draft("3")]).await;
    let error = error.expect_err("one too many");
    let StoreError::RateLimited(session, full) = &error else {
        panic!("{error}");
    };
    assert_eq!((session, full.window.name), (&pair.a.session, "minute"));
    assert!((1..=60).contains(&full.wait.as_secs()), "{full:?}");
    unlimited(&bridge).await;
    say(&elsewhere, &pair.a, "no limits").await;
}

pub(crate) async fn batch_beyond_a_window_is_refused_at_once(site: &Site) {
    let bridge = site.bridge().await;
    let pair = pair(&bridge).await;
    limit(&bridge, 5, 3).await;
    for (count, expected) in [(4, ("hour", 3)), (6, ("minute", 5))] {
        let error = bridge.send(&pair.a, &vec![draft("x"); count]).await;
        let error = error.expect_err("never");
        let StoreError::BatchTooBig(session, size, window) = &error else {
            panic!("{error}");
        };
        assert_eq!((session, *size), (&pair.a.session, count));
        assert_eq!((window.name, window.limit), expected);
    }
    assert!(bridge.send(&pair.a, &vec![draft("x"); 3]).await.is_ok());
}

pub(crate) async fn duplicates_do_not_count(site: &Site) {
    let bridge = site.bridge().await;
    let pair = pair(&bridge).await;
    limit(&bridge, 2, 0).await;
    let batch = [named("x", "1"), named("y", "2")];
    for _ in 0..5 {
        let sent = bridge.send(&pair.a, &batch).await;
        assert!(sent.is_ok(), "a retry was refused: {sent:?}");
    }
    assert!(bridge.send(&pair.a, &[draft("z")]).await.is_err());
}

pub(crate) async fn a_sender_s_limits_are_its_own(site: &Site) {
    let bridge = site.bridge().await;
    let pairs = pairs(&bridge, 2).await;
    limit(&bridge, 1, 0).await;
    for sender in [&pairs[0].a, &pairs[0].b, &pairs[1].a] {
        say(&bridge, sender, "x").await;
        assert!(bridge.send(sender, &[draft("y")]).await.is_err());
    }
}

pub(crate) async fn fetching_marks_read(site: &Site) {
    let bridge = site.bridge().await;
    let pair = pair(&bridge).await;
    let empty = bridge.fetch(&pair.b, 9).await.expect("fetched");
    assert!(empty.id.is_none() && empty.messages.is_empty() && empty.remaining == 0);
    say(&bridge, &pair.a, "hello").await;
    assert_eq!(receive(&bridge, &pair.b).await, ["hello"]);
    assert!(receive(&bridge, &pair.b).await.is_empty());
    let mail = bridge.unread(&[pair.b.session]).await.expect("looked");
    assert_eq!(mail[0].unread, 0);
}

pub(crate) async fn a_fetch_that_died_is_repeated(site: &Site) {
    let bridge = site.bridge().await;
    let pair = pair(&bridge).await;
    say(&bridge, &pair.a, "one").await;
    let died = bridge.fetch(&pair.b, 9).await.expect("fetched");
    say(&bridge, &pair.a, "two").await;
    let session = std::slice::from_ref(&pair.b.session);
    let mail = bridge.unread(session).await.expect("looked");
    assert_eq!(mail[0].unread, 2, "what was not received is still owed");
    let again = bridge.fetch(&pair.b, 9).await.expect("fetched");
    let got: Vec<&str> = again.messages.iter().map(|m| &*m.message).collect();
    assert_eq!(got, ["one", "two"]);
    // The dead call's late word changes nothing: its message went out again.
    let (died, again) = (died.id.expect("some"), again.id.expect("some"));
    assert_ne!(died, again);
    bridge.confirm(&pair.b, &died).await.expect("heard");
    assert_eq!(texts(&bridge, &pair.b).await, ["one", "two"]);
}

pub(crate) async fn the_next_call_acknowledges(site: &Site) {
    let (bridge, elsewhere) = site.two().await;
    let pair = pair(&bridge).await;
    say(&bridge, &pair.a, "one").await;
    let one = bridge.fetch(&pair.b, 9).await.expect("fetched");
    let id = one.messages[0].id;
    bridge
        .confirm(&pair.b, &one.id.expect("some"))
        .await
        .expect("written");
    // A peek is no activity of the agent; a message is.
    elsewhere.peek(&pair.b, None, 9).await.expect("peeked");
    elsewhere.touch(&pair.b).await.expect("noted");
    say(&elsewhere, &pair.b, "I did what you said").await;
    let new = elsewhere.acknowledge(&pair.b, &[id]).await;
    assert_eq!(new.expect("its own"), 0, "it was acknowledged by that");
}

pub(crate) async fn agent_reports_its_state(site: &Site) {
    let (bridge, elsewhere) = site.two().await;
    let pair = pair(&bridge).await;
    let said = bridge.say_status(&pair.b, Status::Blocked).await;
    said.expect("noted");
    let views = elsewhere.sessions(Duration::ZERO).await.expect("looked");
    let own = views.iter().find(|view| view.key == pair.b.session);
    assert_eq!(own.expect("there").reported.as_deref(), Some("blocked"));
}

pub(crate) async fn acknowledging_by_id(site: &Site) {
    let bridge = site.bridge().await;
    let pairs = pairs(&bridge, 2).await;
    let (pair, other) = (&pairs[0], &pairs[1]);
    let say = async |from: &Caller, text: &str| -> MessageId {
        bridge.send(from, &[draft(text)]).await.expect("sent")[0].id
    };
    let ids = [
        say(&pair.a, "0").await,
        say(&pair.a, "1").await,
        say(&pair.a, "2").await,
    ];
    let to_a = say(&pair.b, "to a").await;
    let elsewhere = say(&other.a, "to other b").await;
    // None of a list with a stranger in it.
    for stranger in [to_a, elsewhere, MessageId(12_345)] {
        let error = bridge.acknowledge(&pair.b, &[ids[0], stranger]).await;
        let error = error.expect_err("not its own");
        assert!(matches!(&error, StoreError::NoMessage(id, key)
                if *id == stranger && *key == pair.b.session));
    }
    let acknowledge = async |ids: &[MessageId]| {
        let new = bridge.acknowledge(&pair.b, ids).await;
        new.expect("acknowledged")
    };
    // Even without a fetch: a pushed message was seen without one.
    assert_eq!(acknowledge(&ids[..1]).await, 1);
    assert_eq!(acknowledge(&ids[..2]).await, 1, "one was new");
    assert_eq!(acknowledge(&[]).await, 0);
    assert_eq!(texts(&bridge, &pair.b).await, ["2"]);
    assert_eq!(acknowledge(&ids).await, 1);
    assert!(texts(&bridge, &pair.b).await.is_empty());
    assert_eq!(texts(&bridge, &other.b).await, ["to other b"]);
}

pub(crate) async fn a_limit_leaves_the_rest(site: &Site) {
    let bridge = site.bridge().await;
    let pair = pair(&bridge).await;
    for n in 0..5 {
        say(&bridge, &pair.a, &format!("{n}")).await;
    }
    let first = bridge.fetch(&pair.b, 2).await.expect("fetched");
    assert_eq!((first.messages.len(), first.remaining), (2, 3));
    let id = first.id.expect("some");
    bridge.confirm(&pair.b, &id).await.expect("written");
    // Its reply is lost: the same two come first next time.
    for _ in 0..2 {
        let next = bridge.fetch(&pair.b, 2).await.expect("fetched");
        assert_eq!((&*next.messages[0].message, next.remaining), ("2", 1));
    }
}

pub(crate) async fn peeking_marks_nothing(site: &Site) {
    let bridge = site.bridge().await;
    let pair = pair(&bridge).await;
    for n in 0..3 {
        say(&bridge, &pair.a, &format!("{n}")).await;
    }
    for _ in 0..2 {
        let seen = bridge.peek(&pair.b, None, 2).await.expect("peeked");
        let seen: Vec<&str> = seen.iter().map(|m| &*m.message).collect();
        assert_eq!(seen, ["0", "1"]);
    }
    let session = std::slice::from_ref(&pair.b.session);
    let mail = bridge.unread(session).await.expect("looked");
    assert_eq!((mail[0].unread, mail[0].acted_at), (3, None));
    // What a dead call took is shown too.
    let _lost = bridge.fetch(&pair.b, 1).await.expect("fetched");
    assert_eq!(
        bridge.peek(&pair.b, None, 9).await.expect("peeked").len(),
        3
    );
}

pub(crate) async fn a_page_ends_at_a_mebibyte(site: &Site) {
    let bridge = site.bridge().await;
    let pair = pair(&bridge).await;
    unlimited(&bridge).await;
    let text = |n: usize| format!("{n} {}", "x".repeat(49_000));
    let drafts: Vec<Draft> = (0..60).map(|n| draft(&text(n))).collect();
    for some in drafts.chunks(20) {
        bridge.send(&pair.a, some).await.expect("sent");
    }
    let expected: Vec<String> = (0..60).map(text).collect();
    let follow = subscription(&pair.b, Begin::Unread);
    let (followed, _) = followed(&bridge, &follow, 60, || ()).await;
    assert_eq!(followed, expected);
    let mut got = Vec::new();
    while got.len() < 60 {
        let page = bridge.fetch(&pair.b, 1_000).await.expect("fetched");
        assert!(page.messages.len() <= 21, "{}", page.messages.len());
        got.extend(page.messages.into_iter().map(|m| m.message));
        assert_eq!(page.remaining, 60 - got.len() as u64);
        let id = page.id.expect("some");
        bridge.confirm(&pair.b, &id).await.expect("confirmed");
    }
    assert_eq!(got, expected);
}

pub(crate) async fn a_page_begins_behind_a_message(site: &Site) {
    let bridge = site.bridge().await;
    let pair = pair(&bridge).await;
    for n in 0..4 {
        say(&bridge, &pair.a, &format!("{n}")).await;
    }
    let page = async |after: Option<MessageId>, limit: u32| -> Vec<MessageId> {
        let page = bridge.peek(&pair.b, after, limit).await;
        page.expect("peeked").into_iter().map(|m| m.id).collect()
    };
    let all = page(None, 9).await;
    assert_eq!(all.len(), 4);
    for limit in [1, 2, 3, 5] {
        let mut paged = Vec::new();
        for _ in &all {
            paged.extend(page(paged.last().copied(), limit).await);
        }
        assert_eq!(paged, all, "{limit} at a time");
    }
    assert_eq!(page(all.last().copied(), 9).await, []);
}

pub(crate) async fn mail_is_answered_in_order(site: &Site) {
    let bridge = site.bridge().await;
    let pairs = pairs(&bridge, 3).await;
    for text in ["x", "y", "z"] {
        say(&bridge, &pairs[0].a, text).await;
    }
    say(&bridge, &pairs[2].b, "w").await;
    let sessions = [
        pairs[2].a.session.clone(),
        Pair::random().a.session,
        pairs[0].b.session.clone(),
        pairs[1].b.session.clone(),
        pairs[0].b.session.clone(),
        pairs[0].a.session.clone(),
    ];
    let mail = bridge.unread(&sessions).await.expect("looked");
    let counts: Vec<u64> = mail.iter().map(|mail| mail.unread).collect();
    assert_eq!(counts, [1, 0, 3, 0, 3, 0]);
    assert_eq!((mail[3].oldest_unread, mail[3].newest_unread), (None, None));
    assert!(mail[2].oldest_unread < mail[2].newest_unread);
    assert_eq!(mail[2], mail[4]);
    assert!(mail[2].acted_at.is_none() && mail[5].acted_at.is_some());
    receive(&bridge, &pairs[0].b).await;
    let mail = bridge.unread(&sessions).await.expect("looked");
    assert!(mail[2].unread == 0 && mail[2].acted_at.is_some());
    assert!(bridge.unread(&[]).await.expect("looked").is_empty());
}

pub(crate) async fn concurrent_fetches_lose_nothing(site: &Site) {
    let bridge = site.bridge().await;
    let pair = pair(&bridge).await;
    unlimited(&bridge).await;
    let batch: Vec<Draft> = (0..200).map(|n| draft(&format!("{n}"))).collect();
    bridge.send(&pair.a, &batch).await.expect("sent");
    let mut readers = tokio::task::JoinSet::new();
    for _ in 0..4 {
        let (bridge, caller) = (site.bridge().await, pair.b.clone());
        readers.spawn(async move {
            let mut got = Vec::new();
            loop {
                let fetched = bridge.fetch(&caller, 7).await.expect("fetched");
                let Some(id) = &fetched.id else { return got };
                got.extend(fetched.messages.iter().map(|m| m.message.clone()));
                bridge.confirm(&caller, id).await.expect("written");
            }
        });
    }
    let got: BTreeSet<String> = readers.join_all().await.into_iter().flatten().collect();
    assert_eq!(got.len(), 200);
}

pub(crate) async fn a_cancelled_call_leaves_the_store_usable(site: &Site) {
    let bridge = site.bridge().await;
    let pair = pair(&bridge).await;
    unlimited(&bridge).await;
    let mut acknowledged = BTreeSet::new();
    for n in 0..200_u64 {
        let text = format!("{n}");
        let (drafts, polls) = ([draft(&text)], n % 40);
        let mut call = std::pin::pin!(bridge.send(&pair.a, &drafts));
        // Dropped after some polls, wherever on its way that is.
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
    say(&bridge, &pair.a, "and on it goes").await;
    let all = receive(&bridge, &pair.b).await;
    let got: BTreeSet<String> = all.iter().cloned().collect();
    assert_eq!(got.len(), all.len(), "each once");
    assert!(acknowledged.is_subset(&got), "an acknowledged one is lost");
    assert!(!acknowledged.is_empty(), "no call was let finish");
}

fn subscription(caller: &Caller, begin: Begin) -> Subscription {
    Subscription {
        callers: vec![caller.clone()],
        begin,
        poll: false,
        full_look: Duration::from_secs(5),
    }
}

/// What a follower reports until it has reported this number of messages, and how far
/// that is; `ready` is called when all that was there before was reported.
async fn followed(
    bridge: &Bridge,
    subscription: &Subscription,
    count: usize,
    ready: impl FnOnce() + Send + 'static,
) -> (Vec<String>, Cursor) {
    let heard = Arc::new(Mutex::new((Vec::new(), Cursor::default())));
    let (told, mut ready) = (Arc::clone(&heard), Some(ready));
    let sink = Box::new(move |news| {
        let mut heard = told.lock().expect("one at a time");
        match news {
            News::Message(message) => {
                heard.1.pass(&message);
                heard.0.push(message.message);
            }
            News::CaughtUp(_) => {
                if let Some(ready) = ready.take() {
                    ready();
                }
            }
            News::Refused(error) => panic!("{error}"),
        }
        Ok(match heard.0.len() < count {
            true => ControlFlow::Continue(()),
            false => ControlFlow::Break(()),
        })
    });
    let ended = tokio::time::timeout(PATIENCE, bridge.follow(subscription, sink)).await;
    ended.expect("in time").expect("no error");
    let heard = heard.lock().expect("it ended");
    heard.clone()
}

pub(crate) async fn followers_get_each_message_once(site: &Site) {
    let (bridge, elsewhere) = site.two().await;
    let pair = pair(&bridge).await;
    unlimited(&bridge).await;
    say(&bridge, &pair.a, "0").await;
    say(&bridge, &pair.b, "not its own").await;
    let (tell, told) = tokio::sync::oneshot::channel();
    let subscription = subscription(&pair.b, Begin::Unread);
    let following = followed(&bridge, &subscription, 31, move || {
        tell.send(()).expect("it waits");
    });
    let sending = async {
        told.await.expect("it is there");
        for n in 1..=30 {
            say(&elsewhere, &pair.a, &format!("{n}")).await;
        }
    };
    let ((got, _), ()) = tokio::join!(following, sending);
    let expected: Vec<String> = (0..=30).map(|n| format!("{n}")).collect();
    assert_eq!(got, expected);
    // Nothing was marked by that.
    assert_eq!(receive(&elsewhere, &pair.b).await, expected);
}

pub(crate) async fn followers_go_on_behind_a_message(site: &Site) {
    let (bridge, elsewhere) = site.two().await;
    let pair = pair(&bridge).await;
    for n in 0..3 {
        say(&bridge, &pair.a, &format!("{n}")).await;
    }
    let first = subscription(&pair.b, Begin::Unread);
    let (got, cursor) = followed(&bridge, &first, 2, || ()).await;
    assert_eq!(got, ["0", "1"]);
    assert!(cursor.of(&pair.b.session).is_some());
    say(&bridge, &pair.a, "3").await;
    let second = subscription(&pair.b, Begin::After(cursor));
    let (got, _) = followed(&elsewhere, &second, 2, || ()).await;
    assert_eq!(got, ["2", "3"]);
}

pub(crate) async fn followers_need_a_token(site: &Site) {
    let bridge = site.bridge().await;
    let pair = pair(&bridge).await;
    let forged = subscription(&pair.b_anew(), Begin::Unread);
    let sink = Box::new(|_| Ok(ControlFlow::Continue(())));
    let refused = tokio::time::timeout(PATIENCE, bridge.follow(&forged, sink)).await;
    let refused = refused.expect("in time").expect_err("refused");
    assert!(
        matches!(&refused, FollowError::Store(StoreError::WrongToken(key)) if *key == pair.b.session),
        "{refused}"
    );
    // Its end ends it.
    let ends = Pair::random();
    let wanted = [ends.wanted(in_hours(1))];
    bridge.create_conversations(&wanted).await.expect("made");
    let elsewhere = site.bridge().await;
    let id = ends.id.clone();
    let subscription = subscription(&ends.b, Begin::Now);
    let (tell, told) = tokio::sync::oneshot::channel();
    let mut tell = Some(tell);
    let sink = Box::new(move |news| {
        if let (News::CaughtUp(_), Some(tell)) = (news, tell.take()) {
            tell.send(()).expect("it waits");
        }
        Ok(ControlFlow::Continue(()))
    });
    let (ended, ()) = tokio::join!(
        tokio::time::timeout(PATIENCE, bridge.follow(&subscription, sink)),
        async {
            told.await.expect("it is there");
            elsewhere.close_conversation(&id).await.expect("closed");
        }
    );
    ended.expect("in time").expect_err("no session is left");
}
