//! The one row that says which daemon acts for the fleet.

use crate::store::{Leader, Result};

/// Operations on the lease of the lead.
pub trait LeaderRows {
    /// Whether this leader acts; if not, the epoch of the one who does.
    ///
    /// # Errors
    /// The engine's.
    fn acts(&mut self, leader: &Leader) -> Result<std::result::Result<(), i64>>;
}
