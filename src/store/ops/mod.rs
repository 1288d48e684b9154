//! What the product's operations mean, written once for every backend: over the
//! rows of one transaction ([`super::rows`]), without SQL and without I/O.

pub(crate) mod alerts;
pub(crate) mod audit;
pub(crate) mod callers;
pub(crate) mod conversations;
pub(crate) mod findings;
pub(crate) mod heartbeats;
pub(crate) mod leader;
mod limits;
pub(crate) mod lives;
pub(crate) mod messages;
pub(crate) mod moves;
mod notices;
pub(crate) mod prune;
pub(crate) mod registrations;
mod reminders;
pub(crate) mod seen;
pub(crate) mod settings;
pub(crate) mod status;
pub(crate) mod tasks;
pub(crate) mod times;
pub(crate) mod wakes;
