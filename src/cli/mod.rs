//! The command line `mcp-bridge`: arguments, what each command prints, and
//! which exit code it ends with. The work itself is the store's.

pub mod bench;
pub mod demo;
mod exit;
pub mod follow;

pub use exit::{Exit, report};
