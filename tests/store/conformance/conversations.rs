//! Conversations: made, found, renewed, closed, and who may use them.

use jiff::{SignedDuration, Timestamp};
use mcp_bridge::model::session::ConversationState;
use mcp_bridge::model::token::{Token, TokenStorage};
use mcp_bridge::store::{Caller, ErrorClass, StoreError};

use super::Backend;
use crate::common::store::{Pair, at, pair, say};

pub(crate) async fn all_conversations_are_made_or_none(backend: &impl Backend) {
    let store = backend.open().await;
    let first = Pair::random();
    store
        .create_conversations(&[first.labelled("one", at(60))], at(0))
        .await
        .expect("made");
    let (second, third) = (Pair::random(), Pair::random());
    let error = store
        .create_conversations(
            &[
                second.labelled("two", at(60)),
                third.labelled("one", at(60)),
            ],
            at(1),
        )
        .await
        .expect_err("the label is taken");
    assert!(matches!(&error, StoreError::LabelTaken(label) if label.as_str() == "one"));
    assert!(error.to_string().contains("`one`"), "{error}");
    let left = store.conversations().await.expect("listed");
    assert_eq!(left.len(), 1, "half of a refused batch was stored");
    // And the store goes on.
    store
        .create_conversations(&[second.labelled("two", at(60))], at(2))
        .await
        .expect("made");
    assert!(store.create_conversations(&[], at(3)).await.is_ok());
}

pub(crate) async fn label_is_taken_until_its_conversation_is_closed(backend: &impl Backend) {
    let store = backend.open().await;
    let (first, second) = (Pair::random(), Pair::random());
    store
        .create_conversations(&[first.labelled("api", at(60))], at(0))
        .await
        .expect("made");
    // Expired is not closed: renewing may bring it back.
    let error = store
        .create_conversations(&[second.labelled("api", at(9_000))], at(100))
        .await
        .expect_err("taken");
    assert_eq!(error.class(), ErrorClass::Input);
    store
        .close_conversation(&first.id, at(101))
        .await
        .expect("closed");
    store
        .create_conversations(&[second.labelled("api", at(9_000))], at(102))
        .await
        .expect("free again");
    let shown = store.conversation(&first.id).await.expect("still there");
    assert_eq!(shown.label.expect("keeps its name").as_str(), "api");
}

pub(crate) async fn label_is_free_after_its_conversation_was_pruned(backend: &impl Backend) {
    let store = backend.open().await;
    let (first, second) = (Pair::random(), Pair::random());
    store
        .create_conversations(&[first.labelled("api", at(60))], at(0))
        .await
        .expect("made");
    backend.foreign(&format!(
        "DELETE FROM conversations WHERE id = '{}'",
        first.id
    ));
    store
        .create_conversations(&[second.labelled("api", at(60))], at(1))
        .await
        .expect("the label is free again");
}

pub(crate) async fn listing_and_showing(backend: &impl Backend) {
    let store = backend.open().await;
    let (old, new) = (Pair::random(), Pair::random());
    store
        .create_conversations(&[new.labelled("new", at(500))], at(10))
        .await
        .expect("made");
    store
        .create_conversations(&[old.wanted(at(100))], at(5))
        .await
        .expect("made");
    say(&store, &new.a, "hello", at(20)).await;
    say(&store, &new.b, "hello yourself", at(21)).await;
    let fetched = store.fetch(&new.b, 10, at(22)).await.expect("fetched");
    let owed = store.conversation(&new.id).await.expect("shown").unread;
    assert_eq!(owed, 2, "what was not confirmed may not have arrived");
    let fetch = fetched.id.expect("something");
    let confirmed = store.fetch_written(&new.b.session, &fetch, at(23)).await;
    confirmed.expect("confirmed");
    let all = store.conversations().await.expect("listed");
    let ids: Vec<_> = all.iter().map(|c| &c.id).collect();
    assert_eq!(ids, [&old.id, &new.id], "oldest first");
    let shown = store.conversation(&new.id).await.expect("shown");
    assert_eq!(Some(&shown), all.get(1));
    assert_eq!((shown.messages, shown.unread), (2, 1));
    assert_eq!(shown.created_at, Some(at(10)));
    assert_eq!(shown.expires_at, Some(at(500)));
    assert_eq!((&*shown.role_a, &*shown.role_b), ("orchestrator", "worker"));
    assert_eq!(shown.state(at(499)), ConversationState::Open);
    assert_eq!(shown.state(at(500)), ConversationState::Expired);
    let missing = store.conversation(&Pair::random().id).await;
    let error = missing.expect_err("there is none");
    assert!(matches!(error, StoreError::NoConversation(..)));
    assert!(error.to_string().contains(&backend.name()), "{error}");
}

pub(crate) async fn verify_answers_in_the_order_of_the_question(backend: &impl Backend) {
    let store = backend.open().await;
    let pairs = crate::common::store::pairs(&store, 4, at(0)).await;
    let [good, wrong, expired, closed] = &pairs[..] else {
        unreachable!()
    };
    backend.foreign(&format!(
        "UPDATE conversations SET expires_at = '2025-11-13T02:13:20' WHERE id = '{}'",
        expired.id
    ));
    store
        .close_conversation(&closed.id, at(1))
        .await
        .expect("closed");
    let missing = Pair::random();
    let other_side = Caller {
        session: good.b.session.clone(),
        token: good.a.token.clone(),
    };
    let other_user = Caller {
        session: wrong.a.session.clone(),
        token: missing.a.token.clone(),
    };
    let callers = [
        missing.a.clone(),
        good.b.clone(),
        other_side,
        expired.a.clone(),
        other_user,
        closed.b.clone(),
        good.a.clone(),
    ];
    let now = at(60);
    let answers = store.verify(&callers, now).await.expect("answered");
    assert_eq!(answers.len(), callers.len());
    assert!(matches!(&answers[0], Err(StoreError::NoConversation(id, _)) if *id == missing.id));
    let verified = answers[1].as_ref().expect("good");
    assert_eq!(
        (&*verified.role, &*verified.partner_role),
        ("worker", "orchestrator")
    );
    assert!(verified.expires_at > now);
    assert!(matches!(&answers[2], Err(StoreError::WrongToken(key)) if *key == good.b.session));
    let Err(error @ StoreError::Expired { expired_at, .. }) = &answers[3] else {
        panic!("{:?}", answers[3]);
    };
    assert_eq!(*expired_at, at(0) - SignedDuration::from_secs(0));
    assert!(error.to_string().contains("1 minute ago"), "{error}");
    assert!(matches!(answers[4], Err(StoreError::WrongToken(_))));
    assert!(matches!(&answers[5], Err(StoreError::Closed(id)) if *id == closed.id));
    let verified = answers[6].as_ref().expect("good");
    assert_eq!(verified.role, "orchestrator");
    // A caller with the wrong token learns nothing else, not even that it is over.
    for over in [expired, closed] {
        let stranger = Caller {
            session: over.a.session.clone(),
            token: good.a.token.clone(),
        };
        let answers = store.verify(&[stranger], now).await.expect("answered");
        assert!(matches!(answers[0], Err(StoreError::WrongToken(_))));
    }
    assert!(store.verify(&[], now).await.expect("answered").is_empty());
    // Verifying is no activity.
    let mail = store
        .mail(std::slice::from_ref(&good.a.session))
        .await
        .expect("looked");
    assert_eq!(mail[0].acted_at, None);
}

pub(crate) async fn hashed_and_plain_tokens_both_verify(backend: &impl Backend) {
    let store = backend.open().await;
    let column = |pair: &Pair| {
        backend
            .foreign(&format!(
                "SELECT session_a_token FROM conversations WHERE id = '{}'",
                pair.id
            ))
            .remove(0)
    };
    let hashed = pair(&store, at(0)).await;
    assert_ne!(column(&hashed), hashed.a.token.expose());
    assert_ne!(column(&hashed).len(), 64, "it could pass for a token");
    store
        .set_token_storage(TokenStorage::Plain)
        .await
        .expect("set");
    let plain = pair(&store, at(0)).await;
    assert_eq!(column(&plain), plain.a.token.expose());
    store
        .set_token_storage(TokenStorage::Hashed)
        .await
        .expect("set");
    let hashed_again = pair(&store, at(0)).await;
    assert_ne!(column(&hashed_again).len(), 64);
    for pair in [&hashed, &plain, &hashed_again] {
        let answers = store
            .verify(&[pair.a.clone(), pair.b.clone()], at(1))
            .await
            .expect("answered");
        assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    }
}

pub(crate) async fn a_stored_digest_is_no_token(backend: &impl Backend) {
    let store = backend.open().await;
    let pair = pair(&store, at(0)).await;
    let stored = backend
        .foreign(&format!(
            "SELECT session_b_token FROM conversations WHERE id = '{}'",
            pair.id
        ))
        .remove(0);
    let digest = &stored[stored.len() - 64..];
    let thief = Caller {
        session: pair.b.session.clone(),
        token: Token::parse(digest).expect("it looks like one"),
    };
    let answers = store.verify(&[thief], at(1)).await.expect("answered");
    assert!(matches!(answers[0], Err(StoreError::WrongToken(_))));
}

pub(crate) async fn renewing_never_shortens(backend: &impl Backend) {
    let store = backend.open().await;
    let pair = Pair::random();
    store
        .create_conversations(&[pair.wanted(at(100))], at(0))
        .await
        .expect("made");
    let renew = async |until| {
        store
            .renew_conversation(&pair.id, until, at(1))
            .await
            .expect("renewed")
    };
    assert_eq!(renew(at(50)).await, at(100), "earlier");
    assert_eq!(renew(at(100)).await, at(100), "the same");
    assert_eq!(renew(at(5_000)).await, at(5_000), "later");
    let shown = store.conversation(&pair.id).await.expect("shown");
    assert_eq!(shown.expires_at, Some(at(5_000)));
    let missing = store
        .renew_conversation(&Pair::random().id, at(9), at(1))
        .await;
    assert!(matches!(missing, Err(StoreError::NoConversation(..))));
}

pub(crate) async fn renewing_reads_ends_that_others_wrote(backend: &impl Backend) {
    let store = backend.open().await;
    let pair = pair(&store, at(0)).await;
    // at(0) is 2025-11-13T02:13:20. With a space for the T, a text sorts before
    // every time of its day.
    for (written, until, holds) in [
        ("2025-11-13 20:00:00", at(60), "2025-11-13T20:00:00Z"),
        ("2025-11-13T20:00:00Z", at(60), "2025-11-13T20:00:00Z"),
        ("2025-11-13T20:00:00+02:00", at(60), "2025-11-13T18:00:00Z"),
        ("2025-11-13 02:00:00", at(60), "2025-11-13T02:14:20Z"),
        ("whenever", at(60), "2025-11-13T02:14:20Z"),
    ] {
        backend.foreign(&format!(
            "UPDATE conversations SET expires_at = '{written}' WHERE id = '{}'",
            pair.id
        ));
        let end = store
            .renew_conversation(&pair.id, until, at(1))
            .await
            .expect("renewed");
        let holds: Timestamp = holds.parse().expect("a time");
        assert_eq!(end, holds, "{written}");
        let shown = store.conversation(&pair.id).await.expect("shown");
        assert_eq!(shown.expires_at, Some(holds), "{written}");
    }
    backend.foreign(&format!(
        "UPDATE conversations SET expires_at = '2025-11-13 20:00:00' WHERE id = '{}'",
        pair.id
    ));
    store
        .close_conversation(&pair.id, at(2))
        .await
        .expect("closed");
    let shown = store.conversation(&pair.id).await.expect("shown");
    assert_eq!(shown.expires_at, Some(at(2)), "open to the Python bridge");
}

pub(crate) async fn renewing_reopens_what_expired(backend: &impl Backend) {
    let store = backend.open().await;
    let pair = Pair::random();
    store
        .create_conversations(&[pair.wanted(at(100))], at(0))
        .await
        .expect("made");
    let error = store.fetch(&pair.b, 10, at(100)).await.expect_err("over");
    assert_eq!(error.class(), ErrorClass::Denied);
    assert!(error.to_string().contains("conversation renew"), "{error}");
    store
        .renew_conversation(&pair.id, at(300), at(200))
        .await
        .expect("renewed");
    assert!(store.fetch(&pair.b, 10, at(200)).await.is_ok());
}

pub(crate) async fn closing_is_for_good_and_for_everyone(backend: &impl Backend) {
    let store = backend.open().await;
    let pair = pair(&store, at(0)).await;
    say(&store, &pair.a, "hello", at(1)).await;
    store
        .close_conversation(&pair.id, at(2))
        .await
        .expect("closed");
    let shown = store.conversation(&pair.id).await.expect("shown");
    assert_eq!(shown.closed_at, Some(at(2)));
    assert_eq!(shown.state(at(2)), ConversationState::Closed);
    // The Python bridge refuses what has expired.
    assert_eq!(shown.expires_at, Some(at(2)));
    let closed = |error: &StoreError| matches!(error, StoreError::Closed(id) if *id == pair.id);
    let error = store
        .renew_conversation(&pair.id, at(9_000), at(3))
        .await
        .expect_err("closed");
    assert!(closed(&error), "{error}");
    let error = store
        .close_conversation(&pair.id, at(3))
        .await
        .expect_err("closed");
    assert!(closed(&error), "{error}");
    let error = store.fetch(&pair.b, 10, at(1)).await.expect_err("closed");
    assert!(closed(&error), "{error}");
    let missing = store.close_conversation(&Pair::random().id, at(3)).await;
    assert!(matches!(missing, Err(StoreError::NoConversation(..))));
    // One that expired long ago keeps its own end.
    let old = Pair::random();
    store
        .create_conversations(&[old.wanted(at(10))], at(0))
        .await
        .expect("made");
    store
        .close_conversation(&old.id, at(500))
        .await
        .expect("closed");
    let shown = store.conversation(&old.id).await.expect("shown");
    assert_eq!(shown.expires_at, Some(at(10)));
}

pub(crate) async fn odd_rows_stop_no_session(backend: &impl Backend) {
    let store = backend.open().await;
    let good = pair(&store, at(0)).await;
    backend.foreign(
        "INSERT INTO conversations VALUES ('not an id', 'x', 'y', 't', 't', 'never', 'never')",
    );
    let odd = Pair::random();
    backend.foreign(&format!(
        "INSERT INTO conversations VALUES ('{}', x'ff00', x'fe', x'ff', x'', 'soon', 'later')",
        odd.id
    ));
    let listed = store.conversations().await.expect("listed");
    assert!(listed.iter().any(|c| c.id == good.id));
    let shown = store.conversation(&odd.id).await.expect("shown");
    assert_eq!((shown.created_at, shown.expires_at), (None, None));
    let answers = store
        .verify(&[odd.a.clone(), good.a.clone()], at(1))
        .await
        .expect("answered");
    assert!(answers[0].is_err(), "an unreadable token was accepted");
    assert!(answers[1].is_ok());
    assert!(store.sessions(at(0)).await.is_ok());
    // An end that cannot be read has passed.
    backend.foreign(&format!(
        "UPDATE conversations SET expires_at = 'whenever' WHERE id = '{}'",
        good.id
    ));
    let answers = store
        .verify(std::slice::from_ref(&good.a), at(1))
        .await
        .expect("answered");
    assert!(matches!(answers[0], Err(StoreError::Expired { .. })));
}

pub(crate) async fn a_label_can_be_changed(backend: &impl Backend) {
    let store = backend.open().await;
    let (first, second) = (Pair::random(), Pair::random());
    store
        .create_conversations(
            &[first.wanted(at(60)), second.labelled("taken", at(60))],
            at(0),
        )
        .await
        .expect("made");
    let label = |text: &str| text.parse().expect("a label");
    let change = async |name: &str| {
        store
            .label_conversation(&first.id, &label(name), at(1))
            .await
    };
    let named = async || {
        let shown = store.conversation(&first.id).await.expect("there");
        shown.label.map(|label| label.to_string())
    };
    change("one").await.expect("named");
    change("one").await.expect("its own name again");
    change("two").await.expect("renamed");
    assert_eq!(named().await.as_deref(), Some("two"));
    let error = change("taken").await.expect_err("another's");
    assert!(matches!(error, StoreError::LabelTaken(_)), "{error}");
    assert_eq!(named().await.as_deref(), Some("two"), "unchanged");
    store
        .close_conversation(&second.id, at(2))
        .await
        .expect("closed");
    change("taken").await.expect("free again");
    store
        .close_conversation(&first.id, at(3))
        .await
        .expect("closed");
    let error = change("late").await.expect_err("closed");
    assert!(matches!(error, StoreError::Closed(_)), "{error}");
}

pub(crate) async fn only_plain_tokens_can_be_read(backend: &impl Backend) {
    let store = backend.open().await;
    let (hashed, plain) = (Pair::random(), Pair::random());
    for (pair, storage) in [
        (&hashed, TokenStorage::Hashed),
        (&plain, TokenStorage::Plain),
    ] {
        store.set_token_storage(storage).await.expect("set");
        let kept = store
            .create_conversations(&[pair.wanted(at(60))], at(0))
            .await
            .expect("made");
        assert_eq!(kept, storage);
    }
    let none = store.plain_tokens(&hashed.id).await.expect("read");
    assert!(none.is_none());
    let [a, b] = store
        .plain_tokens(&plain.id)
        .await
        .expect("read")
        .expect("in the clear");
    assert_eq!(a.expose(), plain.a.token.expose());
    assert_eq!(b.expose(), plain.b.token.expose());
}
