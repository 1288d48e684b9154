//! The operations on rows, in SQL; a file for each trait of the interface.

mod alerts;
mod conversations;
mod messages;
mod sessions;
mod settings;
mod wakes;
