//! Decides which writer is next. SQLite lets writers that find the lock taken sleep
//! ever longer and try again, so that a late writer may be first and another may wait
//! for ever: of ten busy agents on two cores, the unluckiest was seen to wait 20 s. Our
//! own programs therefore queue: the kernel wakes a process that waits for a file lock
//! the moment the lock is released.
//!
//! The lock is the doorbell's file's. It guards nothing: the Python bridge does not
//! know it, and a writer in a queue that does not move tries to write now and then, and
//! keeps its place.
//!
//! A lock of another kind on the same file tells listeners that the writer which
//! has SQLite's lock rings when it is done.

use std::fs::File;
use std::path::PathBuf;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use rustix::fs::{FlockOperation, fcntl_lock, flock};
use rustix::process::{Flock, FlockType, Pid, fcntl_getlk};
use tokio::sync::oneshot;
use tracing::debug;

use crate::doorbell;

/// A holder that stands still must not add much to SQLite's own patience.
const PATIENCE: Duration = Duration::from_secs(3);

/// Milliseconds between two tries of one that has no turn.
const PAUSE: std::ops::Range<u64> = 5..30;

/// One writer's way to the queue; each needs its own descriptor, because a lock
/// is the descriptor's.
#[derive(Debug)]
pub(super) struct Turnstile {
    path: PathBuf,
    file: OnceLock<Option<Arc<File>>>,
    waiting: Arc<Mutex<Waiting>>,
}

/// The thread that stands in the queue for us, and the writer whose turn it gets.
#[derive(Debug, Default)]
struct Waiting {
    there: bool,
    /// Calls the thread to the queue.
    stands: Option<Sender<()>>,
    wanted: Option<oneshot::Sender<Turn>>,
}

/// Our turn; it ends with this.
#[derive(Debug)]
pub(super) struct Turn(Arc<File>);

impl Drop for Turn {
    fn drop(&mut self) {
        // A failure cannot be mended here, and loses nothing.
        let _ = flock(&*self.0, FlockOperation::Unlock);
    }
}

/// A process's promise, for as long as it has SQLite's own lock, that it rings when it
/// has committed: listeners need not look again and again meanwhile. It is a lock too,
/// so the kernel takes it back when the process is killed. It belongs to the whole
/// process and is lost when the process closes the file elsewhere; the writer then
/// counts as one that does not ring.
#[derive(Debug)]
pub(super) struct Word(Arc<File>);

impl Drop for Word {
    fn drop(&mut self) {
        let _ = fcntl_lock(&*self.0, FlockOperation::NonBlockingUnlock);
    }
}

/// Whose word stands in the queue's file, `bell`: a process that SQLite's lock belongs
/// to rings if it is this one.
pub(super) fn word(bell: &File) -> Option<Pid> {
    fcntl_getlk(bell, &Flock::from(FlockType::WriteLock))
        .ok()??
        .pid
}

/// Where a writer stands.
#[derive(Debug)]
pub(super) enum QueuePlace {
    /// In front.
    Turn(#[expect(dead_code, reason = "held until it is dropped")] Turn),
    /// In the queue; so often it has tried without a turn.
    Queued(oneshot::Receiver<Turn>, u32),
    /// There is no queue; so often it has tried.
    Nowhere(u32),
}

impl QueuePlace {
    /// Whether the door may be tried at once.
    pub(super) fn is_in_front(&self) -> bool {
        matches!(self, Self::Turn(_))
    }

    /// Returns when the door may be tried, whether or not it is our turn.
    pub(super) async fn wait(&mut self) {
        let pause = Duration::from_millis(fastrand::u64(PAUSE));
        match self {
            Self::Turn(_) => {}
            Self::Queued(told, tries) => {
                let patience = if *tries == 0 { PATIENCE } else { pause };
                *tries += 1;
                match tokio::time::timeout(patience, told).await {
                    Ok(Ok(turn)) => *self = Self::Turn(turn),
                    // The thread died; SQLite's own lock is left.
                    Ok(Err(_)) => *self = Self::Nowhere(1),
                    Err(_) => {}
                }
            }
            Self::Nowhere(tries) => {
                if *tries > 0 {
                    tokio::time::sleep(pause).await;
                }
                *tries += 1;
            }
        }
    }
}

impl Turnstile {
    /// `path` is the doorbell's.
    pub(super) fn new(path: PathBuf) -> Self {
        Self {
            path,
            file: OnceLock::new(),
            waiting: Arc::default(),
        }
    }

    fn file(&self) -> Option<&Arc<File>> {
        let open = || match doorbell::open(&self.path) {
            Ok(file) => Some(Arc::new(file)),
            Err(error) => {
                debug!(path = %self.path.display(), %error, "writers do not queue");
                None
            }
        };
        self.file.get_or_init(open).as_ref()
    }

    /// Promises that this process rings, now that it has SQLite's lock. `None` on
    /// systems where the two kinds of locks on the file would stand in each other's
    /// way.
    pub(super) fn give_word(&self) -> Option<Word> {
        let file = self.file().filter(|_| cfg!(target_os = "linux"))?;
        let locked = fcntl_lock(&**file, FlockOperation::NonBlockingLockExclusive);
        locked.is_ok().then(|| Word(Arc::clone(file)))
    }

    /// Goes to the end of the queue.
    pub(super) fn line_up(&self) -> QueuePlace {
        let Some(file) = self.file() else {
            return QueuePlace::Nowhere(0);
        };
        let (tell, told) = oneshot::channel();
        let mut waiting = lock(&self.waiting);
        if waiting.there {
            // The writer that it was there for went in without it.
            waiting.wanted = Some(tell);
            return QueuePlace::Queued(told, 0);
        }
        if flock(&**file, FlockOperation::NonBlockingLockExclusive).is_ok() {
            return QueuePlace::Turn(Turn(Arc::clone(file)));
        }
        if !self.stand(&mut waiting, file) {
            return QueuePlace::Nowhere(0);
        }
        waiting.there = true;
        waiting.wanted = Some(tell);
        QueuePlace::Queued(told, 0)
    }

    /// Lets the thread stand in the queue; it is started once, because a busy writer
    /// queues for each of its transactions. It is one that is not waited for: a runtime
    /// that ends would wait for one of its own. It ends with this, or when it has had
    /// its turn.
    fn stand(&self, waiting: &mut Waiting, file: &Arc<File>) -> bool {
        if let Some(stands) = &waiting.stands
            && stands.send(()).is_ok()
        {
            return true;
        }
        let (stands, calls) = channel();
        let (file, queue) = (Arc::clone(file), Arc::clone(&self.waiting));
        let stand = move || {
            while calls.recv().is_ok() {
                let turn = flock(&*file, FlockOperation::LockExclusive);
                let turn = turn.map(|()| Turn(Arc::clone(&file)));
                let mut waiting = lock(&queue);
                waiting.there = false;
                if let (Some(wanted), Ok(turn)) = (waiting.wanted.take(), turn) {
                    // If it is not wanted any more, it ends here.
                    let _ = wanted.send(turn);
                }
            }
        };
        let thread = std::thread::Builder::new().name("turnstile".into());
        let stood = stands.send(()).is_ok() && thread.spawn(stand).is_ok();
        waiting.stands = stood.then_some(stands);
        stood
    }
}

impl Drop for Turnstile {
    fn drop(&mut self) {
        lock(&self.waiting).stands = None;
    }
}

fn lock(waiting: &Mutex<Waiting>) -> MutexGuard<'_, Waiting> {
    waiting.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    fn has_turn(place: &QueuePlace) -> bool {
        matches!(place, QueuePlace::Turn(_))
    }

    /// Waits until this many stand in the queue: the kernel lists them.
    async fn queue_of(path: &std::path::Path, many: usize) {
        let file = File::open(path).expect("there");
        let inode = std::os::unix::fs::MetadataExt::ino(&file.metadata().expect("known"));
        let mine = format!(":{inode} ");
        let end = Instant::now() + Duration::from_secs(20);
        while Instant::now() < end {
            let locks = std::fs::read_to_string("/proc/locks").expect("readable");
            let blocked = locks
                .lines()
                .filter(|l| l.contains("->") && l.contains(&mine));
            if blocked.count() >= many {
                return;
            }
            tokio::task::yield_now().await;
        }
        panic!("no writer queues");
    }

    #[tokio::test]
    async fn one_at_a_time_and_each_has_its_turn() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("bridge.db-bell");
        let first = Turnstile::new(path.clone()).line_up();
        assert!(has_turn(&first));
        let (tell, told) = std::sync::mpsc::channel();
        let mut waiting = Vec::new();
        for n in 0..5 {
            let (stile, tell) = (Turnstile::new(path.clone()), tell.clone());
            waiting.push(tokio::spawn(async move {
                let mut place = stile.line_up();
                while !has_turn(&place) {
                    place.wait().await;
                }
                tell.send(n).expect("heard");
            }));
            queue_of(&path, n + 1).await;
        }
        assert!(
            told.try_recv().is_err(),
            "no writer passes while we have it"
        );
        drop(first);
        for task in waiting {
            task.await.expect("its turn came");
        }
        let mut order: Vec<usize> = told.try_iter().collect();
        order.sort_unstable();
        assert_eq!(order, [0, 1, 2, 3, 4], "each had its turn");
    }

    #[tokio::test(start_paused = true)]
    async fn writer_in_a_stuck_queue_tries_and_keeps_place() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("bridge.db-bell");
        let stuck = Turnstile::new(path.clone()).line_up();
        let stile = Turnstile::new(path.clone());
        let mut place = stile.line_up();
        let begun = tokio::time::Instant::now();
        place.wait().await;
        assert!(!has_turn(&place) && begun.elapsed() >= PATIENCE);
        let again = tokio::time::Instant::now();
        place.wait().await;
        assert!(!has_turn(&place) && again.elapsed() < PATIENCE / 10);
        // It went in without; the next one takes over the place.
        drop(place);
        let mut next = stile.line_up();
        assert!(matches!(next, QueuePlace::Queued(..)));
        drop(stuck);
        tokio::time::resume();
        while !has_turn(&next) {
            next.wait().await;
        }
        drop(next);
        // A place that no writer takes does not hold up others.
        let front = Turnstile::new(path.clone()).line_up();
        drop(stile.line_up());
        drop(front);
        let other = Turnstile::new(path);
        let mut place = other.line_up();
        while !has_turn(&place) {
            place.wait().await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn first_try_is_at_once_without_a_queue() {
        let mut nowhere = Turnstile::new("/no/such/place".into()).line_up();
        let begun = tokio::time::Instant::now();
        nowhere.wait().await;
        assert!(begun.elapsed().is_zero());
        nowhere.wait().await;
        assert!(!begun.elapsed().is_zero());
    }
}
