//! Agents as their clients plug them in: servers of the tools, hooks and waiters, many of
//! them, killed, replaced, suspended, and lied to.

#![allow(
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a test that cannot set up its case has nothing to say; what it measured, it prints"
)]

mod bad;
#[path = "../common/mod.rs"]
mod common;
mod crowd;
mod fleet;
mod share;
mod turns;
mod upgrade;
