//! The file system's events, as rings: by a watch on the store's directory where
//! that tells of its files, by one on the files themselves elsewhere.

use std::ffi::{OsStr, OsString};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use notify::event::{EventKind, ModifyKind};
use notify::{RecommendedWatcher, RecursiveMode, Watcher};

use super::{Paths, Pending, Ringer};

/// What is watched. Both work on Linux, and are tested there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scope {
    /// The directory (inotify): a watch on a file dies silently when the file
    /// is made anew, and the log is made anew whenever the last connection
    /// closes.
    Directory,
    /// The log and the bell, watched again when one of them is made anew
    /// (kqueue). A directory says nothing of writes there, and `notify` would
    /// open whatever is new in it, the database and its `-shm` too: the close
    /// drops the locks that SQLite holds. Nobody locks through the log.
    Files,
}

impl Scope {
    /// This system's.
    pub(super) const HERE: Self = if cfg!(target_os = "linux") {
        Self::Directory
    } else {
        Self::Files
    };
}

/// A watch that is set; dropping it ends it.
pub(super) struct Watch {
    #[expect(dead_code, reason = "held for its drop")]
    watcher: RecommendedWatcher,
    scope: Scope,
    watched: Vec<Target>,
}

impl Watch {
    /// Whether a file was made, or made anew, since the watch was set: it is
    /// deaf for that one.
    pub(super) fn is_stale(&self, paths: &Paths) -> bool {
        self.scope == Scope::Files && self.watched != targets(self.scope, paths, identify)
    }

    /// Whether it hears writers that ring no bell.
    pub(super) fn hears_the_log(&self) -> bool {
        // The directory is the only target, the log the first of two.
        self.scope == Scope::Directory || self.watched.first().is_some_and(|log| log.file.is_some())
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
fn targets(scope: Scope, paths: &Paths, identify: impl Fn(&Path) -> Option<FileId>) -> Vec<Target> {
    let of_file = |path: &PathBuf| Target {
        path: path.clone(),
        file: identify(path),
    };
    match scope {
        Scope::Files => vec![of_file(&paths.log), of_file(&paths.bell)],
        Scope::Directory => {
            let parent = paths.database.parent();
            let directory = parent.filter(|parent| !parent.as_os_str().is_empty());
            vec![Target {
                path: directory.unwrap_or(Path::new(".")).to_owned(),
                file: None,
            }]
        }
    }
}

/// Sets a watch. The handler never blocks: it sets a flag and unparks a thread,
/// and events that find the flag set merge into one.
pub(super) fn watch(paths: &Paths, scope: Scope, ringer: Ringer) -> notify::Result<Watch> {
    let names = Names::new(paths, scope);
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        // An error or a lost event may have been anything.
        let ring = event.map_or(Pending::FOREIGN, |event| names.ring(&event));
        if ring != 0 {
            ringer.ring(ring);
        }
    })?;
    // Identified first: a file that is exchanged before its watch is set is
    // found to be another one at the next look.
    let mut watched = targets(scope, paths, identify);
    for target in &mut watched {
        if scope == Scope::Files && target.file.is_none() {
            continue;
        }
        if let Err(error) = watcher.watch(&target.path, RecursiveMode::NonRecursive) {
            if scope == Scope::Directory || identify(&target.path).is_some() {
                return Err(error);
            }
            // It went meanwhile, and is watched when it comes again.
            target.file = None;
        }
    }
    Ok(Watch {
        watcher,
        scope,
        watched,
    })
}

struct Names {
    scope: Scope,
    database: OsString,
    log: OsString,
    bell: OsString,
}

impl Names {
    fn new(paths: &Paths, scope: Scope) -> Self {
        let name = |path: &Path| path.file_name().unwrap_or_default().to_owned();
        Self {
            scope,
            database: name(&paths.database),
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
                (_, true) if self.ends_a_watch(name) => self.end_of_a_watch(),
                _ => 0,
            })
            .fold(0, |all, one| all | one)
    }

    /// By its number alone a file that was made in the place of another may be
    /// the same one.
    fn end_of_a_watch(&self) -> u8 {
        match self.scope {
            Scope::Directory => Pending::FOREIGN,
            Scope::Files => Pending::FOREIGN | Pending::DEAF,
        }
    }

    /// Whether a file of this name that went, or was put in another's place,
    /// leaves a watch that hears nothing any more.
    fn ends_a_watch(&self, name: &OsStr) -> bool {
        match self.scope {
            Scope::Directory => name == self.database,
            Scope::Files => name == self.log || name == self.bell,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use notify::Event;
    use notify::event::{AccessKind, CreateKind, DataChange, Flag, MetadataKind, RemoveKind};

    fn paths() -> Paths {
        Paths {
            database: "/s/bridge.db".into(),
            log: "/s/bridge.db-wal".into(),
            bell: "/s/bridge.db-bell".into(),
        }
    }

    const DATA: EventKind = EventKind::Modify(ModifyKind::Data(DataChange::Any));
    const REMOVED: EventKind = EventKind::Remove(RemoveKind::Any);

    fn ring(scope: Scope, kind: EventKind, name: &str) -> u8 {
        let event = Event::new(kind).add_path(PathBuf::from("/s").join(name));
        Names::new(&paths(), scope).ring(&event)
    }

    #[test]
    fn only_what_may_be_a_commit_rings() {
        for scope in [Scope::Directory, Scope::Files] {
            let ring = |kind, name| ring(scope, kind, name);
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
    }

    #[test]
    fn whatever_goes_is_looked_at_if_it_leaves_a_watch_deaf() {
        let directory = |name| ring(Scope::Directory, REMOVED, name);
        assert_eq!(directory("bridge.db"), Pending::FOREIGN);
        assert_eq!(directory("bridge.db-wal"), 0, "the directory is watched");
        let created = EventKind::Create(CreateKind::File);
        assert_eq!(ring(Scope::Directory, created, "bridge.db-wal"), 0);
        let files = |name| ring(Scope::Files, REMOVED, name);
        let deaf = Pending::FOREIGN | Pending::DEAF;
        assert_eq!(files("bridge.db-wal"), deaf);
        assert_eq!(files("bridge.db-bell"), deaf);
        assert_eq!(files("other.db-wal"), 0);
    }

    #[test]
    fn a_lost_event_may_have_been_anything() {
        let event = Event::new(EventKind::Other).set_flag(Flag::Rescan);
        let names = Names::new(&paths(), Scope::HERE);
        assert_eq!(names.ring(&event), Pending::FOREIGN);
    }

    #[test]
    fn the_database_and_its_index_are_never_opened() {
        let everything_is_there = |_: &Path| Some((1, 2));
        let watched = |scope| -> Vec<PathBuf> {
            let targets = targets(scope, &paths(), everything_is_there);
            targets.into_iter().map(|target| target.path).collect()
        };
        assert_eq!(watched(Scope::Files), [paths().log, paths().bell]);
        assert_eq!(watched(Scope::Directory), [PathBuf::from("/s")]);
        let bare = Paths {
            database: "bridge.db".into(),
            ..paths()
        };
        let here = targets(Scope::Directory, &bare, everything_is_there);
        assert_eq!(here[0].path, Path::new("."));
    }
}
