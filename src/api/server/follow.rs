//! A subscription: lines of JSON, pushed the moment a message is committed.

use std::io;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::HeaderMap;
use futures_util::Stream;
use serde_json::Value;
use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, sleep_until};

use super::answer::{actor, read};
use super::hub::HubEars;
use super::json::{harmless, parse};
use super::users::{Held, User};
use super::{Door, Peer};
use crate::api::follow::{self as following, Begin, Cursor, FollowError, News, Pace, Subscription};
use crate::api::stream::{ALIVE, Follow, Line, MOST_SESSIONS, Start};
use crate::api::{Actor, Problem};
use crate::model::SessionKey;
use crate::model::door::DoorError;
use crate::store::{Caller, ErrorClass, Result, SharedStore, StoreError};

/// Lines that wait for a reader. One that is further behind is dropped.
const BEHIND: usize = 1_024;

/// Bytes of those lines, at most.
const BEHIND_BYTES: usize = 16 * 1024 * 1024;

/// How often a subscription looks at everything, also without a bell. The daemon's doorbell
/// asks the store itself four times a second, and mail that is owed again is signalled.
const FULL_LOOK: Duration = Duration::from_secs(120);

/// Begins a subscription.
pub(super) async fn begin(
    door: Arc<Door>,
    peer: Peer,
    headers: HeaderMap,
    body: Body,
) -> Result<impl Stream<Item = io::Result<Bytes>>> {
    peer.user.ensure_room()?;
    let wanted: Follow = parse(&read(&door, &peer, &headers, body).await?.0)?;
    let malformed = |why: &str| DoorError::Malformed(why.to_owned());
    let mut callers: Vec<Caller> = wanted.sessions.into_iter().map(Caller::from).collect();
    if callers.is_empty()
        && let Actor::Session(caller) = actor(&peer, &headers)?
    {
        callers.push(caller);
    }
    if callers.is_empty() || callers.len() > MOST_SESSIONS {
        return Err(malformed("a subscription is for 1 to 1000 sessions").into());
    }
    let begin = match wanted.begin {
        Start::Unread => Begin::Unread,
        Start::Now => Begin::Now,
        Start::After(last) => {
            let last = last.into_iter().map(|(session, id)| {
                let session: SessionKey = session.parse()?;
                Ok((session, id))
            });
            let cursor: std::result::Result<Cursor, crate::model::InvalidId> = last.collect();
            Begin::After(cursor.map_err(|error| malformed(&error.to_string()))?)
        }
    };
    let subscription = Subscription {
        callers,
        begin,
        poll: false,
        full_look: FULL_LOOK,
    };
    let store = door.open_store()?;
    // Wrong credentials are an answer of their own, not a line in a stream.
    for verdict in store
        .verify(&subscription.callers, crate::clock::now())
        .await?
    {
        verdict?;
    }
    let (lines, waiting) = mpsc::channel(BEHIND);
    let behind = Behind::of(&peer.user);
    tokio::spawn(run(door, store, subscription, lines, Arc::clone(&behind)));
    Ok(stream(waiting, behind))
}

/// Fills the stream until the reader is gone or too slow, or nothing is left.
async fn run(
    door: Arc<Door>,
    store: SharedStore,
    subscription: Subscription,
    lines: mpsc::Sender<Line>,
    behind: Arc<Behind>,
) {
    let ears = HubEars(Arc::clone(&door.hub));
    let room = Room {
        lines: lines.clone(),
        behind: Arc::clone(&behind),
    };
    let pushed = Pushed {
        lines: lines.clone(),
        behind,
    };
    let sink = Box::new(move |news| {
        let line = match news {
            News::Message(message) => Line::Message(message),
            News::CaughtUp(cursor) => Line::CaughtUp {
                after: cursor
                    .iter()
                    .map(|(session, last)| (session.to_string(), last))
                    .collect(),
            },
            News::Refused(error) => Line::Refused(Problem::from(&error)),
        };
        // Gone, or so far behind that it would hold the others up.
        Ok(match pushed.push(line) {
            true => ControlFlow::Continue(()),
            false => ControlFlow::Break(()),
        })
    });
    let mut opened = door.store.clone();
    let end = tokio::select! {
        ended = following::follow(&store, &ears, &subscription, &room, sink) => match ended {
            Ok(()) => Line::Dropped {},
            Err(FollowError::Store(error)) => Line::Ended(Problem::from(&error)),
            Err(error) => Line::Ended(Problem::from(&ended_by(&error))),
        },
        () = lines.closed() => return,
        () = door.ends.cancelled() => Line::Ended(Problem::from(&stops())),
        _ = opened.wait_for(|open| open.as_ref().is_none_or(|open| !Arc::ptr_eq(open, &store))) => {
            Line::Ended(Problem::from(&stops()))
        }
    };
    // A reader that is slow gets what waits for it, and then this.
    let _ = lines.send(end).await;
}

fn stops() -> StoreError {
    DoorError::NoStore("it has let it go".to_owned()).into()
}

fn ended_by(error: &FollowError) -> StoreError {
    let text = error.to_string();
    let class = ErrorClass::Other.as_str().to_owned();
    DoorError::Told { text, class }.into()
}

/// Waits for a reader of what is unread already. What comes meanwhile waits in the store,
/// so that it holds no other reader up.
struct Room {
    lines: mpsc::Sender<Line>,
    behind: Arc<Behind>,
}

impl Pace for Room {
    async fn room(&self) {
        let has_room = || {
            let bytes = self.behind.messages.load(Ordering::Acquire);
            self.lines.capacity() > BEHIND / 2 && bytes < BEHIND_BYTES / 4
        };
        while !has_room() {
            let read = self.behind.read.notified();
            if !has_room() {
                read.await;
            }
        }
    }
}

/// What waits for a reader: its messages, and all of it as its user holds it.
struct Behind {
    user: Arc<User>,
    /// Its reader has taken some of it.
    read: Notify,
    messages: AtomicUsize,
    held: AtomicUsize,
}

impl Behind {
    fn of(user: &Arc<User>) -> Arc<Self> {
        Arc::new(Self {
            user: Arc::clone(user),
            read: Notify::new(),
            messages: AtomicUsize::new(0),
            held: AtomicUsize::new(0),
        })
    }
}

impl Drop for Behind {
    fn drop(&mut self) {
        self.user.give_back(*self.held.get_mut());
    }
}

/// Lines that wait for a reader, up to a limit.
struct Pushed {
    lines: mpsc::Sender<Line>,
    behind: Arc<Behind>,
}

impl Pushed {
    /// Whether there was room for it.
    fn push(&self, line: Line) -> bool {
        let size = size(&line);
        let behind = &self.behind;
        if !behind.user.take(size + BESIDE) {
            return false;
        }
        behind.held.fetch_add(size + BESIDE, Ordering::Relaxed);
        let before = behind.messages.fetch_add(size, Ordering::Relaxed);
        before + size <= BEHIND_BYTES && self.lines.try_send(line).is_ok()
    }
}

/// What a line takes beside its message's text.
const BESIDE: usize = 512;

/// About how much room a line takes while it waits.
fn size(line: &Line) -> usize {
    let Line::Message(message) = line else {
        return 0;
    };
    let paths = message.metadata.get("files_involved");
    let paths = paths.and_then(Value::as_array).into_iter().flatten();
    let paths: usize = paths.filter_map(Value::as_str).map(str::len).sum();
    message.message.len() + paths
}

fn stream(
    waiting: mpsc::Receiver<Line>,
    behind: Arc<Behind>,
) -> impl Stream<Item = io::Result<Bytes>> {
    let alive = Instant::now() + ALIVE;
    let first = (waiting, behind, alive);
    futures_util::stream::unfold(first, async |(mut waiting, behind, alive)| {
        let line = tokio::select! {
            biased;
            line = waiting.recv() => line?,
            () = sleep_until(alive) => Line::Alive {},
        };
        let mut text = Vec::new();
        let mut taken = size(&line);
        let mut held = was_held(&line);
        push(&mut text, &line);
        // What waits already goes out with it.
        while text.len() < 64 * 1024
            && let Ok(line) = waiting.try_recv()
        {
            taken += size(&line);
            held += was_held(&line);
            push(&mut text, &line);
        }
        behind.messages.fetch_sub(taken, Ordering::Release);
        behind.held.fetch_sub(held, Ordering::Relaxed);
        behind.read.notify_one();
        // Its user holds it until it is written.
        let text = Held::counted(&behind.user, held, text);
        let next = (waiting, behind, Instant::now() + ALIVE);
        Some((Ok(text), next))
    })
}

/// What a line was counted for: the stream's own words are not.
fn was_held(line: &Line) -> usize {
    match line {
        Line::Alive {} | Line::Dropped {} | Line::Ended(_) => 0,
        Line::Message(_) | Line::CaughtUp { .. } | Line::Refused(_) => size(line) + BESIDE,
    }
}

fn push(text: &mut Vec<u8>, line: &Line) {
    if let Ok(json) = serde_json::to_vec(line) {
        text.extend_from_slice(&harmless(json));
        text.push(b'\n');
    }
}

#[cfg(test)]
mod tests {
    use futures_util::StreamExt;
    use serde_json::json;

    use super::*;

    fn message(text: &str) -> Line {
        let message = json!({
            "id": 1,
            "conversation": "conv_0000000000000001",
            "from": "a",
            "to": "b",
            "message": text,
            "metadata": {},
            "sent_at": null,
        });
        Line::Message(serde_json::from_value(message).expect("a message"))
    }

    #[tokio::test]
    async fn long_lines_wait_for_no_slow_reader() {
        let (lines, waiting) = mpsc::channel(BEHIND);
        let behind = Behind::of(&User::alone());
        let pushed = Pushed {
            lines,
            behind: Arc::clone(&behind),
        };
        let text = "x".repeat(1024 * 1024);
        let count = (0..100).take_while(|_| pushed.push(message(&text))).count();
        assert_eq!(count, BEHIND_BYTES / text.len());
        // A reader that takes some makes room for some.
        let mut read = Box::pin(stream(waiting, behind));
        for _ in 0..count {
            read.next().await.expect("a line").expect("no error");
        }
        assert!(pushed.push(message(&text)));
        // Short ones are counted, too.
        let short = (0..10_000).take_while(|_| pushed.push(message("x")));
        assert_eq!(short.count(), BEHIND - 1);
    }
}
