//! How many messages a session may send.
//!
//! Several processes send for one session, the Python bridge among them, so
//! the count is taken from the messages themselves, inside the sending
//! transaction: the n-th newest message tells whether the window is full, and
//! when it has room again.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A sliding window and the most messages in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Window {
    /// How far back it reaches.
    pub length: Duration,
    /// Messages allowed in it; 0 switches the window off.
    pub limit: u32,
    /// `minute`, `hour` or `day`.
    pub name: &'static str,
}

impl<'de> Deserialize<'de> for Window {
    fn deserialize<D: serde::Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Sent {
            limit: u32,
            name: String,
        }
        let Sent { limit, name } = Sent::deserialize(source)?;
        let limits = RateLimits {
            per_minute: limit,
            per_hour: limit,
            per_day: limit,
        };
        let known = limits.windows().find(|window| window.name == name);
        known.ok_or_else(|| serde::de::Error::custom("no window has this name"))
    }
}

/// The three windows of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RateLimits {
    /// Messages a minute; 0 is no limit.
    pub per_minute: u32,
    /// Messages an hour; 0 is no limit.
    pub per_hour: u32,
    /// Messages a day; 0 is no limit.
    pub per_day: u32,
}

impl Default for RateLimits {
    fn default() -> Self {
        Self {
            per_minute: 100,
            per_hour: 500,
            per_day: 2_000,
        }
    }
}

impl RateLimits {
    /// No limit at all, for a store that only trusted programs write.
    pub const NONE: Self = Self {
        per_minute: 0,
        per_hour: 0,
        per_day: 0,
    };

    /// The windows that are switched on, shortest first.
    pub fn windows(self) -> impl Iterator<Item = Window> {
        [
            (60, self.per_minute, "minute"),
            (3_600, self.per_hour, "hour"),
            (86_400, self.per_day, "day"),
        ]
        .into_iter()
        .filter(|&(_, limit, _)| limit > 0)
        .map(|(seconds, limit, name)| Window {
            length: Duration::from_secs(seconds),
            limit,
            name,
        })
    }
}

/// A window that is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[error("{} messages per {} are allowed; send the next one in {}",
    window.limit, window.name, humantime::format_duration(Duration::from_secs(wait.as_secs().max(1))))]
pub struct RateLimited {
    /// Which one.
    pub window: Window,
    /// Until there is room again.
    pub wait: Duration,
}

impl Window {
    /// Whether another message fits, given when the `limit`-th newest one was
    /// sent. One from the future was stamped by a wrong clock: it says nothing
    /// about this window, and must not lock a session out for an hour.
    ///
    /// # Errors
    /// [`RateLimited`], with the time to wait.
    pub fn admit(self, nth_newest: Option<Timestamp>, now: Timestamp) -> Result<(), RateLimited> {
        let Some(sent) = nth_newest.filter(|&sent| sent <= now) else {
            return Ok(());
        };
        let length = SignedDuration::try_from(self.length).unwrap_or(SignedDuration::MAX);
        let left = length - now.duration_since(sent);
        match Duration::try_from(left) {
            Ok(wait) if !wait.is_zero() => Err(RateLimited { window: self, wait }),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_763_000_000 + second).expect("in range")
    }

    #[test]
    fn says_how_long_to_wait() {
        let minute = RateLimits::default().windows().next().expect("a window");
        assert_eq!(minute.admit(None, at(0)), Ok(()));
        assert_eq!(minute.admit(Some(at(0)), at(60)), Ok(()));
        let refused = minute.admit(Some(at(0)), at(18)).expect_err("full");
        assert_eq!(refused.wait, Duration::from_secs(42));
        assert_eq!(
            refused.to_string(),
            "100 messages per minute are allowed; send the next one in 42s"
        );
    }

    #[test]
    fn clock_that_ran_ahead_locks_no_sender_out() {
        let minute = RateLimits::default().windows().next().expect("a window");
        assert_eq!(minute.admit(Some(at(3_600)), at(0)), Ok(()));
    }

    #[test]
    fn zero_switches_a_window_off() {
        assert_eq!(RateLimits::NONE.windows().count(), 0);
        let hourly = RateLimits {
            per_minute: 0,
            per_hour: 3,
            per_day: 0,
        };
        assert_eq!(
            hourly.windows().map(|w| w.name).collect::<Vec<_>>(),
            ["hour"]
        );
    }
}
