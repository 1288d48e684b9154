//! Who writes next. SQLite lets writers that find the lock taken sleep ever
//! longer and try again, so that whoever comes late may be first and somebody
//! may wait for ever: of ten busy agents on two cores, the unluckiest was seen
//! to wait 20 s. Our own programs therefore queue: the kernel wakes whoever
//! waits for a file lock the moment it is let go.
//!
//! The lock is the doorbell's file's. It guards nothing: whoever cannot have
//! it, and the Python bridge, which knows nothing of it, goes to SQLite
//! directly.

use std::fs::File;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};
use tokio::sync::oneshot;
use tracing::debug;

use crate::doorbell;

/// A holder that stands still must not add much to SQLite's own patience.
const PATIENCE: Duration = Duration::from_secs(3);

/// One writer's place in the queue; each needs its own descriptor, because a
/// lock is the descriptor's.
#[derive(Debug)]
pub(super) struct Turnstile {
    path: PathBuf,
    file: OnceLock<Option<Arc<File>>>,
    /// Whether somebody of ours stands in the queue, wanted or not: in one that
    /// does not move, they must not become more and more.
    waits: Arc<AtomicBool>,
}

/// Our turn; it ends with this.
#[derive(Debug)]
pub(super) struct Turn(Arc<File>);

impl Drop for Turn {
    fn drop(&mut self) {
        // Nobody can do anything about it, and nothing is lost by it.
        let _ = flock(&*self.0, FlockOperation::Unlock);
    }
}

impl Turnstile {
    /// `path` is the doorbell's.
    pub(super) fn new(path: PathBuf) -> Self {
        Self {
            path,
            file: OnceLock::new(),
            waits: Arc::default(),
        }
    }

    /// Waits for our turn; `None` if there is no queue, or it does not move.
    pub(super) async fn turn(&self) -> Option<Turn> {
        let file = self.file.get_or_init(|| match doorbell::open(&self.path) {
            Ok(file) => Some(Arc::new(file)),
            Err(error) => {
                debug!(path = %self.path.display(), %error, "writers do not queue");
                None
            }
        });
        let file = file.as_ref()?;
        if flock(&**file, FlockOperation::NonBlockingLockExclusive).is_ok() {
            return Some(Turn(Arc::clone(file)));
        }
        if self.waits.swap(true, Ordering::AcqRel) {
            return None;
        }
        let (tell, told) = oneshot::channel();
        let (waiting, waits) = (Arc::clone(file), Arc::clone(&self.waits));
        // A thread of its own, which nobody waits for: a runtime that ends
        // would wait for one of its own.
        let queue = move || {
            let turn = flock(&*waiting, FlockOperation::LockExclusive).map(|()| Turn(waiting));
            waits.store(false, Ordering::Release);
            // If nobody wants it any more, it ends here.
            let _ = turn.map(|turn| tell.send(turn));
        };
        let thread = std::thread::Builder::new().name("turnstile".into());
        if thread.spawn(queue).is_err() {
            self.waits.store(false, Ordering::Release);
            return None;
        }
        tokio::time::timeout(PATIENCE, told).await.ok()?.ok()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[tokio::test]
    async fn one_at_a_time_and_each_has_its_turn() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("bridge.db-bell");
        let first = Turnstile::new(path.clone()).turn().await.expect("a turn");
        let (tell, told) = std::sync::mpsc::channel();
        let mut waiting = Vec::new();
        for n in 0..5 {
            let (stile, tell) = (Turnstile::new(path.clone()), tell.clone());
            waiting.push(tokio::spawn(async move {
                let turn = stile.turn().await.expect("a turn");
                tell.send(n).expect("heard");
                drop(turn);
            }));
            // Until it stands in the queue: the kernel lists who waits.
            let file = File::open(&path).expect("there");
            let inode = std::os::unix::fs::MetadataExt::ino(&file.metadata().expect("known"));
            let end = Instant::now() + Duration::from_secs(20);
            while Instant::now() < end {
                let locks = std::fs::read_to_string("/proc/locks").expect("readable");
                let mine = format!(":{inode} ");
                let blocked = locks
                    .lines()
                    .filter(|l| l.contains("->") && l.contains(&mine));
                if blocked.count() > n {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        }
        assert!(told.try_recv().is_err(), "nobody passes while we have it");
        drop(first);
        for task in waiting {
            task.await.expect("its turn came");
        }
        let mut order: Vec<usize> = told.try_iter().collect();
        order.sort_unstable();
        assert_eq!(order, [0, 1, 2, 3, 4], "each had its turn");
    }

    #[tokio::test]
    async fn a_queue_that_does_not_move_is_passed_by() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("bridge.db-bell");
        let stuck = Turnstile::new(path.clone()).turn().await;
        assert!(stuck.is_some());
        let begun = Instant::now();
        assert!(Turnstile::new(path.clone()).turn().await.is_none());
        assert!(begun.elapsed() >= PATIENCE);
        drop(stuck);
        assert!(Turnstile::new(path).turn().await.is_some());
        let nowhere = Turnstile::new(dir.path().join("no/such/place"));
        assert!(nowhere.turn().await.is_none());
    }
}
