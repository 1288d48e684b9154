//! Who has a database open. SQLite's locks are what counts; this names the processes
//! that hold them, and finds processes that have the file open without a lock, as far
//! as this user may see.

use std::fs::File;
use std::path::Path;

use rustix::process::{Flock, FlockType, fcntl_getlk};

use super::file::FileId;

/// `mcp-bridged (pid 4121) and python3 (pid 77)`: every process but this one
/// that has one of these files open; empty if there is none to be seen.
pub(super) fn names(files: &[FileId], database: &Path) -> String {
    let named: Vec<String> = open_in(files, database).into_iter().map(name_of).collect();
    match named.split_last() {
        None => String::new(),
        Some((last, [])) => last.clone(),
        Some((last, first)) => format!("{} and {last}", first.join(", ")),
    }
}

/// Who holds a lock of SQLite's on the file; not this process's own. SQLite
/// must not have the file open here: closing it drops this process's locks.
pub(super) fn locker(database: &File) -> String {
    match fcntl_getlk(database, &Flock::from(FlockType::WriteLock)) {
        Ok(Some(Flock { pid: Some(pid), .. })) => name_of(pid.as_raw_nonzero().get()),
        // In another process id namespace, or gone at this moment.
        _ => "another process".to_owned(),
    }
}

fn name_of(pid: i32) -> String {
    match std::fs::read_to_string(format!("/proc/{pid}/comm")) {
        Ok(name) => format!("{} (pid {pid})", name.trim()),
        Err(_) => format!("pid {pid}"),
    }
}

#[cfg(target_os = "linux")]
fn open_in(files: &[FileId], database: &Path) -> Vec<i32> {
    use std::os::unix::ffi::OsStrExt;
    let name = database.file_name().unwrap_or_default().as_bytes();
    // Only links of this name are looked up: a lookup of another user's file on a dead
    // mount would never return.
    let called = |link: &Path| {
        std::fs::read_link(link).is_ok_and(|target| {
            let target = target.as_os_str().as_bytes();
            target.windows(name.len().max(1)).any(|part| part == name)
        })
    };
    let own = std::process::id();
    let mut found = Vec::new();
    for process in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = process.file_name().to_str().and_then(|n| n.parse().ok()) else {
            continue;
        };
        if u32::try_from(pid) == Ok(own) {
            continue;
        }
        let open = std::fs::read_dir(process.path().join("fd"));
        let holds = open.into_iter().flatten().flatten().any(|descriptor| {
            let link = descriptor.path();
            called(&link) && FileId::of(&link).is_some_and(|id| files.contains(&id))
        });
        if holds {
            found.push(pid);
        }
    }
    found.sort_unstable();
    found
}

#[cfg(not(target_os = "linux"))]
fn open_in(_files: &[FileId], _database: &Path) -> Vec<i32> {
    Vec::new()
}
