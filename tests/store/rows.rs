//! Rows of the store: written or refused, ours or another program's, and odd ones
//! that must stop nothing else. The commands are the real ones.

#![expect(
    clippy::expect_used,
    reason = "a test that cannot set up its case has nothing to say"
)]

mod daemon;
mod odd;
mod ours;
use super::adoption::site;
mod swallowed;
