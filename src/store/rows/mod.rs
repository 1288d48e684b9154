//! What a backend must be able to do: narrow operations on rows inside one
//! transaction. What a send or a fetch *means* stands in `store::ops`, once for
//! every backend; here is what it needs of a database, and no rule.
//!
//! Every operation fails with the engine's own error alone, in words for people.
//! One that must write a row fails if it did not.

mod alerts;
mod audit;
mod controls;
mod conversations;
mod daemons;
mod heartbeats;
mod histories;
mod leader;
mod messages;
mod notices;
mod prune;
mod registrations;
mod reports;
mod seen;
mod sessions;
mod settings;
mod signal;
mod standings;
mod tasks;
mod times;
mod upkeep;
mod waiting;
mod wakes;

use crate::model::StoreName;
use crate::store::Result;

pub use alerts::{AlertRows, Raise};
pub use audit::{Audit, AuditRows};
pub use controls::ControlRows;
pub use conversations::{ConversationRows, End, EndSet, Party};
pub use daemons::DaemonRows;
pub use heartbeats::{HeartbeatRows, Successor};
pub use histories::{Event, HistoryRows, LostTask};
pub use leader::LeaderRows;
pub use messages::{Clean, ClientMessage, Handed, MessageRows, PAGE_BYTES, Page};
pub use notices::{NoticeRows, OwedMessage};
pub use prune::{PruneRows, Scope};
pub use registrations::RegistrationRows;
pub use reports::ReportRows;
pub use seen::{SeenRows, Which};
pub use sessions::SessionRows;
pub use settings::SettingRows;
pub use signal::SignalRows;
pub use standings::{Ability, Judged, NewStanding, SUPERSEDED, StandingRows, StoredVerdict};
pub use tasks::{ClientTask, NewTaskRow, TaskRows};
pub use times::{LastBeat, RenewedEnd, TimeRows};
pub use upkeep::UpkeepRows;
pub use waiting::{Due, Look, WaitingRows};
pub use wakes::WakeRows;

/// The rows of a store, inside one transaction.
pub trait Rows:
    AlertRows
    + AuditRows
    + ControlRows
    + ConversationRows
    + DaemonRows
    + HeartbeatRows
    + LeaderRows
    + MessageRows
    + PruneRows
    + RegistrationRows
    + ReportRows
    + SeenRows
    + HistoryRows
    + NoticeRows
    + SessionRows
    + SettingRows
    + SignalRows
    + StandingRows
    + TaskRows
    + TimeRows
    + UpkeepRows
    + WaitingRows
    + WakeRows
{
    /// The store, as people name it.
    fn store(&self) -> &StoreName;

    /// For one that only reads: from now on every question sees the same commit, until
    /// the work ends. Without it each sees the newest.
    ///
    /// # Errors
    /// The engine's.
    fn hold_view(&mut self) -> Result<()>;
}
