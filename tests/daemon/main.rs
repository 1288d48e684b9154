//! The daemon: its life, its duties, its files, and what it does for agents.

#[path = "../common/mod.rs"]
mod common;

mod alerts;
mod config_errors;
mod config_roles;
mod files;
mod finding;
mod kills;
mod life;
mod lives;
mod migration;
mod mixed;
mod one_voice;
mod opening;
mod orchestrator;
mod registration;
mod roles;
mod service;
mod trouble;
mod wake;
