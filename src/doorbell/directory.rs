//! A watch by inotify, which the doorbell's thread reads itself: a thread between
//! the two would cost a hop for each commit.
//!
//! A commit writes the log many times, and each write would wake every listener, at the writer's
//! cost. So a listener that has heard one, and finds the writer still at it, disarms the watch until
//! that is done. While this process itself commits, nothing wakes its listeners (`own`). A watch on
//! a file dies with it, and the log is made anew whenever the last connection closes: the directory
//! reports what is made there.

use std::cell::Cell;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::BorrowedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;

use rustix::fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags};

use super::Paths;
use super::own::{Gate, OwnCommits};
use super::ring::Pending;

/// Room for many events; the rest is read the next time.
const BUFFER: usize = 4096;

/// The watch; dropping it ends it.
pub(super) struct Directory {
    gate: Arc<Gate>,
    paths: Paths,
    directory: i32,
    /// Nothing where there is no such file, or no more can be watched.
    log: Cell<Option<i32>>,
    bell: Cell<Option<i32>>,
    /// It is watched, if it is there.
    armed: Cell<bool>,
}

impl Directory {
    /// Sets it. It is muted while this process commits.
    pub(super) fn watch(paths: &Paths, own: &OwnCommits) -> io::Result<Self> {
        let events = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
        let parent = paths.database.parent();
        let directory = parent.filter(|parent| !parent.as_os_str().is_empty());
        let directory = directory.unwrap_or(Path::new("."));
        let what = WatchFlags::MOVE | WatchFlags::CREATE | WatchFlags::DELETE | WatchFlags::ONLYDIR;
        let directory = inotify::add_watch(&events, directory, what)?;
        let gate = own.gate(events)?;
        let watch = Self {
            gate,
            paths: paths.clone(),
            directory,
            log: Cell::new(None),
            bell: Cell::new(None),
            armed: Cell::new(false),
        };
        watch.arm();
        watch.hang();
        Ok(watch)
    }

    fn inotify(&self) -> BorrowedFd<'_> {
        self.gate.source()
    }

    /// Whether the next write to the log is heard, if there can be one.
    pub(super) fn is_armed(&self) -> bool {
        self.armed.get()
    }

    /// Hears the next write to the log.
    pub(super) fn arm(&self) {
        let each = WatchFlags::MODIFY | WatchFlags::DONT_FOLLOW;
        let log = inotify::add_watch(self.inotify(), &self.paths.log, each);
        self.log.set(log.ok());
        self.armed.set(true);
    }

    /// Hears no more writes to the log.
    pub(super) fn disarm(&self) {
        if let Some(log) = self.log.take() {
            // It may have ended with its file.
            let _ = inotify::remove_watch(self.inotify(), log);
        }
        self.armed.set(false);
    }

    /// Hears the bell that is there now.
    fn hang(&self) {
        let each = WatchFlags::MODIFY | WatchFlags::DONT_FOLLOW;
        let bell = inotify::add_watch(self.inotify(), &self.paths.bell, each).ok();
        if let Some(old) = self.bell.replace(bell).filter(|old| Some(*old) != bell) {
            // It may have ended with its file.
            let _ = inotify::remove_watch(self.inotify(), old);
        }
    }

    /// Whether writers that ring no bell are heard.
    pub(super) fn hears_the_log(&self) -> bool {
        !self.armed.get() || self.log.get().is_some()
    }

    pub(super) fn events(&self) -> BorrowedFd<'_> {
        self.gate.opens()
    }

    /// What has come: all that one reading gives.
    pub(super) fn heard(&self) -> u8 {
        let mut buffer = [MaybeUninit::uninit(); BUFFER];
        let mut reader = Reader::new(self.inotify(), &mut buffer);
        let mut rung = 0;
        loop {
            match reader.next() {
                Ok(event) => {
                    let name = event.file_name().map_or(&b""[..], |name| name.to_bytes());
                    rung |= self.ring(event.wd(), event.events(), name);
                }
                Err(rustix::io::Errno::AGAIN) => return rung,
                // What cannot be read may have been anything.
                Err(_) => return rung | Pending::FOREIGN,
            }
            // What comes now wakes the thread again.
            if reader.is_buffer_empty() {
                return rung;
            }
        }
    }

    /// What an event means; 0 is nothing.
    fn ring(&self, watch: i32, event: ReadFlags, name: &[u8]) -> u8 {
        if event.contains(ReadFlags::QUEUE_OVERFLOW) {
            // What was lost may have been anything.
            self.armed.set(false);
            return Pending::FOREIGN;
        }
        if watch == self.directory {
            return self.comes_or_goes(event, name);
        }
        if Some(watch) == self.log.get() {
            if event.contains(ReadFlags::IGNORED) {
                // It ended with its file.
                self.armed.set(false);
            }
            return Pending::FOREIGN;
        }
        // The end of a watch is no ring.
        match Some(watch) == self.bell.get() && event.contains(ReadFlags::MODIFY) {
            true => Pending::OURS,
            false => 0,
        }
    }

    fn comes_or_goes(&self, event: ReadFlags, name: &[u8]) -> u8 {
        let comes = event.intersects(ReadFlags::CREATE | ReadFlags::MOVED_TO);
        let is = |path: &Path| path.file_name().map(OsStrExt::as_bytes) == Some(name);
        if is(&self.paths.database) || event.contains(ReadFlags::IGNORED) {
            return Pending::ASKED;
        }
        if comes && is(&self.paths.log) {
            self.armed.set(false);
            return Pending::FOREIGN;
        }
        if comes && is(&self.paths.bell) {
            self.hang();
            // It may have been rung before.
            return Pending::OURS;
        }
        0
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::io::Write;
    use std::path::PathBuf;

    use rustix::event::{PollFd, PollFlags, Timespec, poll};

    use super::*;

    struct Store {
        directory: tempfile::TempDir,
        watch: Directory,
        own: Arc<OwnCommits>,
    }

    impl Store {
        fn new() -> Self {
            let directory = tempfile::tempdir().expect("a directory");
            let at = |name: &str| directory.path().join(name);
            let paths = Paths {
                database: at("bridge.db"),
                log: at("bridge.db-wal"),
                bell: at("bridge.db-bell"),
            };
            for path in [&paths.database, &paths.log, &paths.bell] {
                fs::write(path, "").expect("written");
            }
            let own = Arc::<OwnCommits>::default();
            let watch = Directory::watch(&paths, &own).expect("watched");
            Self {
                directory,
                watch,
                own,
            }
        }

        fn at(&self, name: &str) -> PathBuf {
            self.directory.path().join(name)
        }

        /// What rings when this file is written to.
        fn write(&self, name: &str) -> u8 {
            let file = File::options().append(true).open(self.at(name));
            file.expect("there").write_all(b".").expect("written");
            self.watch.heard()
        }
    }

    #[test]
    fn only_what_may_be_a_commit_rings() {
        let store = Store::new();
        assert_eq!(store.write("bridge.db-bell"), Pending::OURS);
        assert_eq!(store.write("bridge.db-bell"), Pending::OURS);
        assert_eq!(store.write("bridge.db-wal"), Pending::FOREIGN);
        assert_eq!(store.write("bridge.db"), 0, "a checkpoint has no new row");
        fs::write(store.at("other.db-wal"), "").expect("written");
        assert_eq!(store.write("other.db-wal"), 0);
    }

    #[test]
    fn log_is_heard_while_the_watch_is_armed() {
        let store = Store::new();
        for _ in 0..3 {
            assert!(store.watch.is_armed() && store.watch.hears_the_log());
            assert_eq!(store.write("bridge.db-wal"), Pending::FOREIGN);
            assert_eq!(store.write("bridge.db-wal"), Pending::FOREIGN);
            store.watch.disarm();
            assert!(!store.watch.is_armed() && store.watch.hears_the_log());
            assert_eq!(store.write("bridge.db-wal"), 0);
            store.watch.arm();
        }
    }

    #[test]
    fn own_commit_wakes_once_it_is_done() {
        let store = Store::new();
        let is_woken = || {
            let mut events = [PollFd::from_borrowed_fd(
                store.watch.events(),
                PollFlags::IN,
            )];
            poll(&mut events, Some(&Timespec::default())).expect("asked") > 0
        };
        let write = |name: &str| fs::write(store.at(name), "a page").expect("written");
        for _ in 0..3 {
            let mut commit = store.own.begin();
            // A page that did not fit into the cache, or another program's ring.
            write("bridge.db-bell");
            assert!(is_woken());
            assert_eq!(store.watch.heard(), Pending::OURS);
            commit.commits();
            write("bridge.db-wal");
            write("bridge.db-bell");
            assert!(store.own.is_under_way() && !is_woken());
            drop(commit);
            assert!(!store.own.is_under_way() && is_woken());
            assert_eq!(store.watch.heard(), Pending::FOREIGN | Pending::OURS);
            assert!(!is_woken());
        }
    }

    #[test]
    fn files_that_are_made_anew_are_heard() {
        let store = Store::new();
        for _ in 0..3 {
            fs::remove_file(store.at("bridge.db-wal")).expect("removed");
            fs::write(store.at("bridge.db-wal"), "").expect("written");
            assert_eq!(store.watch.heard() & Pending::FOREIGN, Pending::FOREIGN);
            store.watch.arm();
            assert_eq!(store.write("bridge.db-wal"), Pending::FOREIGN);
            store.watch.arm();
            fs::rename(store.at("bridge.db-bell"), store.at("old")).expect("moved");
            fs::write(store.at("bridge.db-bell"), "").expect("written");
            assert_eq!(store.watch.heard(), Pending::OURS);
            assert_eq!(store.write("bridge.db-bell"), Pending::OURS);
            assert_eq!(store.write("old"), 0, "another file has the name");
        }
    }

    #[test]
    fn log_that_is_not_there_is_not_heard() {
        let store = Store::new();
        fs::remove_file(store.at("bridge.db-wal")).expect("removed");
        store.watch.heard();
        store.watch.arm();
        assert!(!store.watch.hears_the_log());
    }

    #[test]
    fn database_that_goes_or_comes_is_looked_at() {
        let store = Store::new();
        let (database, other) = (store.at("bridge.db"), store.at("other"));
        fs::rename(&database, &other).expect("moved");
        assert_eq!(store.watch.heard(), Pending::ASKED);
        fs::rename(&other, &database).expect("moved");
        assert_eq!(store.watch.heard(), Pending::ASKED);
        fs::remove_file(&database).expect("removed");
        assert_eq!(store.watch.heard(), Pending::ASKED);
    }

    #[test]
    fn a_lost_event_may_have_been_anything() {
        let store = Store::new();
        let lost = store.watch.ring(-1, ReadFlags::QUEUE_OVERFLOW, b"");
        assert_eq!(lost, Pending::FOREIGN);
        assert!(!store.watch.is_armed());
    }
}
