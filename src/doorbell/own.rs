//! The commits of this very process.
//!
//! Its doorbells need not hear what such a commit writes, page by page: the transaction knows
//! when it is done. So the watch is muted for as long, and hears all at once afterwards. Each page
//! would wake the doorbell's thread otherwise, beside the disk that the commit waits for.

#[cfg(target_os = "linux")]
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

#[cfg(target_os = "linux")]
use rustix::event::epoll;

/// The one descriptor behind a gate needs no number.
#[cfg(target_os = "linux")]
const DATA: epoll::EventData = epoll::EventData::new_u64(0);

/// Transactions of this process that may write to one store's log, and the watches that are
/// muted while they do.
#[derive(Debug, Default)]
pub struct OwnCommits {
    under_way: AtomicUsize,
    gates: Mutex<Vec<Weak<Gate>>>,
}

impl OwnCommits {
    /// A transaction has the lock of the writers from now on, until this is dropped.
    #[must_use]
    pub fn begin(self: &Arc<Self>) -> OwnCommit {
        self.under_way.fetch_add(1, Ordering::AcqRel);
        OwnCommit {
            all: Arc::clone(self),
            muted: Vec::new(),
        }
    }

    /// Whether one of them has it now. The lock does not show to its own process.
    #[must_use]
    pub fn is_under_way(&self) -> bool {
        self.under_way.load(Ordering::Acquire) > 0
    }

    /// A gate before what a watch hears, shut while one of them writes.
    ///
    /// # Errors
    /// The system's.
    #[cfg(target_os = "linux")]
    pub(super) fn gate(&self, events: OwnedFd) -> std::io::Result<Arc<Gate>> {
        let gate = Arc::new(Gate::new(events)?);
        let mut gates = self.gates();
        gates.retain(|gate| gate.strong_count() > 0);
        gates.push(Arc::downgrade(&gate));
        Ok(gate)
    }

    fn gates(&self) -> MutexGuard<'_, Vec<Weak<Gate>>> {
        self.gates.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is readable when something is to be heard and the gate is open.
#[cfg(target_os = "linux")]
#[derive(Debug)]
pub(super) struct Gate {
    source: OwnedFd,
    opens: OwnedFd,
}

#[cfg(target_os = "linux")]
impl Gate {
    fn new(source: OwnedFd) -> std::io::Result<Self> {
        let opens = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        epoll::add(&opens, &source, DATA, epoll::EventFlags::IN)?;
        Ok(Self { source, opens })
    }

    /// What is to be read.
    pub(super) fn source(&self) -> BorrowedFd<'_> {
        self.source.as_fd()
    }

    /// What is waited for.
    pub(super) fn opens(&self) -> BorrowedFd<'_> {
        self.opens.as_fd()
    }

    fn shut(&self) {
        self.let_in(epoll::EventFlags::empty());
    }

    fn open(&self) {
        self.let_in(epoll::EventFlags::IN);
    }

    fn let_in(&self, what: epoll::EventFlags) {
        // Both descriptors are its own: the kernel has no reason to refuse.
        let _ = epoll::modify(&self.opens, &self.source, DATA, what);
    }
}

/// Elsewhere a watch is not muted: it hears a write on a thread of its own.
#[cfg(not(target_os = "linux"))]
#[derive(Debug)]
enum Gate {}

#[cfg(not(target_os = "linux"))]
impl Gate {
    fn shut(&self) {
        match *self {}
    }

    fn open(&self) {
        match *self {}
    }
}

/// One transaction of this process that may write.
#[derive(Debug)]
pub struct OwnCommit {
    all: Arc<OwnCommits>,
    muted: Vec<Arc<Gate>>,
}

impl OwnCommit {
    /// It commits now. What a watch hears from here on waits until this is dropped: no other
    /// process can write to the log meanwhile.
    pub fn commits(&mut self) {
        self.muted
            .extend(self.all.gates().iter().filter_map(Weak::upgrade));
        self.muted.iter().for_each(|gate| gate.shut());
    }
}

impl Drop for OwnCommit {
    fn drop(&mut self) {
        // First, so that a thread which a gate wakes finds the lock free.
        self.all.under_way.fetch_sub(1, Ordering::AcqRel);
        self.muted.iter().for_each(|gate| gate.open());
    }
}
