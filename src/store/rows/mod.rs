//! What a backend must be able to do: narrow operations on rows inside one
//! transaction. What a send or a fetch *means* stands in `store::ops`, once for
//! every backend; here is what it needs of a database, and no rule.
//!
//! Every operation fails with the engine's own error alone, in words for people.
//! One that must write a row fails if it did not.

mod alerts;
mod conversations;
mod messages;
mod sessions;
mod settings;
mod wakes;

use std::path::Path;

pub use alerts::{AlertRows, Raise};
pub use conversations::{ConversationRows, End, EndSet, Party};
pub use messages::{Clean, ClientMessage, Handed, MessageRows};
pub use sessions::SessionRows;
pub use settings::{Audit, SettingRows};
pub use wakes::WakeRows;

/// The rows of a store, inside one transaction.
pub trait Rows:
    AlertRows + ConversationRows + MessageRows + SessionRows + SettingRows + WakeRows
{
    /// The store, as people name it.
    fn store(&self) -> &Path;
}
