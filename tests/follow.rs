//! Following mail: where it begins.

use std::sync::Arc;
use std::time::Duration;

use mcp_bridge::cli::follow::{Begin, Following, follow};
use mcp_bridge::clock;
use mcp_bridge::doorbell::Mode;
use mcp_bridge::model::message::Draft;
use mcp_bridge::model::rate::RateLimits;
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
    // Sent is as often as it takes.
    let limits = RateLimits {
        per_minute: 1_000_000,
        per_hour: 1_000_000,
        per_day: 1_000_000,
    };
    store.set_rate_limits(limits).await.expect("set");
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
    // Whatever comes before it listens is old, too: the first line that comes
    // says that it does.
    let first = loop {
        send("first").await;
        match timeout(Duration::from_millis(100), lines.recv()).await {
            Ok(line) => break line,
            Err(_) => assert!(!follower.is_finished(), "it ended"),
        }
    };
    assert_eq!(first.as_deref(), Some("first"));
    // Many looks long, nothing comes but what is sent now.
    for number in 0..50 {
        let new = format!("new {number}");
        send(&new).await;
        loop {
            let line = timeout(Duration::from_secs(60), lines.recv()).await;
            let line = line.expect("in time").expect("it goes on");
            assert_ne!(line, "old");
            if line == new {
                break;
            }
            // Sent before it was known to listen.
            assert_eq!(line, "first");
        }
    }
    follower.abort();
}
