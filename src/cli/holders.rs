//! Which processes have a file open.

/// A process.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Holder {
    pub(super) pid: u32,
    pub(super) name: String,
    pub(super) user: String,
}

/// Those that have one of these files (device and inode) open, but for this process and
/// those of the user `but`. As far as this user may look: root sees all.
#[cfg(target_os = "linux")]
pub(super) fn of(files: &[(u64, u64)], but: u32) -> Vec<Holder> {
    use std::os::unix::fs::MetadataExt;

    let entries = |path: &str| std::fs::read_dir(path).into_iter().flatten().flatten();
    let has_open = |process: &str| {
        entries(&format!("{process}/fd")).any(|descriptor| {
            // What it leads to, also where that was deleted.
            let file = std::fs::metadata(descriptor.path());
            file.is_ok_and(|file| files.contains(&(file.dev(), file.ino())))
        })
    };
    let mut found = Vec::new();
    for entry in entries("/proc") {
        let Some(pid) = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok())
        else {
            continue;
        };
        let process = format!("/proc/{pid}");
        let Ok(meta) = std::fs::metadata(&process) else {
            continue;
        };
        if pid == std::process::id() || meta.uid() == but || !has_open(&process) {
            continue;
        }
        let name = std::fs::read_to_string(format!("{process}/comm")).unwrap_or_default();
        found.push(Holder {
            pid,
            name: name.trim().to_owned(),
            user: crate::host::user_name(meta.uid()),
        });
    }
    found.sort_by_key(|holder| holder.pid);
    found
}

/// Not where there is no /proc.
#[cfg(not(target_os = "linux"))]
pub(super) fn of(_files: &[(u64, u64)], _but: u32) -> Vec<Holder> {
    Vec::new()
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;
    use std::process::Stdio;

    #[test]
    fn process_that_has_a_file_open_is_named() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        let meta = file.as_file().metadata().expect("known");
        let mut child = std::process::Command::new("sleep")
            .arg("1000")
            .stdout(Stdio::from(file.reopen().expect("opened")))
            .spawn()
            .expect("sleep");
        let files = [(meta.dev(), meta.ino())];
        let no_user = u32::MAX;
        let found = of(&files, no_user);
        let ours = of(&files, meta.uid());
        child.kill().expect("it runs");
        child.wait().expect("it ends");
        let pids: Vec<u32> = found.iter().map(|holder| holder.pid).collect();
        assert_eq!(pids, [child.id()], "this process still has it open");
        assert_eq!(found[0].name, "sleep");
        assert_eq!(ours, []);
    }
}
