//! The operations on rows, in SQL; a file for each trait of the interface.

mod conversations;
mod messages;
mod sessions;
mod settings;

pub(super) use conversations::party;
pub(super) use settings::newest_audit;
