//! This machine, as far as heartbeats and daemons name it.

use std::sync::OnceLock;

use crate::clock;
use crate::model::process::Boot;

/// Where the daemons of the system keep their state and their sockets, a directory for
/// each.
pub const SYSTEM_DAEMONS: &str = if cfg!(target_os = "macos") {
    "/var/db/mcp-bridge"
} else {
    "/run/mcp-bridge"
};

/// This boot of this machine, and how far into it we are.
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

/// The host's name.
#[must_use]
pub fn name() -> String {
    gethostname::gethostname().to_string_lossy().into_owned()
}

/// The user who runs this program.
#[derive(Debug)]
pub struct Caller {
    /// The number.
    pub uid: u32,
    /// The name, or the number where no file tells it.
    pub name: String,
}

/// The user who runs this program, as it was when this was first asked: a thread
/// that works on a store may act as another user.
#[must_use]
pub fn caller() -> &'static Caller {
    static CALLER: OnceLock<Caller> = OnceLock::new();
    CALLER.get_or_init(|| {
        let uid = rustix::process::geteuid().as_raw();
        Caller {
            uid,
            name: user_name(uid),
        }
    })
}

/// A user's name, or the number where no file tells it.
#[must_use]
pub fn user_name(id: u32) -> String {
    name_in("/etc/passwd", id)
}

/// A group's name, likewise.
#[must_use]
pub fn group_name(id: u32) -> String {
    name_in("/etc/group", id)
}

/// The number of a group.
#[must_use]
pub fn group_number(name: &str) -> Option<u32> {
    let groups = std::fs::read_to_string("/etc/group").ok()?;
    groups.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next() == Some(name)).then(|| fields.nth(1)?.parse().ok())?
    })
}

fn name_in(file: &str, id: u32) -> String {
    field_in(file, id, 0).unwrap_or_else(|| id.to_string())
}

/// Whether the files tell that only the user of its number is in a group.
/// A group that they do not know may have any members.
pub(crate) fn is_own_group(id: u32) -> bool {
    let number = id.to_string();
    let users = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let others = users.lines().any(|line| {
        let mut fields = line.split(':').skip(2);
        fields.next() != Some(&*number) && fields.next() == Some(&*number)
    });
    !others && field_in("/etc/group", id, 3).is_some_and(|members| members.trim().is_empty())
}

/// A field of the line whose third field is this number.
fn field_in(file: &str, id: u32, field: usize) -> Option<String> {
    let number = id.to_string();
    let known = std::fs::read_to_string(file).unwrap_or_default();
    known.lines().find_map(|line| {
        let found = line.split(':').nth(2)? == number;
        let wanted = line.split(':').nth(field).filter(|_| found);
        wanted.map(str::to_owned)
    })
}

#[cfg(target_os = "linux")]
fn boot_id() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id")
        .map(|id| id.trim().to_owned())
        .unwrap_or_default()
}

/// macOS knows it by another name, and only `sysctl` reads it.
#[cfg(not(target_os = "linux"))]
fn boot_id() -> String {
    std::process::Command::new("/usr/sbin/sysctl")
        .args(["-n", "kern.bootsessionuuid"])
        .output()
        .map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned())
        .unwrap_or_default()
}

/// The inode of the process id namespace; 0 where there are none.
#[cfg(target_os = "linux")]
fn pid_namespace() -> i64 {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata("/proc/self/ns/pid")
        .ok()
        .and_then(|meta| i64::try_from(meta.ino()).ok())
        .unwrap_or(0)
}

#[cfg(not(target_os = "linux"))]
fn pid_namespace() -> i64 {
    0
}

#[cfg(test)]
mod tests {
    #[test]
    #[cfg(target_os = "linux")]
    fn a_boot_has_a_name_and_an_age() {
        let boot = super::boot();
        assert_eq!(boot.id.len(), 36, "{}", boot.id);
        assert_ne!(boot.pid_ns, 0);
        assert!(!boot.now.is_zero() && !super::name().is_empty());
    }
}
