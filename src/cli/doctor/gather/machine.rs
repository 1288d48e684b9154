//! The kernel's limits, the clock's keeper, and Python's SQLite.

use std::path::Path;
use std::time::Duration;

use crate::cli::doctor::facts::{Inotify, Synchronized};
use crate::cli::heard::Daemon;
use crate::command::{self, Ended, on_one_line};

/// What the users have in use who matter here: this one, and those whose
/// daemons run; of them the one who has the most.
#[cfg(target_os = "linux")]
pub(super) fn inotify(daemons: &[Daemon]) -> Option<Inotify> {
    use std::collections::BTreeMap;
    use std::os::unix::fs::MetadataExt;
    let limit = |name: &str| -> Option<u64> {
        let path = format!("/proc/sys/fs/inotify/{name}");
        std::fs::read_to_string(path).ok()?.trim().parse().ok()
    };
    let owner = |pid: u32| Some(std::fs::metadata(format!("/proc/{pid}")).ok()?.uid());
    let us = rustix::process::geteuid().as_raw();
    let mut users: BTreeMap<u32, (u64, u64)> = daemons
        .iter()
        .filter(|daemon| daemon.runs)
        .filter(|daemon| daemon.other.is_none())
        .filter_map(|daemon| owner(daemon.process?))
        .chain([us])
        .map(|user| (user, (0, 0)))
        .collect();
    for process in std::fs::read_dir("/proc").ok()?.flatten() {
        let Some(pid) = process.file_name().to_str().and_then(|n| n.parse().ok()) else {
            continue;
        };
        let Some(used) = owner(pid).and_then(|user| users.get_mut(&user)) else {
            continue;
        };
        let open = std::fs::read_dir(process.path().join("fd"));
        for descriptor in open.into_iter().flatten().flatten() {
            let target = std::fs::read_link(descriptor.path());
            if target.is_ok_and(|target| target == Path::new("anon_inode:inotify")) {
                let info = process.path().join("fdinfo").join(descriptor.file_name());
                let watches = std::fs::read_to_string(info).map_or(0, |text| {
                    text.lines()
                        .filter(|line| line.starts_with("inotify "))
                        .count()
                });
                *used = (used.0 + 1, used.1 + watches as u64);
            }
        }
    }
    let (user, (instances, watches)) = users.into_iter().max_by_key(|(_, used)| *used)?;
    Some(Inotify {
        user: crate::host::user_name(user),
        instances,
        most_instances: limit("max_user_instances")?,
        watches,
        most_watches: limit("max_user_watches")?,
    })
}

#[cfg(not(target_os = "linux"))]
pub(super) fn inotify(_daemons: &[Daemon]) -> Option<Inotify> {
    None
}

/// As systemd's own keeper tells it; others are not asked.
pub(super) fn synchronized() -> Synchronized {
    let place = Path::new("/run/systemd/timesync");
    if place.join("synchronized").exists() {
        Synchronized::Yes
    } else if place.is_dir() {
        Synchronized::No
    } else {
        Synchronized::Unknown
    }
}

/// The SQLite that `python3` writes with.
pub(super) async fn python() -> Result<String, String> {
    let command = [
        "python3",
        "-c",
        "import sqlite3; print(sqlite3.sqlite_version)",
    ];
    let ended = command::run(&command::Request {
        command: &command.map(str::to_owned),
        environment: &[],
        input: Vec::new(),
        timeout: Duration::from_secs(5),
        output_limit: 200,
    })
    .await;
    match ended {
        Ended::Success { output } => Ok(on_one_line(&output, 40)),
        failed => Err(format!("python3: {failed}")),
    }
}
