//! What may stand between a program and a daemon. A newer version of the daemon, whose
//! answers have members that the program does not know, in every object of them; and a
//! daemon whose answers are lost.

use std::collections::HashSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use futures_util::{StreamExt, TryStreamExt};
use http::{Request, Response, header};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Bytes, Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::{UnixListener, UnixStream};

type Body = UnsyncBoxBody<Bytes, hyper::Error>;

/// What stands between a program and the daemon.
#[derive(Debug, Clone)]
pub(crate) enum Between {
    /// It makes the daemon one of another version: its answers have members that the
    /// program does not know, and lack those that would be empty.
    Newer,
    /// It loses each answer once, unless it is a refusal: the daemon did what it was
    /// asked for, and the connection ends.
    Losing(Arc<Mutex<HashSet<Vec<u8>>>>),
}

/// Stands before a daemon: its sockets are beside `real`, these in `directory`.
pub(crate) async fn stand_before(real: &Path, directory: &Path, between: Between) {
    std::fs::create_dir(directory).expect("made");
    for name in ["api.sock", "admin.sock"] {
        let listener = UnixListener::bind(directory.join(name)).expect("bound");
        let real = real.with_file_name(name);
        let between = between.clone();
        // It ends with this process.
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (real, between) = (real.clone(), between.clone());
                let service =
                    service_fn(move |request| stand(real.clone(), between.clone(), request));
                let served = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service);
                tokio::spawn(served);
            }
        });
    }
}

async fn stand(
    real: PathBuf,
    between: Between,
    request: Request<Incoming>,
) -> io::Result<Response<Body>> {
    let Between::Losing(lost) = between else {
        let (head, body) = request.into_parts();
        return Ok(pass_on(real, Request::from_parts(head, whole(body).await)).await);
    };
    let (mut head, body) = request.into_parts();
    let body = whole(body).await;
    let bytes = body.clone().collect().await.expect("whole").to_bytes();
    let is_repeated = head.headers.contains_key("mcp-bridge-repeated");
    let key = [head.uri.path().as_bytes(), b" ", &bytes].concat();
    // What these would do the second time no program can say: they are not asked again.
    let once = ["/v1/wake/claim", "/v1/follow"];
    let is_once = once.iter().any(|one| key.starts_with(one.as_bytes()));
    let is_first = !is_once && lost.lock().expect("one at a time").insert(key);
    assert!(!(is_first && is_repeated), "{head:?}");
    // It is passed on as it came, and its answer with nothing new in it.
    head.headers
        .insert("x-as-it-is", "1".parse().expect("a word"));
    let answer = pass_on(real, Request::from_parts(head, body)).await;
    match is_first && answer.status().is_success() {
        true => Err(io::ErrorKind::ConnectionReset.into()),
        false => Ok(answer),
    }
}

async fn whole(body: Incoming) -> Full<Bytes> {
    Full::new(body.collect().await.expect("whole").to_bytes())
}

async fn pass_on(real: PathBuf, request: Request<Full<Bytes>>) -> Response<Body> {
    let as_it_is = request.headers().contains_key("x-as-it-is");
    let path = request.uri().path().to_owned();
    let stream = UnixStream::connect(real).await.expect("it runs");
    let shaken = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = shaken.expect("it speaks");
    tokio::spawn(connection);
    let response = sender.send_request(request).await.expect("it answers");
    let (mut parts, body) = response.into_parts();
    if as_it_is {
        return Response::from_parts(parts, BodyExt::boxed_unsync(body));
    }
    parts.headers.remove(header::CONTENT_LENGTH);
    if path.ends_with("/follow") && parts.status.is_success() {
        let pieces = body.into_data_stream().map_ok(|piece| {
            // The daemon writes whole lines.
            let lines = piece.split_inclusive(|byte| *byte == b'\n');
            let lines: Vec<u8> = lines.flat_map(more_of_line).collect();
            Frame::data(Bytes::from(lines))
        });
        let body = BodyExt::boxed_unsync(StreamBody::new(pieces.boxed()));
        return Response::from_parts(parts, body);
    }
    let whole = body.collect().await.expect("whole").to_bytes();
    let text = match serde_json::from_slice::<Value>(&whole) {
        // Counts by words of the data, and no members.
        Ok(value) if !path.ends_with("/tasks/counts") => more(value).to_string().into(),
        _ => whole,
    };
    let body = Full::new(text).map_err(|never| match never {});
    Response::from_parts(parts, BodyExt::boxed_unsync(body))
}

fn more_of_line(line: &[u8]) -> Vec<u8> {
    let Ok(Value::Object(line)) = serde_json::from_slice(line) else {
        return line.to_vec();
    };
    // A line is its one word; what that says may be more.
    let line: serde_json::Map<String, Value> = line
        .into_iter()
        .map(|(kind, said)| match &*kind {
            // Messages by session, and no members.
            "caught_up" => (kind, said),
            _ => (kind, more(said)),
        })
        .collect();
    let mut text = Value::Object(line).to_string().into_bytes();
    text.push(b'\n');
    text
}

/// The same with more in each of its objects, and without members that are null: an
/// older daemon has no such member.
fn more(value: Value) -> Value {
    match value {
        Value::Array(all) => all.into_iter().map(more).collect(),
        Value::Object(members) => {
            // What stands for one of several things is that thing's one word.
            let is_choice = members.len() == 1
                && members
                    .keys()
                    .all(|key| ["verified", "refused"].contains(&key.as_str()));
            let mut members: serde_json::Map<String, Value> = members
                .into_iter()
                .filter(|(_, value)| !value.is_null())
                .map(|(name, value)| match &*name {
                    // A message's and an audit row's own, counts by words of the data, and
                    // what an error is made of.
                    "tasks" | "metadata" | "details" | "error" | "refused" => (name, value),
                    _ => (name, more(value)),
                })
                .collect();
            if !is_choice {
                members.insert("of_a_newer_version".to_owned(), json!({ "more": [1] }));
            }
            Value::Object(members)
        }
        other => other,
    }
}
