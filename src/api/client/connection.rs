//! Connections to a socket, kept between requests.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;

use crate::model::door::DoorError;

/// Kept connections; more may be open at once.
const KEPT: usize = 8;

/// Why there is no answer.
pub(super) enum Failed {
    /// The daemon is not there now: nothing was asked of it.
    Away(DoorError),
    /// The connection ended between the request and the answer.
    Cut,
    /// This user may not use the socket.
    NotPermitted,
}

/// Connections to one socket.
#[derive(Debug)]
pub(super) struct Connections {
    path: PathBuf,
    idle: Mutex<Vec<SendRequest<Full<Bytes>>>>,
}

impl Connections {
    pub(super) fn to(path: PathBuf) -> Self {
        let idle = Mutex::default();
        Self { path, idle }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether even the directory of the socket is gone: its daemon was stopped, and
    /// is not being started again.
    pub(super) fn are_gone(&self) -> bool {
        self.path
            .parent()
            .is_some_and(|directory| !directory.exists())
    }

    fn idle(&self) -> Option<SendRequest<Full<Bytes>>> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.pop()
    }

    /// Sends a request and reads the whole answer.
    pub(super) async fn ask(
        &self,
        request: Request<Full<Bytes>>,
    ) -> Result<(StatusCode, Bytes), Failed> {
        let (response, sender) = self.begin(request).await?;
        let status = response.status();
        let body = response.into_body().collect().await;
        let body = body.map_err(|_| Failed::Cut)?.to_bytes();
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < KEPT && !sender.is_closed() {
            idle.push(sender);
        }
        Ok((status, body))
    }

    /// Sends a request and returns when the answer begins.
    pub(super) async fn begin(
        &self,
        mut request: Request<Full<Bytes>>,
    ) -> Result<(Response<Incoming>, SendRequest<Full<Bytes>>), Failed> {
        // One that the daemon closed meanwhile gives the request back.
        while let Some(mut sender) = self.idle() {
            if sender.ready().await.is_err() {
                continue;
            }
            match sender.try_send_request(request).await {
                Ok(response) => return Ok((response, sender)),
                Err(mut failed) => match failed.take_message() {
                    Some(unsent) => request = unsent,
                    None => return Err(Failed::Cut),
                },
            }
        }
        let mut sender = self.connect().await?;
        match sender.try_send_request(request).await {
            Ok(response) => Ok((response, sender)),
            Err(mut failed) => Err(match failed.take_message() {
                Some(_) => self.away(&io::Error::from(io::ErrorKind::ConnectionReset)),
                None => Failed::Cut,
            }),
        }
    }

    async fn connect(&self) -> Result<SendRequest<Full<Bytes>>, Failed> {
        let stream = UnixStream::connect(&self.path).await;
        let stream = stream.map_err(|error| match error.kind() {
            io::ErrorKind::PermissionDenied => Failed::NotPermitted,
            _ => self.away(&error),
        })?;
        let made = http1::handshake(TokioIo::new(stream)).await;
        let (sender, connection) = made.map_err(|_| Failed::Cut)?;
        // How it ends its requests tell.
        tokio::spawn(async move {
            let _ = connection.await;
        });
        Ok(sender)
    }

    fn away(&self, error: &io::Error) -> Failed {
        let why = match error.kind() {
            io::ErrorKind::NotFound => "no such socket".to_owned(),
            io::ErrorKind::ConnectionRefused => "the daemon of this socket has ended".to_owned(),
            _ => error.to_string(),
        };
        Failed::Away(DoorError::Unreachable(self.path.clone(), why))
    }
}
