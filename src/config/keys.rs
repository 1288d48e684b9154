//! Every key of the configuration: what it is, what it may be, its default, which role
//! has it, and whether a reload applies it.
//!
//! The one source of the tables in docs/daemon.md and of
//! mcp-bridged.toml(5). Defaults and limits are the constants that the checks
//! themselves use; the tests hold the rest against what the program accepts.

mod table;
#[cfg(test)]
mod tests;

pub use table::KEYS;
