//! The service manager's side: readiness, status in words, watchdog. Off
//! systemd every call does nothing. A datagram that cannot be sent is no
//! reason to stop serving.

mod kept;

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

pub use kept::{KeptSockets, Shelf};
use sd_notify::NotifyState;
use tracing::debug;

use crate::text::shown::shown_within;

/// What a service manager gets to hear.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum News<'a> {
    /// The duties run, or a reload is over; and the status.
    Ready(&'a str),
    /// What the daemon is doing, in words.
    Status(&'a str),
    /// New settings are being read; [`News::Ready`] ends it.
    Reloading,
    /// The daemon drains and ends, within this time.
    Stopping(Duration),
    /// All duties are well.
    Ping,
}

/// The program that started us and supervises us.
pub trait ServiceManager: Send + std::fmt::Debug {
    /// Tells it.
    fn tell(&self, news: News<'_>);

    /// How often it must hear of us; `None` if it does not watch.
    fn watchdog(&self) -> Option<Duration>;
}

/// systemd, or none. A thread of its own does the sending: a socket without a reader
/// blocks, and must not stop those who keep the agents alive.
#[derive(Debug)]
pub struct Systemd {
    letters: Option<Arc<SyncSender<Letter>>>,
    /// Closed when the last letter was sent.
    posted: Receiver<()>,
}

/// News on its way.
#[derive(Debug)]
enum Letter {
    Ready(String),
    Status(String),
    Reloading(Option<NotifyState<'static>>),
    Stopping(Duration),
    Ping,
    Keep(String, OwnedFd),
    Forget(String),
}

/// Letters that may wait; with more, the reader is gone anyway.
const LETTERS: usize = 64;
/// What the service manager waits beyond the time in which we mean to end.
const SPARE: Duration = Duration::from_secs(5);
/// How long a process that ends waits for its last letters to be taken.
const FAREWELL: Duration = Duration::from_millis(200);

impl Systemd {
    /// The service manager that the environment names.
    #[must_use]
    pub fn new() -> Self {
        let (done, posted) = sync_channel::<()>(0);
        let (sender, letters) = sync_channel(LETTERS);
        let wanted = std::env::var_os("NOTIFY_SOCKET").is_some();
        let thread = wanted.then(|| {
            std::thread::Builder::new()
                .name("notify".into())
                .spawn(move || {
                    letters.iter().for_each(|letter| post(&letter));
                    drop(done);
                })
        });
        Self {
            letters: thread
                .is_some_and(|thread| thread.is_ok())
                .then(|| Arc::new(sender)),
            posted,
        }
    }

    /// Where sockets are given to be kept over a restart.
    #[must_use]
    pub fn shelf(&self) -> Shelf {
        Shelf(
            self.letters
                .as_ref()
                .map(Arc::downgrade)
                .unwrap_or_default(),
        )
    }
}

impl Default for Systemd {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Systemd {
    fn drop(&mut self) {
        if self.letters.take().is_some() {
            // Closed, or too late: both are fine.
            let _ = self.posted.recv_timeout(FAREWELL);
        }
    }
}

fn post(letter: &Letter) {
    let sent = match letter {
        Letter::Ready(status) => {
            sd_notify::notify(&[NotifyState::Ready, NotifyState::Status(status)])
        }
        Letter::Status(status) => sd_notify::notify(&[NotifyState::Status(status)]),
        // Type=notify-reload needs the time since when.
        Letter::Reloading(Some(since)) => {
            sd_notify::notify(&[NotifyState::Reloading, since.clone()])
        }
        Letter::Reloading(None) => sd_notify::notify(&[NotifyState::Reloading]),
        Letter::Stopping(within) => {
            // A longer grace period was asked for than the unit's TimeoutStopSec= may
            // give. Never shortens it.
            let microseconds = u32::try_from((*within + SPARE).as_micros()).unwrap_or(u32::MAX);
            sd_notify::notify(&[
                NotifyState::Stopping,
                NotifyState::ExtendTimeoutUsec(microseconds),
                NotifyState::Status("stopping"),
            ])
        }
        Letter::Ping => sd_notify::notify(&[NotifyState::Watchdog]),
        Letter::Keep(name, socket) => kept::send(name, socket),
        Letter::Forget(name) => {
            let order = format!("FDSTOREREMOVE=1\nFDNAME={name}");
            sd_notify::notify(&[NotifyState::Custom(&order)])
        }
    };
    if let Err(error) = sent {
        debug!(%error, "the service manager was not notified");
    }
}

/// The longest status that `systemctl` shows well.
const STATUS_LIMIT: usize = 1_000;

/// The status as one line: a line end in a name from the store would begin another
/// assignment, such as `WATCHDOG=trigger`.
fn status_line(status: &str) -> String {
    shown_within(status, STATUS_LIMIT).into_owned()
}

impl ServiceManager for Systemd {
    fn tell(&self, news: News<'_>) {
        let Some(letters) = &self.letters else { return };
        let letter = match news {
            News::Ready(status) => Letter::Ready(status_line(status)),
            News::Status(status) => Letter::Status(status_line(status)),
            News::Reloading => Letter::Reloading(NotifyState::monotonic_usec_now().ok()),
            News::Stopping(within) => Letter::Stopping(within),
            News::Ping => Letter::Ping,
        };
        if letters.try_send(letter).is_err() {
            debug!("the service manager does not listen");
        }
    }

    fn watchdog(&self) -> Option<Duration> {
        sd_notify::watchdog_enabled()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_one_bounded_line() {
        let line = status_line("leader x\nWATCHDOG=trigger\r\u{2028}");
        assert_eq!(line, r"leader x\nWATCHDOG=trigger\r\u{2028}");
        assert_eq!(
            status_line(&"é".repeat(5_000)).chars().count(),
            STATUS_LIMIT + 3
        );
    }
}
