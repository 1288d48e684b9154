//! A daemon of a newer version, as an older program meets it: what it answers has
//! members that the program does not know, in every object of it.

use std::convert::Infallible;
use std::path::{Path, PathBuf};

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

/// Stands before a daemon: its sockets are beside `real`, these in `directory`.
pub(crate) async fn stand_before(real: &Path, directory: &Path) {
    std::fs::create_dir(directory).expect("made");
    for name in ["api.sock", "admin.sock"] {
        let listener = UnixListener::bind(directory.join(name)).expect("bound");
        let real = real.with_file_name(name);
        // It ends with this process.
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let real = real.clone();
                let service = service_fn(move |request| pass_on(real.clone(), request));
                let served = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service);
                tokio::spawn(served);
            }
        });
    }
}

async fn pass_on(real: PathBuf, request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
    let path = request.uri().path().to_owned();
    let stream = UnixStream::connect(real).await.expect("it runs");
    let shaken = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = shaken.expect("it speaks");
    tokio::spawn(connection);
    let response = sender.send_request(request).await.expect("it answers");
    let (mut parts, body) = response.into_parts();
    parts.headers.remove(header::CONTENT_LENGTH);
    if path.ends_with("/follow") && parts.status.is_success() {
        let pieces = body.into_data_stream().map_ok(|piece| {
            // The daemon writes whole lines.
            let lines = piece.split_inclusive(|byte| *byte == b'\n');
            let lines: Vec<u8> = lines.flat_map(more_of_line).collect();
            Frame::data(Bytes::from(lines))
        });
        let body = BodyExt::boxed_unsync(StreamBody::new(pieces.boxed()));
        return Ok(Response::from_parts(parts, body));
    }
    let whole = body.collect().await.expect("whole").to_bytes();
    let text = match serde_json::from_slice::<Value>(&whole) {
        // Counts by words of the data, and no members.
        Ok(value) if !path.ends_with("/tasks/counts") => more(value).to_string().into(),
        _ => whole,
    };
    let body = Full::new(text).map_err(|never| match never {});
    Ok(Response::from_parts(parts, BodyExt::boxed_unsync(body)))
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

/// The same with more in each of its objects.
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
                .map(|(name, value)| match &*name {
                    // A message's and an audit row's own, and what an error is made of.
                    "metadata" | "details" | "error" | "refused" => (name, value),
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
