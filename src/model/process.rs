//! Processes, and the boot of a machine that they belong to.

use std::time::Duration;

/// This boot of this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Boot {
    /// The kernel's boot id.
    pub id: String,
    /// The process id namespace, by inode; 0 where there are none.
    pub pid_ns: i64,
    /// Time since boot.
    pub now: Duration,
}

/// A process on this boot of this machine; the start tells it from a later one
/// with its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ProcessId {
    /// Process id.
    pub pid: i64,
    /// When it started: in clock ticks since boot on Linux, in seconds since 1970
    /// elsewhere; 0 where it is not known.
    pub start: i64,
}

impl ProcessId {
    /// Whether this is a later process with the number of `known`.
    #[must_use]
    pub fn took_the_number_of(&self, known: &Self) -> bool {
        self.pid == known.pid && self.start != known.start && self.start != 0 && known.start != 0
    }
}

/// A session's process, as its daemon named it: comparable on the same boot
/// and in the same namespace of process ids.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    /// The kernel's boot id.
    pub boot_id: String,
    /// Inode of the namespace of process ids.
    pub pid_ns: i64,
    /// The process.
    pub id: ProcessId,
}
