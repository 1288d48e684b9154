//! The audit log as it is read.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::types::page;
use crate::model::task::TaskId;
use crate::model::{ConversationId, Side};

/// Which audit rows to return.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct AuditFilter {
    /// Only of this conversation.
    pub conversation: Option<ConversationId>,
    /// Only of this side.
    pub side: Option<Side>,
    /// Only this action.
    pub action: Option<String>,
    /// Only about this task.
    pub task: Option<TaskId>,
    /// Only since then; what has no readable time is shown.
    pub since: Option<Timestamp>,
    /// Maximum number; the newest rows.
    #[serde(default = "page")]
    pub limit: u32,
}

impl AuditFilter {
    /// Whether the filter takes this row.
    #[must_use]
    pub(crate) fn admits(&self, entry: &AuditEntry) -> bool {
        let conversation = self.conversation.as_ref().map(ConversationId::as_str);
        let of_task = |task: TaskId| entry.details.get("task_id") == Some(&task.0.into());
        conversation.is_none_or(|id| entry.conversation.as_deref() == Some(id))
            && self.side.is_none_or(|side| {
                // The Python bridge's longer name, too.
                let session = entry.session.as_deref().unwrap_or_default();
                session.trim_start_matches("session_") == side.as_str()
            })
            && self
                .action
                .as_ref()
                .is_none_or(|action| entry.action == *action)
            && self.task.is_none_or(of_task)
            && self
                .since
                .is_none_or(|since| entry.at.is_none_or(|at| at >= since))
    }
}

/// How far the audit log was read.
///
/// In SQLite rows are numbered in the order of their commits: one program writes at a
/// time. A store in which several do must keep to itself what is numbered lower and not
/// committed yet; so what is behind a cursor is asked of the store alone.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(transparent)]
pub struct AuditCursor(pub(crate) i64);

impl AuditEntry {
    /// The cursor behind this row.
    #[must_use]
    pub fn cursor(&self) -> AuditCursor {
        AuditCursor(self.id)
    }
}

/// A part of the audit log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditPage {
    /// Rows that were wanted, oldest first.
    pub entries: Vec<AuditEntry>,
    /// How far the log was read for them.
    pub cursor: AuditCursor,
    /// Whether there may be more behind it already.
    pub is_full: bool,
}

/// An audit row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AuditEntry {
    /// Row id.
    pub id: i64,
    /// When; `None` if the text is unreadable.
    pub at: Option<Timestamp>,
    /// The conversation's id, as it was written.
    pub conversation: Option<String>,
    /// The side, as it was written.
    pub session: Option<String>,
    /// What was done.
    pub action: String,
    /// Its circumstances.
    pub details: serde_json::Value,
}
