//! Which subscriptions hear of which commit.
//!
//! The daemon's doorbell tells the hub what came; the hub hands it, on the same
//! thread, to the subscribers that it concerns.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use crate::api::follow::{Ears, Heard, Listening, OnNews};
use crate::model::SessionKey;
use crate::model::message::Message;
use crate::store::{Store, StoreError};

/// The subscribers of a daemon.
#[derive(Default)]
pub struct Hub {
    subscribers: Mutex<Subscribers>,
    /// Changes with each commit that was heard of.
    commits: watch::Sender<u64>,
}

#[derive(Default)]
struct Subscribers {
    next: u64,
    all: HashMap<u64, Arc<Mutex<OnNews>>>,
    of: HashMap<SessionKey, HashSet<u64>>,
    /// The sessions of all, made anew when one comes or goes.
    sessions: Arc<HashSet<SessionKey>>,
}

impl std::fmt::Debug for Hub {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hub")
            .field("subscribers", &self.lock().all.len())
            .finish()
    }
}

impl Hub {
    fn lock(&self) -> MutexGuard<'_, Subscribers> {
        self.subscribers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// The sessions whose mail is wanted whole.
    pub fn wanted(&self) -> Arc<HashSet<SessionKey>> {
        Arc::clone(&self.lock().sessions)
    }

    /// Changes with each commit, for those who then look by themselves.
    pub fn commits(&self) -> watch::Receiver<u64> {
        self.commits.subscribe()
    }

    /// There was a commit, or may have been.
    pub fn committed(&self) {
        self.commits.send_modify(|count| *count += 1);
    }

    /// Hands out what came, each message to those who follow its session.
    pub fn tell<'a>(&self, messages: impl Iterator<Item = &'a Message>) {
        let mut news: HashMap<u64, (Arc<Mutex<OnNews>>, Vec<&'a Message>)> = HashMap::new();
        {
            let subscribers = self.lock();
            for message in messages {
                let of = subscribers.of.get(&message.recipient());
                for id in of.into_iter().flatten() {
                    if let Some(on) = subscribers.all.get(id) {
                        let entry = news.entry(*id);
                        let (_, new) = entry.or_insert_with(|| (Arc::clone(on), Vec::new()));
                        new.push(message);
                    }
                }
            }
        }
        for (on, new) in news.into_values() {
            call(&on, Heard::Messages(new));
        }
    }

    /// Tells all that a conversation was closed, or a token replaced.
    pub fn access(&self) {
        self.each(|| Heard::Access);
    }

    /// Tells all that they are to look at everything.
    pub fn missed(&self) {
        self.each(|| Heard::Missed);
    }

    fn each<'a>(&self, heard: impl Fn() -> Heard<'a>) {
        let all: Vec<_> = self.lock().all.values().map(Arc::clone).collect();
        for on in all {
            call(&on, heard());
        }
    }
}

fn call(on: &Mutex<OnNews>, heard: Heard<'_>) {
    let mut on = on.lock().unwrap_or_else(PoisonError::into_inner);
    on(heard);
}

/// The hub as the ears of one subscription.
#[derive(Debug, Clone)]
pub(super) struct HubEars(pub(super) Arc<Hub>);

impl Ears for HubEars {
    fn listen(
        &self,
        _: &Store,
        sessions: &HashSet<SessionKey>,
        on: OnNews,
    ) -> Result<Box<dyn Listening>, StoreError> {
        let hub = Arc::clone(&self.0);
        let mut subscribers = hub.lock();
        let id = subscribers.next;
        subscribers.next += 1;
        subscribers.all.insert(id, Arc::new(Mutex::new(on)));
        for session in sessions {
            subscribers
                .of
                .entry(session.clone())
                .or_default()
                .insert(id);
        }
        subscribers.count();
        drop(subscribers);
        let sessions = sessions.clone();
        Ok(Box::new(Seat { hub, id, sessions }))
    }
}

impl Subscribers {
    fn count(&mut self) {
        self.sessions = Arc::new(self.of.keys().cloned().collect());
    }
}

/// A subscriber's place in the hub.
struct Seat {
    hub: Arc<Hub>,
    id: u64,
    sessions: HashSet<SessionKey>,
}

impl Listening for Seat {
    /// The doorbell that the hub hears of has its own full looks.
    fn ask(&self) {}
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut subscribers = self.hub.lock();
        subscribers.all.remove(&self.id);
        for session in &self.sessions {
            if let Some(of) = subscribers.of.get_mut(session) {
                of.remove(&self.id);
                if of.is_empty() {
                    subscribers.of.remove(session);
                }
            }
        }
        subscribers.count();
    }
}
