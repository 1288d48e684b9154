//! The bare floor: what the kernel and SQLite cost when nothing else is there.
//! One plain thread, raw inotify, the write-lock probe, one prepared statement;
//! it writes the same line. No notify, no tokio, no code of the doorbell.

use std::path::Path;

use rusqlite::Connection;
use serde::Serialize;
use serde_json::Value;

use super::lines::Lines;
use super::scratch::Login;

/// New rows of one session, read without anything of the store.
pub(super) struct Rows {
    connection: Connection,
    conversation: String,
    head: i64,
}

/// The line of `watch`, field by field.
#[derive(Serialize)]
struct Line<'a> {
    id: i64,
    conversation: &'a str,
    label: Option<&'a str>,
    from: &'a str,
    to: &'a str,
    message: &'a str,
    metadata: Value,
    sent_at: &'a str,
}

impl Rows {
    pub(super) fn open(path: &Path, login: &Login) -> anyhow::Result<Self> {
        let connection = Connection::open(path)?;
        connection.busy_timeout(std::time::Duration::from_secs(5))?;
        let head =
            connection.query_row("SELECT coalesce(max(id), 0) FROM messages", [], |row| {
                row.get(0)
            })?;
        Ok(Self {
            connection,
            conversation: login.conversation().as_str().to_owned(),
            head,
        })
    }

    /// Writes a line for each that is new.
    pub(super) fn show(&mut self, lines: &mut Lines) -> anyhow::Result<()> {
        let mut statement = self.connection.prepare_cached(
            "SELECT id, conversation_id, from_session, to_session, message, metadata, timestamp
             FROM messages WHERE id > ?1 ORDER BY id",
        )?;
        let mut rows = statement.query([self.head])?;
        while let Some(row) = rows.next()? {
            self.head = row.get(0)?;
            let text = |column| {
                row.get_ref(column)
                    .map(|value| value.as_str().unwrap_or(""))
            };
            let line = Line {
                id: self.head,
                conversation: text(1)?,
                label: None,
                from: text(2)?,
                to: text(3)?,
                message: text(4)?,
                metadata: serde_json::from_str(text(5)?).unwrap_or_default(),
                sent_at: text(6)?,
            };
            if line.conversation == self.conversation && line.to == "b" {
                lines.write(line.id, &line)?;
            }
        }
        Ok(())
    }
}

#[cfg(not(target_os = "linux"))]
pub(super) async fn run(_: &Path, _: &Login, _: impl Future<Output = ()>) -> anyhow::Result<Lines> {
    anyhow::bail!("there is no inotify on this system")
}

#[cfg(target_os = "linux")]
pub(super) use linux::run;

#[cfg(target_os = "linux")]
mod linux {
    use std::fs::File;
    use std::mem::MaybeUninit;
    use std::os::fd::OwnedFd;
    use std::path::{Path, PathBuf};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::time::{Duration, Instant};

    use anyhow::Context;
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    use rustix::fs::inotify::{self, CreateFlags, Reader, WatchFlags};
    use rustix::process::{Flock, FlockType, fcntl_getlk};

    use super::{Lines, Login, Rows};
    use mcp_bridge::doorbell::settle::{pause, sharpen_timers};

    /// Until the parent has enough. The thread looks at the flag when it wakes, at the
    /// latest after this.
    const LONGEST_WAIT: Duration = Duration::from_millis(100);

    pub(in super::super) async fn run(
        store: &Path,
        login: &Login,
        ended: impl Future<Output = ()>,
    ) -> anyhow::Result<Lines> {
        let floor = Floor::new(store, login)?;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::Builder::new()
            .name("floor".into())
            .spawn(move || floor.run(&stopped))?;
        ended.await;
        stop.store(true, Ordering::Release);
        tokio::task::spawn_blocking(move || thread.join())
            .await?
            .map_err(|_| anyhow::anyhow!("the thread of the floor panicked"))?
    }

    struct Floor {
        rows: Rows,
        /// Stays open for the life of the process, like any descriptor of a
        /// file that SQLite locks.
        locks: &'static File,
        events: OwnedFd,
        log: String,
        bell: String,
    }

    impl Floor {
        fn new(store: &Path, login: &Login) -> anyhow::Result<Self> {
            let name = store
                .file_name()
                .and_then(|name| name.to_str())
                .context("the store has no name")?;
            let rows = Rows::open(store, login)?;
            let locks = File::open(PathBuf::from(format!("{}-shm", store.display())))?;
            let events = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
            let directory = store.parent().context("the store has no directory")?;
            inotify::add_watch(&events, directory, WatchFlags::MODIFY)?;
            Ok(Self {
                rows,
                locks: Box::leak(Box::new(locks)),
                events,
                log: format!("{name}-wal"),
                bell: format!("{name}-bell"),
            })
        }

        fn run(mut self, stop: &AtomicBool) -> anyhow::Result<Lines> {
            sharpen_timers();
            let mut lines = Lines::default();
            while !stop.load(Ordering::Acquire) {
                if self.rung(LONGEST_WAIT)? {
                    self.read_until_quiet(&mut lines)?;
                }
            }
            Ok(lines)
        }

        fn read_until_quiet(&mut self, lines: &mut Lines) -> anyhow::Result<()> {
            let start = Instant::now();
            loop {
                let writing = self.locked()?;
                lines.looked();
                self.rows.show(lines)?;
                if !writing {
                    return Ok(());
                }
                // As the product waits, so that the floor is not beaten by
                // better timing alone.
                self.rung(pause(start.elapsed()))?;
            }
        }

        /// Byte 120 of the `-shm` file is the lock of the writer:
        /// <https://sqlite.org/walformat.html#wal_locks>.
        fn locked(&self) -> anyhow::Result<bool> {
            let question = Flock {
                start: 120,
                length: 1,
                ..Flock::from(FlockType::WriteLock)
            };
            Ok(fcntl_getlk(self.locks, &question)?.is_some())
        }

        /// Waits for an event that may be a commit.
        fn rung(&self, at_most: Duration) -> anyhow::Result<bool> {
            let timeout = Timespec::try_from(at_most)?;
            let mut waiting = [PollFd::new(&self.events, PollFlags::IN)];
            match poll(&mut waiting, Some(&timeout)) {
                Ok(0) | Err(rustix::io::Errno::INTR) => return Ok(false),
                other => other?,
            };
            let mut buffer = [MaybeUninit::uninit(); 4096];
            let mut reader = Reader::new(&self.events, &mut buffer);
            let mut rung = false;
            loop {
                match reader.next() {
                    Ok(event) => {
                        rung |= event.file_name().is_some_and(|name| {
                            let name = name.to_bytes();
                            name == self.log.as_bytes() || name == self.bell.as_bytes()
                        });
                    }
                    Err(rustix::io::Errno::AGAIN) => return Ok(rung),
                    Err(error) => return Err(error.into()),
                }
            }
        }
    }
}
