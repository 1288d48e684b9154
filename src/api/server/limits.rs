//! What the daemon takes from one user, and at once.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::api::Quota;
use crate::clock;
use crate::model::door::DoorError;

/// The limits of the door.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Connections of all users.
    pub connections: usize,
    /// Connections of one user; root and the daemon's own user have no such limit.
    pub connections_per_user: usize,
    /// Bytes of a request's body.
    pub body: usize,
    /// How long a request may take to arrive, and how long it is worked on.
    pub time: Duration,
    /// Conversations that one user makes in an hour.
    pub conversations_per_hour: u64,
    /// Tasks that one user adds in an hour.
    pub tasks_per_hour: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 4_096,
            connections_per_user: 1_024,
            body: 4 * 1024 * 1024,
            time: Duration::from_secs(30),
            conversations_per_hour: 200,
            tasks_per_hour: 2_000,
        }
    }
}

/// What users asked for within the last hour.
#[derive(Debug)]
pub(super) struct Quotas {
    limits: Limits,
    /// What is left of an allowance, and when that was so. It fills again evenly.
    used: Mutex<HashMap<(u32, Quota), (f64, Duration)>>,
}

const HOUR: f64 = 3_600.0;

impl Quotas {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            limits,
            used: Mutex::default(),
        }
    }

    /// Takes so much of a user's allowance, or refuses all of it.
    pub(super) fn take(&self, uid: u32, quota: Quota, wanted: u64) -> Result<(), DoorError> {
        let (most, things) = match quota {
            Quota::Conversations => (self.limits.conversations_per_hour, "conversations"),
            Quota::Tasks => (self.limits.tasks_per_hour, "tasks"),
        };
        let now = clock::since_boot();
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        #[expect(clippy::cast_precision_loss, reason = "an allowance is a small number")]
        let (full, wanted) = (most as f64, wanted as f64);
        let (left, since) = used.get(&(uid, quota)).copied().unwrap_or((full, now));
        let filled = left + now.saturating_sub(since).as_secs_f64() * full / HOUR;
        let left = filled.min(full) - wanted;
        if left < 0.0 {
            return Err(DoorError::TooMuch(format!(
                "user {uid} may make {most} {things} an hour, and has none left for that"
            )));
        }
        used.insert((uid, quota), (left, now));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_s_allowance_is_that_user_s_and_of_that_kind() {
        let limits = Limits {
            conversations_per_hour: 3,
            ..Limits::default()
        };
        let quotas = Quotas::new(limits);
        quotas.take(1, Quota::Conversations, 3).expect("three");
        quotas
            .take(1, Quota::Conversations, 1)
            .expect_err("a fourth");
        quotas
            .take(2, Quota::Conversations, 1)
            .expect("another user");
        quotas.take(1, Quota::Tasks, 1).expect("another thing");
        quotas
            .take(2, Quota::Conversations, 3)
            .expect_err("more than is left");
        quotas
            .take(2, Quota::Conversations, 2)
            .expect("nothing was taken before");
    }
}
