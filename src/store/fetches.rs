//! Which process a fetch belongs to, by the fetch's name.
//!
//! What one process is about to show is not handed to another one as well. The
//! first may die before it has shown it: then its messages are handed out again
//! at once, and after [`LEASE`] even if it lives and shows nothing.

use std::collections::HashSet;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::FetchId;
use super::rows::Handed;
use crate::host;
use crate::model::MessageId;
use crate::text::millis as duration_millis;

/// How long a live process may take to show what it fetched.
const LEASE: Duration = Duration::from_secs(30);

/// The same for a process that cannot be looked at from here.
const SHORT_LEASE: Duration = Duration::from_secs(5);

/// The process that a fetch is for: PID namespace, process id and start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reader(Arc<str>);

impl Reader {
    /// This process.
    pub(crate) fn own() -> Self {
        static OWN: OnceLock<Reader> = OnceLock::new();
        OWN.get_or_init(|| Self::of(std::process::id())).clone()
    }

    /// A process of this PID namespace, for which this one fetches.
    pub(crate) fn of(pid: u32) -> Self {
        let start = start_of(u64::from(pid)).unwrap_or(0);
        let text = format!("{:x}.{pid:x}.{start:x}", host::boot().pid_ns);
        Self(text.into())
    }

    /// A new name for a fetch of it.
    pub(crate) fn name(&self) -> FetchId {
        FetchId(format!("{}.{:016x}", self.0, fastrand::u64(..)))
    }
}

/// Between which times a fetch may still be held.
pub(crate) fn window(now: Timestamp) -> (Timestamp, Timestamp) {
    let lease = SignedDuration::try_from(LEASE).unwrap_or(SignedDuration::ZERO);
    (
        now.checked_sub(lease).unwrap_or(Timestamp::MIN),
        now.checked_add(lease).unwrap_or(Timestamp::MAX),
    )
}

/// Those messages that another process than this reader fetched and may be about to
/// show.
pub(crate) fn held(handed: &[Handed], reader: &Reader, now: Timestamp) -> HashSet<MessageId> {
    let mut held = HashSet::new();
    let mut judged: Option<(&FetchId, bool)> = None;
    for one in handed {
        // Those of one fetch mostly stand together.
        let is_held = match judged {
            Some((known, is_held)) if *known == one.fetch => is_held,
            _ => {
                let age = now.as_millisecond().saturating_sub(one.at.as_millisecond());
                is_held(&one.fetch.0, reader, age)
            }
        };
        if is_held {
            held.insert(one.message);
        }
        judged = Some((&one.fetch, is_held));
    }
    held
}

fn is_held(fetch: &str, reader: &Reader, age_ms: i64) -> bool {
    let mut parts = fetch.split('.');
    let (Some(ns), Some(pid), Some(start), Some(_)) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        // Of an older program, which does not report itself.
        return false;
    };
    let mut mine = reader.0.split('.');
    if mine.next() != Some(ns) {
        return age_ms.saturating_abs() < duration_millis(SHORT_LEASE);
    }
    // An earlier call of this very process is over.
    if mine.next() == Some(pid) && mine.next() == Some(start) {
        return false;
    }
    let number = |text: &str| u64::from_str_radix(text, 16).ok();
    number(pid)
        .and_then(start_of)
        .is_some_and(|began| number(start) == Some(began))
}

/// When a process started, in the kernel's ticks; `None` where that is not to be
/// had, or if it has ended.
fn start_of(pid: u64) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name before may hold anything.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    let state = fields.next()?;
    let start = fields.nth(18)?.parse().ok()?;
    (!matches!(state, "Z" | "X")).then_some(start)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_live_process_elsewhere_holds_its_fetch() {
        assert!(
            !is_held(&Reader::own().name().0, &Reader::own(), 0),
            "this process itself"
        );
        assert!(!is_held(
            "0123456789abcdef0123456789abcdef",
            &Reader::own(),
            0
        ));
        let mut other = std::process::Command::new("sleep")
            .arg("1000")
            .spawn()
            .expect("sleep");
        let pid = u64::from(other.id());
        let ns = host::boot().pid_ns;
        let start = start_of(pid);
        let fetch = |start: u64| format!("{ns:x}.{pid:x}.{start:x}.0");
        if let Some(start) = start {
            assert!(is_held(&fetch(start), &Reader::own(), 0));
            assert!(
                !is_held(&fetch(start + 1), &Reader::own(), 0),
                "a later one of its number"
            );
        }
        other.kill().expect("killed");
        other.wait().expect("ended");
        assert!(!is_held(&fetch(start.unwrap_or(0)), &Reader::own(), 0));
        // One in another container has a few seconds.
        let far = format!("{:x}.1.1.0", ns + 1);
        assert!(is_held(&far, &Reader::own(), 4_999) && !is_held(&far, &Reader::own(), 5_000));
    }
}
