//! The one row that says which daemon acts for the fleet.

use std::time::Duration;

use jiff::Timestamp;

use crate::store::{DaemonRef, Leader, Lease, Result};

/// Operations on the lease of the lead.
pub trait LeaderRows {
    /// The lease as it stands; `None` if there is none, or it cannot be read.
    ///
    /// # Errors
    /// The engine's.
    fn lease(&mut self) -> Result<Option<Lease>>;

    /// Takes the lease, if it is still the one that was seen. The epoch of the new
    /// holder, which is above all that were before, or `None` if another daemon was
    /// faster.
    ///
    /// # Errors
    /// The engine's.
    fn take_lead(
        &mut self,
        daemon: &DaemonRef,
        seen: Option<&Lease>,
        ttl: Duration,
        now: Timestamp,
    ) -> Result<Option<i64>>;

    /// Counts a renewal, if this leader acts. Whether it does.
    ///
    /// # Errors
    /// The engine's.
    fn renew_lead(&mut self, leader: &Leader) -> Result<bool>;

    /// Gives the lease back, if this leader has it.
    ///
    /// # Errors
    /// The engine's.
    fn give_up_lead(&mut self, leader: &Leader) -> Result<()>;

    /// Whether this leader acts; if not, the epoch of the one who does.
    ///
    /// # Errors
    /// The engine's.
    fn acts(&mut self, leader: &Leader) -> Result<std::result::Result<(), i64>>;
}
