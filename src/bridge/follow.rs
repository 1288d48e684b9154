//! Following sessions' mail: each message once, in order, the moment it is
//! committed. Marks nothing read.
//!
//! A subscription is resumed by its [`Cursor`]: the newest message that each of its
//! sessions was handed. Where the store is this process's own, a doorbell tells of
//! commits, and the sink is called on the doorbell's thread: no queue and no other
//! thread stand between a commit and who hears of it.

use std::collections::{HashMap, HashSet};
use std::io;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::{Notify, mpsc};

use super::Bridge;
use crate::clock;
use crate::doorbell::Mode;
use crate::model::message::Message;
use crate::model::{MessageId, SessionKey};
use crate::store::{Caller, Look, StoreError};
use crate::text;

/// Messages that a full look reads at once.
const PAGE: u32 = 100;

/// How far sessions' mail was handed out: to each the newest message that it was
/// handed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cursor(HashMap<SessionKey, MessageId>);

impl Cursor {
    /// What this session was handed last.
    #[must_use]
    pub fn of(&self, session: &SessionKey) -> Option<MessageId> {
        self.0.get(session).copied()
    }

    /// Moves to a message, if that is news to its session.
    pub fn pass(&mut self, message: &Message) -> bool {
        let last = self.0.entry(message.recipient()).or_default();
        let is_new = message.id > *last;
        if is_new {
            *last = message.id;
        }
        is_new
    }
}

/// Where a following begins.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Begin {
    /// With what is unread already.
    #[default]
    Unread,
    /// With what comes from now on.
    Now,
    /// With what is unread behind this cursor, where another following ended.
    After(Cursor),
}

/// Whose mail is followed, and how.
#[derive(Debug, Clone)]
pub struct Subscription {
    /// The sessions.
    pub callers: Vec<Caller>,
    /// Where to begin.
    pub begin: Begin,
    /// Ask again and again: for file systems that raise no events.
    pub poll: bool,
    /// How often to look at everything, whatever was heard.
    pub full_look: Duration,
}

/// What a following tells.
#[derive(Debug)]
pub enum News {
    /// A message to one of the sessions.
    Message(Message),
    /// All that was there at the beginning was handed out.
    CaughtUp,
    /// The store refuses one of several sessions from now on, and why; told once.
    Refused(StoreError),
}

/// Hears the news, one after the other, from more than one thread. `Break` ends the
/// following.
pub type Sink = Box<dyn FnMut(News) -> io::Result<ControlFlow<()>> + Send>;

/// Why a following ended.
#[derive(Debug, thiserror::Error)]
pub enum FollowError {
    /// Credentials that do not hold, or a store that failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The sink failed.
    #[error(transparent)]
    Sink(#[from] io::Error),
    /// All conversations have ended.
    #[error("no session is left to follow")]
    NoneLeft,
    /// The thread that hears of commits ended.
    #[error("the doorbell stopped")]
    Stopped,
}

type Result<T> = std::result::Result<T, FollowError>;

impl Bridge {
    /// Hands the sessions' messages to `sink` until it has had enough.
    ///
    /// # Errors
    /// Credentials that do not hold; all conversations have ended; the store's
    /// errors; the sink's.
    pub async fn follow(&self, subscription: &Subscription, sink: Sink) -> Result<()> {
        let callers = &subscription.callers;
        for verdict in self.verify(callers).await? {
            verdict?;
        }
        let cursor = self.start_of(subscription).await?;
        let follower = Arc::new(Mutex::new(Follower {
            cursor,
            refused: HashSet::new(),
            done: false,
            sink,
        }));
        // The doorbell is mounted before the backlog is read, so that nothing
        // falls between them; until the backlog is shown its reader stays where it
        // is, and what both have seen the cursor shows once.
        let may_push = Arc::new(AtomicBool::new(false));
        let rings = Arc::new(Rings::default());
        let (failed, mut failures) = mpsc::unbounded_channel();
        let pushing = Push {
            sessions: callers.iter().map(|c| c.session.clone()).collect(),
            may_push: Arc::clone(&may_push),
            follower: Arc::clone(&follower),
            rings: Arc::clone(&rings),
        };
        let mode = match subscription.poll {
            true => Mode::Poll,
            false => Mode::Events,
        };
        let doorbell = self.store.doorbell(
            mode,
            Box::new(move |look| {
                if let Err(error) = pushing.take(look) {
                    // The loop may have ended already.
                    let _ = failed.send(error);
                }
            }),
        )?;
        self.show_unread(callers, &follower).await?;
        lock(&follower).tell(News::CaughtUp)?;
        may_push.store(true, Ordering::Release);
        doorbell.ask();

        let full_look = subscription.full_look;
        let mut look = tokio::time::interval(full_look);
        look.tick().await;
        while !lock(&follower).done {
            let next_end = self.next_end(callers, &follower).await?;
            tokio::select! {
                failure = failures.recv() => return Err(failure.unwrap_or(FollowError::Stopped)),
                () = rings.done.notified() => {}
                () = rings.signalled.notified() => {}
                () = tokio::time::sleep(next_end.min(full_look)) => {}
                _ = look.tick() => {
                    doorbell.ask();
                    match self.show_unread(callers, &follower).await {
                        // Another process holds the lock: the next look is for that.
                        Err(FollowError::Store(error)) if error.is_held_up() => {}
                        looked => looked?,
                    }
                }
            }
        }
        Ok(())
    }

    /// From now on means behind what is unread already, or the next full look would
    /// show that after all.
    async fn start_of(&self, subscription: &Subscription) -> Result<Cursor> {
        match &subscription.begin {
            Begin::Unread => Ok(Cursor::default()),
            Begin::After(cursor) => Ok(cursor.clone()),
            Begin::Now => {
                let callers = subscription.callers.iter();
                let sessions: Vec<SessionKey> = callers.map(|c| c.session.clone()).collect();
                let unread = self.unread(&sessions).await?;
                let newest = unread.iter().map(|mail| mail.newest_unread);
                let newest = newest.map(Option::unwrap_or_default);
                Ok(Cursor(sessions.into_iter().zip(newest).collect()))
            }
        }
    }

    /// The full look, at what was not shown yet.
    async fn show_unread(&self, callers: &[Caller], follower: &Mutex<Follower>) -> Result<()> {
        for caller in callers {
            let mut shown = lock(follower).cursor.of(&caller.session);
            loop {
                let found = self.peek(caller, shown, PAGE).await;
                let last = found.as_ref().ok().and_then(|page| page.last());
                let last = last.map(|message| message.id);
                match found {
                    Err(error) if callers.len() == 1 => return Err(error.into()),
                    found => lock(follower).take_up(&caller.session, found)?,
                }
                if lock(follower).done {
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

    /// How long it is until the first of the conversations ends. Tells of those that
    /// have ended.
    ///
    /// # Errors
    /// If none is left; the store's errors.
    async fn next_end(&self, callers: &[Caller], follower: &Mutex<Follower>) -> Result<Duration> {
        let now = clock::now();
        let verdicts = match self.verify(callers).await {
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
}

struct Follower {
    cursor: Cursor,
    /// Sessions that the store refuses now: expired, closed.
    refused: HashSet<SessionKey>,
    /// The sink has had enough.
    done: bool,
    sink: Sink,
}

impl Follower {
    fn tell(&mut self, news: News) -> io::Result<()> {
        if !self.done {
            self.done = (self.sink)(news)?.is_break();
        }
        Ok(())
    }

    fn show(&mut self, messages: Vec<Message>) -> io::Result<()> {
        for message in messages {
            if !self.done && self.cursor.pass(&message) {
                self.tell(News::Message(message))?;
            }
        }
        Ok(())
    }

    /// Takes up what a full look at one session found. A refusal is told once and
    /// does not stand in the way of the others.
    fn take_up(
        &mut self,
        session: &SessionKey,
        found: std::result::Result<Vec<Message>, StoreError>,
    ) -> Result<()> {
        match found {
            Ok(unread) => {
                self.refused.remove(session);
                self.show(unread)?;
            }
            Err(error) if error.is_outage() => return Err(error.into()),
            Err(error) => {
                if self.refused.insert(session.clone()) {
                    self.tell(News::Refused(error))?;
                }
            }
        }
        Ok(())
    }
}

/// What the doorbell's thread tells the loop.
#[derive(Default)]
struct Rings {
    /// The sink has had enough.
    done: Notify,
    /// Something other than mail changed: perhaps a conversation was closed.
    signalled: Notify,
}

/// What happens on the doorbell's own thread.
struct Push {
    sessions: HashSet<SessionKey>,
    may_push: Arc<AtomicBool>,
    follower: Arc<Mutex<Follower>>,
    rings: Arc<Rings>,
}

impl Push {
    fn take(&self, look: &mut dyn Look) -> Result<()> {
        if !self.may_push.load(Ordering::Acquire) {
            return Ok(());
        }
        let new = look.messages(&self.sessions)?;
        if !new.is_empty() {
            let mut follower = lock(&self.follower);
            follower.show(new)?;
            if follower.done {
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

fn ensure_one_is_left(callers: &[Caller], follower: &Mutex<Follower>) -> Result<()> {
    match lock(follower).refused.len() < callers.len() {
        true => Ok(()),
        false => Err(FollowError::NoneLeft),
    }
}
