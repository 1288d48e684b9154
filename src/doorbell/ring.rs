//! Rings, on their way to the doorbell's thread.

use std::io::{PipeWriter, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

/// Events that came since the thread last ran; several merge into one.
#[derive(Debug, Default)]
pub(super) struct Pending(AtomicU8);

impl Pending {
    /// One of our writers, after its commit.
    pub(super) const OURS: u8 = 1;
    /// A foreign writer, perhaps before its commit can be read.
    pub(super) const FOREIGN: u8 = 2;
    /// A look is asked for, also if nothing was published.
    pub(super) const ASKED: u8 = 4;
    /// The doorbell is taken down.
    pub(super) const STOP: u8 = 8;
    /// A file that is watched by itself went, and its watch with it.
    pub(super) const DEAF: u8 = 16;

    pub(super) fn add(&self, what: u8) -> bool {
        self.0.fetch_or(what, Ordering::AcqRel) & what == 0
    }

    pub(super) fn take(&self) -> u8 {
        self.0.swap(0, Ordering::AcqRel)
    }

    /// What is there, and stays.
    pub(super) fn now(&self) -> u8 {
        self.0.load(Ordering::Acquire)
    }
}

/// Rings the listener's thread; cheap to clone, never blocks.
#[derive(Debug, Clone)]
pub(super) struct Ringer {
    pending: Arc<Pending>,
    wakes: Arc<PipeWriter>,
}

impl Ringer {
    pub(super) fn new(pending: Arc<Pending>, wakes: PipeWriter) -> Self {
        let wakes = Arc::new(wakes);
        Self { pending, wakes }
    }

    pub(super) fn ring(&self, what: u8) {
        if self.pending.add(what) {
            // The pipe holds more than all that can be pending; a thread that has
            // ended hears nothing.
            let _ = (&*self.wakes).write(b".");
        }
    }
}
