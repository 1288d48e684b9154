//! Following the audit log: each row once, in order, soon after its commit.
//!
//! Nothing is queued for a reader. What hears of commits says only that there was one;
//! the follower reads what is behind its cursor, a page at a time, and the next page
//! when the last one was taken. So a slow reader delays no other and costs a page, and
//! it goes on where it was, as does one that was cut off.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, watch};

use super::Problem;
use crate::model::wire::object;
use crate::store::{AuditCursor, AuditEntry, AuditFilter, AuditPage, Store, StoreError};

/// The path of the stream, without [`super::PREFIX`].
pub(super) const NAME: &str = "events/follow";

/// What it does, in a line.
pub(super) const SUMMARY: &str = "Streams the audit log, one JSON line each.";

/// Rows that are read at once.
const PAGE: u32 = 100;

/// How often the log is read, also without a bell.
const FULL_LOOK: Duration = Duration::from_mins(1);

/// Follows the audit log: what comes from now on, and before it what is asked for.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FollowEvents {
    /// Which rows. Without `after` its limit says how many of those that are there
    /// already come first.
    #[serde(default, deserialize_with = "object")]
    pub filter: AuditFilter,
    /// Begin behind this row: the last one that was handed out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<AuditCursor>,
}

/// A line of the stream.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum Line {
    /// A row of the audit log.
    Event(AuditEntry),
    /// So far the log was read, also where none of it was wanted.
    CaughtUp {
        /// For `after`.
        after: AuditCursor,
    },
    /// Nothing happened; the connection stands.
    Alive {},
    /// The end, and why.
    Ended(Problem),
}

/// Hands pages of the log to `pages` until nothing takes them any more. `commits` changes
/// with each commit, or more often.
///
/// # Errors
/// The store's.
pub async fn follow(
    store: &Store,
    mut commits: watch::Receiver<u64>,
    wanted: FollowEvents,
    pages: mpsc::Sender<AuditPage>,
) -> Result<(), StoreError> {
    let FollowEvents { mut filter, after } = wanted;
    let mut cursor = after;
    loop {
        // Before the look: a commit that comes during it makes another one.
        commits.mark_unchanged();
        if cursor.is_some() {
            filter.limit = PAGE;
        }
        let page = match store.audit_page(&filter, cursor).await {
            Ok(page) => page,
            // Another process holds the lock: the next look is for that.
            Err(error) if error.is_held_up() => {
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
            Err(error) => return Err(error),
        };
        let is_full = page.is_full;
        let is_news = !page.entries.is_empty() || cursor.is_none();
        cursor = Some(page.cursor);
        if is_news && pages.send(page).await.is_err() {
            return Ok(());
        }
        if is_full {
            continue;
        }
        tokio::select! {
            rang = commits.changed() => if rang.is_err() {
                return Err(StoreError::Stopped);
            },
            () = tokio::time::sleep(FULL_LOOK) => {}
            () = pages.closed() => return Ok(()),
        }
    }
}
