//! Rows of the store: written or refused, ours or another program's, and odd ones
//! that must stop nothing else. The commands are the real ones.

#![expect(
    clippy::expect_used,
    reason = "a test that cannot set up its case has nothing to say"
)]

#[path = "common/store.rs"]
mod common;
#[path = "rows/daemon.rs"]
mod daemon;
#[path = "rows/odd.rs"]
mod odd;
#[path = "rows/ours.rs"]
mod ours;
#[path = "adoption/site.rs"]
mod site;
#[path = "rows/swallowed.rs"]
mod swallowed;
