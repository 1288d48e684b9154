//! A request's body that tells whether it was read.
//!
//! Behind a body that was not read no further request can follow: hyper ends such a
//! connection. A client without this word would lose its next request, and could not
//! know whether that was done.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use axum::body::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};

/// A body, and whether all of it was read.
pub(super) struct Watched {
    body: Incoming,
    was_read: Arc<AtomicBool>,
}

impl Watched {
    /// With what tells whether it was read to its end.
    pub(super) fn new(body: Incoming) -> (Self, Arc<AtomicBool>) {
        let was_read = Arc::new(AtomicBool::new(body.is_end_stream()));
        let watched = Self {
            body,
            was_read: Arc::clone(&was_read),
        };
        (watched, was_read)
    }
}

impl Body for Watched {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = Pin::new(&mut self.body).poll_frame(cx);
        if matches!(frame, Poll::Ready(None)) || self.body.is_end_stream() {
            self.was_read.store(true, Ordering::Release);
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
