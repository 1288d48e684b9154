//! How many files this process may have open. A daemon has one for each process
//! that it watches, and the usual soft limit of 1,024 is for programs that use
//! `select(2)`; the hard limit is far above it.

use std::sync::OnceLock;

use rustix::io::Errno;
use rustix::process::{Pid, Resource, Rlimit, getrlimit, setrlimit};

/// More than any daemon needs.
const ENOUGH: u64 = 65_536;

/// The most that macOS takes where it has no hard limit.
const OPEN_MAX: u64 = 10_240;

/// Named where a descriptor is refused for the limit.
pub(crate) const TOO_MANY: &str = "too many open files";

/// The soft limit that this process was started with, if it was raised.
static STARTED_WITH: OnceLock<Rlimit> = OnceLock::new();

/// Raises the soft limit as far as this process may.
pub(crate) fn raise() {
    let started = getrlimit(Resource::Nofile);
    let Some(soft) = started.current else { return };
    let hard = started.maximum.unwrap_or(u64::MAX).min(ENOUGH);
    let all = [hard, hard.min(OPEN_MAX)];
    for wanted in all.into_iter().filter(|wanted| *wanted > soft) {
        let raised = Rlimit {
            current: Some(wanted),
            maximum: started.maximum,
        };
        if setrlimit(Resource::Nofile, raised).is_ok() {
            // Only the first call finds what the process was started with.
            let _ = STARTED_WITH.set(started);
            return;
        }
    }
}

/// Gives a child the soft limit that this process was started with: it may use
/// `select(2)`, which knows no descriptor above 1,023. Rust's standard library sets
/// none before the child runs, so it may have the greater one for a moment.
pub(crate) fn restore(child: Pid) {
    #[cfg(target_os = "linux")]
    if let Some(started) = STARTED_WITH.get() {
        // One that has ended already needs none.
        let _ = rustix::process::prlimit(Some(child), Resource::Nofile, *started);
    }
    #[cfg(not(target_os = "linux"))]
    let _ = child;
}

/// How many processes may be watched by a descriptor each: what is left when the
/// store, the commands and the logs have theirs.
#[must_use]
pub(crate) fn for_watching() -> u64 {
    match getrlimit(Resource::Nofile).current {
        Some(limit) => limit - (limit / 4).clamp(64, 256).min(limit),
        None => u64::MAX,
    }
}

/// Whether no further file can be opened.
#[must_use]
pub(crate) fn are_exhausted() -> bool {
    matches!(
        rustix::fs::open(
            "/",
            rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::CLOEXEC,
            rustix::fs::Mode::empty()
        ),
        Err(Errno::MFILE | Errno::NFILE)
    )
}

/// `too many open files (the limit is 128); raise it: ...`.
#[must_use]
pub(crate) fn words() -> String {
    let limit = match getrlimit(Resource::Nofile).current {
        Some(limit) => format!(" (the limit is {limit})"),
        None => String::new(),
    };
    format!("{TOO_MANY}{limit}; raise it: LimitNOFILE= of the unit, or ulimit -n")
}
