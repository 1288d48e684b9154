//! Following mail: where it begins.

use std::sync::Arc;
use std::time::Duration;

use mcp_bridge::cli::follow::{Begin, Following, follow};
use mcp_bridge::clock;
use mcp_bridge::doorbell::Mode;
use mcp_bridge::model::message::Draft;
use mcp_bridge::model::token::Token;
use mcp_bridge::model::{ConversationId, SessionKey, Side};
use mcp_bridge::store::sqlite::{Create, SqliteStore};
use mcp_bridge::store::{Caller, NewConversation, SharedStore};
use tokio::sync::mpsc;
use tokio::time::timeout;

#[tokio::test(flavor = "multi_thread")]
async fn from_now_on_shows_no_old_mail_at_a_full_look_either() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("bridge.db");
    let store = SqliteStore::open(&path, Create::Yes).await.expect("made");
    let store: SharedStore = Arc::new(store);
    let id = ConversationId::from_random([7; 8]);
    let [a, b] = Side::BOTH.map(|side| {
        let session = SessionKey::new(id.clone(), side);
        let token = Token::generate(&session, &[9; 32]);
        Caller { session, token }
    });
    let conversation = NewConversation {
        id,
        label: None,
        role_a: "a".into(),
        role_b: "b".into(),
        token_a: a.token.clone(),
        token_b: b.token.clone(),
        expires_at: clock::now() + jiff::SignedDuration::from_hours(1),
    };
    store
        .create_conversations(&[conversation], clock::now())
        .await
        .expect("made");
    let send = async |text: &str| {
        let draft = Draft::text(text.parse().expect("a body"));
        store.send(&a, &[draft], clock::now()).await.expect("sent");
    };
    send("old").await;

    let (shown, mut lines) = mpsc::unbounded_channel();
    let following = Following {
        begin: Begin::Now,
        mode: Mode::Events,
        full_look: Duration::from_millis(1),
    };
    let (follower, callers) = (Arc::clone(&store), [b]);
    let follower = tokio::spawn(async move {
        let sink = Box::new(move |message: &mcp_bridge::model::message::Message| {
            let _ = shown.send(message.message.clone());
            Ok(())
        });
        follow(&follower, &callers, following, sink).await
    });
    // Many full looks long, nothing comes.
    let early = timeout(Duration::from_millis(300), lines.recv()).await;
    assert!(early.is_err(), "{early:?}");
    send("new").await;
    let line = timeout(Duration::from_secs(30), lines.recv()).await;
    assert_eq!(line.expect("in time").as_deref(), Some("new"));
    follower.abort();
}
