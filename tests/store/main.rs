//! What the store promises, for any input and any fate of its file.

#[path = "../common/mod.rs"]
mod common;

mod adoption;
mod awaited;
mod conformance;
mod delivery;
mod faults;
mod foreign_bridge;
mod histories;
mod kept_copy;
mod older_copies;
mod query_plans;
mod redaction;
mod rows;
mod unreleased;
mod writers;
