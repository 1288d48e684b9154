//! The service manager's side: readiness, status in words, watchdog. Off
//! systemd every call does nothing. A datagram that cannot be sent is no
//! reason to stop serving.

use std::time::Duration;

use sd_notify::NotifyState;
use tracing::debug;

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        debug!(%error, "the service manager was not told");
    }
}

/// The duties run.
pub fn ready(status: &str) {
    tell(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// What the daemon is doing, in words.
pub fn status(text: &str) {
    tell(&[NotifyState::Status(text)]);
}

/// New settings are being read; [`ready`] ends it.
pub fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(_) => tell(&[NotifyState::Reloading]),
    }
}

/// The daemon drains and ends.
pub fn stopping() {
    tell(&[NotifyState::Stopping, NotifyState::Status("stopping")]);
}

/// How often the service manager wants to hear of us; `None` if it does not
/// watch.
#[must_use]
pub fn watchdog_interval() -> Option<Duration> {
    sd_notify::watchdog_enabled()
}

/// All duties are well.
pub fn ping() {
    tell(&[NotifyState::Watchdog]);
}
