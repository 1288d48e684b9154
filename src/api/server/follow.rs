//! A subscription: lines of JSON, pushed the moment a message is committed.

use std::io;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, Response, header};
use futures_util::Stream;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use super::answer::{parse, read, refuse};
use super::hub::HubEars;
use super::{Door, Peer};
use crate::api::Problem;
use crate::api::follow::{self as following, Begin, Cursor, FollowError, News, Subscription};
use crate::api::stream::{Follow, Line, MEDIA_TYPE, MOST_SESSIONS, Start};
use crate::model::SessionKey;
use crate::model::door::DoorError;
use crate::store::{Caller, ErrorClass, Result, SharedStore, StoreError};

/// How often a silent stream says that it stands: so a reader learns of a daemon that
/// hangs, and the daemon of a reader that is gone.
const ALIVE: Duration = Duration::from_secs(15);

/// Lines that wait for a reader. One that is further behind is dropped.
const BEHIND: usize = 1_024;

/// How often a subscription looks at everything, whatever it heard.
const FULL_LOOK: Duration = Duration::from_secs(30);

/// Begins a subscription.
pub(super) async fn handle(
    State(door): State<Arc<Door>>,
    Extension(_): Extension<Peer>,
    headers: HeaderMap,
    body: Body,
) -> Response<Body> {
    match begin(door, headers, body).await {
        Ok(lines) => {
            let mut response = Response::new(Body::from_stream(lines));
            let kind = HeaderValue::from_static(MEDIA_TYPE);
            response.headers_mut().insert(header::CONTENT_TYPE, kind);
            response
        }
        Err(error) => refuse(&error),
    }
}

async fn begin(
    door: Arc<Door>,
    headers: HeaderMap,
    body: Body,
) -> Result<impl Stream<Item = io::Result<Bytes>>> {
    let wanted: Follow = parse(&read(&door, &headers, body).await?)?;
    let malformed = |why: &str| DoorError::Malformed(why.to_owned());
    if wanted.sessions.is_empty() || wanted.sessions.len() > MOST_SESSIONS {
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
        callers: wanted.sessions.into_iter().map(Caller::from).collect(),
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
    tokio::spawn(run(door, store, subscription, lines));
    Ok(stream(waiting))
}

/// Fills the stream until the reader is gone or too slow, or nothing is left.
async fn run(
    door: Arc<Door>,
    store: SharedStore,
    subscription: Subscription,
    lines: mpsc::Sender<Line>,
) {
    let ears = HubEars(Arc::clone(&door.hub));
    let pushed = lines.clone();
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
        Ok(match pushed.try_send(line) {
            Ok(()) => ControlFlow::Continue(()),
            // Gone, or so far behind that it would hold the others up.
            Err(_) => ControlFlow::Break(()),
        })
    });
    let mut opened = door.store.clone();
    let end = tokio::select! {
        ended = following::follow(&store, &ears, &subscription, sink) => match ended {
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

fn stream(waiting: mpsc::Receiver<Line>) -> impl Stream<Item = io::Result<Bytes>> {
    let alive = Instant::now() + ALIVE;
    futures_util::stream::unfold((waiting, alive), async |(mut waiting, alive)| {
        let line = tokio::select! {
            biased;
            line = waiting.recv() => line?,
            () = sleep_until(alive) => Line::Alive {},
        };
        let mut text = Vec::new();
        push(&mut text, &line);
        // What waits already goes out with it.
        while text.len() < 64 * 1024
            && let Ok(line) = waiting.try_recv()
        {
            push(&mut text, &line);
        }
        Some((Ok(Bytes::from(text)), (waiting, Instant::now() + ALIVE)))
    })
}

fn push(text: &mut Vec<u8>, line: &Line) {
    let before = text.len();
    match serde_json::to_writer(&mut *text, line) {
        Ok(()) => text.push(b'\n'),
        Err(_) => text.truncate(before),
    }
}
