//! A watch on the log and the bell themselves, for systems where a directory says
//! nothing of writes to its files (kqueue). `notify` would open each new file in a
//! directory, the database and its `-shm` too: the close drops the locks that SQLite
//! holds. No program locks through the log.

use std::ffi::{OsStr, OsString};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use notify::event::{EventKind, ModifyKind};
use notify::{RecommendedWatcher, RecursiveMode, Watcher};

use super::Paths;
use super::ring::{Pending, Ringer};

/// A watch that is set; dropping it ends it.
pub(super) struct Files {
    #[expect(dead_code, reason = "held for its drop")]
    watcher: RecommendedWatcher,
    watched: Vec<Target>,
}

impl Files {
    /// Sets a watch. The handler never blocks: it sets a flag and wakes a thread,
    /// and events that find the flag set merge into one.
    pub(super) fn watch(paths: &Paths, ringer: Ringer) -> notify::Result<Self> {
        let names = Names::new(paths);
        let mut watcher =
            notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
                // An error or a lost event may have been anything.
                let ring = event.map_or(Pending::FOREIGN, |event| names.ring(&event));
                if ring != 0 {
                    ringer.ring(ring);
                }
            })?;
        // Identified first: a file that is exchanged before its watch is set is
        // found to be another one at the next look.
        let mut watched = targets(paths, identify);
        for target in &mut watched {
            if target.file.is_none() {
                continue;
            }
            if let Err(error) = watcher.watch(&target.path, RecursiveMode::NonRecursive) {
                if identify(&target.path).is_some() {
                    return Err(error);
                }
                // It went meanwhile, and is watched when it comes again.
                target.file = None;
            }
        }
        Ok(Self { watcher, watched })
    }

    /// Whether a file was made, or made anew, since the watch was set: it is
    /// deaf for that one.
    pub(super) fn is_stale(&self, paths: &Paths) -> bool {
        self.watched != targets(paths, identify)
    }

    /// Whether they tell of writers that ring no bell.
    pub(super) fn hear_the_log(&self) -> bool {
        // The log is the first of the two.
        self.watched.first().is_some_and(|log| log.file.is_some())
    }
}

/// Something to watch.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Target {
    path: PathBuf,
    /// Which file it is, if there is one; not asked of a directory.
    file: Option<FileId>,
}

/// Device and inode.
type FileId = (u64, u64);

fn identify(path: &Path) -> Option<FileId> {
    let meta = std::fs::metadata(path).ok()?;
    Some((meta.dev(), meta.ino()))
}

/// What to watch: never the database itself, nor its `-shm`.
fn targets(paths: &Paths, identify: impl Fn(&Path) -> Option<FileId>) -> Vec<Target> {
    let of_file = |path: &PathBuf| Target {
        path: path.clone(),
        file: identify(path),
    };
    vec![of_file(&paths.log), of_file(&paths.bell)]
}

struct Names {
    log: OsString,
    bell: OsString,
}

impl Names {
    fn new(paths: &Paths) -> Self {
        let name = |path: &Path| path.file_name().unwrap_or_default().to_owned();
        Self {
            log: name(&paths.log),
            bell: name(&paths.bell),
        }
    }

    /// What an event means; 0 is nothing. Opening and closing a connection
    /// raises events too: rung by those, two listeners would feed each other.
    fn ring(&self, event: &notify::Event) -> u8 {
        if event.need_rescan() {
            return Pending::FOREIGN;
        }
        let data = matches!(
            event.kind,
            EventKind::Modify(ModifyKind::Data(_) | ModifyKind::Any)
        );
        let moved = matches!(
            event.kind,
            EventKind::Create(_) | EventKind::Remove(_) | EventKind::Modify(ModifyKind::Name(_))
        );
        if !data && !moved {
            return 0;
        }
        event
            .paths
            .iter()
            .filter_map(|path| path.file_name())
            .map(|name| match (data, moved) {
                (true, _) if name == self.bell => Pending::OURS,
                (true, _) if name == self.log => Pending::FOREIGN,
                // By its number alone a file that was made in the place of another
                // may be the same one.
                (_, true) if self.are_watched(name) => Pending::FOREIGN | Pending::DEAF,
                _ => 0,
            })
            .fold(0, |all, one| all | one)
    }

    fn are_watched(&self, name: &OsStr) -> bool {
        name == self.log || name == self.bell
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use notify::Event;
    use notify::event::{AccessKind, DataChange, Flag, MetadataKind, RemoveKind};

    fn paths() -> Paths {
        Paths {
            database: "/s/bridge.db".into(),
            log: "/s/bridge.db-wal".into(),
            bell: "/s/bridge.db-bell".into(),
        }
    }

    const DATA: EventKind = EventKind::Modify(ModifyKind::Data(DataChange::Any));
    const REMOVED: EventKind = EventKind::Remove(RemoveKind::Any);

    fn ring(kind: EventKind, name: &str) -> u8 {
        let event = Event::new(kind).add_path(PathBuf::from("/s").join(name));
        Names::new(&paths()).ring(&event)
    }

    #[test]
    fn only_what_may_be_a_commit_rings() {
        assert_eq!(ring(DATA, "bridge.db-bell"), Pending::OURS);
        assert_eq!(ring(DATA, "bridge.db-wal"), Pending::FOREIGN);
        assert_eq!(ring(DATA, "bridge.db"), 0, "a checkpoint has no new row");
        assert_eq!(ring(DATA, "other.db-wal"), 0);
        for quiet in [
            EventKind::Access(AccessKind::Any),
            EventKind::Modify(ModifyKind::Metadata(MetadataKind::Any)),
        ] {
            assert_eq!(ring(quiet, "bridge.db-wal"), 0, "{quiet:?}");
        }
    }

    #[test]
    fn removed_file_makes_its_watch_deaf() {
        let deaf = Pending::FOREIGN | Pending::DEAF;
        assert_eq!(ring(REMOVED, "bridge.db-wal"), deaf);
        assert_eq!(ring(REMOVED, "bridge.db-bell"), deaf);
        assert_eq!(ring(REMOVED, "other.db-wal"), 0);
    }

    #[test]
    fn a_lost_event_may_have_been_anything() {
        let event = Event::new(EventKind::Other).set_flag(Flag::Rescan);
        assert_eq!(Names::new(&paths()).ring(&event), Pending::FOREIGN);
    }

    #[test]
    fn the_database_and_its_index_are_never_opened() {
        let targets = targets(&paths(), |_| Some((1, 2)));
        let watched: Vec<PathBuf> = targets.into_iter().map(|target| target.path).collect();
        assert_eq!(watched, [paths().log, paths().bell]);
    }
}
