//! The command line as its users meet it: the real program, a real store.

#![expect(
    clippy::expect_used,
    reason = "a test that cannot make its files has nothing to say"
)]

mod backups;
mod commands;
mod conversations;
mod doctor;
mod health;
mod operators;
mod orders;
mod programs;
mod reading;
mod refusals;
mod rekeying;
mod shown;
mod stores;
mod task_refusals;
mod tasks;
mod team;
mod waiting;
mod watching;
mod words;
