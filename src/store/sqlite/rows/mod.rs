//! The operations on rows, in SQL; a file for each trait of the interface.

mod alerts;
mod audit;
mod controls;
mod conversations;
mod leader;
mod messages;
mod sessions;
mod settings;
mod signal;
mod tasks;
mod wakes;
