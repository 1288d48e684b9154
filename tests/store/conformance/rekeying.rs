//! A session gets another token: what it had ends, and everything else goes on.

use mcp_bridge::model::Side;
use mcp_bridge::model::token::{Token, TokenStorage};
use mcp_bridge::store::{AuditEntry, AuditFilter, Caller, Store, StoreError};

use super::Backend;
use crate::common::store::{Pair, at, pair, receive, say};

/// The same session with a token that it does not have yet.
fn with_another_token(caller: &Caller, seed: u8) -> Caller {
    Caller {
        session: caller.session.clone(),
        token: Token::generate(&caller.session, &[seed; 32]),
    }
}

/// What the log says of tokens.
async fn noted(store: &Store, pair: &Pair) -> Vec<AuditEntry> {
    let filter = AuditFilter {
        conversation: Some(pair.id.clone()),
        limit: 100,
        ..Default::default()
    };
    let mut entries = store.audit(&filter).await.expect("read");
    entries.retain(|entry| entry.action == "rekey_session");
    entries
}

fn is_wrong(error: &StoreError, caller: &Caller) -> bool {
    matches!(error, StoreError::WrongToken(session) if *session == caller.session)
}

pub(crate) async fn the_old_token_ends_at_once(backend: &impl Backend) {
    // A second program on the same store: no part of it remembers a token.
    let (store, elsewhere) = (backend.open().await, backend.open().await);
    let pair = pair(&store, at(0)).await;
    say(&store, &pair.a, "before", at(1)).await;
    let both = [pair.a.clone(), pair.b.clone()];
    let before = elsewhere.verify(&both, at(1)).await.expect("asked");
    assert!(before.iter().all(Result::is_ok), "{before:?}");
    let new = with_another_token(&pair.b, 1);
    let kept = store
        .rekey_session(&new.session, Some(&pair.b.token), &new.token, at(2))
        .await
        .expect("rekeyed");
    assert_eq!(kept, TokenStorage::Hashed);
    for store in [&store, &elsewhere] {
        let error = store.fetch(&pair.b, 9, at(2)).await.expect_err("ended");
        assert!(is_wrong(&error, &pair.b), "{error}");
        let after = store.verify(&both, at(2)).await.expect("asked");
        assert!(after[0].is_ok(), "the other side is as it was");
        assert!(matches!(&after[1], Err(error) if is_wrong(error, &pair.b)));
    }
    // The session goes on: its mail is its own, and its partner is heard.
    say(&store, &pair.a, "after", at(3)).await;
    let got = receive(&elsewhere, &new, at(3)).await;
    assert_eq!(got, ["before", "after"]);
    // What ended does not come back, and rekeys nothing.
    let again = store
        .rekey_session(&new.session, Some(&pair.b.token), &pair.b.token, at(4))
        .await;
    assert!(matches!(&again, Err(error) if is_wrong(error, &pair.b)));
    assert!(store.fetch(&new, 9, at(4)).await.is_ok());
    let noted = noted(&store, &pair).await;
    assert_eq!(noted.len(), 1, "a refused one is none: {noted:?}");
    let session = noted[0].session.as_deref();
    assert_eq!(session, Some(Side::B.as_str()), "{noted:?}");
    assert_eq!(noted[0].details["storage"], "hashed");
    let text = noted[0].details.to_string();
    assert!(!text.contains(new.token.expose()), "{text}");
}

pub(crate) async fn an_operator_needs_no_token(backend: &impl Backend) {
    let store = backend.open().await;
    let pair = pair(&store, at(0)).await;
    let new = with_another_token(&pair.a, 2);
    store
        .rekey_session(&new.session, None, &new.token, at(1))
        .await
        .expect("rekeyed");
    let asked = [pair.a.clone(), new.clone(), pair.b.clone()];
    let answers = store.verify(&asked, at(1)).await.expect("asked");
    assert!(matches!(&answers[0], Err(error) if is_wrong(error, &pair.a)));
    assert!(answers[1].is_ok() && answers[2].is_ok(), "{answers:?}");
    let noted = noted(&store, &pair).await;
    assert!(noted[0].details["by"]["uid"].is_u64(), "{noted:?}");
}

pub(crate) async fn one_side_s_token_rekeys_no_other_side(backend: &impl Backend) {
    let store = backend.open().await;
    let pair = pair(&store, at(0)).await;
    let new = with_another_token(&pair.b, 3);
    let error = store
        .rekey_session(&new.session, Some(&pair.a.token), &new.token, at(1))
        .await
        .expect_err("it is the other side's");
    assert!(is_wrong(&error, &pair.b), "{error}");
    assert!(store.fetch(&pair.b, 9, at(1)).await.is_ok());
}

pub(crate) async fn only_open_conversations_are_rekeyed(backend: &impl Backend) {
    let store = backend.open().await;
    let expired = Pair::random();
    store
        .create_conversations(&[expired.wanted(at(60))], at(0))
        .await
        .expect("made");
    let closed = pair(&store, at(0)).await;
    store
        .close_conversation(&closed.id, at(1))
        .await
        .expect("closed");
    for presents in [true, false] {
        let rekey = async |caller: &Caller| {
            let new = with_another_token(caller, 4);
            let presented = presents.then_some(&caller.token);
            store
                .rekey_session(&caller.session, presented, &new.token, at(60))
                .await
                .expect_err("ended")
        };
        let error = rekey(&expired.b).await;
        assert!(matches!(error, StoreError::Expired { .. }), "{error}");
        let error = rekey(&closed.b).await;
        assert!(matches!(error, StoreError::Closed(_)), "{error}");
        let error = rekey(&Pair::random().b).await;
        assert!(matches!(error, StoreError::NoConversation(..)), "{error}");
    }
    // A token that is wrong learns nothing of the end.
    let new = with_another_token(&closed.b, 5);
    let error = store
        .rekey_session(&new.session, Some(&new.token), &new.token, at(60))
        .await
        .expect_err("wrong");
    assert!(is_wrong(&error, &closed.b), "{error}");
}

pub(crate) async fn new_token_has_the_stores_token_form(backend: &impl Backend) {
    let store = backend.open().await;
    let pair = pair(&store, at(0)).await;
    let column = || {
        let sql = format!(
            "SELECT session_b_token FROM conversations WHERE id = '{}'",
            pair.id
        );
        backend.foreign(&sql).remove(0)
    };
    let mut held = pair.b.clone();
    for (seed, storage) in [(6, TokenStorage::Plain), (7, TokenStorage::Hashed)] {
        store.set_token_storage(storage).await.expect("set");
        assert_eq!(store.token_storage().await.expect("read"), storage);
        let new = with_another_token(&held, seed);
        let kept = store
            .rekey_session(&new.session, Some(&held.token), &new.token, at(1))
            .await
            .expect("rekeyed");
        assert_eq!(kept, storage);
        assert_eq!(column(), new.token.stored(storage));
        assert!(store.fetch(&new, 9, at(1)).await.is_ok());
        held = new;
    }
}

pub(crate) async fn one_of_two_concurrent_rekeys_succeeds(backend: &impl Backend) {
    let (store, elsewhere) = (backend.open().await, backend.open().await);
    let pair = pair(&store, at(0)).await;
    let new = [8, 9].map(|seed| with_another_token(&pair.b, seed));
    let old = Some(&pair.b.token);
    let (first, second) = tokio::join!(
        store.rekey_session(&pair.b.session, old, &new[0].token, at(1)),
        elsewhere.rekey_session(&pair.b.session, old, &new[1].token, at(1)),
    );
    assert_eq!([&first, &second].iter().filter(|r| r.is_ok()).count(), 1);
    let answers = store.verify(&new, at(2)).await.expect("asked");
    assert_eq!(answers[0].is_ok(), first.is_ok());
    assert_eq!(answers[1].is_ok(), second.is_ok());
}
