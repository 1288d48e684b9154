//! The library behind `mcp-bridged` and `mcp-bridge`; the programs are shims.
//!
//! Imports point one way: programs, then [`daemon`] and [`cli`], then
//! [`supervisor`] and [`duties`], then [`model`], [`store`], [`doorbell`] and
//! [`wake`]. `docs/architecture.md` tells how a message flows through them.

pub mod cli;
pub mod clock;
pub mod config;
pub mod credentials;
pub mod doorbell;
pub mod host;
pub mod model;
pub mod store;
pub mod text;
