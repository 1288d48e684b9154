//! Another user in the store's group attacks: links, pipes, devices, sockets and
//! directories under every name that our programs open, make or replace beside a store,
//! put there before a command of root's or of a third user's runs, or exchanged while
//! it does. Even if the command succeeds, no file outside the directory is made,
//! changed, read into the store or deleted, and every command ends in time.
//!
//! It needs root, to be several users; elsewhere it says that it was not tried.

#![expect(
    clippy::expect_used,
    reason = "a test that cannot set up its case has nothing to say"
)]

mod daemons;
mod ground;
mod names;
mod races;
mod reading;
