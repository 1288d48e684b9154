//! A connection whose reader must stay and go on reading.
//!
//! A reader that stands still would keep its connection, and all that waits for it,
//! for as long as it likes. One that has gone in the middle of an answer would keep them
//! until something is written to it: hyper reads nothing meanwhile, as a client may end
//! its own direction and still wait for the answer.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{RecvFlags, recv};
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::UnixStream;
use tokio::time::{Sleep, sleep};

use super::Door;

/// A connection that fails once its peer has read nothing for a time, or has gone.
pub(super) struct Patient {
    stream: UnixStream,
    door: Arc<Door>,
    /// An answer has begun. What was asked before it is done even for a peer that has gone.
    answers: bool,
    /// When the reader is given up, since a write had to wait.
    waits: Option<Pin<Box<Sleep>>>,
    /// The peer has ended its own direction: when it is looked at again.
    half: Option<Half>,
}

/// The kernel wakes no task a second time for a peer that has ended its own direction and
/// goes then. A client's library does both when it drops a connection, one after the other.
struct Half {
    pause: Duration,
    over: Pin<Box<Sleep>>,
}

/// How long after it is looked for the first time whether such a peer has gone, and how
/// often later.
const SOON: Duration = Duration::from_millis(50);
const SELDOM: Duration = Duration::from_secs(5);

impl Patient {
    pub(super) fn new(stream: UnixStream, door: Arc<Door>) -> Self {
        Self {
            stream,
            door,
            answers: false,
            waits: None,
            half: None,
        }
    }

    fn writes(
        &mut self,
        done: Poll<io::Result<usize>>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        self.answers = true;
        self.judge(done, cx)
    }

    /// Whether nothing that is written can be read any more. The task of `cx` is woken when
    /// this may have changed, unless the peer asks for more before it has read this.
    fn is_gone(&mut self, cx: &mut Context<'_>) -> bool {
        while self.stream.poll_read_ready(cx).is_ready() {
            let peeked = self.stream.try_io(Interest::READABLE, || {
                let (_, length) = recv(&self.stream, &mut [0; 1], RecvFlags::PEEK)?;
                Ok(length)
            });
            match peeked {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Ok(1..) => return false,
                Ok(0) | Err(_) => return self.is_gone_wholly(cx),
            }
        }
        false
    }

    /// The same for a peer that has ended its own direction.
    fn is_gone_wholly(&mut self, cx: &mut Context<'_>) -> bool {
        if hung_up(&self.stream) {
            return true;
        }
        let half = self.half.get_or_insert_with(|| Half {
            pause: SOON,
            over: Box::pin(sleep(SOON)),
        });
        while half.over.as_mut().poll(cx).is_ready() {
            half.pause = (half.pause * 2).min(SELDOM);
            half.over.set(sleep(half.pause));
        }
        false
    }

    fn judge<T>(&mut self, done: Poll<io::Result<T>>, cx: &mut Context<'_>) -> Poll<io::Result<T>> {
        if done.is_ready() {
            self.waits = None;
            return done;
        }
        let door = &self.door;
        let waits = self
            .waits
            .get_or_insert_with(|| Box::pin(sleep(door.limits().time)));
        match waits.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl AsyncRead for Patient {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = into.filled().len();
        let done = Pin::new(&mut self.stream).poll_read(cx, into);
        if into.filled().len() > before {
            self.answers = false;
        }
        done
    }
}

impl AsyncWrite for Patient {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let done = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.writes(done, cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let done = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.writes(done, cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // This is what hyper calls each time that it has nothing to write.
        if self.answers && self.is_gone(cx) {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

fn hung_up(stream: &UnixStream) -> bool {
    let mut asked = [PollFd::new(stream, PollFlags::empty())];
    let now = Timespec::default();
    poll(&mut asked, Some(&now)).is_ok() && asked[0].revents().contains(PollFlags::HUP)
}
