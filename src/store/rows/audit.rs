//! Rows of the audit log.

use std::borrow::Cow;

use jiff::Timestamp;
use serde_json::Value;

use crate::model::{ConversationId, Side};
use crate::store::{AuditEntry, AuditFilter, Result};

/// A row of the audit log.
#[derive(Debug, Clone, PartialEq)]
pub struct Audit {
    /// What it is about.
    pub conversation: Option<ConversationId>,
    /// Who did it.
    pub side: Option<Side>,
    /// An action of the Python bridge's or of ours.
    pub action: Cow<'static, str>,
    /// No message body and no secret.
    pub details: Value,
}

/// Operations on the audit log.
pub trait AuditRows {
    /// Writes audit rows, in order.
    ///
    /// # Errors
    /// The engine's.
    fn audit(&mut self, rows: &[Audit], now: Timestamp) -> Result<()>;

    /// When the newest audit row was written.
    ///
    /// # Errors
    /// The engine's.
    fn newest_audit(&mut self) -> Result<Option<Timestamp>>;

    /// The number of the newest audit row; 0 if there is none.
    ///
    /// # Errors
    /// The engine's.
    fn newest_audit_id(&mut self) -> Result<i64>;

    /// The oldest audit rows behind a number that a filter admits, oldest first.
    ///
    /// # Errors
    /// The engine's.
    fn audited_behind(&mut self, number: i64, filter: &AuditFilter) -> Result<Vec<AuditEntry>>;

    /// The newest audit rows that a filter admits, newest last.
    ///
    /// # Errors
    /// The engine's.
    fn audited(&mut self, filter: &AuditFilter) -> Result<Vec<AuditEntry>>;
}
