//! The library behind `mcp-bridged` and `mcp-bridge`; the programs are shims.
//!
//! Imports point one way: programs, then [`daemon`] and [`cli`], then
//! [`supervisor`], [`duties`] and [`exit`], then [`session`], then [`bridge`], then
//! [`api`], then [`store`] and [`liveness`], then [`config`], then [`wake`] and [`alert`] with the
//! tables of their adapters, then [`doorbell`] and [`credentials`], then [`model`].
//! `tests/house/imports.rs` has the layers and fails where one runs the other way;
//! `docs/architecture.md` tells how a message flows through them.

mod advice;
pub mod alert;
pub mod api;
pub mod bridge;
pub mod cli;
mod clients;
pub mod clock;
mod command;
pub mod config;
pub mod credentials;
pub mod daemon;
pub mod doorbell;
pub mod duties;
mod ending;
pub mod exit;
mod file_stamp;
mod files;
mod guarded;
pub mod hook;
pub mod host;
pub mod leash;
pub mod liveness;
pub mod logging;
pub mod mcp;
pub mod model;
#[cfg(any(test, not(target_os = "linux")))]
mod ps;
pub mod service_manager;
pub mod session;
mod setting;
pub mod stage;
pub mod store;
pub mod supervisor;
pub mod text;
pub mod wake;
