//! The sessions that the server acts for, and its way to the store.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io::Write as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rmcp::model::{Implementation, RequestId};
use tokio::sync::Notify;

use crate::bridge::Bridge;
use crate::clock;
use crate::session::mail::Fetched;
use crate::session::notes::AgentNote;
use crate::session::{Access, Acting, SessionError};

/// What stands behind the version of a client that has no screen, where people read it.
const NO_SCREEN: &str = ", no screen";

/// Shared by all calls of a client.
#[derive(Debug, Clone)]
pub(super) struct Agent(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    access: Access,
    bridge: Mutex<Option<Bridge>>,
    /// When daemons were asked last whether they have the store.
    looked: Mutex<Option<Duration>>,
    /// It was said that no daemon serves the store.
    is_told: AtomicBool,
    /// Mail that was fetched for answers that are not written yet.
    unwritten: Mutex<HashMap<RequestId, Fetched>>,
    /// What the client calls the conversation with its user.
    thread: Mutex<String>,
    /// The name of the client, and the sessions that it acts for: what is to be
    /// registered.
    said: Mutex<Option<ClientName>>,
    acts_for: Mutex<Option<u64>>,
    has_screen: Mutex<Option<bool>>,
    to_register: Notify,
    /// Held from before an answer is written until its mail is confirmed.
    writing: tokio::sync::Mutex<()>,
}

/// What a client calls itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct ClientName {
    pub(super) name: String,
    pub(super) version: String,
}

impl Agent {
    pub(super) fn new(access: Access) -> Self {
        Self(Arc::new(Inner {
            access,
            bridge: Mutex::default(),
            looked: Mutex::default(),
            is_told: AtomicBool::default(),
            unwritten: Mutex::default(),
            thread: Mutex::default(),
            said: Mutex::default(),
            acts_for: Mutex::default(),
            has_screen: Mutex::default(),
            to_register: Notify::new(),
            writing: tokio::sync::Mutex::default(),
        }))
    }

    /// The way to the store. One that failed is looked for anew: a daemon may have come
    /// or gone, and a session joined.
    pub(super) async fn bridge(&self) -> Result<Bridge, SessionError> {
        let known = lock(&self.0.bridge).clone();
        if let Some(bridge) = known {
            return Ok(self.moved(&bridge).await.unwrap_or(bridge));
        }
        let bridge = self.0.access.afresh().open().await?;
        if !bridge.is_door() && !self.0.is_told.swap(true, Ordering::Relaxed) {
            // Clients keep it in their log: standard output is the protocol's.
            let store = bridge.name();
            let text = "no daemon serves the store, so this program opens its file";
            let _ = writeln!(std::io::stderr(), "mcp-bridge mcp: {text}: {store}");
        }
        *lock(&self.0.bridge) = Some(bridge.clone());
        Ok(bridge)
    }

    /// The way through a daemon that was started after this program opened the store's file.
    /// What is under way ends by the old way, and the file is closed then.
    async fn moved(&self, known: &Bridge) -> Option<Bridge> {
        if known.is_door() || !Access::sees_daemons() || !self.is_time_to_look() {
            return None;
        }
        let bridge = self.0.access.daemon_of(known).await.ok()??;
        *lock(&self.0.bridge) = Some(bridge.clone());
        Some(bridge)
    }

    /// Whether the daemons that are there may be asked which store they have.
    fn is_time_to_look(&self) -> bool {
        let now = clock::since_boot();
        let mut looked = lock(&self.0.looked);
        let is_time = looked.is_none_or(|at| now.saturating_sub(at) >= Access::LOOK_AGAIN);
        if is_time {
            *looked = Some(now);
        }
        is_time
    }

    /// The way to the store is no more.
    pub(super) fn forget_bridge(&self) {
        lock(&self.0.bridge).take();
    }

    /// The sessions of the agent. They are read each time: credentials may be replaced,
    /// and a directory joined, while the client runs.
    pub(super) fn acting(&self) -> Result<Acting, SessionError> {
        let acting = self.0.access.reread().acting()?.for_long()?;
        self.note(&self.0.acts_for, mark(&acting));
        Ok(acting)
    }

    /// The client said who it is.
    pub(super) fn meets(&self, client: &Implementation) {
        let (name, version) = (client.name.clone(), client.version.clone());
        self.note(&self.0.said, ClientName { name, version });
    }

    /// The client has a screen, or none.
    pub(super) fn has_screen(&self, has_screen: bool) {
        self.note(&self.0.has_screen, has_screen);
    }

    /// What the client calls itself; nothing where it has not said it yet.
    pub(super) fn client(&self) -> ClientName {
        lock(&self.0.said).clone().unwrap_or_default()
    }

    /// A call comes from this conversation of the client with its user.
    pub(super) fn is_in(&self, thread: &str) {
        let mut known = lock(&self.0.thread);
        if *known != thread {
            thread.clone_into(&mut known);
        }
    }

    /// The conversations of the client with its user that the agent may be in, the
    /// likeliest first; none where the client does not say them.
    pub(super) fn threads(&self, told: &AgentNote) -> Vec<String> {
        // The user may have begun another one since the last call, which hooks reported.
        let mut threads = vec![told.thread.clone(), lock(&self.0.thread).clone()];
        threads.retain(|thread| !thread.is_empty());
        threads.dedup();
        threads
    }

    fn note<T: PartialEq>(&self, place: &Mutex<Option<T>>, news: T) {
        let mut known = lock(place);
        if known.as_ref() != Some(&news) {
            *known = Some(news);
            self.0.to_register.notify_one();
        }
    }

    /// What is to be registered now: the client, once it has said who it is, and a mark
    /// of the sessions that it acts for.
    pub(super) fn to_register(&self) -> Option<(ClientName, Option<u64>)> {
        let mut client = lock(&self.0.said).clone()?;
        if *lock(&self.0.has_screen) == Some(false) {
            client.version.push_str(NO_SCREEN);
        }
        Some((client, *lock(&self.0.acts_for)))
    }

    /// Waits until that is something else.
    pub(super) async fn awaits_registration(&self) {
        self.0.to_register.notified().await;
    }

    /// This mail stands in the answer to a request.
    pub(super) fn hand_out(&self, request: RequestId, fetched: Fetched) {
        lock(&self.0.unwritten).insert(request, fetched);
    }

    /// The mail in the answer to this request.
    pub(super) fn handed_out(&self, request: &RequestId) -> Option<Fetched> {
        lock(&self.0.unwritten).remove(request)
    }

    /// Waits until the mail of answers that were written is confirmed: a client that
    /// asks at once for more is not handed the same again.
    pub(super) async fn writing(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.0.writing.lock().await
    }

    /// The answer with this mail was written. If that cannot be noted, the mail is
    /// handed out again: twice is allowed, never is not.
    pub(super) async fn confirm(&self, fetched: Fetched) {
        if let Ok(bridge) = self.bridge().await {
            let _ = fetched.confirm(&bridge).await;
        }
    }

    pub(super) async fn close(&self) {
        let bridge = lock(&self.0.bridge).take();
        if let Some(bridge) = bridge {
            bridge.close().await;
        }
    }
}

/// A mark of sessions: another one for others, and for other tokens.
pub(super) fn mark(acting: &Acting) -> u64 {
    let mut hasher = DefaultHasher::new();
    for member in &acting.members {
        member.caller.session.hash(&mut hasher);
        member.caller.token.expose().hash(&mut hasher);
    }
    hasher.finish()
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}
