//! Following a session's mail: each message once, in order, the moment it is
//! committed. Marks nothing read.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Context;
use jiff::Timestamp;
use tokio::sync::{Notify, mpsc};

use super::error::report;
use crate::clock;
use crate::doorbell::Mode;
use crate::model::message::Message;
use crate::model::{MessageId, SessionKey};
use crate::store::{Caller, Look, SharedStore, StoreError};
use crate::text;

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
    /// After how many messages to end.
    pub count: Option<u64>,
    /// When to end, from the start of the following; the first look is made
    /// in any case.
    pub limit: Option<Duration>,
}

impl Default for Following {
    fn default() -> Self {
        Self {
            begin: Begin::Unread,
            mode: Mode::Events,
            full_look: Duration::from_secs(30),
            count: None,
            limit: None,
        }
    }
}

/// Why a following ended that did not fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// As many messages were shown as it was to show.
    Counted,
    /// Its time is over.
    TimeUp,
}

/// Messages that a full look reads at once.
const PAGE: u32 = 100;

struct Follower {
    /// The newest message that each session was shown.
    cursors: HashMap<SessionKey, MessageId>,
    /// Sessions that the store refuses now: expired, closed.
    refused: HashSet<SessionKey>,
    /// How many messages may still be shown.
    left: Option<u64>,
    sink: Sink,
}

impl Follower {
    fn show(&mut self, message: &Message) -> std::io::Result<()> {
        if self.is_done() {
            return Ok(());
        }
        let cursor = self.cursors.entry(message.recipient()).or_default();
        if message.id > *cursor {
            (self.sink)(message)?;
            *cursor = message.id;
            self.left = self.left.map(|left| left - 1);
        }
        Ok(())
    }

    fn is_done(&self) -> bool {
        self.left == Some(0)
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

/// What the doorbell's thread tells the loop.
#[derive(Default)]
struct Rings {
    /// As many messages were shown as were to be.
    done: Notify,
    /// Something other than mail changed: perhaps a conversation was closed.
    signalled: Notify,
}

/// Hands the callers' messages to `sink` until as many were shown as `following`
/// says, or its time is over.
///
/// # Errors
/// Credentials that do not hold; all conversations have ended; the store's
/// errors; the sink's.
pub async fn follow(
    store: &SharedStore,
    callers: &[Caller],
    following: Following,
    sink: Sink,
) -> anyhow::Result<Ended> {
    for verdict in store.verify(callers, clock::now()).await? {
        verdict?;
    }
    let follower = Arc::new(Mutex::new(Follower {
        cursors: HashMap::new(),
        refused: HashSet::new(),
        left: following.count,
        sink,
    }));
    let time_up = tokio::time::sleep(following.limit.unwrap_or(Duration::MAX));
    if following.begin == Begin::Now {
        pass_over_unread(store, callers, &follower).await?;
    }
    // The doorbell is mounted before the backlog is read, so that nothing
    // falls between them; until the backlog is shown its reader stays where it
    // is, and what both have seen the cursor shows once.
    let may_push = Arc::new(AtomicBool::new(false));
    let rings = Arc::new(Rings::default());
    let (failed, mut failures) = mpsc::unbounded_channel();
    let sessions = callers.iter().map(|c| c.session.clone()).collect();
    let pushing = Push {
        sessions,
        may_push: Arc::clone(&may_push),
        follower: Arc::clone(&follower),
        rings: Arc::clone(&rings),
    };
    let doorbell = store.doorbell(
        following.mode,
        Box::new(move |look| {
            if let Err(error) = pushing.take(look) {
                // The loop may have ended already.
                let _ = failed.send(error);
            }
        }),
    )?;
    show_unread(store, callers, &follower).await?;
    may_push.store(true, Ordering::Release);
    doorbell.ask();

    let mut look = tokio::time::interval(following.full_look);
    look.tick().await;
    tokio::pin!(time_up);
    loop {
        if lock(&follower).is_done() {
            return Ok(Ended::Counted);
        }
        let next_end = next_end(store, callers, &follower).await?;
        tokio::select! {
            failure = failures.recv() => {
                return Err(failure.context("the doorbell stopped")?);
            }
            () = rings.done.notified() => {}
            () = rings.signalled.notified() => {}
            () = tokio::time::sleep(next_end.min(following.full_look)) => {}
            () = &mut time_up => {
                // What is being shown at this moment counts.
                let mut follower = lock(&follower);
                let done = follower.is_done();
                follower.left = Some(0);
                return Ok(if done { Ended::Counted } else { Ended::TimeUp });
            }
            _ = look.tick() => {
                doorbell.ask();
                match show_unread(store, callers, &follower).await {
                    Ok(()) => {}
                    // Another process holds the lock: the next look is for that.
                    Err(error) if is_busy(&error) => {}
                    Err(error) => return Err(error),
                }
            }
        }
    }
}

/// What happens on the doorbell's own thread.
struct Push {
    sessions: HashSet<SessionKey>,
    may_push: Arc<AtomicBool>,
    follower: Arc<Mutex<Follower>>,
    rings: Arc<Rings>,
}

impl Push {
    fn take(&self, look: &mut dyn Look) -> anyhow::Result<()> {
        if !self.may_push.load(Ordering::Acquire) {
            return Ok(());
        }
        let new = look.messages(&self.sessions)?;
        if !new.is_empty() {
            let mut follower = lock(&self.follower);
            new.iter().try_for_each(|message| follower.show(message))?;
            if follower.is_done() {
                self.rings.done.notify_one();
            }
        }
        // After the mail, which must not wait for it.
        if look.signalled()? {
            self.rings.signalled.notify_one();
        }
        Ok(())
    }
}

fn lock(follower: &Mutex<Follower>) -> MutexGuard<'_, Follower> {
    follower.lock().unwrap_or_else(PoisonError::into_inner)
}

fn is_busy(error: &anyhow::Error) -> bool {
    let error: Option<&StoreError> = error.downcast_ref();
    error.is_some_and(StoreError::is_held_up)
}

/// How long it is until the first of the conversations ends. Reports those that
/// have ended.
///
/// # Errors
/// If none is left; the store's errors.
async fn next_end(
    store: &SharedStore,
    callers: &[Caller],
    follower: &Mutex<Follower>,
) -> anyhow::Result<Duration> {
    let now = clock::now();
    let verdicts = match store.verify(callers, now).await {
        Ok(verdicts) => verdicts,
        Err(error) if error.is_held_up() => return Ok(Duration::MAX),
        Err(error) => return Err(error.into()),
    };
    let mut first: Option<Timestamp> = None;
    for (caller, verdict) in callers.iter().zip(verdicts) {
        match verdict {
            Ok(verified) => {
                lock(follower).refused.remove(&caller.session);
                let end = verified.expires_at;
                first = Some(first.map_or(end, |first| first.min(end)));
            }
            Err(error) if callers.len() == 1 => return Err(error.into()),
            Err(error) => lock(follower).take_up(&caller.session, Err(error))?,
        }
    }
    ensure_one_is_left(callers, follower)?;
    Ok(first.map_or(Duration::MAX, |end| {
        // A timer that ends a moment early would look in vain.
        text::elapsed(now, end) + Duration::from_millis(1)
    }))
}

fn ensure_one_is_left(callers: &[Caller], follower: &Mutex<Follower>) -> anyhow::Result<()> {
    let refused = lock(follower).refused.len();
    anyhow::ensure!(refused < callers.len(), "no session is left to follow");
    Ok(())
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
    let newest = newest.map(Option::unwrap_or_default);
    lock(follower)
        .cursors
        .extend(sessions.into_iter().zip(newest));
    Ok(())
}

/// The full look, at what was not shown yet.
async fn show_unread(
    store: &SharedStore,
    callers: &[Caller],
    follower: &Mutex<Follower>,
) -> anyhow::Result<()> {
    for caller in callers {
        let mut shown = lock(follower).cursors.get(&caller.session).copied();
        loop {
            let found = store.peek(caller, shown, PAGE, clock::now()).await;
            let last = found.as_ref().ok().and_then(|page| page.last());
            let last = last.map(|message| message.id);
            match found {
                Err(error) if callers.len() == 1 => return Err(error.into()),
                found => lock(follower).take_up(&caller.session, found)?,
            }
            if lock(follower).is_done() {
                return Ok(());
            }
            if last.is_none() {
                break;
            }
            shown = last;
        }
    }
    ensure_one_is_left(callers, follower)
}
