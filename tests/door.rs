//! The door as programs meet it: the real daemon, its two sockets, and requests as
//! any program can write them. Who may do what, what hostile clients
//! achieve, and what the document of the door promises.

#![expect(
    clippy::expect_used,
    reason = "a test that cannot set up its case has nothing to say"
)]

#[path = "door/attacker.rs"]
mod attacker;
#[path = "common/daemon.rs"]
mod common;
#[path = "door/containers.rs"]
mod containers;
#[path = "door/crowd.rs"]
mod crowd;
#[path = "door/document.rs"]
mod document;
#[path = "door/full_disk.rs"]
mod full_disk;
#[path = "door/ground.rs"]
mod ground;
#[path = "door/hostile.rs"]
mod hostile;
#[path = "door/input.rs"]
mod input;
#[path = "door/limits.rs"]
mod limits;
#[path = "door/others.rs"]
mod others;
#[path = "door/page.rs"]
mod page;
#[path = "common/python.rs"]
mod python;
#[path = "door/rights.rs"]
mod rights;
#[path = "door/settings.rs"]
mod settings;
