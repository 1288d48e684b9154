//! The audit log through the door: begun again behind the last row wherever it was cut
//! off.

use http_body_util::BodyExt;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};

use super::connection::Failed;
use super::follow::Lines;
use super::{Client, PAUSES, encode, post, told};
use crate::api::events::{self, FollowEvents, Line};
use crate::model::door::DoorError;
use crate::store::{AuditPage, Result, StoreError};

/// How a stream ended.
enum Ended {
    /// Nothing takes its pages any more.
    Enough,
    /// It may begin again.
    Cut(StoreError),
    /// For good.
    Over(StoreError),
}

impl Client {
    /// Hands the rows to `pages` until nothing takes them any more. A daemon that is
    /// started again is waited for.
    ///
    /// # Errors
    /// What the daemon refused; a daemon that stays away.
    pub async fn follow_events(
        &self,
        mut wanted: FollowEvents,
        pages: mpsc::Sender<AuditPage>,
    ) -> Result<()> {
        let mut until = Instant::now() + self.patience;
        let mut pause = PAUSES.0;
        loop {
            let begun = Instant::now();
            let error = match self.stream_events(&mut wanted, &pages).await {
                Ended::Enough => return Ok(()),
                Ended::Over(error) => return Err(error),
                Ended::Cut(error) => error,
            };
            // It was there meanwhile.
            if begun.elapsed() > self.patience / 2 {
                until = Instant::now() + self.patience;
                pause = PAUSES.0;
            }
            if Instant::now() + pause > until || self.operators.are_gone() {
                return Err(error);
            }
            sleep(pause).await;
            pause = (pause * 2).min(PAUSES.1);
        }
    }

    async fn stream_events(
        &self,
        wanted: &mut FollowEvents,
        pages: &mpsc::Sender<AuditPage>,
    ) -> Ended {
        let request = match encode(wanted) {
            Ok(body) => post(events::NAME, body),
            Err(error) => return Ended::Over(error),
        };
        let socket = || self.operators.path().to_owned();
        let (response, _sender) = match self.operators.begin(request).await {
            Ok(begun) => begun,
            Err(Failed::NotPermitted) => {
                return Ended::Over(DoorError::NotPermitted(socket()).into());
            }
            Err(Failed::Away(error)) => return Ended::Cut(error.into()),
            Err(Failed::Cut) => return Ended::Cut(self.cut()),
        };
        let status = response.status();
        if !status.is_success() {
            let body = response.into_body().collect().await;
            let body = body.map(http_body_util::Collected::to_bytes);
            return match told(&self.operators, status, &body.unwrap_or_default()) {
                error @ StoreError::Door(DoorError::NoStore(_) | DoorError::TooMuch(_)) => {
                    Ended::Cut(error)
                }
                error => {
                    let explained = self.explained(&self.operators, events::NAME, error);
                    Ended::Over(explained.await)
                }
            };
        }
        let mut lines = Lines::of(response.into_body());
        let mut entries = Vec::new();
        loop {
            let line = tokio::select! {
                line = lines.next() => line,
                () = pages.closed() => return Ended::Enough,
            };
            match line {
                Ok(Some(Line::Event(entry))) => entries.push(entry),
                Ok(Some(Line::CaughtUp { after })) => {
                    let page = AuditPage {
                        entries: std::mem::take(&mut entries),
                        cursor: after,
                        is_full: false,
                    };
                    // What was handed out is not asked for again.
                    wanted.after = Some(after);
                    if pages.send(page).await.is_err() {
                        return Ended::Enough;
                    }
                }
                Ok(Some(Line::Alive {})) => {}
                Ok(Some(Line::Ended(problem))) => {
                    return match problem.into() {
                        error @ StoreError::Door(DoorError::NoStore(_)) => Ended::Cut(error),
                        error => Ended::Over(error),
                    };
                }
                Ok(None) => return Ended::Cut(self.cut()),
                Err(why) => {
                    let socket = socket();
                    return Ended::Over(DoorError::Garbled { socket, why }.into());
                }
            }
        }
    }

    fn cut(&self) -> StoreError {
        let socket = self.operators.path().to_owned();
        let what = "a subscription".to_owned();
        DoorError::Cut { socket, what }.into()
    }
}
