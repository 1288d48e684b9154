//! Following sessions' mail: each message once, in order, the moment it is
//! committed. Marks nothing read.
//!
//! A subscription is resumed by its [`Cursor`]: the newest message that each of its
//! sessions was handed. Where the store is this process's own, its doorbell reports
//! commits, and the sink is called on the doorbell's thread: no queue and no other
//! thread stand between a commit and the listener.

use std::collections::{HashMap, HashSet};
use std::future::Future;
use std::io;
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::{Notify, mpsc};

use crate::clock;
use crate::doorbell::{Doorbell, Mode};
use crate::model::message::Message;
use crate::model::{MessageId, SessionKey};
use crate::store::{Caller, Signalled, Store, StoreError};
use crate::text;

/// When a look that came to nothing is taken again.
const SOON: Duration = Duration::from_millis(100);

/// Messages that a full look reads at once.
const PAGE: u32 = 100;

/// How far sessions' mail was handed out: to each the newest message that it was
/// handed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cursor(HashMap<SessionKey, MessageId>);

impl FromIterator<(SessionKey, MessageId)> for Cursor {
    fn from_iter<I: IntoIterator<Item = (SessionKey, MessageId)>>(last: I) -> Self {
        Self(last.into_iter().collect())
    }
}

impl Cursor {
    /// All of it.
    pub fn iter(&self) -> impl Iterator<Item = (&SessionKey, MessageId)> {
        self.0.iter().map(|(session, last)| (session, *last))
    }

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
    /// How often to look at everything, also without a bell.
    pub full_look: Duration,
}

/// What a following tells.
#[derive(Debug)]
pub enum News {
    /// A message to one of the sessions.
    Message(Message),
    /// All that was there at the beginning was handed out, up to here.
    CaughtUp(Cursor),
    /// The store refuses one of several sessions from now on, and why; reported once.
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

/// Tells of commits for as long as what it returns is held.
pub trait Ears: Send + Sync {
    /// From now on `on` hears, on the thread that hears of commits, of what comes to
    /// these sessions.
    ///
    /// # Errors
    /// If the store is gone, or nothing more can be watched.
    fn listen(
        &self,
        store: &Store,
        sessions: &HashSet<SessionKey>,
        on: OnNews,
    ) -> std::result::Result<Box<dyn Listening>, StoreError>;
}

/// How fast what is unread already may be handed out.
pub trait Pace: Sync {
    /// Returns when there is room for another page.
    fn room(&self) -> impl Future<Output = ()> + Send;
}

/// As fast as it is read from the store.
#[derive(Debug, Clone, Copy)]
pub struct AtOnce;

impl Pace for AtOnce {
    async fn room(&self) {}
}

/// Called with what came; never waits.
pub type OnNews = Box<dyn FnMut(Heard<'_>) + Send>;

/// What was heard.
#[derive(Debug)]
pub enum Heard<'a> {
    /// Messages to some of the sessions.
    Messages(Vec<&'a Message>),
    /// A conversation was closed, or a token replaced: perhaps one of these sessions'.
    Access,
    /// Something may have been missed.
    Missed,
    /// The look failed.
    Failed(StoreError),
}

/// Ends the listening when it is dropped.
pub trait Listening: Send + Sync {
    /// Looks once more at what is new.
    fn ask(&self);
}

/// Hands the sessions' messages to `sink` until it has had enough.
///
/// # Errors
/// Credentials that do not hold; all conversations have ended; the store's errors;
/// the sink's.
pub async fn follow(
    store: &Store,
    ears: &dyn Ears,
    subscription: &Subscription,
    pace: &impl Pace,
    sink: Sink,
) -> Result<()> {
    let callers = &subscription.callers;
    for verdict in store.verify(callers, clock::now()).await? {
        verdict?;
    }
    let cursor = start_of(store, subscription).await?;
    let follower = Arc::new(Mutex::new(Follower {
        cursor,
        refused: HashSet::new(),
        done: false,
        looking: Some(false),
        sink,
    }));
    // The ears are open before the backlog is read, so that nothing falls between
    // them. What they hear meanwhile is read with the rest of it: it has its place
    // behind what is older, and waits in the store alone.
    let rings = Arc::new(Rings::default());
    let (failed, mut failures) = mpsc::unbounded_channel();
    let mut pushing = Push {
        follower: Arc::clone(&follower),
        rings: Arc::clone(&rings),
    };
    let sessions = callers.iter().map(|c| c.session.clone()).collect();
    let listening = ears.listen(
        store,
        &sessions,
        Box::new(move |heard| {
            if let Err(error) = pushing.take(heard) {
                // The loop may have ended already.
                let _ = failed.send(error);
            }
        }),
    )?;
    let look = Look {
        store,
        callers,
        follower: &follower,
        pace,
    };
    show_unread(&look).await?;
    lock(&follower).tell_caught_up()?;
    let mut is_behind = is_held_up(go_live(&look).await)?;

    let full_look = subscription.full_look;
    let mut ticks = tokio::time::interval(full_look);
    ticks.tick().await;
    let mut next_end = ends_in(store, callers, &follower).await?;
    while !lock(&follower).done {
        let mut is_due = false;
        tokio::select! {
            failure = failures.recv() => return Err(failure.unwrap_or(FollowError::Stopped)),
            () = rings.done.notified() => {}
            () = rings.access.notified() => {}
            () = rings.missed.notified() => is_due = true,
            () = tokio::time::sleep(next_end) => {}
            _ = ticks.tick() => is_due = true,
            () = tokio::time::sleep(SOON), if is_behind => is_due = true,
        }
        if is_due {
            listening.ask();
            lock(&follower).looking = Some(true);
            is_behind = is_held_up(go_live(&look).await)?;
        }
        next_end = ends_in(store, callers, &follower).await?;
    }
    Ok(())
}

/// A doorbell of this subscription's own: for a program that has the store open and
/// follows little.
#[derive(Debug, Clone, Copy)]
pub struct OwnDoorbell(pub Mode);

impl Ears for OwnDoorbell {
    fn listen(
        &self,
        store: &Store,
        sessions: &HashSet<SessionKey>,
        mut on: OnNews,
    ) -> std::result::Result<Box<dyn Listening>, StoreError> {
        let sessions = sessions.clone();
        let doorbell = store.doorbell(
            self.0,
            Box::new(move |look| {
                match look.messages(&sessions) {
                    Ok(new) if new.is_empty() => {}
                    Ok(new) => on(Heard::Messages(new.iter().collect())),
                    Err(error) => return on(Heard::Failed(error)),
                }
                // After the mail, which must not wait for it.
                match look.signalled() {
                    Ok(Signalled { access, owed, .. }) => {
                        if access {
                            on(Heard::Access);
                        }
                        if owed {
                            on(Heard::Missed);
                        }
                    }
                    Err(error) => on(Heard::Failed(error)),
                }
            }),
        )?;
        Ok(Box::new(doorbell))
    }
}

impl Listening for Doorbell {
    fn ask(&self) {
        Self::ask(self);
    }
}

/// From now on means behind what is unread already, or the next full look would
/// show that after all.
async fn start_of(store: &Store, subscription: &Subscription) -> Result<Cursor> {
    match &subscription.begin {
        Begin::Unread => Ok(Cursor::default()),
        Begin::After(cursor) => Ok(cursor.clone()),
        Begin::Now => {
            let callers = subscription.callers.iter();
            let sessions: Vec<SessionKey> = callers.map(|c| c.session.clone()).collect();
            let unread = store.mail(&sessions).await?;
            let newest = unread.iter().map(|mail| mail.newest_unread);
            let newest = newest.map(Option::unwrap_or_default);
            Ok(Cursor(sessions.into_iter().zip(newest).collect()))
        }
    }
}

/// What a full look needs.
struct Look<'a, P> {
    store: &'a Store,
    callers: &'a [Caller],
    follower: &'a Mutex<Follower>,
    pace: &'a P,
}

/// Whether a look came to nothing because another process holds the lock. Until one has
/// succeeded, what comes waits for it: it stands behind what was not looked at.
fn is_held_up(looked: Result<()>) -> Result<bool> {
    match looked {
        Err(FollowError::Store(error)) if error.is_held_up() => Ok(true),
        looked => looked.map(|()| false),
    }
}

/// Looks until nothing came meanwhile; from then on what comes is shown at once.
async fn go_live<P: Pace>(look: &Look<'_, P>) -> Result<()> {
    loop {
        {
            let mut follower = lock(look.follower);
            if follower.done || follower.looking != Some(true) {
                follower.looking = None;
                return Ok(());
            }
            follower.looking = Some(false);
        }
        show_unread(look).await?;
    }
}

/// The full look, at what was not shown yet.
async fn show_unread<P: Pace>(look: &Look<'_, P>) -> Result<()> {
    let Look {
        store,
        callers,
        follower,
        pace,
    } = *look;
    for caller in callers {
        let mut shown = lock(follower).cursor.of(&caller.session);
        loop {
            pace.room().await;
            let found = store.peek(caller, shown, PAGE, clock::now()).await;
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
async fn ends_in(
    store: &Store,
    callers: &[Caller],
    follower: &Mutex<Follower>,
) -> Result<Duration> {
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

struct Follower {
    cursor: Cursor,
    /// Sessions that the store refuses now: expired, closed.
    refused: HashSet<SessionKey>,
    /// The sink has had enough.
    done: bool,
    /// While the backlog is read: whether something came meanwhile.
    looking: Option<bool>,
    sink: Sink,
}

impl Follower {
    fn tell(&mut self, news: News) -> io::Result<()> {
        if !self.done {
            self.done = (self.sink)(news)?.is_break();
        }
        Ok(())
    }

    /// The backlog was shown.
    fn tell_caught_up(&mut self) -> io::Result<()> {
        self.tell(News::CaughtUp(self.cursor.clone()))
    }

    /// Shows what came just now, or leaves it to the look that is under way.
    fn push<'a>(&mut self, new: impl IntoIterator<Item = &'a Message>) -> io::Result<()> {
        match &mut self.looking {
            Some(came) => {
                *came = true;
                Ok(())
            }
            None => self.show(new.into_iter().cloned()),
        }
    }

    fn show(&mut self, messages: impl IntoIterator<Item = Message>) -> io::Result<()> {
        for message in messages {
            if !self.done && self.cursor.pass(&message) {
                self.tell(News::Message(message))?;
            }
        }
        Ok(())
    }

    /// Takes up what a full look at one session found. A refusal is reported once and
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

/// What the thread that hears of commits tells the loop.
#[derive(Default)]
struct Rings {
    /// The sink has had enough.
    done: Notify,
    /// Perhaps one of the sessions may not be followed any more.
    access: Notify,
    /// Everything is to be looked at.
    missed: Notify,
}

/// What happens on the thread that hears of commits.
struct Push {
    follower: Arc<Mutex<Follower>>,
    rings: Arc<Rings>,
}

impl Push {
    fn take(&mut self, heard: Heard<'_>) -> Result<()> {
        match heard {
            Heard::Messages(new) => {
                let mut follower = lock(&self.follower);
                follower.push(new)?;
                if follower.done {
                    self.rings.done.notify_one();
                }
            }
            Heard::Access => self.rings.access.notify_one(),
            Heard::Missed => {
                // What was missed stands before what comes next.
                lock(&self.follower).looking = Some(true);
                self.rings.missed.notify_one();
            }
            Heard::Failed(error) => return Err(error.into()),
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
