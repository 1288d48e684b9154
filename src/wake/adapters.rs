//! The adapters, one line each.

use super::{WakeAdapter, exec, file};
use crate::setting::{RawDuration, adapters};

adapters! {
    /// One way to wake.
    enum AdapterSettings of WakeAdapter;

    /// `[wake]`, common or a session's own, as it stands.
    table RawWake {
        order: Vec<String>,
        text: String,
        verify_within: RawDuration,
        backoff: RawDuration,
        backoff_max: RawDuration,
    }

    /// Runs a command.
    Exec(exec::ExecSettings) = "exec",
    /// Writes a file.
    File(file::FileSettings) = "file",
}
