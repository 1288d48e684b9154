//! The operations on rows, in SQL; a file for each trait of the interface.

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
