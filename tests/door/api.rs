//! The door as programs meet it: the real daemon, its two sockets, and requests as
//! any program can write them. Who may do what, what hostile clients
//! achieve, and what the document of the door promises.

#![expect(
    clippy::expect_used,
    reason = "a test that cannot set up its case has nothing to say"
)]

mod attacker;
mod containers;
mod crowd;
mod document;
mod full_disk;
mod ground;
mod hostile;
mod input;
mod limits;
mod others;
mod page;
mod rights;
mod settings;
mod ssh;
