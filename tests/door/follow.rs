//! Following mail: where it begins, and that nothing is left out.

#![expect(
    clippy::expect_used,
    reason = "a test that cannot set up its case has nothing to say"
)]

use std::sync::Arc;
use std::time::Duration;

use mcp_bridge::bridge::{Begin, Bridge, Cursor};
use mcp_bridge::clock;
use mcp_bridge::model::message::{Draft, Message};
use mcp_bridge::model::rate::RateLimits;
use mcp_bridge::model::token::Token;
use mcp_bridge::model::{ConversationId, SessionKey, Side, timestamp};
use mcp_bridge::session::{Ended, Following, follow};
use mcp_bridge::store::sqlite::{Create, SqliteStore};
use mcp_bridge::store::{Caller, NewConversation, SharedStore};
use tokio::sync::mpsc::{self, UnboundedReceiver};
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// A store with a conversation in which as much is sent as it takes.
struct Site {
    _dir: tempfile::TempDir,
    store: SharedStore,
    a: Caller,
    b: Caller,
}

impl Site {
    async fn new() -> Self {
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
        let limits = RateLimits {
            per_minute: 1_000_000,
            per_hour: 1_000_000,
            per_day: 1_000_000,
        };
        store.set_rate_limits(limits).await.expect("set");
        Self {
            _dir: dir,
            store,
            a,
            b,
        }
    }

    fn bridge(&self) -> Bridge {
        Bridge::from(Arc::clone(&self.store))
    }

    async fn send(&self, texts: &[&str]) {
        let draft = |text: &&str| Draft::text(text.parse().expect("a body"));
        let drafts: Vec<Draft> = texts.iter().map(draft).collect();
        let sent = self.store.send(&self.a, &drafts, clock::now()).await;
        sent.expect("sent");
    }

    /// Follows `b`'s mail with a full look so often.
    fn follow(
        &self,
        begin: Begin,
        full_look: Duration,
    ) -> (JoinHandle<()>, UnboundedReceiver<String>) {
        let (shown, lines) = mpsc::unbounded_channel();
        let following = Following {
            begin,
            full_look,
            ..Following::default()
        };
        let (bridge, callers) = (self.bridge(), [self.b.clone()]);
        let follower = tokio::spawn(async move {
            let sink = Box::new(move |message: Message| {
                let _ = shown.send(message.message);
                Ok(())
            });
            let refused = Box::new(|_| {});
            let ended = follow(&bridge, &callers, following, sink, refused).await;
            ended.map(drop).expect("it follows");
        });
        (follower, lines)
    }
}

async fn next(lines: &mut UnboundedReceiver<String>) -> String {
    let line = timeout(Duration::from_secs(60), lines.recv()).await;
    line.expect("in time").expect("it goes on")
}

#[tokio::test(flavor = "multi_thread")]
async fn backlog_of_several_pages_comes_whole_and_once() {
    let site = Site::new().await;
    let old: Vec<String> = (0..350).map(|n| format!("old {n}")).collect();
    let texts: Vec<&str> = old.iter().map(String::as_str).collect();
    site.send(&texts).await;
    let (follower, mut lines) = site.follow(Begin::Unread, Duration::from_secs(3_600));
    for text in &old {
        assert_eq!(next(&mut lines).await, *text);
    }
    for number in 0..50 {
        let new = format!("new {number}");
        site.send(&[&new]).await;
        assert_eq!(next(&mut lines).await, new);
    }
    follower.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn following_from_now_shows_no_old_mail() {
    let site = Site::new().await;
    site.send(&["old"]).await;
    let (follower, mut lines) = site.follow(Begin::Now, Duration::from_millis(1));
    // All that comes before it listens is old, too: the first line that comes says that
    // it does.
    let first = loop {
        site.send(&["first"]).await;
        match timeout(Duration::from_millis(100), lines.recv()).await {
            Ok(line) => break line,
            Err(_) => assert!(!follower.is_finished(), "it ended"),
        }
    };
    assert_eq!(first.as_deref(), Some("first"));
    // Many looks long, nothing comes but what is sent now.
    for number in 0..50 {
        let new = format!("new {number}");
        site.send(&[&new]).await;
        loop {
            let line = next(&mut lines).await;
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

#[tokio::test(flavor = "multi_thread")]
async fn a_conversation_that_is_renewed_goes_on() {
    let site = Site::new().await;
    let id = &site.b.session.conversation;
    let soon = clock::now() + jiff::SignedDuration::from_secs(2);
    let (path, end) = (site.store.location().file(), timestamp::to_text(soon));
    rusqlite::Connection::open(path)
        .and_then(|store| store.execute("UPDATE conversations SET expires_at = ?1", [end]))
        .expect("its end is near");
    let (follower, mut lines) = site.follow(Begin::Unread, Duration::from_secs(3_600));
    site.send(&["before"]).await;
    assert_eq!(next(&mut lines).await, "before");
    let later = soon + jiff::SignedDuration::from_hours(1);
    let renewed = site.store.renew_conversation(id, later, clock::now()).await;
    renewed.expect("renewed");
    while clock::now() < soon + jiff::SignedDuration::from_millis(100) {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    site.send(&["after"]).await;
    assert_eq!(next(&mut lines).await, "after");
    assert!(!follower.is_finished());
    follower.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_time_limit_ends_a_following() {
    let site = Site::new().await;
    let following = Following {
        limit: Some(Duration::ZERO),
        ..Following::default()
    };
    let callers = [site.b.clone()];
    let (sink, refused) = (Box::new(|_| Ok(())), Box::new(|_| {}));
    let ended = follow(&site.bridge(), &callers, following, sink, refused).await;
    assert_eq!(ended.expect("it ends"), Ended::TimeUp);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_time_limit_lets_the_first_look_finish() {
    let site = Site::new().await;
    site.send(&["unread"]).await;
    let following = Following {
        limit: Some(Duration::ZERO),
        count: Some(1),
        ..Following::default()
    };
    let callers = [site.b.clone()];
    let (sink, refused) = (Box::new(|_| Ok(())), Box::new(|_| {}));
    let ended = follow(&site.bridge(), &callers, following, sink, refused).await;
    assert_eq!(ended.expect("it ends"), Ended::Counted);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cursor_resumes_a_following() {
    let site = Site::new().await;
    site.send(&["one", "two", "three"]).await;
    let unread = site.bridge().peek(&site.b, None, 2).await.expect("unread");
    let mut cursor = Cursor::default();
    for message in &unread {
        assert!(cursor.pass(message), "it is news");
        assert!(!cursor.pass(message), "it was news once");
    }
    let (follower, mut lines) = site.follow(Begin::After(cursor), Duration::from_millis(1));
    assert_eq!(next(&mut lines).await, "three");
    site.send(&["four"]).await;
    assert_eq!(next(&mut lines).await, "four");
    follower.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn message_is_heard_on_the_doorbell_s_thread() {
    let site = Site::new().await;
    let (heard, mut names) = mpsc::unbounded_channel();
    let (bridge, callers) = (site.bridge(), [site.b.clone()]);
    let follower = tokio::spawn(async move {
        let sink = Box::new(move |_| {
            let name = std::thread::current().name().map(str::to_owned);
            let _ = heard.send(name.unwrap_or_default());
            Ok(())
        });
        let following = Following {
            full_look: Duration::from_secs(3_600),
            ..Following::default()
        };
        let refused = Box::new(|_| {});
        follow(&bridge, &callers, following, sink, refused).await
    });
    // What is there before it listens is read by the loop.
    loop {
        site.send(&["news"]).await;
        if next(&mut names).await == "doorbell" {
            break;
        }
    }
    follower.abort();
}
