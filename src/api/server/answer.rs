//! One request and its answer.

use std::io;
use std::sync::Arc;

use axum::Extension;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, Method, Response, StatusCode, Uri, header};
use axum::routing::{MethodRouter, post};
use bytes::BytesMut;
use futures_util::Stream;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use tokio::time::timeout;

use super::asked::Kind;
use super::json::encode;
use super::users::Held;
use super::{Door, Limits, Peer, listen};
use crate::api::{
    Actor, At, Problem, Purpose, Quota, REPEATED_HEADER, Rights, Route, SESSION_HEADER, problem,
    stream,
};
use crate::model::SessionKey;
use crate::model::door::DoorError;
use crate::model::token::Token;
use crate::store::{Caller, Result, SharedStore, StoreError, for_user};
use crate::text;

/// Does what an operation says.
pub(super) async fn handle(
    kind: Kind,
    State(door): State<Arc<Door>>,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
    body: Body,
) -> Response<Body> {
    match operate(kind, &door, &peer, &headers, body).await {
        Ok(granted) => granted,
        Err(error) => refuse(&error),
    }
}

async fn operate(
    Kind {
        route,
        read: reader,
    }: Kind,
    door: &Door,
    peer: &Peer,
    headers: &HeaderMap,
    body: Body,
) -> Result<Response<Body>> {
    let actor = actor(peer, headers)?;
    ensure_may(route, peer, &actor)?;
    peer.user.ensure_room()?;
    let (body, _held) = match route.method {
        crate::api::Method::Get => (Bytes::new(), Held::by(&peer.user)),
        crate::api::Method::Post => read(door, peer, headers, body).await?,
    };
    let operation = reader(&body)?;
    let limits = door.limits();
    if let Some((quota, wanted)) = operation.takes()
        && !matches!(actor, Actor::Operator)
    {
        door.quotas.take(limits, peer.user.uid(), quota, wanted)?;
    }
    let uid = peer.user.uid();
    if route.is_kept && matches!(actor, Actor::Session(_) | Actor::Anyone) {
        let bytes = (body.len() + BESIDE) as u64;
        // Those two could write the file itself.
        if !listen::is_trusted(uid) {
            door.quotas.take(limits, uid, Quota::Bytes, bytes)?;
        }
    }
    // Held until the answer is counted as its user's.
    let _turn = match route.is_long {
        true => Some(peer.user.turn(limits.time).await?),
        false => None,
    };
    peer.user.ensure_room()?;
    let store = door.open_store()?;
    let at = At {
        store: &store,
        actor: &actor,
        is_trusted: false,
        is_repeated: headers.contains_key(REPEATED_HEADER),
        process: peer.pid,
        uid,
    };
    match timeout(limits.time, for_user(peer.user.uid(), operation.run(at))).await {
        Ok(done) => Ok(grant(peer, done?, route.is_long)),
        Err(_) => Err(StoreError::Busy(store.location().clone())),
    }
}

impl Door {
    /// The store, if one is open now.
    pub(super) fn open_store(&self) -> Result<SharedStore> {
        let open = self.store.borrow().clone();
        open.ok_or_else(|| DoorError::NoStore("it waits for it".to_owned()).into())
    }
}

/// Who asks, by the headers of the request and the socket that it came to.
pub(super) fn actor(peer: &Peer, headers: &HeaderMap) -> Result<Actor> {
    let malformed = |what: &str| DoorError::Malformed(what.to_owned());
    // Which of two would hold, another program on the way may decide otherwise.
    let twice = |name: &str| headers.get_all(name).iter().nth(1).is_some();
    if twice(header::AUTHORIZATION.as_str()) || twice(SESSION_HEADER) {
        let why = "the headers Authorization and MCP-Bridge-Session are allowed once in a request";
        return Err(malformed(why).into());
    }
    let Some(token) = headers.get(header::AUTHORIZATION) else {
        // It means to be a session, and must not be more than that by mistake.
        if headers.contains_key(SESSION_HEADER) {
            let why =
                "the header MCP-Bridge-Session came without Authorization, which holds the token";
            return Err(malformed(why).into());
        }
        return Ok(match peer.socket {
            Purpose::Sessions => Actor::Anyone,
            Purpose::Operators => Actor::Operator,
        });
    };
    let token = token.to_str().ok().and_then(|text| {
        let (scheme, token) = text.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then_some(token)
    });
    let token =
        token.ok_or_else(|| malformed("Authorization is `Bearer` and a session's token"))?;
    let token = Token::parse(token).map_err(|error| malformed(&error.to_string()))?;
    let named = headers
        .get(SESSION_HEADER)
        .and_then(|name| name.to_str().ok());
    let named = named.ok_or_else(|| {
        malformed("a token came without the header MCP-Bridge-Session, which names the session")
    })?;
    let session: SessionKey = named
        .parse()
        .map_err(|error: crate::model::InvalidId| malformed(&error.to_string()))?;
    Ok(Actor::Session(Caller { session, token }))
}

/// The table of rights. What a session may do with what is not its own the operation
/// itself refuses.
pub(super) fn ensure_may(route: Route, peer: &Peer, actor: &Actor) -> Result<()> {
    let Rights {
        anyone,
        session,
        operator,
    } = route.rights;
    let may = match actor {
        Actor::Anyone => anyone,
        Actor::Session(_) => session || anyone,
        Actor::Operator => operator || anyone,
    };
    if may {
        return Ok(());
    }
    let what = route.name.to_owned();
    Err(match (session, peer.socket) {
        (true, _) => DoorError::NoToken(what),
        (false, _) => DoorError::NotOperator(what),
    }
    .into())
}

/// Reads a body, if it is JSON, in time and not too long. What it takes is its user's
/// for as long as the second part is held.
pub(super) async fn read(
    door: &Door,
    peer: &Peer,
    headers: &HeaderMap,
    body: Body,
) -> Result<(Bytes, Held)> {
    let kind = headers.get(header::CONTENT_TYPE);
    let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    // What curl sends with `-d` by default.
    let form = "application/x-www-form-urlencoded";
    if !kind.is_empty() && !kind.starts_with("application/json") && kind != form {
        let kind: String = kind.chars().take(100).collect();
        return Err(DoorError::NotJson(kind).into());
    }
    if headers
        .get(header::CONTENT_ENCODING)
        .is_some_and(|coding| coding != "identity")
    {
        return Err(DoorError::NotJson("compressed".to_owned()).into());
    }
    let Limits {
        body: most, time, ..
    } = door.limits();
    match timeout(time, collect(peer, Limited::new(body, most))).await {
        Ok(Ok(read)) => Ok(read),
        Ok(Err(Unread::TooMuch(error))) => Err(error.into()),
        Ok(Err(Unread::Broken(error))) if error.is::<LengthLimitError>() => {
            Err(DoorError::TooLong(text::bytes(most as u64)).into())
        }
        Ok(Err(Unread::Broken(_))) => {
            Err(DoorError::Malformed("its body ended too early".to_owned()).into())
        }
        Err(_) => Err(DoorError::Malformed("its body did not arrive in time".to_owned()).into()),
    }
}

/// What is stored beside what a request brings: rows about it, and of the audit log.
const BESIDE: usize = 512;

/// Why a body was not read.
enum Unread {
    /// There is no room for it.
    TooMuch(DoorError),
    /// It ended, or is too long.
    Broken(Box<dyn std::error::Error + Send + Sync>),
}

async fn collect(
    peer: &Peer,
    mut body: Limited<Body>,
) -> std::result::Result<(Bytes, Held), Unread> {
    let mut held = Held::by(&peer.user);
    let (mut first, mut rest) = (Bytes::new(), BytesMut::new());
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(Unread::Broken)?.into_data() else {
            continue;
        };
        let length = first.len() + rest.len() + data.len();
        held.grow(length).map_err(Unread::TooMuch)?;
        // Most come in one piece.
        if first.is_empty() && rest.is_empty() {
            first = data;
            continue;
        }
        rest.extend_from_slice(&std::mem::take(&mut first));
        rest.extend_from_slice(&data);
    }
    match rest.is_empty() {
        true => Ok((first, held)),
        false => Ok((rest.freeze(), held)),
    }
}

/// Answers a request for nothing that there is.
pub(super) async fn no_operation(method: Method, uri: Uri) -> Response<Body> {
    refuse(&DoorError::NoOperation(asked(&method, &uri)).into())
}

/// Answers a request for an operation in a way in which it is not asked for.
pub(super) async fn no_method(method: Method, uri: Uri) -> Response<Body> {
    refuse(&DoorError::NoMethod(asked(&method, &uri)).into())
}

fn asked(method: &Method, uri: &Uri) -> String {
    let path: String = uri.path().chars().take(100).collect();
    format!("{method} {path}")
}

/// Answers with a subscription's lines as they come, or with why there is none.
pub(super) fn subscription<Begun, Lines>(
    begin: fn(Arc<Door>, Peer, HeaderMap, Body) -> Begun,
) -> MethodRouter<Arc<Door>>
where
    Begun: Future<Output = Result<Lines>> + Send + 'static,
    Lines: Stream<Item = io::Result<Bytes>> + Send + 'static,
{
    let handle =
        async move |State(door): State<Arc<Door>>,
                    Extension(peer): Extension<Peer>,
                    headers: HeaderMap,
                    body: Body| { streamed(begin(door, peer, headers, body).await) };
    post(handle)
}

fn streamed(
    begun: Result<impl Stream<Item = io::Result<Bytes>> + Send + 'static>,
) -> Response<Body> {
    match begun {
        Ok(lines) => {
            let mut response = Response::new(Body::from_stream(lines));
            let kind = header::HeaderValue::from_static(stream::MEDIA_TYPE);
            response.headers_mut().insert(header::CONTENT_TYPE, kind);
            response
        }
        Err(error) => refuse(&error),
    }
}

/// The answer that says what went wrong.
pub(super) fn refuse(error: &StoreError) -> Response<Body> {
    let problem = Problem::from(error);
    let status = StatusCode::from_u16(problem.status);
    let status = status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = whole(status, problem::MEDIA_TYPE, encode(&problem).into());
    if let StoreError::Door(DoorError::Crowded(_) | DoorError::NoStore(_)) = error {
        let soon = header::HeaderValue::from_static("1");
        response.headers_mut().insert(header::RETRY_AFTER, soon);
    }
    if status == StatusCode::UNAUTHORIZED {
        let bearer = header::HeaderValue::from_static("Bearer");
        response
            .headers_mut()
            .insert(header::WWW_AUTHENTICATE, bearer);
    }
    response
}

/// The answer to what was done. Its bytes are held for its user until they are written.
/// One that is not long is not refused any more: what it tells of was done.
fn grant(peer: &Peer, bytes: Vec<u8>, is_long: bool) -> Response<Body> {
    match Held::by(&peer.user).keeping(bytes, is_long) {
        Ok(bytes) => whole(StatusCode::OK, "application/json", bytes),
        Err(error) => refuse(&error.into()),
    }
}

fn whole(status: StatusCode, kind: &'static str, bytes: Bytes) -> Response<Body> {
    let mut response = Response::new(Body::from(bytes));
    *response.status_mut() = status;
    let kind = header::HeaderValue::from_static(kind);
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}
