//! Waiting for a condition.

use std::time::{Duration, Instant};

/// How long a condition may take before the test gives up; never how long
/// anything should take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Waits until `condition` returns something.
#[track_caller]
pub(crate) fn wait_for<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(Instant::now() < end, "waited in vain for {what}");
        std::thread::park_timeout(Duration::from_millis(5));
    }
}
