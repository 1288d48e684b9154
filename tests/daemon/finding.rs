//! Which store a program of ours uses, and by which way: the whole order, with live
//! sockets, dead ones and files.

#![expect(
    clippy::expect_used,
    reason = "a test that cannot set up its case has nothing to say"
)]

mod commands;
mod order;
