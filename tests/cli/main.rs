//! The command line as its users meet it: the real program, a real store.

#![expect(
    clippy::expect_used,
    reason = "a test that cannot make its files has nothing to say"
)]

#[path = "../common/mod.rs"]
mod common;

mod commands;
mod conversations;
mod orders;
mod reading;
mod refusals;
mod stores;
mod tasks;
mod team;
mod watching;
