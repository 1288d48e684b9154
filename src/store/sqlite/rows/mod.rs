//! The operations on rows, in SQL; a file for each trait of the interface.

mod alerts;
mod audit;
mod controls;
mod conversations;
mod daemons;
mod heartbeats;
mod leader;
mod messages;
mod prune;
mod reports;
mod seen;
mod sessions;
mod settings;
mod signal;
mod tasks;
mod times;
mod upkeep;
mod wakes;
