//! What the daemon takes from one user, and at once.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::api::Quota;
use crate::clock;
use crate::config::ApiSettings;
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
    /// Bytes that one user has stored in a day; root and the daemon's own user have no
    /// such limit.
    pub stored_per_day: u64,
}

impl From<&ApiSettings> for Limits {
    fn from(settings: &ApiSettings) -> Self {
        let size = |number: u32| usize::try_from(number).unwrap_or(usize::MAX);
        Self {
            connections: size(settings.connections),
            connections_per_user: size(settings.connections_per_user),
            body: size(settings.max_body),
            time: settings.time_limit,
            conversations_per_hour: settings.conversations_per_hour.into(),
            tasks_per_hour: settings.tasks_per_hour.into(),
            stored_per_day: u64::from(settings.stored_mib_per_day) * MIB,
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self::from(&ApiSettings::default())
    }
}

/// What users asked for within the last hour, or day.
#[derive(Debug, Default)]
pub(super) struct Quotas {
    /// What is used of an allowance, and when that was so. It is given back evenly.
    used: Mutex<HashMap<(u32, Quota), (f64, Duration)>>,
}

const HOUR: f64 = 3_600.0;
const DAY: f64 = 24.0 * HOUR;
const MIB: u64 = 1024 * 1024;

impl Quotas {
    /// Takes so much of what a user may have within these limits, or refuses all of it.
    pub(super) fn take(
        &self,
        limits: Limits,
        uid: u32,
        quota: Quota,
        wanted: u64,
    ) -> Result<(), DoorError> {
        let (most, period) = match quota {
            Quota::Conversations => (limits.conversations_per_hour, HOUR),
            Quota::Tasks => (limits.tasks_per_hour, HOUR),
            Quota::Bytes => (limits.stored_per_day, DAY),
        };
        let now = clock::since_boot();
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        #[expect(
            clippy::cast_precision_loss,
            reason = "far below what a float counts one by one"
        )]
        let (full, wanted) = (most as f64, wanted as f64);
        let (before, since) = used.get(&(uid, quota)).copied().unwrap_or((0.0, now));
        let given_back = now.saturating_sub(since).as_secs_f64() * full / period;
        let all = (before - given_back).max(0.0) + wanted;
        if all > full {
            let may = match quota {
                Quota::Conversations => format!("create {most} conversations an hour"),
                Quota::Tasks => format!("add {most} tasks an hour"),
                Quota::Bytes => format!("store {} MiB a day", most / MIB),
            };
            return Err(DoorError::TooMuch(format!(
                "user {uid} may {may}, and has not enough left for this request"
            )));
        }
        used.insert((uid, quota), (all, now));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn allowances_are_separate_for_each_user_and_kind() {
        let limits = Limits {
            conversations_per_hour: 3,
            ..Limits::default()
        };
        let quotas = Quotas::default();
        let take = |uid, quota, wanted| quotas.take(limits, uid, quota, wanted);
        take(1, Quota::Conversations, 3).expect("three");
        take(1, Quota::Conversations, 1).expect_err("a fourth");
        take(2, Quota::Conversations, 1).expect("another user");
        take(1, Quota::Tasks, 1).expect("another thing");
        take(2, Quota::Conversations, 3).expect_err("more than is left");
        take(2, Quota::Conversations, 2).expect("nothing was taken before");
    }

    #[test]
    fn stored_bytes_are_counted_by_the_day() {
        let limits = Limits {
            stored_per_day: 10 * MIB,
            ..Limits::default()
        };
        let quotas = Quotas::default();
        let take = |uid, wanted| quotas.take(limits, uid, Quota::Bytes, wanted);
        for _ in 0..9 {
            take(1, MIB).expect("room");
        }
        let full = take(1, 2 * MIB).expect_err("no room").to_string();
        assert!(full.contains("store 10 MiB a day"), "{full}");
        take(1, MIB).expect("the last");
        take(2, MIB).expect("another user");
    }

    #[test]
    fn another_limit_counts_what_was_used_before() {
        let limits = |tasks_per_hour| Limits {
            tasks_per_hour,
            ..Limits::default()
        };
        let quotas = Quotas::default();
        let take = |most, wanted| quotas.take(limits(most), 1, Quota::Tasks, wanted);
        take(10, 10).expect("all of it");
        take(10, 1).expect_err("one more");
        take(100, 91).expect_err("more than was added");
        take(100, 90).expect("what was added");
        take(10, 1).expect_err("far beyond the lower limit");
        take(0, 1).expect_err("none at all");
    }
}
