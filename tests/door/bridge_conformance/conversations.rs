//! Conversations: made, found, renewed, closed, and who may use them.

use jiff::SignedDuration;
use mcp_bridge::clock;
use mcp_bridge::model::session::ConversationState;
use mcp_bridge::model::token::TokenStorage;
use mcp_bridge::store::{Caller, ErrorClass, StoreError};

use super::site::{Pair, Site, draft, in_hours, pair, pairs, past, say};

pub(crate) async fn all_conversations_are_made_or_none(site: &Site) {
    let bridge = site.bridge().await;
    let (first, second, third) = (Pair::random(), Pair::random(), Pair::random());
    let made = bridge.create_conversations(&[first.labelled("one")]).await;
    made.expect("made");
    let both = [second.labelled("two"), third.labelled("one")];
    let error = bridge.create_conversations(&both).await;
    let error = error.expect_err("the label is taken");
    assert!(matches!(&error, StoreError::LabelTaken(label) if label.as_str() == "one"));
    assert!(error.to_string().contains("`one`"), "{error}");
    let left = bridge.conversations().await.expect("listed");
    assert_eq!(left.len(), 1, "half of a refused batch was stored");
    let made = bridge.create_conversations(&both[..1]).await;
    made.expect("the store goes on");
    let again = bridge
        .create_conversations(&[second.wanted(in_hours(1))])
        .await;
    let again = again.expect_err("the id is taken");
    assert!(matches!(again, StoreError::IdTaken(_)), "{again}");
    assert!(bridge.create_conversations(&[]).await.is_ok());
}

pub(crate) async fn label_is_taken_until_its_conversation_is_closed(site: &Site) {
    let bridge = site.bridge().await;
    let (first, second) = (Pair::random(), Pair::random());
    let made = bridge.create_conversations(&[first.labelled("api")]).await;
    made.expect("made");
    let second = [second.labelled("api")];
    let error = bridge.create_conversations(&second).await;
    assert_eq!(error.expect_err("taken").class(), ErrorClass::Input);
    let closed = bridge.close_conversation(&first.id).await;
    closed.expect("closed");
    let made = bridge.create_conversations(&second).await;
    made.expect("free again");
    let shown = bridge.conversation(&first.id).await.expect("still there");
    assert_eq!(shown.label.expect("keeps its name").as_str(), "api");
}

pub(crate) async fn listing_and_showing(site: &Site) {
    let (bridge, elsewhere) = site.two().await;
    let end = in_hours(2);
    let pair = Pair::random();
    let mut wanted = pair.labelled("work");
    wanted.expires_at = end;
    bridge.create_conversations(&[wanted]).await.expect("made");
    say(&bridge, &pair.a, "hello").await;
    let listed = elsewhere.conversations().await.expect("listed");
    let shown = elsewhere.conversation(&pair.id).await.expect("shown");
    assert_eq!(listed, std::slice::from_ref(&shown));
    assert_eq!(
        (shown.role_a.as_str(), shown.role_b.as_str()),
        ("orchestrator", "worker")
    );
    assert_eq!((shown.expires_at, shown.messages), (Some(end), 1));
    assert_eq!(shown.state(clock::now()), ConversationState::Open);
    let none = elsewhere.conversation(&Pair::random().id).await;
    assert!(matches!(none, Err(StoreError::NoConversation(..))));
}

pub(crate) async fn renewing_never_shortens(site: &Site) {
    let bridge = site.bridge().await;
    let pair = pair(&bridge).await;
    let later = bridge.renew_conversation(&pair.id, in_hours(9));
    let later = later.await.expect("renewed");
    let sooner = bridge.renew_conversation(&pair.id, in_hours(1)).await;
    assert_eq!(sooner.expect("asked"), later);
    let shown = bridge.conversation(&pair.id).await.expect("shown");
    assert_eq!(shown.expires_at, Some(later));
}

pub(crate) async fn renewing_reopens_what_expired(site: &Site) {
    let bridge = site.bridge().await;
    let pair = Pair::random();
    let end = clock::now() + SignedDuration::from_millis(1_100);
    let wanted = [pair.wanted(end)];
    bridge.create_conversations(&wanted).await.expect("made");
    past(end).await;
    let late = bridge.send(&pair.a, &[draft("late")]).await;
    let late = late.expect_err("expired");
    assert!(matches!(late, StoreError::Expired { .. }), "{late}");
    let renewed = bridge.renew_conversation(&pair.id, in_hours(1)).await;
    renewed.expect("renewed");
    say(&bridge, &pair.a, "in time").await;
}

pub(crate) async fn closing_is_for_good_and_for_everyone(site: &Site) {
    let (bridge, elsewhere) = site.two().await;
    let pair = pair(&bridge).await;
    say(&elsewhere, &pair.a, "before").await;
    let closed = bridge.close_conversation(&pair.id).await;
    closed.expect("closed");
    for caller in [&pair.a, &pair.b] {
        let error = elsewhere.fetch(caller, 9).await.expect_err("closed");
        assert!(matches!(error, StoreError::Closed(_)), "{error}");
    }
    let error = elsewhere.renew_conversation(&pair.id, in_hours(9)).await;
    assert!(matches!(error, Err(StoreError::Closed(_))), "{error:?}");
    let again = elsewhere.close_conversation(&pair.id).await;
    assert!(matches!(again, Err(StoreError::Closed(_))), "{again:?}");
    let nowhere = elsewhere.close_conversation(&Pair::random().id).await;
    assert!(matches!(nowhere, Err(StoreError::NoConversation(..))));
}

pub(crate) async fn a_label_can_be_changed(site: &Site) {
    let (bridge, elsewhere) = site.two().await;
    let (first, second) = (Pair::random(), Pair::random());
    let both = [first.labelled("one"), second.labelled("two")];
    bridge.create_conversations(&both).await.expect("made");
    let label = |text: &str| text.parse().expect("a label");
    let taken = bridge.label_conversation(&first.id, &label("two")).await;
    assert!(matches!(taken, Err(StoreError::LabelTaken(_))), "{taken:?}");
    let changed = bridge.label_conversation(&first.id, &label("three")).await;
    changed.expect("changed");
    let free = elsewhere
        .label_conversation(&second.id, &label("one"))
        .await;
    free.expect("free again");
    let shown = elsewhere.conversation(&first.id).await.expect("shown");
    assert_eq!(shown.label, Some(label("three")));
    bridge.close_conversation(&first.id).await.expect("closed");
    let closed = bridge.label_conversation(&first.id, &label("four")).await;
    assert!(matches!(closed, Err(StoreError::Closed(_))), "{closed:?}");
}

pub(crate) async fn only_plain_tokens_can_be_read(site: &Site) {
    let (bridge, elsewhere) = site.two().await;
    let hashed = pair(&bridge).await;
    let none = bridge.plain_tokens(&hashed.id).await.expect("asked");
    assert!(none.is_none(), "a digest is no token");
    let plain = TokenStorage::Plain;
    bridge.set_token_storage(plain).await.expect("set");
    assert_eq!(elsewhere.token_storage().await.expect("read"), plain);
    let new = Pair::random();
    let kept = elsewhere
        .create_conversations(&[new.wanted(in_hours(1))])
        .await;
    assert_eq!(kept.expect("made"), plain);
    let tokens = elsewhere.plain_tokens(&new.id).await.expect("asked");
    let tokens = tokens.expect("they are kept in the clear");
    assert_eq!(tokens[0].expose(), new.a.token.expose());
    assert_eq!(tokens[1].expose(), new.b.token.expose());
}

pub(crate) async fn verify_answers_in_the_order_of_the_question(site: &Site) {
    let bridge = site.bridge().await;
    let pairs = pairs(&bridge, 2).await;
    let swapped = Caller {
        session: pairs[0].a.session.clone(),
        token: pairs[0].b.token.clone(),
    };
    let unknown = Pair::random().b;
    let asked = [
        pairs[1].b.clone(),
        swapped.clone(),
        unknown,
        pairs[0].a.clone(),
    ];
    let answers = bridge.verify(&asked).await.expect("asked");
    let good = answers[0].as_ref().expect("right");
    assert_eq!(
        (good.role.as_str(), good.partner_role.as_str()),
        ("worker", "orchestrator")
    );
    assert!(matches!(&answers[1], Err(StoreError::WrongToken(key)) if *key == swapped.session));
    assert!(matches!(&answers[2], Err(StoreError::NoConversation(..))));
    assert!(answers[3].is_ok());
    assert!(bridge.verify(&[]).await.expect("asked").is_empty());
}
