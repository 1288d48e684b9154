//! Rows of daemons.

use jiff::Timestamp;

use crate::store::{DaemonInfo, DaemonRef, DaemonView, Namesake, Result};

/// Operations on daemons.
pub trait DaemonRows {
    /// Enters a daemon's next life; returns its epoch, which is above all before.
    ///
    /// # Errors
    /// The engine's.
    fn enter_daemon(&mut self, daemon: &DaemonInfo, now: Timestamp) -> Result<i64>;

    /// A later life of a daemon that was not noted as stopped.
    ///
    /// # Errors
    /// The engine's.
    fn namesake(&mut self, daemon: &DaemonRef) -> Result<Option<Namesake>>;

    /// Something about a daemon's sessions is new. `false` if the daemon is not
    /// registered, so that no reader would hear of it.
    ///
    /// # Errors
    /// The engine's.
    fn note_daemon_change(&mut self, daemon: &DaemonRef) -> Result<bool>;

    /// A daemon runs, also one that keeps no session: for people, and for the
    /// housekeeping that takes away the rows of those that do not come back.
    ///
    /// # Errors
    /// The engine's.
    fn note_daemon_seen(&mut self, daemon: &DaemonRef, now: Timestamp) -> Result<()>;

    /// This life of a daemon ended as it should.
    ///
    /// # Errors
    /// The engine's.
    fn note_daemon_stopped(&mut self, daemon: &DaemonRef, now: Timestamp) -> Result<()>;

    /// Daemons by name, without those that cannot be read.
    ///
    /// # Errors
    /// The engine's.
    fn daemons(&mut self) -> Result<Vec<DaemonView>>;
}
