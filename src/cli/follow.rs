//! Following a session's mail: each message once, in order, the moment it is
//! committed. Marks nothing read.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context;
use tokio::sync::mpsc;

use super::exit::report;
use crate::clock;
use crate::doorbell::Mode;
use crate::model::message::Message;
use crate::model::{MessageId, SessionKey};
use crate::store::{Caller, SharedStore, StoreError};

/// Where to begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Begin {
    /// With what is unread already.
    Unread,
    /// With what comes from now on.
    Now,
}

/// What is called for each message, on the doorbell's own thread: no queue and
/// no other thread stand between a commit and its line.
pub type Sink = Box<dyn FnMut(&Message) -> std::io::Result<()> + Send>;

/// How to follow.
#[derive(Debug, Clone, Copy)]
pub struct Following {
    /// Where to begin.
    pub begin: Begin,
    /// How commits are noticed.
    pub mode: Mode,
    /// How often to look at everything, whatever rang.
    pub full_look: Duration,
}

/// Messages that a full look reads at once.
const PAGE: u32 = 100;

struct Follower {
    /// The newest message that each session was shown.
    cursors: HashMap<SessionKey, MessageId>,
    /// Sessions that the store refuses now: expired, closed.
    refused: HashSet<SessionKey>,
    sink: Sink,
}

impl Follower {
    fn show(&mut self, message: &Message) -> std::io::Result<()> {
        let cursor = self.cursors.entry(message.recipient()).or_default();
        if message.id > *cursor {
            (self.sink)(message)?;
            *cursor = message.id;
        }
        Ok(())
    }

    /// Takes up what a full look at one session found. A refusal is reported
    /// once and does not stand in the way of the others.
    fn take_up(
        &mut self,
        session: &SessionKey,
        found: Result<Vec<Message>, StoreError>,
    ) -> anyhow::Result<()> {
        match found {
            Ok(unread) => {
                self.refused.remove(session);
                unread.iter().try_for_each(|message| self.show(message))?;
            }
            Err(error) if error.is_outage() => return Err(error.into()),
            Err(error) => {
                if self.refused.insert(session.clone()) {
                    let _ = report(&error.into());
                }
            }
        }
        Ok(())
    }
}

/// Hands the callers' messages to `sink` until it fails, the store is gone, all
/// conversations have ended, or this is dropped.
///
/// # Errors
/// Credentials that do not hold; the store's errors; the sink's.
pub async fn follow(
    store: &SharedStore,
    callers: &[Caller],
    following: Following,
    sink: Sink,
) -> anyhow::Result<()> {
    for verdict in store.verify(callers, clock::now()).await? {
        verdict?;
    }
    let sessions: HashSet<SessionKey> = callers.iter().map(|c| c.session.clone()).collect();
    let follower = Arc::new(Mutex::new(Follower {
        cursors: HashMap::new(),
        refused: HashSet::new(),
        sink,
    }));
    let (failed, mut failures) = mpsc::unbounded_channel();

    if following.begin == Begin::Now {
        pass_over_unread(store, callers, &follower).await?;
    }
    // The doorbell is mounted before the backlog is read, so that nothing
    // falls between them; until the backlog is shown its reader stays where it
    // is, and what both have seen the cursor shows once.
    let may_push = Arc::new(AtomicBool::new(false));
    let pushing = Arc::clone(&may_push);
    let ringing = Arc::clone(&follower);
    let doorbell = store.doorbell(
        following.mode,
        Box::new(move |look| {
            if !pushing.load(Ordering::Acquire) {
                return;
            }
            let outcome = look
                .messages(&sessions)
                .map_err(anyhow::Error::from)
                .and_then(|new| {
                    let mut follower = ringing.lock().unwrap_or_else(PoisonError::into_inner);
                    new.iter().try_for_each(|message| follower.show(message))?;
                    Ok(())
                });
            if let Err(error) = outcome {
                // Nobody listens any more: the end is under way.
                let _ = failed.send(error);
            }
        }),
    )?;
    show_unread(store, callers, &follower).await?;
    may_push.store(true, Ordering::Release);
    doorbell.ask();

    let mut look = tokio::time::interval(following.full_look);
    look.tick().await;
    loop {
        tokio::select! {
            failure = failures.recv() => {
                return Err(failure.context("the doorbell stopped")?);
            }
            _ = look.tick() => {
                doorbell.ask();
                match show_unread(store, callers, &follower).await {
                    Ok(()) => {}
                    // Somebody else holds the lock: the next look is for that.
                    Err(error) if matches!(error.downcast_ref(), Some(StoreError::Busy(_))) => {}
                    Err(error) => return Err(error),
                }
            }
        }
    }
}

/// Sets the cursors behind what is unread already, or the next full look would
/// show it after all.
async fn pass_over_unread(
    store: &SharedStore,
    callers: &[Caller],
    follower: &Mutex<Follower>,
) -> anyhow::Result<()> {
    let sessions: Vec<SessionKey> = callers.iter().map(|c| c.session.clone()).collect();
    let mail = store.mail(&sessions).await?;
    let newest = mail.iter().map(|mail| mail.newest_unread);
    follower
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .cursors
        .extend(
            sessions
                .into_iter()
                .zip(newest.map(Option::unwrap_or_default)),
        );
    Ok(())
}

/// The full look, at what was not shown yet.
async fn show_unread(
    store: &SharedStore,
    callers: &[Caller],
    follower: &Mutex<Follower>,
) -> anyhow::Result<()> {
    for caller in callers {
        let lock = || follower.lock().unwrap_or_else(PoisonError::into_inner);
        let mut shown = lock().cursors.get(&caller.session).copied();
        loop {
            let found = store.peek(caller, shown, PAGE, clock::now()).await;
            let last = found.as_ref().ok().and_then(|page| page.last());
            let last = last.map(|message| message.id);
            match found {
                Err(error) if callers.len() == 1 => return Err(error.into()),
                found => lock().take_up(&caller.session, found)?,
            }
            if last.is_none() {
                break;
            }
            shown = last;
        }
    }
    let refused = follower
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .refused
        .len();
    anyhow::ensure!(refused < callers.len(), "no session is left to follow");
    Ok(())
}
