//! The product on a machine: installed, under systemd and launchd, and attacked.

#[path = "../common/mod.rs"]
mod common;

mod attacker;
mod launchd;
mod release;
mod shipped_config;
mod systemd;
