//! The only place that reads clocks. Decisions take times as parameters.
//!
//! Two clocks: the wall clock, for what people and the shared tables see, and the boot
//! clock, for every decision. The boot clock goes on in suspend, which tokio's does
//! not, and cannot be set.

use std::time::Duration;

use jiff::Timestamp;
use rustix::time::{ClockId, clock_gettime};

/// Wall time now. May be wrong, may jump.
#[must_use]
pub fn now() -> Timestamp {
    #[expect(clippy::disallowed_methods, reason = "the one place that may")]
    Timestamp::now()
}

/// Time since boot. Comparable between the processes of one boot.
#[must_use]
pub fn since_boot() -> Duration {
    #[cfg(target_os = "linux")]
    const CLOCK: ClockId = ClockId::Boottime;
    // CLOCK_MONOTONIC counts suspended time there.
    #[cfg(not(target_os = "linux"))]
    const CLOCK: ClockId = ClockId::Monotonic;
    let time = clock_gettime(CLOCK);
    Duration::new(
        u64::try_from(time.tv_sec).unwrap_or(0),
        u32::try_from(time.tv_nsec).unwrap_or(0),
    )
}

/// Nanoseconds on the clock that two processes can compare for a latency.
#[must_use]
pub fn monotonic_nanos() -> u64 {
    let time = clock_gettime(ClockId::Monotonic);
    u64::try_from(time.tv_sec).unwrap_or(0) * 1_000_000_000
        + u64::try_from(time.tv_nsec).unwrap_or(0)
}
