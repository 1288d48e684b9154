//! The service manager's side: readiness, status in words, watchdog. Off
//! systemd every call does nothing. A datagram that cannot be sent is no
//! reason to stop serving.

use std::time::Duration;

use sd_notify::NotifyState;
use tracing::debug;

/// What a service manager is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum News<'a> {
    /// The duties run, or a reload is over; and the status.
    Ready(&'a str),
    /// What the daemon is doing, in words.
    Status(&'a str),
    /// New settings are being read; [`News::Ready`] ends it.
    Reloading,
    /// The daemon drains and ends.
    Stopping,
    /// All duties are well.
    Ping,
}

/// Who started us and wants to know.
pub trait ServiceManager: Send + std::fmt::Debug {
    /// Tells it.
    fn tell(&self, news: News<'_>);

    /// How often it wants to hear of us; `None` if it does not watch.
    fn watchdog(&self) -> Option<Duration>;
}

/// systemd, or nobody.
#[derive(Debug, Clone, Copy)]
pub struct Systemd;

impl ServiceManager for Systemd {
    fn tell(&self, news: News<'_>) {
        let sent = match news {
            News::Ready(status) => {
                sd_notify::notify(&[NotifyState::Ready, NotifyState::Status(status)])
            }
            News::Status(status) => sd_notify::notify(&[NotifyState::Status(status)]),
            // Type=notify-reload wants to know since when.
            News::Reloading => match NotifyState::monotonic_usec_now() {
                Ok(now) => sd_notify::notify(&[NotifyState::Reloading, now]),
                Err(_) => sd_notify::notify(&[NotifyState::Reloading]),
            },
            News::Stopping => {
                sd_notify::notify(&[NotifyState::Stopping, NotifyState::Status("stopping")])
            }
            News::Ping => sd_notify::notify(&[NotifyState::Watchdog]),
        };
        if let Err(error) = sent {
            debug!(%error, "the service manager was not told");
        }
    }

    fn watchdog(&self) -> Option<Duration> {
        sd_notify::watchdog_enabled()
    }
}
