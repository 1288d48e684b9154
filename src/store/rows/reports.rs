//! What people ask about.

use jiff::Timestamp;

use crate::model::ConversationId;
use crate::model::session::SessionView;
use crate::store::{Result, StoreCheck};

/// Operations for people who look.
pub trait ReportRows {
    /// Every session of every conversation that was not closed and did not end before
    /// `since`, by label, without those that cannot be read; or those of one
    /// conversation alone.
    ///
    /// # Errors
    /// The engine's.
    fn sessions(
        &mut self,
        since: Timestamp,
        of: Option<&ConversationId>,
    ) -> Result<Vec<SessionView>>;

    /// A thorough look: integrity, versions, sizes.
    ///
    /// # Errors
    /// The engine's.
    fn check(&mut self) -> Result<StoreCheck>;
}
