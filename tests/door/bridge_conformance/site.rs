//! A store, and each way to it.

use std::sync::{Arc, Mutex};

use jiff::{SignedDuration, Timestamp};
use mcp_bridge::bridge::Bridge;
use mcp_bridge::clock;
use mcp_bridge::model::message::Draft;
use mcp_bridge::model::rate::RateLimits;
use mcp_bridge::model::token::Token;
use mcp_bridge::model::{ConversationId, Label, SessionKey, Side};
use mcp_bridge::store::{Caller, NewConversation, TaskError};
use mcp_bridge::store::{Result, StoreError};

use super::between::{Between, stand_before};
use crate::common::daemon::{Daemon, Rig, wait_for};

/// How a program reaches the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// It has the file open itself.
    Embedded,
    /// It asks the daemon that has it open.
    Door,
    /// The same, and the daemon is of a newer version.
    NewerDoor,
    /// The same, and each answer is lost once.
    LosingDoor,
}

/// A store, and programs that use it one way.
pub(crate) struct Site {
    pub(crate) rig: Rig,
    way: Way,
    /// It must not end before the programs do.
    daemon: Mutex<Option<Daemon>>,
}

impl Site {
    pub(crate) fn new(way: Way) -> Self {
        let rig = Rig::new();
        let daemon = (way != Way::Embedded).then(|| {
            let mut daemon = rig.worker("");
            daemon.says("listening at");
            daemon.says("registered");
            daemon
        });
        let between = match way {
            Way::Embedded | Way::Door => None,
            Way::NewerDoor => Some(Between::Newer),
            Way::LosingDoor => Some(Between::Losing(Arc::default())),
        };
        if let Some(between) = between {
            let real = rig.path("worker.state/api.sock");
            rig.block_on(stand_before(&real, &rig.path("between"), between));
        }
        let daemon = Mutex::new(daemon);
        Self { rig, way, daemon }
    }

    /// Another program, which is an operator; no connection is shared.
    pub(crate) async fn bridge(&self) -> Bridge {
        let socket = match self.way {
            Way::Embedded => {
                let path = self.rig.path("bridge.db");
                let open = mcp_bridge::store::sqlite::SqliteStore::open;
                let store = open(&path, mcp_bridge::store::sqlite::Create::No).await;
                return Bridge::from(Arc::new(store.expect("a store")));
            }
            Way::Door => "worker.state/api.sock",
            Way::NewerDoor | Way::LosingDoor => "between/api.sock",
        };
        Bridge::through(&self.rig.path(socket))
    }

    /// Two of them.
    pub(crate) async fn two(&self) -> (Bridge, Bridge) {
        (self.bridge().await, self.bridge().await)
    }

    /// Whether a daemon of this test's has the store open.
    pub(crate) fn has_daemon(&self) -> bool {
        self.daemon.lock().is_ok_and(|daemon| daemon.is_some())
    }
}

/// Both ends of a conversation.
#[derive(Debug, Clone)]
pub(crate) struct Pair {
    pub(crate) id: ConversationId,
    pub(crate) a: Caller,
    pub(crate) b: Caller,
}

impl Pair {
    pub(crate) fn random() -> Self {
        let id = ConversationId::from_random(fastrand::u64(..).to_be_bytes());
        let caller = |side| {
            let session = SessionKey::new(id.clone(), side);
            let key = std::array::from_fn(|_| fastrand::u8(..));
            let token = Token::generate(&session, &key);
            Caller { session, token }
        };
        let (a, b) = (caller(Side::A), caller(Side::B));
        Self { id, a, b }
    }

    /// What the store is asked to make.
    pub(crate) fn wanted(&self, expires_at: Timestamp) -> NewConversation {
        NewConversation {
            id: self.id.clone(),
            label: None,
            role_a: "orchestrator".into(),
            role_b: "worker".into(),
            token_a: self.a.token.clone(),
            token_b: self.b.token.clone(),
            expires_at,
        }
    }

    pub(crate) fn labelled(&self, label: &str) -> NewConversation {
        let label: Label = label.parse().expect("a label");
        let label = Some(label);
        let wanted = self.wanted(in_hours(3));
        NewConversation { label, ..wanted }
    }

    /// The same session `b` with a token that it does not have yet.
    pub(crate) fn b_anew(&self) -> Caller {
        let session = self.b.session.clone();
        let key = std::array::from_fn(|_| fastrand::u8(..));
        let token = Token::generate(&session, &key);
        Caller { session, token }
    }
}

pub(crate) fn in_hours(hours: i64) -> Timestamp {
    // Ends are kept in whole seconds.
    let then = clock::now() + SignedDuration::from_hours(hours);
    Timestamp::from_second(then.as_second()).expect("in range")
}

/// A conversation of three hours.
pub(crate) async fn pair(bridge: &Bridge) -> Pair {
    pairs(bridge, 1).await.remove(0)
}

pub(crate) async fn pairs(bridge: &Bridge, count: usize) -> Vec<Pair> {
    let pairs: Vec<Pair> = (0..count).map(|_| Pair::random()).collect();
    let wanted: Vec<_> = pairs.iter().map(|pair| pair.wanted(in_hours(3))).collect();
    bridge.create_conversations(&wanted).await.expect("made");
    pairs
}

pub(crate) async fn unlimited(bridge: &Bridge) {
    let none = bridge.set_rate_limits(RateLimits::NONE).await;
    none.expect("limits off");
}

pub(crate) fn draft(text: &str) -> Draft {
    Draft::text(text.parse().expect("a message"))
}

/// One with the sender's own id.
pub(crate) fn named(text: &str, client_id: &str) -> Draft {
    let client_id = Some(client_id.parse().expect("a client id"));
    Draft {
        client_id,
        ..draft(text)
    }
}

pub(crate) async fn say(bridge: &Bridge, from: &Caller, text: &str) {
    bridge.send(from, &[draft(text)]).await.expect("sent");
}

/// Fetches and confirms: the whole of an agent's `check`.
pub(crate) async fn receive(bridge: &Bridge, caller: &Caller) -> Vec<String> {
    let fetched = bridge.fetch(caller, 1_000).await.expect("fetched");
    if let Some(id) = &fetched.id {
        bridge.confirm(caller, id).await.expect("confirmed");
    }
    fetched.messages.into_iter().map(|m| m.message).collect()
}

/// What a fetch hands out whose reply is lost.
pub(crate) async fn texts(bridge: &Bridge, caller: &Caller) -> Vec<String> {
    let fetched = bridge.fetch(caller, 1_000).await.expect("fetched");
    fetched.messages.into_iter().map(|m| m.message).collect()
}

/// The refusal in an answer.
#[track_caller]
pub(crate) fn refused<T: std::fmt::Debug>(answer: Result<T>) -> TaskError {
    match answer {
        Err(StoreError::Task(refusal)) => refusal,
        other => panic!("{other:?}"),
    }
}

/// Waits until a moment is over.
pub(crate) async fn past(moment: Timestamp) {
    tokio::task::spawn_blocking(move || {
        wait_for("a moment to be over", || {
            (clock::now() > moment).then_some(())
        });
    })
    .await
    .expect("waited");
}
