//! A subscription to the audit log, for operators.

use std::io;
use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::http::HeaderMap;
use futures_util::Stream;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

use super::answer::{actor, ensure_may, read};
use super::json::parse;
use super::users::{Held, User};
use super::{Door, Peer};
use crate::api::events::{self, FollowEvents, Line};
use crate::api::stream::ALIVE;
use crate::api::{Problem, Rights, Route};
use crate::model::door::DoorError;
use crate::store::{AuditPage, Result, SharedStore, StoreError};

/// As the table of rights has it.
const ROUTE: Route = Route::post(events::NAME, Rights::OPERATOR, events::SUMMARY);

/// Begins a subscription.
pub(super) async fn begin(
    door: Arc<Door>,
    peer: Peer,
    headers: HeaderMap,
    body: Body,
) -> Result<impl Stream<Item = io::Result<Bytes>>> {
    ensure_may(ROUTE, &peer, &actor(&peer, &headers)?)?;
    peer.user.ensure_room()?;
    let wanted: FollowEvents = parse(&read(&door, &peer, &headers, body).await?.0)?;
    let store = door.open_store()?;
    let (pages, taken) = mpsc::channel(1);
    let following = tokio::spawn(run(door, store, wanted, pages));
    Ok(stream(peer.user, taken, following))
}

/// Fills the stream until its reader is gone, or the store is; then why.
async fn run(
    door: Arc<Door>,
    store: SharedStore,
    wanted: FollowEvents,
    pages: mpsc::Sender<AuditPage>,
) -> Option<StoreError> {
    let commits = door.hub.commits();
    let mut opened: watch::Receiver<_> = door.store.clone();
    let is_ours = |open: &Option<SharedStore>| {
        let open = open.as_ref();
        open.is_none_or(|open| !Arc::ptr_eq(open, &store))
    };
    tokio::select! {
        ended = events::follow(&store, commits, wanted, pages) => ended.err(),
        () = door.ends.cancelled() => Some(stops()),
        _ = opened.wait_for(is_ours) => Some(stops()),
    }
}

fn stops() -> StoreError {
    DoorError::NoStore("it has let it go".to_owned()).into()
}

/// What a stream works with.
struct Reading {
    user: Arc<User>,
    taken: mpsc::Receiver<AuditPage>,
    following: Option<JoinHandle<Option<StoreError>>>,
}

fn stream(
    user: Arc<User>,
    taken: mpsc::Receiver<AuditPage>,
    following: JoinHandle<Option<StoreError>>,
) -> impl Stream<Item = io::Result<Bytes>> {
    let first = Reading {
        user,
        taken,
        following: Some(following),
    };
    futures_util::stream::unfold(first, async |mut reading| {
        let alive = Instant::now() + ALIVE;
        let page = tokio::select! {
            page = reading.taken.recv() => page,
            () = sleep_until(alive) => {
                let text = text(&[Line::Alive {}]);
                return Some((Ok(text.into()), reading));
            }
        };
        let lines = match page {
            Some(AuditPage {
                entries, cursor, ..
            }) => {
                let after = Line::CaughtUp { after: cursor };
                entries
                    .into_iter()
                    .map(Line::Event)
                    .chain([after])
                    .collect()
            }
            None => {
                // Nothing more comes: its last word is why.
                let ended = reading.following.take()?.await.ok()??;
                vec![Line::Ended(Problem::from(&ended))]
            }
        };
        let text = text(&lines);
        // It is held for its user until it is written; what is not read holds one page.
        let bytes = Held::by(&reading.user).keeping(text, false).ok()?;
        Some((Ok(bytes), reading))
    })
}

fn text(lines: &[Line]) -> Vec<u8> {
    let mut text = Vec::new();
    for line in lines {
        let before = text.len();
        match serde_json::to_writer(&mut text, line) {
            Ok(()) => text.push(b'\n'),
            Err(_) => text.truncate(before),
        }
    }
    text
}
