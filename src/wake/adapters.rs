//! The adapters, one line each.

use super::WakeAdapter;
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

    Exec(exec::ExecSettings) = RawExec "exec",
    File(file::FileSettings) = RawFile "file",
}
