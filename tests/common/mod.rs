//! What the test programs share. Each takes its part.

#![allow(
    dead_code,
    unused_macros,
    unused_imports,
    unreachable_pub,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "each test program uses its part; a test that cannot set up its case has nothing to say"
)]

pub(crate) mod again;
pub(crate) mod client;
pub(crate) mod daemon;
pub(crate) mod etc;
pub(crate) mod http;
pub(crate) mod processes;
pub(crate) mod python;
pub(crate) mod scratch;
pub(crate) mod store;
pub(crate) mod waiting;
