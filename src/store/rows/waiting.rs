//! Tasks that wait for an owner, or whose owner is gone.

use jiff::Timestamp;

use crate::model::{SessionKey, task};
use crate::store::{Result, Task, Waiting};

/// Which of the tasks that failed may be tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Due {
    /// Those whose time has come,
    pub now: Timestamp,
    /// and those whose time is so far off that a clock must have been set.
    pub far: Timestamp,
}

impl Due {
    /// At this time.
    #[must_use]
    pub fn at(now: Timestamp) -> Self {
        let far = now.checked_add(task::RETRY_FAR).unwrap_or(Timestamp::MAX);
        Self { now, far }
    }

    /// Whether one is that waits until `retry`.
    #[must_use]
    pub fn includes(&self, retry: Option<Timestamp>) -> bool {
        retry.is_some_and(|at| at <= self.now || at > self.far)
    }
}

/// Which tasks are looked for that wait, or whose owner is gone.
#[derive(Debug, Clone, Copy)]
pub struct Look<'a> {
    /// Owners whose tasks may be taken although they live.
    pub stalled: &'a [SessionKey],
    /// Losses count that are later than this.
    pub losses_since: Timestamp,
    /// Which of those that failed are meant.
    pub due: Due,
    /// How many of each role that wait are read at most, the oldest first.
    pub of_a_role: u32,
}

/// Operations on tasks that wait.
pub trait WaitingRows {
    /// The oldest task of a role that waits and can be read.
    ///
    /// # Errors
    /// The engine's.
    fn oldest_waiting(&mut self, role: &str, due: Due) -> Result<Option<Task>>;

    /// Tasks that wait, or whose owner is gone, oldest first, without those that
    /// cannot be read.
    ///
    /// # Errors
    /// The engine's.
    fn waiting(&mut self, look: &Look<'_>) -> Result<Vec<Waiting>>;
}
