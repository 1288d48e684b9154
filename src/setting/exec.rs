//! A command that a wake or an alert runs.

use std::time::Duration;

use super::findings::{Limits, limits, millis, mins, secs};
use crate::command::{self, Ended};

/// How long such a command may take.
pub(crate) const EXEC_TIMEOUT: Limits = limits(secs(10), millis(100), mins(5));
/// How many bytes of its output are kept, if nothing else is said.
pub(crate) const OUTPUT_LIMIT: usize = 4096;

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

impl ExecSettings {
    /// Runs it, with one more line end behind the input.
    pub(crate) async fn execute(
        &self,
        environment: &[(&'static str, String)],
        mut input: Vec<u8>,
    ) -> Ended {
        input.push(b'\n');
        command::run(&command::Request {
            command: &self.command,
            environment,
            input,
            timeout: self.timeout,
            output_limit: self.output_limit,
        })
        .await
    }

    /// The program alone: arguments are not shown.
    pub(crate) fn program(&self) -> &str {
        self.command.first().map_or("", String::as_str)
    }
}
