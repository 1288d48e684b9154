//! The file system's events, as rings. Watches the directory: a watch on a
//! file dies silently when the file is made anew, and the log is made anew
//! whenever the last connection closes.

use std::ffi::OsString;
use std::path::Path;

use notify::event::{EventKind, ModifyKind};
use notify::{RecommendedWatcher, RecursiveMode, Watcher};

use super::{Paths, Pending, Ringer};

/// A watch that is set; dropping it ends it.
pub(super) struct Watch(#[expect(dead_code, reason = "held for its drop")] RecommendedWatcher);

/// Watches the store's directory. The handler never blocks: it sets a flag and
/// unparks a thread, and events that find the flag set merge into one.
pub(super) fn watch(paths: &Paths, ringer: Ringer) -> notify::Result<Watch> {
    let names = Names::new(paths);
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        // An error or a lost event may have been anything.
        let ring = event.map_or(Pending::FOREIGN, |event| names.ring(&event));
        if ring != 0 {
            ringer.ring(ring);
        }
    })?;
    let directory = paths
        .database
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    watcher.watch(directory, RecursiveMode::NonRecursive)?;
    Ok(Watch(watcher))
}

struct Names {
    database: OsString,
    log: OsString,
    bell: OsString,
}

impl Names {
    fn new(paths: &Paths) -> Self {
        let name = |path: &Path| path.file_name().unwrap_or_default().to_owned();
        Self {
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
                (_, true) if name == self.database => Pending::FOREIGN,
                _ => 0,
            })
            .fold(0, |all, one| all | one)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use notify::Event;
    use notify::event::{AccessKind, CreateKind, DataChange, Flag, MetadataKind, RemoveKind};
    use std::path::PathBuf;

    fn ring(kind: EventKind, name: &str) -> u8 {
        let paths = Paths {
            database: "/s/bridge.db".into(),
            log: "/s/bridge.db-wal".into(),
            bell: "/s/bridge.db-bell".into(),
        };
        let event = Event::new(kind).add_path(PathBuf::from("/s").join(name));
        Names::new(&paths).ring(&event)
    }

    #[test]
    fn only_what_may_be_a_commit_rings() {
        let data = EventKind::Modify(ModifyKind::Data(DataChange::Any));
        assert_eq!(ring(data, "bridge.db-bell"), Pending::OURS);
        assert_eq!(ring(data, "bridge.db-wal"), Pending::FOREIGN);
        assert_eq!(ring(data, "bridge.db"), 0, "a checkpoint has no new row");
        assert_eq!(ring(data, "other.db-wal"), 0);
        let removed = EventKind::Remove(RemoveKind::File);
        assert_eq!(ring(removed, "bridge.db"), Pending::FOREIGN);
        for quiet in [
            EventKind::Access(AccessKind::Any),
            EventKind::Modify(ModifyKind::Metadata(MetadataKind::Any)),
            EventKind::Create(CreateKind::File),
        ] {
            assert_eq!(ring(quiet, "bridge.db-wal"), 0, "{quiet:?}");
        }
    }

    #[test]
    fn a_lost_event_may_have_been_anything() {
        let paths = Paths {
            database: "d".into(),
            log: "l".into(),
            bell: "b".into(),
        };
        let event = Event::new(EventKind::Other).set_flag(Flag::Rescan);
        assert_eq!(Names::new(&paths).ring(&event), Pending::FOREIGN);
    }
}
