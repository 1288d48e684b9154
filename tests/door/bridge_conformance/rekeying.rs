//! A session gets another token: what it had ends, and everything else goes on.

use jiff::SignedDuration;
use mcp_bridge::bridge::Bridge;
use mcp_bridge::clock;
use mcp_bridge::model::Side;
use mcp_bridge::model::token::{Token, TokenStorage};
use mcp_bridge::store::{AuditEntry, AuditFilter, Caller, StoreError};

use super::site::{Pair, Site, pair, past, receive, say};

/// What the log says of tokens.
async fn noted(bridge: &Bridge, pair: &Pair) -> Vec<AuditEntry> {
    let filter = AuditFilter {
        conversation: Some(pair.id.clone()),
        limit: 100,
        ..AuditFilter::default()
    };
    let mut entries = bridge.events(&filter).await.expect("read");
    entries.retain(|entry| entry.action == "rekey_session");
    entries
}

fn is_wrong(error: &StoreError, caller: &Caller) -> bool {
    matches!(error, StoreError::WrongToken(session) if *session == caller.session)
}

pub(crate) async fn the_old_token_ends_at_once(site: &Site) {
    let (bridge, elsewhere) = site.two().await;
    let pair = pair(&bridge).await;
    say(&bridge, &pair.a, "before").await;
    let both = [pair.a.clone(), pair.b.clone()];
    let before = elsewhere.verify(&both).await.expect("asked");
    assert!(before.iter().all(Result::is_ok), "{before:?}");
    let new = pair.b_anew();
    let rekeyed = bridge.rekey_session(&new.session, Some(&pair.b.token), &new.token);
    assert_eq!(rekeyed.await.expect("rekeyed"), TokenStorage::Hashed);
    for bridge in [&bridge, &elsewhere] {
        let error = bridge.fetch(&pair.b, 9).await.expect_err("ended");
        assert!(is_wrong(&error, &pair.b), "{error}");
        let after = bridge.verify(&both).await.expect("asked");
        assert!(after[0].is_ok(), "the other side is as it was");
        assert!(matches!(&after[1], Err(error) if is_wrong(error, &pair.b)));
    }
    say(&bridge, &pair.a, "after").await;
    assert_eq!(receive(&elsewhere, &new).await, ["before", "after"]);
    // What ended does not come back, and rekeys nothing.
    let old = Some(&pair.b.token);
    let again = bridge.rekey_session(&new.session, old, &pair.b.token).await;
    assert!(matches!(&again, Err(error) if is_wrong(error, &pair.b)));
    let noted = noted(&bridge, &pair).await;
    assert_eq!(noted.len(), 1, "a refused one is none: {noted:?}");
    assert_eq!(noted[0].session.as_deref(), Some(Side::B.as_str()));
    let text = noted[0].details.to_string();
    assert!(!text.contains(new.token.expose()), "{text}");
}

pub(crate) async fn an_operator_needs_no_token(site: &Site) {
    let bridge = site.bridge().await;
    let pair = pair(&bridge).await;
    let new = pair.b_anew();
    let rekeyed = bridge.rekey_session(&new.session, None, &new.token).await;
    rekeyed.expect("rekeyed");
    let asked = [pair.b.clone(), new.clone(), pair.a.clone()];
    let answers = bridge.verify(&asked).await.expect("asked");
    assert!(matches!(&answers[0], Err(error) if is_wrong(error, &pair.b)));
    assert!(answers[1].is_ok() && answers[2].is_ok(), "{answers:?}");
    let noted = noted(&bridge, &pair).await;
    assert!(noted[0].details["by"]["uid"].is_u64(), "{noted:?}");
}

pub(crate) async fn one_side_s_token_rekeys_no_other_side(site: &Site) {
    let bridge = site.bridge().await;
    let pair = pair(&bridge).await;
    let new = pair.b_anew();
    let stolen = Some(&pair.a.token);
    let error = bridge.rekey_session(&new.session, stolen, &new.token).await;
    let error = error.expect_err("it is the other side's");
    assert!(is_wrong(&error, &pair.b), "{error}");
    assert!(bridge.fetch(&pair.b, 9).await.is_ok());
}

pub(crate) async fn only_open_conversations_are_rekeyed(site: &Site) {
    let bridge = site.bridge().await;
    let expired = Pair::random();
    let end = clock::now() + SignedDuration::from_millis(1_100);
    let made = bridge.create_conversations(&[expired.wanted(end)]).await;
    made.expect("made");
    let closed = pair(&bridge).await;
    bridge.close_conversation(&closed.id).await.expect("closed");
    past(end).await;
    for presents in [true, false] {
        let rekey = async |pair: &Pair| {
            let new = pair.b_anew();
            let presented: Option<&Token> = presents.then_some(&pair.b.token);
            let rekeyed = bridge.rekey_session(&new.session, presented, &new.token);
            rekeyed.await.expect_err("ended")
        };
        let error = rekey(&expired).await;
        assert!(matches!(error, StoreError::Expired { .. }), "{error}");
        let error = rekey(&closed).await;
        assert!(matches!(error, StoreError::Closed(_)), "{error}");
        let error = rekey(&Pair::random()).await;
        assert!(matches!(error, StoreError::NoConversation(..)), "{error}");
    }
    // A token that is wrong learns nothing of the end.
    let new = closed.b_anew();
    let wrong = bridge.rekey_session(&new.session, Some(&new.token), &new.token);
    let error = wrong.await.expect_err("wrong");
    assert!(is_wrong(&error, &closed.b), "{error}");
}

pub(crate) async fn one_of_two_concurrent_rekeys_succeeds(site: &Site) {
    let (bridge, elsewhere) = site.two().await;
    let pair = pair(&bridge).await;
    let new = [pair.b_anew(), pair.b_anew()];
    let old = Some(&pair.b.token);
    let (first, second) = tokio::join!(
        bridge.rekey_session(&pair.b.session, old, &new[0].token),
        elsewhere.rekey_session(&pair.b.session, old, &new[1].token),
    );
    let won = [&first, &second].iter().filter(|done| done.is_ok()).count();
    assert_eq!(won, 1);
    let answers = bridge.verify(&new).await.expect("asked");
    assert_eq!(answers[0].is_ok(), first.is_ok());
    assert_eq!(answers[1].is_ok(), second.is_ok());
}
