//! The connections of the door: a limited number at once, each with a time limit for
//! its headers.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderValue, Method, Request, header};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::UnixStream;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tracing::{debug, warn};

use super::listen::{self, Bound};
use super::patient::Patient;
use super::users::Users;
use super::watched::Watched;
use super::{Door, Peer};
use crate::api::Purpose;
use crate::model::door::DoorError;

/// How long requests that are under way may take once the door closes.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// How long one that has just connected may take to ask for something once the daemon
/// ends.
const FIRST_WORDS: Duration = Duration::from_millis(250);

/// A pause when no connection can be taken: the process has no file left.
const PAUSE: Duration = Duration::from_millis(50);

/// Takes connections until the door closes.
pub(super) async fn serve(door: Arc<Door>, bound: Bound, router: Router) {
    let ends = door.ends.clone();
    let users = Arc::new(Users::default());
    let mut connections = JoinSet::new();
    loop {
        let (taken, socket) = tokio::select! {
            () = ends.cancelled() => break,
            taken = bound.sessions.accept() => (taken, Purpose::Sessions),
            taken = bound.operators.accept() => (taken, Purpose::Operators),
            Some(_) = connections.join_next() => continue,
        };
        let stream = match taken {
            Ok((stream, _)) => stream,
            Err(error) => {
                warn!(
                    event = "door-not-answered",
                    "a connection cannot be accepted: {error}"
                );
                sleep(PAUSE).await;
                continue;
            }
        };
        let Ok((uid, pid)) = listen::peer(&stream) else {
            continue;
        };
        let Some(seat) = Users::take(&users, door.limits(), socket, uid) else {
            debug!(
                event = "door-full",
                uid, "a connection was refused: there are too many"
            );
            connections.spawn(turn_away(stream, uid));
            continue;
        };
        let user = Arc::clone(&seat.user);
        let peer = Peer { socket, user, pid };
        let (router, door) = (router.clone(), Arc::clone(&door));
        connections.spawn(async move {
            let _seat = seat;
            talk(stream, peer, router, door).await;
        });
    }
    // A program that connects from now on waits for the next daemon where the service
    // manager keeps the sockets, and elsewhere hears at once that none answers.
    drop(bound);
    let all = async { while connections.join_next().await.is_some() {} };
    if timeout(LAST_WORDS, all).await.is_err() {
        debug!(event = "requests-cut", "some requests did not end in time");
    }
}

async fn talk(stream: UnixStream, peer: Peer, router: Router, door: Arc<Door>) {
    let asked = Arc::new(Notify::new());
    let begun = Arc::clone(&asked);
    let service = service_fn(move |request: Request<Incoming>| {
        begun.notify_one();
        // What stands behind it, other programs on the way take for a tunnel's.
        let tunnel = request.method() == Method::CONNECT;
        let (mut router, peer) = (router.clone(), peer.clone());
        async move {
            let (parts, body) = request.into_parts();
            let (body, was_read) = Watched::new(body);
            let mut request = Request::from_parts(parts, Body::new(body));
            request.extensions_mut().insert(peer);
            let answered = tower_service::Service::call(&mut router, request).await;
            answered.map(|mut response| {
                if tunnel || !was_read.load(Ordering::Acquire) {
                    let close = HeaderValue::from_static("close");
                    response.headers_mut().insert(header::CONNECTION, close);
                }
                response
            })
        }
    });
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(door.limits().time)
        .max_buf_size(64 * 1024)
        .half_close(true);
    let stream = Patient::new(stream, Arc::clone(&door));
    let connection = builder.serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    // First what was sent already is read, so that it has its answer.
    let mut ended = tokio::select! {
        biased;
        ended = connection.as_mut() => Some(ended),
        () = door.ends.cancelled() => None,
    };
    if ended.is_none() {
        // A program that has just connected is not turned away, either.
        ended = tokio::select! {
            biased;
            ended = connection.as_mut() => Some(ended),
            _ = timeout(FIRST_WORDS, asked.notified()) => None,
        };
    }
    let ended = match ended {
        Some(ended) => ended,
        None => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        debug!(event = "connection-ended", "a connection ended: {error}");
    }
}

/// Says why, to a client that is one too many.
async fn turn_away(stream: UnixStream, uid: u32) {
    let why = format!("user {uid} has the maximum number of connections");
    let response = super::answer::refuse(&DoorError::Crowded(why).into());
    let (parts, body) = response.into_parts();
    let Ok(body) = axum::body::to_bytes(body, usize::MAX).await else {
        return;
    };
    let head = format!(
        "HTTP/1.1 {}\r\ncontent-type: {}\r\ncontent-length: {}\r\nretry-after: 1\r\nconnection: close\r\n\r\n",
        parts.status,
        crate::api::problem::MEDIA_TYPE,
        body.len()
    );
    // What fits into the socket's buffer: the client is not waited for.
    let _ = stream.try_write(&[head.as_bytes(), &body].concat());
}
