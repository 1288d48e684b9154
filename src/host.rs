//! This machine, this boot, this process id namespace.

use std::os::unix::fs::MetadataExt;
use std::sync::OnceLock;

use crate::clock;
use crate::store::Boot;

/// The host's name.
#[must_use]
pub fn name() -> String {
    gethostname::gethostname().to_string_lossy().into_owned()
}

/// This boot, at this moment.
#[must_use]
pub fn boot() -> Boot {
    static IDENTITY: OnceLock<(String, i64)> = OnceLock::new();
    let (id, pid_ns) = IDENTITY.get_or_init(|| (boot_id(), pid_namespace()));
    Boot {
        id: id.clone(),
        pid_ns: *pid_ns,
        now: clock::since_boot(),
    }
}

/// The kernel's name for this boot. Where there is none, the host's name
/// stands in: heartbeats then outlive a reboot by their ttl.
fn boot_id() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id")
        .map_or_else(|_| name(), |id| id.trim().to_owned())
}

fn pid_namespace() -> i64 {
    std::fs::metadata("/proc/self/ns/pid").map_or(0, |meta| i64::try_from(meta.ino()).unwrap_or(0))
}
