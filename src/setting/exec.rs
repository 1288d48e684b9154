//! A command that a wake or an alert runs.

use std::time::Duration;

/// `[wake.exec]` and `[alert.exec]`.
#[derive(Debug, Clone, PartialEq)]
pub struct ExecSettings {
    /// The program, looked up in PATH when it has no slash, and its arguments; never empty.
    pub command: Vec<String>,
    /// After which it is ended, 100 ms to 5 min.
    pub timeout: Duration,
    /// How much of its output is kept for the log, in bytes, up to 1 MiB.
    pub output_limit: usize,
}
