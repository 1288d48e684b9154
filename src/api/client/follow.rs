//! A subscription through the door: begun again behind the last message wherever it
//! was cut off.

use std::ops::ControlFlow;
use std::time::Duration;

use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde::de::DeserializeOwned;
use tokio::time::{Instant, sleep, timeout};

use super::connection::Failed;
use super::{Client, PAUSES, encode, post, told};
use crate::api::follow::{Begin, Cursor, FollowError, News, Sink, Subscription};
use crate::api::operations::Credential;
use crate::api::stream::{self, Follow, Line, Start};
use crate::model::door::DoorError;
use crate::model::quoting::complaint;
use crate::store::StoreError;

/// A stream that is silent for so long does not stand any more.
const SILENT: Duration = stream::ALIVE.saturating_mul(3);

/// The longest line; a message has 50,000 characters at most.
const LONGEST: usize = 1024 * 1024;

/// How a stream ended.
enum Ended {
    /// The sink has had enough.
    Enough,
    /// It may begin again.
    Cut(StoreError),
    /// For good.
    Over(FollowError),
}

impl Client {
    /// Hands the sessions' messages to `sink` until it has had enough. `wanted` is where
    /// the subscription begins, and behind the last message that was handed out.
    ///
    /// # Errors
    /// Credentials that do not hold; all conversations have ended; a daemon that
    /// stays away; the sink's.
    pub async fn follow(
        &self,
        subscription: &Subscription,
        wanted: &mut Begin,
        sink: &mut Sink,
    ) -> Result<(), FollowError> {
        let mut is_caught_up = false;
        let mut until = Instant::now() + self.patience;
        let mut pause = PAUSES.0;
        loop {
            let before = wanted.clone();
            let error = match self
                .stream(subscription, wanted, &mut is_caught_up, sink)
                .await
            {
                Ended::Enough => return Ok(()),
                Ended::Over(error) => return Err(error),
                Ended::Cut(error) => error,
            };
            if *wanted != before || is_caught_up && pause == PAUSES.0 {
                until = Instant::now() + self.patience;
                pause = PAUSES.0;
            }
            if Instant::now() + pause > until || self.sessions.are_gone() {
                return Err(error.into());
            }
            sleep(pause).await;
            pause = (pause * 2).min(PAUSES.1);
        }
    }

    async fn stream(
        &self,
        subscription: &Subscription,
        begin: &mut Begin,
        is_caught_up: &mut bool,
        sink: &mut Sink,
    ) -> Ended {
        let callers = subscription.callers.iter();
        let request = Follow {
            sessions: callers.cloned().map(Credential::from).collect(),
            begin: match begin {
                Begin::Unread => Start::Unread,
                Begin::Now => Start::Now,
                Begin::After(cursor) => Start::After(
                    cursor
                        .iter()
                        .map(|(session, last)| (session.to_string(), last))
                        .collect(),
                ),
            },
        };
        let request = match encode(&request) {
            Ok(body) => post(stream::NAME, body),
            Err(error) => return Ended::Over(error.into()),
        };
        let (response, _sender) = match self.sessions.begin(request).await {
            Ok(begun) => begun,
            Err(failed) => return self.failed(failed),
        };
        let status = response.status();
        if !status.is_success() {
            let body = response.into_body().collect().await;
            let body = body
                .map(http_body_util::Collected::to_bytes)
                .unwrap_or_default();
            return match told(&self.sessions, status, &body) {
                error @ StoreError::Door(DoorError::NoStore(_) | DoorError::Crowded(_)) => {
                    Ended::Cut(error)
                }
                error => Ended::Over(error.into()),
            };
        }
        let mut lines = Lines::of(response.into_body());
        loop {
            let line: Line = match lines.next().await {
                Ok(Some(line)) => line,
                Ok(None) => return self.failed(Failed::Cut),
                Err(why) => {
                    let socket = self.sessions.path().to_owned();
                    return Ended::Over(
                        StoreError::from(DoorError::Garbled { socket, why }).into(),
                    );
                }
            };
            let news = match line {
                Line::Message(message) => {
                    if let Begin::After(cursor) = begin {
                        cursor.pass(&message);
                    } else {
                        let mut cursor = Cursor::default();
                        cursor.pass(&message);
                        *begin = Begin::After(cursor);
                    }
                    News::Message(message)
                }
                Line::CaughtUp { after } => {
                    let last = after.into_iter();
                    let last = last.filter_map(|(session, id)| Some((session.parse().ok()?, id)));
                    let cursor: Cursor = last.collect();
                    *begin = Begin::After(cursor.clone());
                    if std::mem::replace(is_caught_up, true) {
                        continue;
                    }
                    News::CaughtUp(cursor)
                }
                Line::Refused(problem) => News::Refused(problem.into()),
                Line::Alive {} => continue,
                Line::Dropped {} => return self.failed(Failed::Cut),
                Line::Ended(problem) => {
                    return match problem.into() {
                        error @ StoreError::Door(DoorError::NoStore(_)) => Ended::Cut(error),
                        error => Ended::Over(FollowError::Store(error)),
                    };
                }
            };
            match sink(news) {
                Ok(ControlFlow::Continue(())) => {}
                Ok(ControlFlow::Break(())) => return Ended::Enough,
                Err(error) => return Ended::Over(error.into()),
            }
        }
    }

    fn failed(&self, failed: Failed) -> Ended {
        let socket = self.sessions.path().to_owned();
        match failed {
            Failed::Away(error) => Ended::Cut(error.into()),
            Failed::NotPermitted => {
                Ended::Over(StoreError::from(DoorError::NotPermitted(socket)).into())
            }
            Failed::Cut => {
                let what = "a subscription".to_owned();
                Ended::Cut(DoorError::Cut { socket, what }.into())
            }
        }
    }
}

/// The lines of an answer, as they come.
pub(super) struct Lines {
    body: Incoming,
    read: Vec<u8>,
}

impl Lines {
    pub(super) fn of(body: Incoming) -> Self {
        let read = Vec::new();
        Self { body, read }
    }

    /// The next one; `None` where the stream was cut off.
    pub(super) async fn next<L: DeserializeOwned>(&mut self) -> Result<Option<L>, String> {
        loop {
            if let Some(end) = self.read.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.read.drain(..=end).collect();
                return serde_json::from_slice(&line)
                    .map(Some)
                    .map_err(|error| complaint(&error.to_string()));
            }
            if self.read.len() > LONGEST {
                return Err("a line has no end".to_owned());
            }
            let Ok(Some(Ok(frame))) = timeout(SILENT, self.body.frame()).await else {
                return Ok(None);
            };
            if let Some(data) = frame.data_ref() {
                self.read.extend_from_slice(data);
            }
        }
    }
}
