//! The service under a real systemd, which each test boots: the package that
//! is built from this tree, its units, and an operator's commands.

#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot set up its case has nothing to say"
)]

mod credentials;
mod door;
mod faults;
mod install;
mod journal;
mod machine;
mod operator;
mod ownership;
pub(crate) mod package;
mod readme;
mod reload;
mod restarts;
mod rpm;
mod sandbox;
mod stuck;
mod upgrade;
mod user;
