//! The API of the daemon, and every face that reaches the store through it.

#[path = "../common/mod.rs"]
mod common;

mod api;
mod bridge_conformance;
mod follow;
mod through_door;
mod versions;
