//! The client of an agent: the program that its sessions live in.

use super::process::{Boot, ProcessId};

/// A client, as it says itself who it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Client {
    /// What it is called.
    pub name: String,
    /// Its version.
    pub version: Option<String>,
    /// The boot, and the namespace of process ids, that it runs in.
    pub boot: Boot,
    /// Its process there, where it has one for its agent alone.
    pub process: Option<ProcessId>,
    /// The directory that it works in.
    pub directory: Option<String>,
}
