//! Following mail for a while: until enough messages came, or a time is over.

use std::io;
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use super::Result;
use crate::bridge::{Begin, Bridge, News, Subscription};
use crate::model::message::Message;
use crate::store::{Caller, StoreError};

/// What is called for each message, on the thread that heard of it: no queue and no
/// other thread stand between a commit and its line.
pub type Sink = Box<dyn FnMut(Message) -> io::Result<()> + Send>;

/// What is called for one of several sessions that the store refuses from now on.
pub type Refused = Box<dyn FnMut(StoreError) + Send>;

/// How to follow.
#[derive(Debug, Clone)]
pub struct Following {
    /// Where to begin.
    pub begin: Begin,
    /// Ask again and again: for file systems that raise no events.
    pub poll: bool,
    /// How often to look at everything, also without a bell.
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
            poll: false,
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

struct Reader {
    /// How many messages may still be shown.
    left: Option<u64>,
    sink: Sink,
    refused: Refused,
}

impl Reader {
    fn hear(&mut self, news: News, caught_up: &Notify) -> io::Result<ControlFlow<()>> {
        match news {
            News::Message(message) if self.left != Some(0) => {
                (self.sink)(message)?;
                self.left = self.left.map(|left| left - 1);
            }
            News::Message(_) => {}
            News::Refused(why) => (self.refused)(why),
            News::CaughtUp(_) => caught_up.notify_one(),
        }
        Ok(match self.left {
            Some(0) => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        })
    }
}

/// Hands the callers' messages to `sink` until as many were shown as `following`
/// says, or its time is over.
///
/// # Errors
/// Credentials that do not hold; all conversations have ended; the store's
/// errors; the sink's.
pub async fn follow(
    bridge: &Bridge,
    callers: &[Caller],
    following: Following,
    sink: Sink,
    refused: Refused,
) -> Result<Ended> {
    let reader = Arc::new(Mutex::new(Reader {
        left: following.count,
        sink,
        refused,
    }));
    let caught_up = Arc::new(Notify::new());
    let limit = tokio::time::sleep(following.limit.unwrap_or(Duration::MAX));
    let subscription = Subscription {
        callers: callers.to_vec(),
        begin: following.begin,
        poll: following.poll,
        full_look: following.full_look,
    };
    let hearing = {
        let (reader, caught_up) = (Arc::clone(&reader), Arc::clone(&caught_up));
        Box::new(move |news| lock(&reader).hear(news, &caught_up))
    };
    let time_up = async {
        limit.await;
        caught_up.notified().await;
    };
    tokio::select! {
        ended = bridge.follow(&subscription, hearing) => {
            ended?;
            Ok(Ended::Counted)
        }
        () = time_up => {
            // What is being shown at this moment counts.
            let mut reader = lock(&reader);
            Ok(match reader.left.replace(0) {
                Some(0) => Ended::Counted,
                _ => Ended::TimeUp,
            })
        }
    }
}

fn lock(reader: &Mutex<Reader>) -> MutexGuard<'_, Reader> {
    reader.lock().unwrap_or_else(PoisonError::into_inner)
}
