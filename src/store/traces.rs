//! A store that was here and is gone: what stands beside its place says so. A
//! lost store must not be taken for one that was never made.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// Of a directory with more files than that, the rest is not looked at.
const MOST: usize = 100_000;

/// What is left of a store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Traces {
    /// A file that says so.
    pub(super) sign: PathBuf,
    /// The newest of its backups and copies.
    pub(super) backup: Option<PathBuf>,
}

/// What is left of a store at `path`, where no file is.
#[must_use]
pub(super) fn of(path: &Path) -> Option<Traces> {
    let path = std::path::absolute(path).ok()?;
    let name = path.file_name()?.to_str()?;
    let stem = path.file_stem()?.to_str()?;
    let mut sign = None;
    let mut backup: Option<(SystemTime, PathBuf)> = None;
    let entries = std::fs::read_dir(path.parent()?).ok()?;
    for entry in entries.flatten().take(MOST) {
        let Ok(found) = entry.file_name().into_string() else {
            continue;
        };
        let rest = found.strip_prefix(name).unwrap_or_default();
        let copy = [".before-schema-", ".replaced-"]
            .iter()
            .any(|kind| rest.starts_with(kind))
            // Their own logs are no copies.
            && ![".partial", "-wal", "-shm"].iter().any(|end| rest.ends_with(end));
        let by_name = found
            .strip_prefix(stem)
            .is_some_and(|rest| rest.starts_with('-') && rest.ends_with(".backup.db"));
        // Not through links: another user may have put one there.
        let Some(meta) = entry.metadata().ok().filter(std::fs::Metadata::is_file) else {
            continue;
        };
        if copy || by_name {
            let at = meta.modified().unwrap_or(SystemTime::UNIX_EPOCH);
            if backup.as_ref().is_none_or(|(newest, _)| at > *newest) {
                backup = Some((at, entry.path()));
            }
        } else if ["-wal", "-shm", "-bell"].contains(&rest) {
            sign = Some(entry.path());
        }
    }
    let backup = backup.map(|(_, path)| path);
    let sign = sign.or_else(|| backup.clone())?;
    Some(Traces { sign, backup })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn newest_copy_is_named() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("bridge.db");
        let write = |name: &str, at: u64| {
            let file = std::fs::File::create(dir.path().join(name)).expect("made");
            let time = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(at);
            file.set_modified(time).expect("set");
        };
        for other in ["other.db", "other.db-wal", "bridge.txt", "notes.backup.db"] {
            write(other, 9);
        }
        assert_eq!(of(&path), None);
        write("bridge.db-bell", 1);
        let found = of(&path).expect("a sign");
        assert_eq!(
            (found.sign, found.backup),
            (dir.path().join("bridge.db-bell"), None)
        );
        write("bridge-20261125T151641Z.backup.db", 3);
        write("bridge.db.before-schema-4", 2);
        write("bridge.db.replaced-20261125T151643Z-wal", 8);
        let backup = of(&path).and_then(|found| found.backup);
        assert_eq!(
            backup,
            Some(dir.path().join("bridge-20261125T151641Z.backup.db"))
        );
        std::os::unix::fs::symlink("/etc/passwd", dir.path().join("bridge.db.replaced-x"))
            .expect("linked");
        let backup = of(&path).and_then(|found| found.backup);
        assert_eq!(
            backup,
            Some(dir.path().join("bridge-20261125T151641Z.backup.db"))
        );
    }
}
