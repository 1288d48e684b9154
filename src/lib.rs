//! The library behind `mcp-bridged` and `mcp-bridge`; the programs are shims.
//!
//! Imports point one way: programs, then [`daemon`] and [`cli`], then
//! [`supervisor`] and [`duties`], then [`model`], [`store`], [`doorbell`],
//! [`wake`] and [`alert`]. `docs/architecture.md` tells how a message flows through them.

mod advice;
pub mod alert;
pub mod cli;
pub mod clock;
mod command;
pub mod config;
pub mod credentials;
pub mod daemon;
pub mod doorbell;
pub mod duties;
mod file_stamp;
mod files;
mod guarded;
pub mod host;
pub mod liveness;
pub mod logging;
pub mod model;
#[cfg(any(test, not(target_os = "linux")))]
mod ps;
pub mod service_manager;
pub mod store;
pub mod supervisor;
pub mod text;
pub mod wake;
