//! The other side of the door: asks the daemon, and asks again where that is safe.

mod connection;
mod events;
pub mod find;
mod follow;
mod versions;

use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, StatusCode, header};
use http_body_util::Full;
use tokio::time::{Instant, sleep, timeout_at};

use super::{Actor, Operation, PREFIX, Problem, Purpose, REPEATED_HEADER, SESSION_HEADER, Sockets};
use crate::model::StoreName;
use crate::model::door::DoorError;
use crate::model::quoting::complaint;
use crate::store::{Result, StoreError};
use crate::text;
use connection::{Connections, Failed};

/// How long a daemon that is being started again is waited for.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long an answer is waited for.
const ANSWER: Duration = Duration::from_secs(60);

/// The pauses between tries grow from the one to the other.
const PAUSES: (Duration, Duration) = (Duration::from_millis(5), Duration::from_millis(250));

/// After so long a pause a daemon that makes its sockets has made both.
const BOTH: Duration = Duration::from_millis(80);

/// A way to a daemon's store.
#[derive(Debug)]
pub struct Client {
    store: StoreName,
    sessions: Connections,
    operators: Connections,
    patience: Duration,
    is_found: bool,
}

impl Client {
    /// To the daemon with these sockets, which has this store.
    #[must_use]
    pub fn new(sockets: &Sockets, store: StoreName) -> Self {
        Self {
            store,
            sessions: Connections::to(sockets.path(Purpose::Sessions)),
            operators: Connections::to(sockets.path(Purpose::Operators)),
            patience: PATIENCE,
            is_found: false,
        }
    }

    /// To the daemon with these sockets, which was found by them alone: its store is
    /// called by its socket until it is asked.
    #[must_use]
    pub fn found_at(sockets: &Sockets) -> Self {
        let store = StoreName::of_door(&sockets.path(Purpose::Sessions));
        Self {
            is_found: true,
            ..Self::new(sockets, store)
        }
    }

    /// The same, with another patience for a daemon that does not answer.
    #[must_use]
    pub fn with_patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// The daemon's store.
    #[must_use]
    pub fn store(&self) -> &StoreName {
        &self.store
    }

    /// Whether this user may use the operators' socket.
    #[must_use]
    pub fn may_operate(&self) -> bool {
        use rustix::fs::{Access, access};
        access(self.operators.path(), Access::WRITE_OK).is_ok()
    }

    /// Asks for an operation. A daemon that is away for a moment is waited for; an
    /// operation whose answer was lost is asked for again where that does it once.
    ///
    /// # Errors
    /// The operation's, as the daemon said it; [`DoorError`].
    pub async fn call<O: Operation>(&self, operation: &O, actor: &Actor) -> Result<O::Answer> {
        let body = match O::ROUTE.method {
            super::Method::Get => Bytes::new(),
            super::Method::Post => encode(operation)?,
        };
        let connections = match actor {
            Actor::Operator => &self.operators,
            Actor::Anyone | Actor::Session(_) => &self.sessions,
        };
        let mut until = Instant::now() + self.patience;
        let mut pause = PAUSES.0;
        let mut was_cut = false;
        loop {
            let mut request = request::<O>(actor, body.clone());
            if was_cut {
                let value = header::HeaderValue::from_static("1");
                request.headers_mut().insert(REPEATED_HEADER, value);
            }
            let failed = match self.ask::<O>(connections, request).await {
                Ok(Err(error)) => {
                    return Err(self.explained(connections, O::ROUTE.name, error).await);
                }
                Ok(answer) => return answer,
                Err(failed) => failed,
            };
            let error = match failed {
                Failed::NotPermitted => {
                    return Err(DoorError::NotPermitted(connections.path().to_owned()).into());
                }
                Failed::Away(error) => error,
                Failed::Cut if !operation.is_repeatable() => {
                    let socket = connections.path().to_owned();
                    let what = O::ROUTE.name.to_owned();
                    return Err(DoorError::Cut { socket, what }.into());
                }
                // It was there just now: its time begins anew.
                Failed::Cut => {
                    was_cut = true;
                    until = until.max(Instant::now() + self.patience / 2);
                    DoorError::Cut {
                        socket: connections.path().to_owned(),
                        what: O::ROUTE.name.to_owned(),
                    }
                }
            };
            if matches!(actor, Actor::Operator) && pause >= BOTH && self.is_of_sessions_alone() {
                return Err(DoorError::NotOperator(O::ROUTE.name.to_owned()).into());
            }
            if Instant::now() + pause > until || connections.are_gone() {
                return Err(error.into());
            }
            sleep(pause).await;
            pause = (pause * 2).min(PAUSES.1);
        }
    }

    /// Whether there is no socket for operators beside that for sessions, as in a
    /// container.
    fn is_of_sessions_alone(&self) -> bool {
        let is_there = |connections: &Connections| connections.path().exists();
        is_there(&self.sessions) && !is_there(&self.operators)
    }

    /// Asks once.
    async fn ask<O: Operation>(
        &self,
        connections: &Connections,
        request: Request<Full<Bytes>>,
    ) -> std::result::Result<Result<O::Answer>, Failed> {
        let until = Instant::now() + ANSWER;
        let asked = timeout_at(until, connections.ask(request)).await;
        let Ok(asked) = asked else {
            let late = DoorError::Late {
                socket: connections.path().to_owned(),
                what: O::ROUTE.name.to_owned(),
                within: text::long_duration(ANSWER),
            };
            return Ok(Err(late.into()));
        };
        let (status, body) = asked?;
        if status == StatusCode::OK {
            let read = serde_json::from_slice(&body).map_err(|error| {
                DoorError::Garbled {
                    socket: connections.path().to_owned(),
                    why: complaint(&error.to_string()),
                }
                .into()
            });
            return Ok(read.and_then(|answer| match O::answering(&answer) {
                Some(answering) => {
                    versions::ensure_understood(answering, connections).map(|()| answer)
                }
                None => Ok(answer),
            }));
        }
        match told(connections, status, &body) {
            // It has just begun, or its store was away for a moment, or this user has too
            // much of it just now.
            StoreError::Door(error @ (DoorError::NoStore(_) | DoorError::Crowded(_))) => {
                Err(Failed::Away(error))
            }
            error => Ok(Err(error)),
        }
    }
}

/// The error of an answer that is a problem.
fn told(connections: &Connections, status: StatusCode, body: &[u8]) -> StoreError {
    match serde_json::from_slice::<Problem>(body) {
        Ok(problem) => problem.into(),
        // No daemon of this version answers like this.
        Err(_) if status == StatusCode::NOT_FOUND => DoorError::NoOperation(String::new()).into(),
        Err(_) => DoorError::Garbled {
            socket: connections.path().to_owned(),
            why: format!("its answer is {status}, without a reason"),
        }
        .into(),
    }
}

fn encode<T: serde::Serialize>(value: &T) -> Result<Bytes> {
    match serde_json::to_vec(value) {
        Ok(bytes) => Ok(bytes.into()),
        Err(error) => Err(DoorError::Malformed(error.to_string()).into()),
    }
}

fn request<O: Operation>(actor: &Actor, body: Bytes) -> Request<Full<Bytes>> {
    let method = match O::ROUTE.method {
        super::Method::Get => Method::GET,
        super::Method::Post => Method::POST,
    };
    let mut request = post(O::ROUTE.name, body);
    *request.method_mut() = method;
    if let Actor::Session(caller) = actor {
        let headers = request.headers_mut();
        let bearer = format!("Bearer {}", caller.token.expose());
        if let Ok(mut bearer) = header::HeaderValue::try_from(bearer) {
            bearer.set_sensitive(true);
            headers.insert(header::AUTHORIZATION, bearer);
        }
        if let Ok(session) = header::HeaderValue::try_from(caller.session.to_string()) {
            headers.insert(SESSION_HEADER, session);
        }
    }
    request
}

fn post(name: &str, body: Bytes) -> Request<Full<Bytes>> {
    let mut request = Request::new(Full::new(body));
    *request.method_mut() = Method::POST;
    if let Ok(uri) = format!("{PREFIX}{name}").parse() {
        *request.uri_mut() = uri;
    }
    let headers = request.headers_mut();
    let value = header::HeaderValue::from_static;
    headers.insert(header::HOST, value("localhost"));
    headers.insert(header::CONTENT_TYPE, value("application/json"));
    request
}
